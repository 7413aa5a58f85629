"""The table of misreads: which characters cameras mistake for which, and how often.

The table is a TOML file. `engine/data/misreads.toml` is the shipped one, with its reasons. An
operator's own file replaces it completely. Each of these is a ConfigError that names the file, the
place and the fault: a name that is unknown or missing, a character in two groups or not in normal
form, a number out of bounds. The file holds

- `groups`: look-alikes, one string for each group. An entry with `confusables` also matches a plate
  in which characters are replaced by others of their group;
- `counts`: how often each character (the table's name) was read as which one (its keys);
- `missing_rate`, `added_rate`: the share of characters that a reader omits, and the share of gaps
  between and around characters in which it adds one;
- `plate_density`: the share of existing plates among all plates of one pattern of letters and
  digits;
- `other_pattern_share`, `other_length_share`: how much rarer a plate is that has a letter in place
  of a digit or a digit in place of a letter, and one that is longer or shorter by a character.

`groups` decides what matches. The other values only decide the confidence of a match. All workers
of a group must have the same file, or they find different matches.

Immutable once loaded. Only `load` does input or output.
"""

from __future__ import annotations

from collections.abc import Mapping
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
#: In all. The cost of a step of confidence grows with their square.
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


class MisreadTable(msgspec.Struct, frozen=True):
    """What a file says; see the module. `counts` is by the true character, then by the read one."""

    groups: _Groups
    counts: Annotated[dict[str, _Counts], _table(0)]
    missing_rate: Annotated[float, _share(1e-6, 0.5)]
    added_rate: Annotated[float, _share(1e-6, 0.5)]
    plate_density: Annotated[float, _share(1e-9, 1.0)]
    other_pattern_share: Annotated[float, _share(1e-9, 1.0)]
    other_length_share: Annotated[float, _share(1e-9, 1.0)]


class Misreads:
    """The misreads of a table. It does not check the table; `load` does."""

    def __init__(self, table: MisreadTable) -> None:
        self.table = table
        self.groups: tuple[str, ...] = tuple(table.groups)
        self.counts: Mapping[str, Mapping[str, int]] = table.counts
        #: The probability of each misread.
        self.rates: Rates = Rates(
            self.groups,
            self.counts,
            missing_rate=table.missing_rate,
            added_rate=table.added_rate,
            other_pattern_share=table.other_pattern_share,
        )
        #: From a character to the one that stands for its group: the first in ASCII, if any.
        self._stands_for = {
            ord(char): next((one for one in group if one.isascii()), group[0])
            for group in self.groups
            for char in group
        }
        #: `skeleton` for an ASCII plate as bytes: the byte that replaces each byte.
        self.skeleton_bytes: bytes = bytes(
            ord(self._stands_for.get(code, chr(code))) if code < 128 else code
            for code in range(256)
        )

    @classmethod
    def load(cls, path: Path | None = None) -> Misreads:
        """Return the misreads of the file at `path`, or of the shipped one.

        Raises ConfigError if the file cannot be read or is not a valid table of misreads.
        """
        table, where = load_toml(MisreadTable, _SHIPPED, path)
        _check_groups(table.groups, where)
        _check_counts(table.counts, where)
        if len({*"".join(table.groups), *table.counts}.union(*table.counts.values())) > CHARACTERS:
            raise ConfigError(f"names more than {CHARACTERS} characters", where=where)
        return cls(table)

    def skeleton(self, plate: str) -> str:
        """Return the plate with each character replaced by the one that stands for its group.

        Two plates are look-alikes if their skeletons are equal. `?` stays.
        """
        return plate.translate(self._stands_for)


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
