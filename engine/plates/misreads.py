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

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from engine.errors import ConfigError
from engine.plates.misread_model import Rates
from engine.plates.normal_form import is_normal
from engine.resources import read

#: Bounds on what a file may say.
GROUPS: Final = 100
GROUP_CHARACTERS: Final = 36
#: In all: what a step of confidence costs grows with their square.
CHARACTERS: Final = 256
COUNT: Final = 10**9

_SHIPPED: Final = "misreads.toml"
#: The least and the most that each share may be.
_SHARES: Final = {
    "missing_rate": (1e-6, 0.5),
    "added_rate": (1e-6, 0.5),
    "plate_density": (1e-9, 1.0),
    "other_pattern_share": (1e-9, 1.0),
    "other_length_share": (1e-9, 1.0),
}
_NAMES: Final = ("groups", "counts", *_SHARES)


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
        data, where = read(_SHIPPED, path)
        table = _table(data, where)
        shares = {name: _share(table[name], name, where) for name in _SHARES}
        groups, counts = _groups(table["groups"], where), _counts(table["counts"], where)
        if len({*"".join(groups), *counts}.union(*counts.values())) > CHARACTERS:
            raise ConfigError(f"names more than {CHARACTERS} characters", where=where)
        return cls(groups, counts, **shares)

    def fold(self, plate: str) -> str:
        """The plate with one character of each group for all of them; `?` stays.

        Two plates are look-alikes where they fold to the same.
        """
        return plate.translate(self._folded)


def _table(data: bytes, where: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"is not TOML in UTF-8: {error}", where=where) from error
    for name in table:
        if name not in _NAMES:
            raise ConfigError(f"unknown name {name!r}; there are {', '.join(_NAMES)}", where=where)
    for name in _NAMES:
        if name not in table:
            raise ConfigError(f"{name} is missing", where=where)
    return table


def _share(value: object, name: str, where: str) -> float:
    least, most = _SHARES[name]
    if type(value) not in (int, float) or not least <= value <= most:  # type: ignore[operator]
        raise ConfigError(f"{name} must be a number from {least:g} to {most:g}", where=where)
    return float(value)  # type: ignore[arg-type]


def _groups(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or len(value) > GROUPS:
        raise ConfigError(f"groups must be a list of at most {GROUPS} texts", where=where)
    seen: dict[str, int] = {}
    for number, group in enumerate(value):
        if not isinstance(group, str) or not 2 <= len(group) <= GROUP_CHARACTERS:
            raise ConfigError(
                f"groups: {group!r} must be a text of 2 to {GROUP_CHARACTERS} characters",
                where=where,
            )
        for char in group:
            _check_character(char, f"groups: {group!r}", where)
            if char in seen:
                also = "there twice" if seen[char] == number else f"in {value[seen[char]]!r} too"
                raise ConfigError(f"groups: {group!r}: {char!r} is {also}", where=where)
            seen[char] = number
    return value


def _counts(value: object, where: str) -> dict[str, dict[str, int]]:
    if not isinstance(value, dict) or len(value) > CHARACTERS:
        raise ConfigError(f"counts must be a table of at most {CHARACTERS} characters", where=where)
    for true_char, counts in value.items():
        _check_character(true_char, "counts", where)
        place = f"counts.{true_char}"
        if not isinstance(counts, dict) or not 1 <= len(counts) <= CHARACTERS:
            raise ConfigError(
                f"{place} must be a table of 1 to {CHARACTERS} characters", where=where
            )
        for read_char, count in counts.items():
            _check_character(read_char, place, where)
            if type(count) is not int or not 0 <= count <= COUNT:
                raise ConfigError(
                    f"{place}.{read_char} must be a whole number from 0 to {COUNT}", where=where
                )
    return value


def _check_character(char: str, place: str, where: str) -> None:
    if len(char) != 1 or not is_normal(char):
        raise ConfigError(
            f"{place}: {char!r} is not one character of a plate in normal form", where=where
        )
