"""Hot lists in Excel's own files: rows of cells, with what Excel did to each plate.

openpyxl reads the first sheet row by row (the extra `xlsx`). A workbook is a ZIP file of XML, and
it may be hostile: the parts are measured before any is read, entities are refused (defusedxml,
which openpyxl uses), rows and columns are bounded, formulas are not computed, and links to other
files are not followed.

Excel keeps a cell as a number, a date, a truth value, a formula or a text. Only a text is what was
typed: 0012345 is kept as the number 12345, 1E10 as 10000000000 and MAR 12 as a day in March. So a
plate in any other cell is a bad row that says why. In other columns, numbers and dates become what
the profile reads.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, BinaryIO, Final

from engine import limits
from engine.errors import HotlistError
from engine.list_files.csv_files import ROW_BYTES, CsvRow, Table, has_text
from engine.list_files.file_kinds import OLD_WORKBOOK
from engine.list_files.headers import header_names, is_header, unnamed
from engine.list_files.plate_cells import FORMULA
from engine.list_files.profile import Profile
from engine.list_files.text import UTF_8, EntryFileError

_NOT_AT_ONCE: Final = ("xl/worksheets/", "xl/media/")
_TYPE_AS_TEXT: Final = "format the column as text and type the plate again"


@contextlib.contextmanager
def xlsx_table(file: BinaryIO, path: Path, profile: Profile) -> Iterator[Table]:
    """Open the table in the first sheet of a workbook.

    Raises EntryFileError if the workbook cannot be used. Iterating over the table's rows may raise
    it too.
    """
    where = str(path)
    if profile.fixed:
        raise EntryFileError("a workbook has no fixed columns", where=where)
    _check_size(file, where)
    with _failures(where):
        workbook = _load(file)
    try:
        with _failures(where):
            sheet = _first_sheet(workbook, where)
            rows = _rows(sheet, profile, where)
            line, first = _first_row(rows, profile.skip_lines)
        if isinstance(first.cells, list) and is_header(first.cells, profile):
            at = f"{path}: row {line}"
            names = header_names(first.cells, at, profile, UTF_8)
            yield Table(names, len(names), _guarded(rows, where, len(names)))
        else:
            names = unnamed(profile)[: max(1, len(first.cells))]
            yield Table(names, len(names), _guarded(_with(first, rows), where, len(names)))
    finally:
        workbook.close()


def _load(file: BinaryIO) -> Any:
    try:
        from openpyxl import load_workbook  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        raise HotlistError(
            "reading .xlsx needs the package openpyxl",
            hint="run: pip install 'hotlist-engine[xlsx]', or save the sheet as CSV",
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and extensions, which do not matter here
        return load_workbook(file, read_only=True, data_only=False, keep_links=False)


def _check_size(file: BinaryIO, where: str) -> None:
    """Raise EntryFileError if the workbook's parts are too large, or it is no workbook."""
    file.seek(0)
    head = file.read(len(OLD_WORKBOOK))
    file.seek(0)
    if head == OLD_WORKBOOK:
        raise EntryFileError(
            "is an old .xls file or has a password", where=where, hint="save it as .xlsx without"
        )
    try:
        with zipfile.ZipFile(file) as parts:
            sizes = {part.filename: part.file_size for part in parts.infolist()}
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        raise EntryFileError("is not an Excel workbook", where=where) from None
    file.seek(0)
    # A part never gives more bytes than its entry says.
    if len(sizes) > limits.XLSX_PARTS or sum(sizes.values()) > limits.XLSX_BYTES:
        raise EntryFileError(
            f"unpacks to more than {limits.size_text(limits.XLSX_BYTES)} "
            f"or {limits.XLSX_PARTS} parts",
            where=where,
            hint="save the sheet as CSV",
        )
    # Sheets are read row by row; all else is read at once, but for pictures, which are not read.
    at_once = sum(size for name, size in sizes.items() if not name.startswith(_NOT_AT_ONCE))
    if at_once > limits.XLSX_TEXT_BYTES:
        raise EntryFileError(
            f"has more than {limits.size_text(limits.XLSX_TEXT_BYTES)} of texts and styles",
            where=where,
            hint="save the sheet as CSV",
        )


