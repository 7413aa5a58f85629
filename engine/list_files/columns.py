"""From a row of a file to an entry's document, by a column profile.

`Columns` builds a document from the cells of a CSV row or of a flat JSON object. It finds each
column's field, looks values up in the profile's tables, parses dates and normalizes plates. A bad
cell gives a one-line problem that names the column, the value and the rule. Whether the document
is a valid and admissible entry is checked later, in `rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from engine.clock import format_time
from engine.list_files.entry_fields import FIELDS, TIMES, Field, quoted
from engine.list_files.profile import OTHERS, Profile, fold
from engine.plates.normal_form import WILDCARD, PlateError, normalize

#: Other systems' wildcards for any number of characters. We have no such wildcard.
_FOREIGN_WILDCARDS: Final = "*%"

Parse = Callable[[str], Any]


class Columns:
    """The columns with these normalized names, in the order of the cells."""

    def __init__(self, profile: Profile, names: Sequence[str]) -> None:
        self._count = len(names)
        rank = {name: place for place, name in enumerate(profile.columns)}
        self._cells: list[tuple[int, str, Field, Parse | None]] = []
        for place, name in sorted(enumerate(names), key=lambda pair: rank.get(pair[1], 0)):
            field = profile.columns.get(name)
            if field is not None:
                self._cells.append((place, name, FIELDS[field], _parse(profile, field)))

    def document(self, cells: Sequence[str]) -> dict[str, Any] | str:
        """Return the document of a row, or what is wrong with the row."""
        count = self._count
        if len(cells) != count and (len(cells) < count or any(cells[count:])):
            return f"{len(cells)} cells, but {count} columns"
        document: dict[str, Any] = {}
        for place, name, field, parse in self._cells:
            value: Any = cells[place].strip()
            if not value:
                continue
            if parse is not None:
                try:
                    value = parse(value)
                except ValueError as error:
                    return f"{name} {quoted(cells[place].strip())}: {error}"
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
    """Return the document of a flat JSON object by column, or what is wrong with the object.

    `known` caches the columns of earlier objects.
    """
    names = tuple(fold(name) for name in found)
    columns = known.get(names)
    if columns is None:
        for name, column in zip(found, names, strict=True):
            if column not in profile.columns and OTHERS not in profile.columns:
                return f"unknown column {quoted(name)}"
            if names.count(column) > 1:
                return f"column {column} twice"
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
    """Return the parser of the field's cells that are not empty; None keeps the cell's text.

    The parser returns None if the cell counts as empty, and raises ValueError with the rule.
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
            # A digit never combines with its neighbours, so it can stand in for the wildcard.
        normalize(cell.replace(WILDCARD, "0"))
    except PlateError as error:
        raise ValueError(error.rule) from None
    return WILDCARD.join(map(_normal_or_empty, cell.split(WILDCARD)))


def _normal_or_empty(piece: str) -> str:
    try:
        return normalize(piece)
    except PlateError:
        return ""  # the whole plate is not too long, so this piece has no plate characters


def _date(profile: Profile, field: str) -> Parse:
    dates, through = profile.dates, field in profile.through
    assert dates is not None

    def date(cell: str) -> str:
        return format_time(dates.read(cell, through))

    return date
