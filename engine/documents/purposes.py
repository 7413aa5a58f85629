"""The purposes file: for what an agency may put a plate on a list, and how far that reaches.

A JSON object from purpose code to its title, its longest term in days and its floor of known
characters in a plate; `purposes.json` beside this module is the one that we ship. A file of
the operator's own replaces it whole. The file decides how wide a net may be cast, so nothing
in it is guessed: an unknown name, a code that stands twice or a number out of bounds is a
ConfigError that names the file, the code and what is wrong. Only the two numbers have defaults.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from engine.documents.fields import CODE_PATTERN
from engine.errors import ConfigError
from engine.limits import PLATE_CHARACTERS
from engine.resources import as_struct, read

#: What counts where the file does not say.
DEFAULT_LONGEST_TERM_DAYS: Final = 365
DEFAULT_KNOWN_CHARACTERS_FLOOR: Final = 4

#: Bounds on what a file may say. Nothing stands on a list for longer than ten years unseen.
LONGEST_TERM_DAYS: Final = 3650
PURPOSES: Final = 100

_SHIPPED: Final = "purposes.json"


def _text(least: int, most: int) -> Meta:
    return Meta(
        min_length=least, max_length=most, description=f"a text of {least} to {most} characters"
    )


def _number(most: int) -> Meta:
    return Meta(ge=1, le=most, description=f"a whole number from 1 to {most}")


class Purpose(msgspec.Struct, frozen=True):
    """One purpose: its code, and the bounds on the entries that are made for it."""

    code: str
    title: Annotated[str, _text(1, 100)]
    longest_term_days: Annotated[int, _number(LONGEST_TERM_DAYS)] = DEFAULT_LONGEST_TERM_DAYS
    known_characters_floor: Annotated[int, _number(PLATE_CHARACTERS)] = (
        DEFAULT_KNOWN_CHARACTERS_FLOOR
    )
    description: Annotated[str, _text(0, 1000)] = ""


#: What the file says under a code.
_Bounds = msgspec.defstruct(
    "_Bounds",
    [
        (field.name, field.type, field.default)
        for field in msgspec.structs.fields(Purpose)
        if field.name != "code"
    ],
)


class Purposes:
    """The purposes of one file, by code."""

    def __init__(self, purposes: Iterable[Purpose]) -> None:
        self._by_code = {purpose.code: purpose for purpose in purposes}

    @classmethod
    def load(cls, path: Path | None = None) -> Purposes:
        """The purposes of the file at `path`, or of the one that we ship.

        Raises ConfigError if the file cannot be read or says something else than a purposes
        file may.
        """
        data, where = read(_SHIPPED, path)
        return cls(_purposes(data, where))

    @property
    def codes(self) -> tuple[str, ...]:
        """All codes, in the file's order."""
        return tuple(self._by_code)

    def get(self, code: str) -> Purpose | None:
        """The purpose with this code, or None."""
        return self._by_code.get(code)


def _purposes(data: bytes, where: str) -> list[Purpose]:
    try:
        pairs = json.loads(data, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"is not JSON in UTF-8: {error}", where=where) from error
    if not isinstance(pairs, _Pairs):
        raise ConfigError("must be an object from purpose code to purpose", where=where)
    if not 1 <= len(pairs) <= PURPOSES:
        raise ConfigError(f"must name 1 to {PURPOSES} purposes, not {len(pairs)}", where=where)
    purposes: dict[str, Purpose] = {}
    for code, fields in pairs:
        if not re.fullmatch(CODE_PATTERN.strip("^$"), code):
            raise ConfigError(
                f"purpose {code!r}: a code is lower-case letters, digits and _, at most 64, "
                "a letter first",
                where=where,
            )
        if code in purposes:
            raise ConfigError(f"purpose {code!r} stands there twice; keep one of them", where=where)
        purposes[code] = _purpose(code, fields, where)
    return list(purposes.values())


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with nothing lost: a name that stands twice is there twice."""


def _purpose(code: str, pairs: object, where: str) -> Purpose:
    where = f"{where}: purpose {code!r}"
    if not isinstance(pairs, _Pairs):
        raise ConfigError("must be an object", where=where)
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise ConfigError("stands there twice; keep one of them", where=f"{where}: {name}")
        fields[name] = value
    return Purpose(code, **msgspec.structs.asdict(as_struct(_Bounds, fields, where)))
