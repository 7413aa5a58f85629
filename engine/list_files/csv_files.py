"""CSV files of entries: rows of cells, each with the line on which it begins.

The profile gives the delimiter (`,` `;` or tab); otherwise it is detected in the header row. A
row's number is the line on which it begins, even if its quoted cells contain line breaks. The
profile says what the columns mean, and `columns` interprets the cells.

A missing or stray quote can make one cell of several rows without breaking any rule of CSV. So a
row of several lines comes with the cells of each further line, read as a row by itself: `rows`
decides whether that is a row.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from engine import limits
from engine.list_files.entry_fields import quoted
from engine.list_files.profile import OTHERS, Profile, caseless
from engine.list_files.text import Encoding, EntryFileError

#: The limit for one line of the file, and so for the JSON of one entry.
ROW_BYTES: Final = limits.READ_VALUE_BYTES


class CsvRow(NamedTuple):
    """A row: its line, and its cells or what is wrong with it.

    `further` has the cells of each further line of a row of several lines, read by itself.
    """

    line: int
    cells: list[str] | str
    further: Sequence[list[str]] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """An open CSV file: the normalized names of its columns, and its rows.

    `width` is the number of cells in the header; columns at the end may have no name. Rows without
    any text are left out.
    """

    names: list[str]
    width: int
    rows: Iterator[CsvRow]


@contextlib.contextmanager
def csv_table(file: BinaryIO, path: Path, profile: Profile, encoding: Encoding) -> Iterator[Table]:
    """Open the table in a file, which stays open.

    Raises EntryFileError if the header or the whole file cannot be used. Iterating over the
    table's rows may raise it too.
    """
    text = io.TextIOWrapper(file, encoding.codec, errors="surrogateescape", newline="")
    try:
        first = text.readline(ROW_BYTES)
        delimiter = profile.delimiter or _delimiter(first, profile)
        lines = _Lines(first, text, path)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        line, cells = _first_row(reader, path)
        known = any(caseless(cell) in profile.columns for cell in cells)
        if profile.header or (profile.header is None and known):
            names = _header(cells, path, profile, encoding)
            yield Table(names, len(cells), _rows(reader, lines, delimiter))
        else:
            # Trailing columns that are never filled are often left out, but then in every row.
            names = _unnamed(profile)[: max(1, len(cells))]
            rows = [CsvRow(line, cells, lines.further(delimiter))] if _has_text(cells) else []
            yield Table(names, len(names), itertools.chain(rows, _rows(reader, lines, delimiter)))
    finally:
        text.detach()


def _first_row(reader: Any, path: Path) -> tuple[int, list[str]]:
    """Return line and cells of the first row that is not blank; no cells if there is none."""
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise EntryFileError(f"not valid CSV: {error}", where=f"{path}: line {line}") from None
        if cells is None or cells:
            return line, cells or []


def _rows(reader: Any, lines: _Lines, delimiter: str) -> Iterator[CsvRow]:
    while True:
        line = reader.line_num + 1
        lines.row.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield CsvRow(line, f"not valid CSV: {error}")
            continue
        if cells is None:
            return
        if _has_text(cells):
            yield CsvRow(line, cells, lines.further(delimiter))


def _has_text(cells: list[str]) -> bool:
    return any(map(str.strip, cells))


class _Lines:
    """The lines of a file for the CSV reader; `row` has those of the row that is being read."""

    def __init__(self, first: str, text: io.TextIOWrapper, path: Path) -> None:
        self.row: list[str] = []
        self._next = first
        self._text = text
        self._path = path
        self._number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._next
        if not line:
            raise StopIteration
        self._number += 1
        if len(line) >= ROW_BYTES:
            raise EntryFileError(
                f"longer than {ROW_BYTES} characters", where=f"{self._path}: line {self._number}"
            )
        self._next = self._text.readline(ROW_BYTES)
        self.row.append(line)
        return line

    def further(self, delimiter: str) -> Sequence[list[str]]:
        """Return the cells of each line of the row except the first, read as rows."""
        if len(self.row) < 2:
            return ()
        return [_cells(line, delimiter) for line in self.row[1:]]


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _unnamed(profile: Profile) -> list[str]:
    return [name for name in profile.columns if name != OTHERS]


def _delimiter(first: str, profile: Profile) -> str:
    """Return the delimiter that gives the most known columns in the header; if tied, the comma."""

    def known_columns(delimiter: str) -> int:
        return sum(
            caseless(cell.strip().strip('"')) in profile.columns for cell in first.split(delimiter)
        )

    def columns(delimiter: str) -> int:
        return first.count(delimiter)

    return max(",;\t", key=lambda delimiter: (known_columns(delimiter), columns(delimiter)))


def _header(cells: list[str], path: Path, profile: Profile, encoding: Encoding) -> list[str]:
    where = f"{path}: line 1"
    names = [caseless(cell) for cell in cells]
    while names and not names[-1]:
        names.pop()  # spreadsheets write empty columns at the end
    if not names:
        raise EntryFileError("no header row with the names of the columns", where=where)
    for place, name in enumerate(names):
        if "\0" in name or any("\udc80" <= letter <= "\udcff" for letter in name):
            raise EntryFileError(encoding.problem, where=where, hint="save the file as UTF-8")
        if name not in profile.columns and OTHERS not in profile.columns:
            raise EntryFileError(
                f"unknown column {quoted(cells[place].strip())}",
                where=where,
                hint=f"known columns: {', '.join(_unnamed(profile))}",
            )
        if name in names[:place] and profile.columns.get(name) is not None:
            raise EntryFileError(f"column {name} twice", where=where)
    return names
