"""CSV files of entries: rows of cells, each with the line on which it begins.

The profile gives the delimiter; a line such as `sep=;` above the header names it too, as
spreadsheets write it; otherwise it is detected in the header row (`headers`). A profile with fixed
columns has no delimiter: a cell is where its column is in the line. A row's number is the line on
which it begins, even if its quoted cells contain line breaks. Lines end in LF, CR LF or CR. The
character that ends a file in DOS (Ctrl-Z) ends it here, if nothing comes after it.

A missing or stray quote can make one cell of several rows without breaking any rule of CSV. So a
row of several lines comes with the cells of each further line, read as a row by itself: `rows`
decides whether that is a row.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Final, NamedTuple

from engine import limits
from engine.list_files.headers import (
    check_delimiter,
    delimiter_of,
    header_names,
    is_header,
    separator_line,
    unnamed,
)
from engine.list_files.profile import Profile
from engine.list_files.text import Encoding, EntryFileError

#: The limit for one line of the file, and so for the JSON of one entry.
ROW_BYTES: Final = limits.READ_VALUE_BYTES
#: The end of a file in DOS, with what fills its last block.
_DOS_END: Final = re.compile(r"\x1a[\x1a\0\s]*\Z")
_UNDAMAGED: Final[Mapping[int, str]] = MappingProxyType({})


class CsvRow(NamedTuple):
    """A row: its line, and its cells or what is wrong with it.

    `further` has the cells of each further line of a row of several lines, read by itself.
    `damage` has for the place of a cell what its file says against it as a plate.
    """

    line: int
    cells: list[str] | str
    further: Sequence[list[str]] = ()
    damage: Mapping[int, str] = _UNDAMAGED


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
        lines = _Lines(text, path)
        for _ in range(profile.skip_lines):
            next(lines, None)
        reader: Any = _FixedReader(lines, profile) if profile.fixed else _csv_reader(lines, profile)
        line, cells = _first_row(reader, lines)
        if is_header(cells, profile):
            where = f"{path}: line {line}"
            names = list(profile.fixed) or header_names(cells, where, profile, encoding)
            yield Table(names, len(cells), _rows(reader, lines))
        else:
            # Trailing columns that are never filled are often left out, but then in every row.
            names = list(profile.fixed) or unnamed(profile)[: max(1, len(cells))]
            rows = [CsvRow(line, cells, lines.further())] if has_text(cells) else []
            yield Table(names, len(names), itertools.chain(rows, _rows(reader, lines)))
    finally:
        text.detach()


def _csv_reader(lines: _Lines, profile: Profile) -> Any:
    """Return the reader of a file with a delimiter, at its first row."""
    named = separator_line(lines.ahead)
    if named is not None:
        next(lines)
    delimiter = named or profile.delimiter
    if delimiter is None:
        delimiter = delimiter_of(lines.ahead, profile)
    elif named is None and lines.ahead.strip():
        check_delimiter(lines.ahead, delimiter, profile, f"{lines.path}: line {lines.number + 1}")
    lines.delimiter = delimiter
    return csv.reader(lines, delimiter=delimiter, strict=True)


class _FixedReader:
    """The rows of a file with fixed columns; reads like `csv.reader`."""

    def __init__(self, lines: _Lines, profile: Profile) -> None:
        self._lines = lines
        self._places = [slice(start, start + length) for start, length in profile.fixed.values()]

    def __next__(self) -> list[str]:
        line = next(self._lines).rstrip("\r\n")
        if not line.strip():
            return []
        if "\t" in line:
            raise csv.Error("a tab in a line of fixed columns")
        return [line[place] for place in self._places]


def _first_row(reader: Any, lines: _Lines) -> tuple[int, list[str]]:
    """Return line and cells of the first row that is not blank; no cells if there is none."""
    while True:
        line = lines.number + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            where = f"{lines.path}: line {line}"
            raise EntryFileError(f"not valid CSV: {error}", where=where) from None
        if cells is None or cells:
            return line, cells or []


def _rows(reader: Any, lines: _Lines) -> Iterator[CsvRow]:
    while True:
        line = lines.number + 1
        lines.row.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield CsvRow(line, f"not valid CSV: {error}")
            continue
        if cells is None:
            return
        if has_text(cells):
            yield CsvRow(line, cells, lines.further())


def has_text(cells: list[str]) -> bool:
    """Return whether any cell of a row has text."""
    return any(map(str.strip, cells))


class _Lines:
    """The lines of a file for a reader of rows.

    `ahead` is the next line, `number` that of the last one, and `row` has those of the row that is
    being read.
    """

    def __init__(self, text: io.TextIOWrapper, path: Path) -> None:
        self.row: list[str] = []
        self.path = path
        self.number = 0
        self.delimiter: str | None = None
        self._text = text
        self.ahead = self._after = ""
        self._read()

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.ahead
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) >= ROW_BYTES:
            raise EntryFileError(
                f"longer than {ROW_BYTES} characters", where=f"{self.path}: line {self.number}"
            )
        self._read()
        self.row.append(line)
        return line

    def _read(self) -> None:
        line = self._after or self._text.readline(ROW_BYTES)
        self._after = ""
        if "\x1a" in line and (end := _DOS_END.search(line)):
            self._after = self._text.readline(ROW_BYTES)
            if not self._after:
                line = line[: end.start()]
        self.ahead = line

    def further(self) -> Sequence[list[str]]:
        """Return the cells of each line of the row except the first, read as rows."""
        if len(self.row) < 2 or self.delimiter is None:
            return ()
        return [_cells(line, self.delimiter) for line in self.row[1:]]


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []
