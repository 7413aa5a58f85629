"""The table of misreads: which characters cameras mistake for which, and how often.

The table is a TOML file. `engine/data/misreads.toml` is the shipped one, with its reasons. An
operator's own file replaces it completely. Each of these is a ConfigError that names the file, the
place and the fault: a name that is unknown or missing, a character in two groups or not in normal
form, a number out of bounds. The file holds

- `groups`: look-alikes, one string for each group. An entry with `confusables` also matches a plate
  in which characters are replaced by others of their group;
- `regional`: look-alikes that count in single countries only, by ISO 3166-1 code, in groups: first
  the character that readers output, then those beyond ASCII that they read so because they cannot
  output them (`UÜ`). A group extends that of its first character in `groups`, and a character is
  read as the same one in all countries. So plates of ASCII have the same look-alikes everywhere.
  The country is that of the entry's region, else that of the read's. If neither says it, the groups
  of all countries count;
- `counts`: how often each character (the table's name) was read as which one (its keys);
- `missing_rate`, `added_rate`: the share of characters that a reader omits, and the share of gaps
  between and around characters in which it adds one;
- `plate_density`: the share of existing plates among all plates of one pattern of letters and
  digits;
- `other_pattern_share`, `other_length_share`: how much rarer a plate is that has a letter in place
  of a digit or a digit in place of a letter, and one that is longer or shorter by a character.

`groups` and `regional` decide what matches. The other values only decide the confidence of a match.
All workers of a group must have the same file, or they find different matches.

Immutable once loaded. Only `load` does input or output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
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
COUNTRIES: Final = 250
_COUNTRY: Final = re.compile("[A-Z]{2}")

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
    regional: Annotated[
        dict[str, _Groups],
        Meta(max_length=COUNTRIES, description=f"a table of at most {COUNTRIES} countries"),
    ] = {}


class Misreads:
    """The misreads of a table. It does not check the table; `load` does.

    It has the look-alikes of no country in particular; `in_region` has those of a region.
    """

    def __init__(self, table: MisreadTable, regional: Sequence[str] = ()) -> None:
        """`regional` are those groups of one region that `table.groups` hold, too."""
        self.table = table
        self._always_read_as = frozenset(
            (char, group[0]) for group in regional for char in group[1:]
        )
        self.groups: tuple[str, ...] = tuple(table.groups)
        self.counts: Mapping[str, Mapping[str, int]] = table.counts
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
        self._by_country = {
            country: self._with(groups) for country, groups in table.regional.items()
        }
        everywhere = [*chain(*table.regional.values())]
        self._everywhere = self._with(everywhere) if everywhere else self
        #: This table, those of single countries, and the one for plates of any country. Their
        #: skeletons differ only in characters beyond ASCII.
        self.tables: tuple[Misreads, ...] = tuple(
            dict.fromkeys((self, *self._by_country.values(), self._everywhere))
        )

    def _with(self, regional: Sequence[str]) -> Misreads:
        """Return the misreads of this table with groups of a region, which may extend its own."""
        joined = {self.skeleton(group[0]): group for group in self.groups}
        for group in regional:
            head = self.skeleton(group[0])
            joined[head] = "".join(dict.fromkeys(joined.get(head, "") + group))
        table = msgspec.structs.replace(self.table, groups=list(joined.values()), regional={})
        return Misreads(table, regional)

    @cached_property
    def rates(self) -> Rates:
        """The probability of each misread."""
        return Rates(
            self.groups,
            self.counts,
            missing_rate=self.table.missing_rate,
            added_rate=self.table.added_rate,
            other_pattern_share=self.table.other_pattern_share,
            always_read_as=self._always_read_as,
        )

    def in_region(self, region: str | None) -> Misreads:
        """Return the misreads of plates of a region; None if it is not known.

        Plates of ASCII have the same look-alikes in all of them.
        """
        if region is None:
            return self._everywhere
        return self._by_country.get(region[:2], self)

    def number_in(self, region: str | None) -> int:
        """Return the position of a region's misreads in `tables`."""
        return self.tables.index(self.in_region(region))

    @classmethod
    def load(cls, path: Path | None = None) -> Misreads:
        """Return the misreads of the file at `path`, or of the shipped one.

        Raises ConfigError if the file cannot be read or is not a valid table of misreads.
        """
        table, where = load_toml(MisreadTable, _SHIPPED, path)
        _check_groups(table.groups, where)
        _check_regional(table, where)
        _check_counts(table.counts, where)
        groups = "".join(chain(table.groups, *table.regional.values()))
        if len({*groups, *table.counts}.union(*table.counts.values())) > CHARACTERS:
            raise ConfigError(f"names more than {CHARACTERS} characters", where=where)
        return cls(table)

    def skeleton(self, plate: str) -> str:
        """Return the plate with each character replaced by the one that stands for its group.

        Two plates are look-alikes if their skeletons are equal. `?` stays.
        """
        return plate.translate(self._stands_for)


def _check_groups(groups: list[str], where: str, field: str = "groups") -> None:
    seen: dict[str, int] = {}
    for number, group in enumerate(groups):
        for char in group:
            _check_character(char, f"{field}: {group!r}", where)
            if char in seen:
                also = "there twice" if seen[char] == number else f"in {groups[seen[char]]!r} too"
                raise ConfigError(f"{field}: {group!r}: {char!r} is {also}", where=where)
            seen[char] = number


def _check_regional(table: MisreadTable, where: str) -> None:
    general = {char: group for group in table.groups for char in group}
    plain: dict[str, tuple[str, str]] = {}
    for country, groups in table.regional.items():
        field = f"regional.{country}"
        if not _COUNTRY.fullmatch(country):
            raise ConfigError("must be an ISO 3166-1 code such as DE", where=f"{where}: {field}")
        _check_groups(groups, where, field)
        for group in groups:
            for char in group:
                known, elsewhere = plain.setdefault(char, (group[0], country))
                if char != group[0] and char.isascii():
                    rule = f"{char!r} may only stand first, as the character that readers output"
                elif char != group[0] and char in general:
                    rule = f"{char!r} is in {general[char]!r} of groups too"
                elif known != group[0]:
                    rule = f"{char!r} is read as {known!r} in {elsewhere}, so it must be here too"
                else:
                    continue
                raise ConfigError(f"{field}: {group!r}: {rule}", where=where)


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
