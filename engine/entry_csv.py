"""CSV files of entries: each row becomes an entry's document, or a problem with its line number.

The delimiter (`,` `;` or tab) is found by the header row, whose columns are `COLUMNS`: the
fields of an entry, flat, in any order. An empty cell means that the field is absent. A row is
numbered by the line that it begins in, whatever line ends its quoted cells hold.

Documents are not checked here, beyond what it takes to make numbers and flags of text.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from engine import limits
from engine.errors import HotlistError

#: One line of the file, and so the JSON of one entry.
ROW_BYTES: Final = limits.READ_VALUE_BYTES

_TEXTS: Final = (
    "entry_id",
    "list_id",
    "plate",
    "agency",
    "purpose",
    "requested_by",
    "created_at",
    "expires_at",
    "starts_at",
    "region",
    "instructions",
)
_VEHICLE: Final = ("make", "model", "color", "type")
_SHOWN_CHARACTERS: Final = 60


class EntryFileError(HotlistError):
    """The file as a whole cannot be read as entries."""


def _flag(cell: str) -> bool:
    if cell.lower() in ("true", "1", "yes"):
        return True
    if cell.lower() in ("false", "0", "no"):
        return False
    raise ValueError("must be true or false (or 1, 0, yes, no)")


def _number(cell: str) -> int | float:
    # The schema decides whether a fraction is possible; here a number must only look like one.
    if re.fullmatch(r"[+-]?[0-9]{1,15}", cell, re.ASCII):
        return int(cell)
    if re.fullmatch(r"[+-]?[0-9]{1,15}\.[0-9]{1,15}", cell, re.ASCII):
        return float(cell)
    raise ValueError("must be a number")


def parse_area(text: str) -> dict[str, float]:
    """One circle of an area, written `LAT LON RADIUS_M`; ValueError for anything else."""
    parts = text.split()
    if len(parts) != 3:
        raise ValueError("must be LAT LON RADIUS_M")
    return dict(zip(("lat", "lon", "radius_m"), map(_number, parts), strict=True))


def _areas(cell: str) -> list[dict[str, float]]:
    return [parse_area(part) for part in cell.split("|")]


@dataclass(frozen=True, slots=True)
class _Column:
    """Where a column's cells go in the document, and what makes a value of a cell's text."""

    field: str
    part: str | None = None
    parse: Callable[[str], Any] | None = None


#: The columns of a CSV file, by name.
COLUMNS: Final[dict[str, _Column]] = {
    **{name: _Column(name) for name in _TEXTS},
    "authority_kind": _Column("authority", "kind"),
    "authority_reference": _Column("authority", "reference"),
    **{f"vehicle_{part}": _Column("vehicle", part) for part in _VEHICLE},
    "confusables": _Column("confusables", None, _flag),
    "priority": _Column("priority", None, _number),
    "suppress_s": _Column("suppress_s", None, _number),
    "area": _Column("area", None, _areas),
}

#: Columns may also be called as the flags are.
_ALIASES: Final = {"list": "list_id", "authority_ref": "authority_reference"}


def shown(value: object) -> str:
    """A value of the user's file for a line of error, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def csv_documents(file: BinaryIO, path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Line and document of each row, or line and what is wrong with it.

    Raises EntryFileError where the header or the file as a whole cannot be used. Leaves the
    file open.
    """
    # Bytes that are not UTF-8 come through as surrogates, so that they are one row's problem.
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        first = text.readline(ROW_BYTES)
        reader = csv.reader(_lines(first, text, path), delimiter=_delimiter(first), strict=True)
        columns = _header(next(reader, []), path)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield line, f"not valid CSV: {error}"
                continue
            if cells is None:
                return
            if cells:
                yield line, _document(cells, columns)
    finally:
        text.detach()


def _lines(first: str, text: io.TextIOWrapper, path: Path) -> Iterator[str]:
    number, line = 1, first
    while line:
        if len(line) >= ROW_BYTES:
            raise EntryFileError(
                f"longer than {ROW_BYTES} characters", where=f"{path}: line {number}"
            )
        yield line
        number, line = number + 1, text.readline(ROW_BYTES)


def _known(name: str) -> str:
    name = name.strip().lower()
    return _ALIASES.get(name, name)


def _delimiter(header: str) -> str:
    """The delimiter that makes the most known columns of the header, the comma in doubt."""

    def known_columns(delimiter: str) -> int:
        return sum(_known(cell.strip('"')) in COLUMNS for cell in header.split(delimiter))

    def columns(delimiter: str) -> int:
        return header.count(delimiter)

    return max(",;\t", key=lambda delimiter: (known_columns(delimiter), columns(delimiter)))


def _header(cells: Sequence[str], path: Path) -> list[_Column]:
    where = f"{path}: line 1"
    names = [_known(cell) for cell in cells]
    while names and not names[-1]:
        names.pop()  # spreadsheets write empty columns at the end
    if not names:
        raise EntryFileError("no header row with the names of the columns", where=where)
    for place, name in enumerate(names):
        if "\0" in name or any("\udc80" <= letter <= "\udcff" for letter in name):
            raise EntryFileError("not UTF-8 text", where=where, hint="save the file as UTF-8")
        if name not in COLUMNS:
            raise EntryFileError(
                f"unknown column {shown(name)}",
                where=where,
                hint=f"known columns: {', '.join(COLUMNS)}",
            )
        if name in names[:place]:
            raise EntryFileError(f"column {name} twice", where=where)
    return [COLUMNS[name] for name in names]


def _document(cells: list[str], columns: list[_Column]) -> dict[str, Any] | str:
    if len(cells) < len(columns) or any(cells[len(columns) :]):
        return f"{len(cells)} cells under a header of {len(columns)}"
    document: dict[str, Any] = {}
    for cell, column in zip(cells, columns, strict=False):
        value: Any = cell.strip()
        if not value:
            continue
        if column.parse is not None:
            try:
                value = column.parse(value)
            except ValueError as error:
                return f"{column.field} {shown(value)}: {error}"
        if column.part is None:
            document[column.field] = value
        else:
            document.setdefault(column.field, {})[column.part] = value
    return document
