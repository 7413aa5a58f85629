"""From a row of a file to an entry's document, by a column profile.

`Columns` makes a document of the cells of a CSV row or of a flat JSON object: it finds each
column's field, looks values up in the profile's tables, reads its dates, brings plates to normal
form. What is wrong with a cell is one line that names the column, the value and the rule.
Whether the document is an entry, and an admissible one, is not asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from engine.clock import format_time
from engine.list_files.entry_fields import FIELDS, TIMES, Field, shown
from engine.list_files.profile import OTHERS, Profile, fold
from engine.plates.normal_form import WILDCARD, PlateError, normalize

#: Other systems' signs for any number of unknown characters, of which ours has none.
_FOREIGN_WILDCARDS: Final = "*%"

Parse = Callable[[str], Any]


class Columns:
    """What becomes of the columns with these folded names, in the order of the cells."""

    def __init__(self, profile: Profile, names: Sequence[str]) -> None:
        self._count = len(names)
        rank = {name: place for place, name in enumerate(profile.columns)}
        self._cells: list[tuple[int, str, Field, Parse | None]] = []
        for place, name in sorted(enumerate(names), key=lambda pair: rank.get(pair[1], 0)):
            field = profile.columns.get(name)
            if field is not None:
                self._cells.append((place, name, FIELDS[field], _parse(profile, field)))

    def document(self, cells: Sequence[str]) -> dict[str, Any] | str:
        """The document of a row, or what is wrong with it."""
        count = self._count
        if len(cells) != count and (len(cells) < count or any(cells[count:])):
            return f"{len(cells)} cells where there are {count} columns"
        document: dict[str, Any] = {}
        for place, name, field, parse in self._cells:
            value: Any = cells[place].strip()
            if not value:
                continue
            if parse is not None:
                try:
                    value = parse(value)
                except ValueError as error:
                    return f"{name} {shown(cells[place].strip())}: {error}"
                if value is None:
                    continue
            part = field.part
            if part is None:
                document.setdefault(field.field, value)
            else:
                document.setdefault(field.field, {}).setdefault(part, value)
        return document


def object_document(
    profile: Profile, found: Mapping[str, Any], known: dict[tuple[str, ...], Columns]
) -> dict[str, Any] | str:
    """The document of a flat JSON object by column, or what is wrong with it.

    `known` remembers the columns of objects that came before.
    """
    names = tuple(fold(name) for name in found)
    columns = known.get(names)
    if columns is None:
        for name, folded in zip(found, names, strict=True):
            if folded not in profile.columns and OTHERS not in profile.columns:
                return f"unknown column {shown(name)}"
            if names.count(folded) > 1:
                return f"column {folded} twice"
        columns = Columns(profile, names)
        if len(known) < _LAYOUTS:
            known[names] = columns
    cells = []
    for name, value in found.items():
        if isinstance(value, bool):
            value = str(value).lower()
        elif value is None:
            value = ""
        elif isinstance(value, int | float):
            value = str(value)
        elif not isinstance(value, str):
            return f"{name}: must be a text, a number, true or false"
        cells.append(value)
    return columns.document(cells)


_LAYOUTS: Final = 1000


def _parse(profile: Profile, field: str) -> Parse | None:
    """What makes the field's value of a cell that is not empty; None takes it as it is.

    It gives None where the cell is to count as empty, and raises ValueError with the rule.
    """
    steps: list[Parse] = []
    if field in profile.values:
        steps.append(_look_up(profile, field))
    if field == "plate" and profile.normalize:
        steps.append(_normal_pattern)
    if field in TIMES and profile.dates is not None:
        steps.append(_date(profile, field))
    own = FIELDS[field].parse
    if own is not None:
        steps.append(own)
    if len(steps) < 2:
        return steps[0] if steps else None

    def parse(cell: str) -> Any:
        value: Any = cell
        for step in steps:
            value = step(value)
            if value is None:
                return None
        return value

    return parse


def _look_up(profile: Profile, field: str) -> Parse:
    table = profile.values[field]
    unlisted = profile.unlisted.get(field, "refuse")

    def look_up(cell: str) -> str | None:
        found = table.get(fold(cell))
        if found is not None:
            return found or None
        if unlisted == "refuse":
            raise ValueError(
                f"is not among the values.{field} of profile {profile.name}; a profile of your "
                "own can add it"
            )
        return cell if unlisted == "keep" else None

    return look_up


def _normal_pattern(cell: str) -> str:
    for sign in _FOREIGN_WILDCARDS:
        if sign in cell:
            raise ValueError(f"{sign} cannot be listed; {WILDCARD} stands for one character")
    try:
        if WILDCARD not in cell:
            return normalize(cell)
        # A digit joins with no neighbour, so it can hold the place of the unknown character.
        normalize(cell.replace(WILDCARD, "0"))
    except PlateError as error:
        raise ValueError(error.rule) from None
    return WILDCARD.join(map(_normal_or_empty, cell.split(WILDCARD)))


def _normal_or_empty(piece: str) -> str:
    try:
        return normalize(piece)
    except PlateError:
        return ""  # the whole is not too long, so this has nothing in it


def _date(profile: Profile, field: str) -> Parse:
    dates, through = profile.dates, field in profile.through
    assert dates is not None

    def date(cell: str) -> str:
        return format_time(dates.read(cell, through))

    return date
