"""CSV files of entries: rows of cells, each with the line on which it begins.

The profile gives the delimiter (`,` `;` or tab); otherwise it is detected in the header row. A
row's number is the line on which it begins, even if its quoted cells contain line breaks. The
profile says what the columns mean, and `columns` interprets the cells.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from engine import limits
from engine.list_files.entry_fields import quoted
from engine.list_files.profile import OTHERS, Profile, fold
from engine.list_files.text import Encoding, EntryFileError

#: The limit for one line of the file, and so for the JSON of one entry.
ROW_BYTES: Final = limits.READ_VALUE_BYTES


@dataclass(frozen=True, slots=True)
class Table:
    """An open CSV file: the normalized names of its columns, and its rows.

    `rows` yields the line of each row with its cells, or with what is wrong with it.
    """

    names: list[str]
    rows: Iterator[tuple[int, list[str] | str]]


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
        reader = csv.reader(_lines(first, text, path), delimiter=delimiter, strict=True)
        line, cells = _first_row(reader, path)
        known = any(fold(cell) in profile.columns for cell in cells)
        if profile.header or (profile.header is None and known):
            yield Table(_header(cells, path, profile, encoding), _rows(reader))
        else:
            # Trailing columns that are never filled are often left out, but then in every row.
            names = _unnamed(profile)[: max(1, len(cells))]
            rows: list[tuple[int, list[str] | str]] = [(line, cells)] if cells else []
            yield Table(names, itertools.chain(rows, _rows(reader)))
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


def _rows(reader: Any) -> Iterator[tuple[int, list[str] | str]]:
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
            yield line, cells


def _lines(first: str, text: io.TextIOWrapper, path: Path) -> Iterator[str]:
    number, line = 1, first
    while line:
        if len(line) >= ROW_BYTES:
            raise EntryFileError(
                f"longer than {ROW_BYTES} characters", where=f"{path}: line {number}"
            )
        yield line
        number, line = number + 1, text.readline(ROW_BYTES)


def _unnamed(profile: Profile) -> list[str]:
    return [name for name in profile.columns if name != OTHERS]


def _delimiter(first: str, profile: Profile) -> str:
    """Return the delimiter that gives the most known columns in the header; if tied, the comma."""

    def known_columns(delimiter: str) -> int:
        return sum(
            fold(cell.strip().strip('"')) in profile.columns for cell in first.split(delimiter)
        )

    def columns(delimiter: str) -> int:
        return first.count(delimiter)

    return max(",;\t", key=lambda delimiter: (known_columns(delimiter), columns(delimiter)))


def _header(cells: list[str], path: Path, profile: Profile, encoding: Encoding) -> list[str]:
    where = f"{path}: line 1"
    names = [fold(cell) for cell in cells]
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
