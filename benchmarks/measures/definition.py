"""The registry of measures, as data: `definitions/NAME.toml`, read strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from benchmarks.definitions import DIRECTORY

Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a file says: an unknown or missing field is an error."""


class _Quick(Strict, frozen=True, kw_only=True):
    rounds: Count
    settings: dict[str, Any]


class MeasureDefinition(Strict, frozen=True, kw_only=True):
    """One measure. `shows` and `bias` are paragraphs for people; `settings` are its own. Without
    `broker` it needs none."""

    name: str
    title: str
    shows: str
    bias: str
    rounds: Count
    settings: dict[str, Any]
    quick: _Quick
    broker: bool = True

    def settings_of(self, *, quick: bool) -> dict[str, Any]:
        """The settings of a whole run, or of a quick one."""
        return self.settings | (self.quick.settings if quick else {})

    def rounds_of(self, *, quick: bool) -> int:
        """The rounds of a whole run, or of a quick one."""
        return self.quick.rounds if quick else self.rounds


def load_measures(
    directory: Path = DIRECTORY / "measures" / "definitions",
) -> dict[str, MeasureDefinition]:
    """All measures by name, in order of the name.

    Raises msgspec.ValidationError for a wrong file, ValueError for a name that is not its file's.
    """
    found = {}
    for path in sorted(directory.glob("*.toml")):
        definition = msgspec.toml.decode(path.read_bytes(), type=MeasureDefinition)
        if definition.name != path.stem:
            raise ValueError(f"{path.name}: the name in it is {definition.name!r}")
        found[definition.name] = definition
    return found
