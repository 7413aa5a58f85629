"""From a row of a file to an entry's document, by a column profile.

`Columns` builds a document from the cells of a CSV row or of a flat JSON object. It finds each
column's field, looks values up in the profile's tables, parses dates and normalizes plates. A bad
cell gives a one-line problem that names the column, the value and the rule; the other cells are
still read, because they may say which entry the row is for. Whether the document is a valid and
admissible entry is checked later, in `rows`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from engine.clock import format_time
from engine.list_files.entry_fields import FIELDS, TIMES, Field, quoted
from engine.list_files.notes import Notes
from engine.list_files.plate_cells import FORMULA, NoPlateError, check_plate_cell
from engine.list_files.profile import OTHERS, Profile
from engine.list_files.profile_files import caseless
from engine.list_files.text import Encoding
from engine.plates.normal_form import WILDCARD, PlateError, normalize

#: Other systems' wildcards for any number of characters. We have no such wildcard.
_FOREIGN_WILDCARDS: Final = "*%"
#: What stands for bytes that are not text.
_NOT_TEXT: Final = re.compile("[\ud800-\udfff]")

Parse = Callable[[str], Any]
_UNDAMAGED: Final[Mapping[int, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Unread:
    """A row that is not a document: what is wrong with it, in one line.

    `document` has the row's other values, and `bad_paths` the fields of its bad cells. It is None
    if the row's values cannot be assigned to fields at all.
    """

    problem: str
    document: dict[str, Any] | None = None
    bad_paths: tuple[str, ...] = ()


class LeftOut(NamedTuple):
    """A row that the profile leaves out: the column and the value that decide,
    and what else the row has.

    An empty value: the row has no plate.
    """

    column: str
    value: str
    document: dict[str, Any]

    @property
    def reference(self) -> str | None:
        """The row's own authority reference, None if it has none."""
        found = FIELDS["authority_reference"].of(self.document)
        return found if isinstance(found, str) else None


class _UnlistedError(ValueError):
    """A value that the profile does not list, and which it drops or leaves the row out for."""

    def __init__(self, unlisted: str) -> None:
        super().__init__(unlisted)
        self.leaves_out = unlisted == "leave_out"


class Columns:
    """The columns with these normalized names, in the order of the cells."""

    def __init__(
        self,
        profile: Profile,
        names: Sequence[str],
        encoding: Encoding,
        *,
        width: int | None = None,
    ) -> None:
        """`width` is the number of cells in the header; the last ones may have no name."""
        self.notes = Notes()
        self._needs_plate = profile.leaves_out_no_plate
        self._count = len(names)
        self._width = self._count if width is None else width
        self._not_text = encoding.problem
        rank = {name: place for place, name in enumerate(profile.columns)}
        self._cells: list[tuple[int, str, Field, Parse | None]] = []
        for place, name in sorted(enumerate(names), key=lambda pair: rank.get(pair[1], 0)):
            field = profile.columns.get(name)
            if field is not None:
                self._cells.append(
                    (place, name, FIELDS[field], _parse(profile, field, guessed=encoding.guessed))
                )

    @property
    def fields(self) -> list[Field]:
        """The fields that the columns fill."""
        return [field for _, _, field, _ in self._cells]

    def document(
        self, cells: Sequence[str], line: int = 0, damage: Mapping[int, str] = _UNDAMAGED
    ) -> dict[str, Any] | Unread | LeftOut:
        """Return the document of a row, or what is wrong with the row, or why it is left out."""
        count = self._count
        if len(cells) != count and (len(cells) < count or any(cells[count:])):
            return Unread(f"{len(cells)} cells, but {count} columns")
        document: dict[str, Any] = {}
        problem, bad = None, []
        unlisted: tuple[str, str] | None = None
        for place, name, field, parse in self._cells:
            value: Any = cells[place].strip()
            if not value:
                continue
            try:
                if not value.isascii() and _NOT_TEXT.search(value):
                    raise ValueError(self._not_text)
                cause = damage.get(place)
                if cause is not None and (field.field == "plate" or cause == FORMULA):
                    raise ValueError(cause)
                if parse is not None:
                    value = parse(value)
            except _UnlistedError as error:
                if error.leaves_out:
                    unlisted = unlisted or (name, value)
                    continue
                self.notes.leave_empty(line, name, value)
                continue
            except ValueError as error:
                if self._needs_plate and isinstance(error, NoPlateError):
                    continue
                problem = problem or f"{name} {quoted(cells[place].strip())}: {error}"
                bad.append(field.path)
                continue
            if value is None:
                continue
            part = field.part
            if part is None:
                document.setdefault(field.field, value)
            else:
                document.setdefault(field.field, {}).setdefault(part, value)
        if unlisted is not None:
            return LeftOut(*unlisted, document)
        if self._needs_plate and "plate" not in document and "plate" not in bad:
            return LeftOut("plate", "", document)
        if problem is None:
            return document
        # With a cell too many or too few, the values may stand under the wrong columns.
        return Unread(problem, document if len(cells) == self._width else None, tuple(bad))

    def is_whole(self, cells: Sequence[str]) -> bool:
        """Whether there are as many cells as columns, and more than one."""
        return len(cells) == self._width > 1


def object_document(
    profile: Profile,
    found: Mapping[str, Any],
    known: dict[tuple[str, ...], Columns],
    encoding: Encoding,
    notes: Notes,
    line: int,
) -> dict[str, Any] | Unread | LeftOut:
    """Return the document of a flat JSON object by column, or what is wrong with the object.

    `known` caches the columns of earlier objects.
    """
    names = tuple(caseless(name) for name in found)
    columns = known.get(names)
    if columns is None:
        for name, column in zip(found, names, strict=True):
            if column not in profile.columns and OTHERS not in profile.columns:
                return Unread(f"unknown column {quoted(name)}")
            if names.count(column) > 1:
                return Unread(f"column {column} twice")
        columns = Columns(profile, names, encoding)
        columns.notes = notes
        if len(known) < _LAYOUTS:
            known[names] = columns
    cells = []
    for name, column, value in zip(found, names, found.values(), strict=True):
        if profile.columns.get(column) is None:
            value = ""  # skipped, whatever it holds
        elif isinstance(value, bool):
            value = str(value).lower()
        elif value is None:
            value = ""
        elif isinstance(value, int | float):
            value = str(value)
        elif not isinstance(value, str):
            return Unread(f"{name}: must be a text, a number, true or false")
        cells.append(value)
    return columns.document(cells, line)


_LAYOUTS: Final = 1000


def _parse(profile: Profile, field: str, *, guessed: bool) -> Parse | None:
    """Return the parser of the field's cells that are not empty; None keeps the cell's text.

    The parser returns None if the cell counts as empty, and raises ValueError with the rule.
    """
    steps: list[Parse] = []
    if field in profile.values:
        steps.append(_look_up(profile, field))
    if field == "plate":
        steps.append(_plate_cell(guessed=guessed))
        if profile.normalize:
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
        found = table.get(caseless(cell))
        if found is not None:
            return found or None
        if unlisted == "refuse":
            raise ValueError(
                f"is not among the values.{field} of profile {profile.name}; a profile of your "
                "own can add it"
            )
        if unlisted == "keep":
            return cell
        raise _UnlistedError(unlisted)

    return look_up


def _plate_cell(*, guessed: bool) -> Parse:
    def plate_cell(cell: str) -> str:
        check_plate_cell(cell, guessed=guessed)
        return cell

    return plate_cell


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
