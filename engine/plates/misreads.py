"""The table of misreads: which characters cameras take for which, and how often.

A TOML file; `engine/data/misreads.toml` is the one that we ship, with its reasons. A file
of the operator's own replaces it whole, and nothing in it is guessed: a name that is unknown or
missing, a character in two groups or not in normal form, or a number out of bounds is a
ConfigError that names the file, the place and what is wrong. It holds

- `groups`: look-alikes, one string a group. An entry with `confusables` matches whatever
  characters of a group stand in the place of others of it;
- `counts`: how often a character (the table's name) was read as which (its keys);
- `missing_rate`, `added_rate`: the share of characters that a reader leaves out, and of the gaps
  between and around them into which it puts one more;
- `plate_density`: the share of the plates of one pattern of letters and digits that exist;
- `other_pattern_share`, `other_length_share`: how much rarer a plate is with a letter in the place
  of a digit or a digit in that of a letter, and one that is a character longer or shorter.

`groups` decides what matches, the others only what confidence a match has. All workers of a
group must have the same file, or they find different matches.

Immutable once loaded. No input or output but for `load`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from engine.errors import ConfigError
from engine.plates.misread_model import Rates
from engine.plates.normal_form import is_normal
from engine.resources import load_toml

#: Bounds on what a file may say.
GROUPS: Final = 100
GROUP_CHARACTERS: Final = 36
#: In all: what a step of confidence costs grows with their square.
CHARACTERS: Final = 256
COUNT: Final = 10**9

_SHIPPED: Final = "misreads.toml"


def _table(least: int) -> Meta:
    bound = f"at most {CHARACTERS}" if not least else f"{least} to {CHARACTERS}"
    return Meta(
        min_length=least, max_length=CHARACTERS, description=f"a table of {bound} characters"
    )


def _share(least: float, most: float) -> Meta:
    return Meta(ge=least, le=most, description=f"a number from {least:g} to {most:g}")


_Count = Annotated[int, Meta(ge=0, le=COUNT, description=f"a whole number from 0 to {COUNT}")]
_Counts = Annotated[dict[str, _Count], _table(1)]
_Groups = Annotated[
    list[Annotated[str, Meta(min_length=2, max_length=GROUP_CHARACTERS)]],
    Meta(
        max_length=GROUPS,
        description=f"a list of at most {GROUPS} texts of 2 to {GROUP_CHARACTERS} characters",
    ),
]


class _File(msgspec.Struct):
    """What a file may say; see the module."""

    groups: _Groups
    counts: Annotated[dict[str, _Counts], _table(0)]
    missing_rate: Annotated[float, _share(1e-6, 0.5)]
    added_rate: Annotated[float, _share(1e-6, 0.5)]
    plate_density: Annotated[float, _share(1e-9, 1.0)]
    other_pattern_share: Annotated[float, _share(1e-9, 1.0)]
    other_length_share: Annotated[float, _share(1e-9, 1.0)]


class Misreads:
    """The misreads of one file; see the module. `load` checks what this takes as it is.

    `counts` is by the true character, then by the one that was read.
    """

    def __init__(
        self,
        groups: Sequence[str],
        counts: Mapping[str, Mapping[str, int]],
        *,
        missing_rate: float,
        added_rate: float,
        plate_density: float,
        other_pattern_share: float,
        other_length_share: float,
    ) -> None:
        self.groups: tuple[str, ...] = tuple(groups)
        self.counts = counts
        self.missing_rate = missing_rate
        self.added_rate = added_rate
        self.plate_density = plate_density
        self.other_pattern_share = other_pattern_share
        self.other_length_share = other_length_share
        #: What the counts say of each misread.
        self.rates: Rates = Rates(
            self.groups,
            counts,
            missing_rate=missing_rate,
            added_rate=added_rate,
            other_pattern_share=other_pattern_share,
        )
        #: From a character to the one that stands for its group: the first in ASCII, if any.
        self._folded = {
            ord(char): next((one for one in group if one.isascii()), group[0])
            for group in self.groups
            for char in group
        }
        #: `fold` for a plate of ASCII characters as bytes: the byte that each one becomes.
        self.fold_bytes: bytes = bytes(
            ord(self._folded.get(code, chr(code))) if code < 128 else code for code in range(256)
        )

    @classmethod
    def load(cls, path: Path | None = None) -> Misreads:
        """The misreads of the file at `path`, or of the one that we ship.

        Raises ConfigError where the file cannot be read or says something else than a table of
        misreads may.
        """
        file, where = load_toml(_File, _SHIPPED, path)
        _check_groups(file.groups, where)
        _check_counts(file.counts, where)
        if len({*"".join(file.groups), *file.counts}.union(*file.counts.values())) > CHARACTERS:
            raise ConfigError(f"names more than {CHARACTERS} characters", where=where)
        return cls(**msgspec.structs.asdict(file))

    def fold(self, plate: str) -> str:
        """The plate with one character of each group for all of them; `?` stays.

        Two plates are look-alikes where they fold to the same.
        """
        return plate.translate(self._folded)


def _check_groups(groups: list[str], where: str) -> None:
    seen: dict[str, int] = {}
    for number, group in enumerate(groups):
        for char in group:
            _check_character(char, f"groups: {group!r}", where)
            if char in seen:
                also = "there twice" if seen[char] == number else f"in {groups[seen[char]]!r} too"
                raise ConfigError(f"groups: {group!r}: {char!r} is {also}", where=where)
            seen[char] = number


def _check_counts(all_counts: Mapping[str, Mapping[str, int]], where: str) -> None:
    for true_char, counts in all_counts.items():
        _check_character(true_char, "counts", where)
        for read_char in counts:
            _check_character(read_char, f"counts.{true_char}", where)


def _check_character(char: str, place: str, where: str) -> None:
    if len(char) != 1 or not is_normal(char):
        raise ConfigError(
            f"{place}: {char!r} is not one character of a plate in normal form", where=where
        )