@contextlib.contextmanager
def _failures(where: str) -> Iterator[None]:
    """Turn whatever a damaged or hostile workbook raises into one error."""
    try:
        yield
    except (HotlistError, StopIteration):
        raise
    except Exception as error:  # noqa: BLE001 - a hostile file may raise anything
        raise EntryFileError(
            f"is not a readable Excel workbook ({type(error).__name__})",
            where=where,
            hint="save the sheet as CSV",
        ) from None


def _first_sheet(workbook: Any, where: str) -> Any:
    sheets = [sheet for sheet in workbook.worksheets if sheet.sheet_state == "visible"]
    if not sheets:
        raise EntryFileError("has no visible sheet", where=where)
    sheet = sheets[0]
    sheet.reset_dimensions()  # what the file says of them may be wrong
    return sheet


def _rows(sheet: Any, profile: Profile | None, where: str) -> Iterator[CsvRow]:
    for line, row in enumerate(sheet.iter_rows(), start=1):
        if line > limits.XLSX_ROWS:
            raise EntryFileError(f"has more than {limits.XLSX_ROWS} rows", where=where)
        if len(row) > limits.XLSX_COLUMNS:
            raise EntryFileError(
                f"has more than {limits.XLSX_COLUMNS} columns", where=f"{where}: row {line}"
            )
        cells, damage = [], {}
        for place, cell in enumerate(row):
            text, cause = _text(cell, profile)
            cells.append(text)
            if cause:
                damage[place] = cause
        while cells and not cells[-1]:
            cells.pop()
        if sum(map(len, cells)) > ROW_BYTES:
            yield CsvRow(line, f"longer than {ROW_BYTES} characters")
        elif has_text(cells):
            yield CsvRow(line, cells, damage=damage)


def _first_row(rows: Iterator[CsvRow], skip: int) -> tuple[int, CsvRow]:
    for row in rows:
        if row.line > skip:
            return row.line, row
    return 1, CsvRow(1, [])


def _with(first: CsvRow, rows: Iterator[CsvRow]) -> Iterator[CsvRow]:
    if first.cells:
        yield first
    yield from rows


def _guarded(rows: Iterator[CsvRow], where: str, width: int) -> Iterator[CsvRow]:
    """Yield the rows, each as wide as the header: a sheet stores no empty cells at the end."""
    with _failures(where):
        for row in rows:
            cells = row.cells
            if isinstance(cells, list):
                cells = cells + [""] * (width - len(cells))
            yield row._replace(cells=cells)


def _text(cell: Any, profile: Profile | None) -> tuple[str, str]:
    """Return a cell's text for the profile, and what is wrong with it as a plate."""
    value = cell.value
    if value is None:
        return "", ""
    if cell.data_type == "f":
        return str(value), FORMULA
    if isinstance(value, bool):
        return str(value).lower(), "Excel made true or false of it; " + _TYPE_AS_TEXT
    if isinstance(value, int | float):
        whole = int(value) if float(value).is_integer() and abs(value) < 1e15 else value
        return str(whole), (
            f"Excel keeps it as a number, so leading zeros or an E may be lost; {_TYPE_AS_TEXT}"
        )
    if isinstance(value, datetime | date):
        when = value if isinstance(value, datetime) else datetime.combine(value, time())
        return _date(when, profile), f"Excel made a date of it; {_TYPE_AS_TEXT}"
    if isinstance(value, str):
        return value, ""
    return str(value), f"Excel made a time of it; {_TYPE_AS_TEXT}"


def _date(when: datetime, profile: Profile | None) -> str:
    if profile is not None and profile.dates is not None:
        return profile.dates.write(when)
    return f"{when:%Y-%m-%dT%H:%M:%S}Z"


def sample_of_workbook(file: BinaryIO, path: Path, count: int) -> list[tuple[int, list[str]]]:
    """Return the first rows of a workbook's first sheet with their lines; see `xlsx_table`."""
    where = str(path)
    _check_size(file, where)
    with _failures(where):
        workbook = _load(file)
    try:
        with _failures(where):
            rows = itertools.islice(_rows(_first_sheet(workbook, where), None, where), count)
            return [(row.line, row.cells) for row in rows if isinstance(row.cells, list)]
    finally:
        workbook.close()
