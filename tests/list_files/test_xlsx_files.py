"""Excel's own files: what becomes of each kind of cell, and of files that mean harm."""

from __future__ import annotations

import builtins
import io
import tracemalloc
import zipfile
from datetime import date, datetime, time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from engine import limits
from engine.errors import HotlistError
from engine.list_files import profile
from engine.list_files.notes import Notes
from engine.list_files.rows import BadRow, Row, read_rows
from engine.list_files.text import EntryFileError, encoding_of
from tests.list_files.test_rows import PURPOSES, SUPPLIED

#: A time without a zone, as Excel has it.
at = partial(datetime, tzinfo=None)
SHEET = "xl/worksheets/sheet1.xml"
NUMBER = (
    "Excel keeps it as a number, so leading zeros or an E may be lost; format the column as text "
    "and type the plate again"
)
DATE = "Excel made a date of it; format the column as text and type the plate again"


def workbook(*rows: list[Any], **other_sheets: list[list[Any]]) -> bytes:
    book = Workbook()
    sheet: Any = book.active
    for row in rows:
        sheet.append(row)
    for name, content in other_sheets.items():
        other = book.create_sheet(name)
        for row in content:
            other.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def rows_of(content: bytes, name: str = "list.xlsx", which: str = "hotlist") -> list[Row | BadRow]:
    file = io.BytesIO(content)
    encoding = encoding_of(file, "auto", name)
    used, notes = profile.load(which), Notes()
    return list(read_rows(file, Path(name), used, SUPPLIED, PURPOSES, encoding, notes))


def changed(content: bytes, part: str, data: bytes | None) -> bytes:
    """The workbook with another content of one part, or without it."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            if name != part:
                new.writestr(name, old.read(name))
        if data is not None:
            new.writestr(part, data)
    return out.getvalue()


def test_texts_are_as_they_were_typed() -> None:
    content = workbook(
        ["plate", "instructions", "priority", "expires_at", None],
        ["0012345", "door 4, at night", 2, at(2026, 12, 31, 8, 30)],
        ["MAR12A", None, None, date(2026, 12, 30), None],
        [None, None],
        ["1E10AB", True, None, "2026-12-30T00:00:00Z"],
    )
    rows = rows_of(content)
    assert [row.line for row in rows] == [2, 3, 5]
    entries = [row.entry for row in rows if isinstance(row, Row)]
    assert [(one.plate, one.instructions, one.priority) for one in entries] == [
        ("0012345", "door 4, at night", 2),
        ("MAR12A", None, None),
        ("1E10AB", "true", None),
    ]
    assert [one.expires_at for one in entries] == [
        "2026-12-31T08:30:00Z",
        "2026-12-30T00:00:00Z",
        "2026-12-30T00:00:00Z",
    ]


@pytest.mark.parametrize(
    ("cell", "shown", "cause"),
    [
        (1234567, "1234567", NUMBER),
        (1e10, "10000000000", NUMBER),
        (12.5, "12.5", NUMBER),
        (at(2026, 3, 12), "2026-03-12T00:00:00Z", DATE),
        (date(2026, 3, 12), "2026-03-12T00:00:00Z", DATE),
        (time(12, 30), "12:30:00", DATE.replace("a date", "a time")),
        (
            True,
            "true",
            "Excel made true or false of it; format the column as text and type the plate again",
        ),
        (
            '="ABC"&"1234"',
            '="ABC"&"1234"',
            "is a formula; paste it as a value, in a column of text",
        ),
        ("1.00E+10", "1.00E+10", "a spreadsheet made a number of it; format the column as text"),
    ],
)
def test_a_plate_that_excel_has_changed_is_a_bad_row(cell: Any, shown: str, cause: str) -> None:
    good, bad = rows_of(workbook(["plate", "instructions"], ["ABC1234", "x"], [cell, "y"]))
    assert isinstance(good, Row)
    assert bad == BadRow(3, f"plate {shown!r}: {cause}")


def test_a_formula_is_a_bad_row_in_every_column_that_is_read() -> None:
    (bad,) = rows_of(workbook(["plate", "instructions"], ["ABC1234", '=HYPERLINK("http://x")']))
    assert isinstance(bad, BadRow)
    assert "is a formula" in bad.problem
    assert bad.entry_id is not None


def test_dates_of_a_profile_and_a_list_without_a_header() -> None:
    (row,) = rows_of(workbook(["stolen", "CA", "7ABC123", None, at(2026, 2, 3)]), which="genetec")
    assert isinstance(row, Row)
    assert (row.entry.plate, row.entry.expires_at) == ("7ABC123", "2026-02-04T00:00:00.000Z")


def test_an_unknown_column_and_a_row_that_is_too_long() -> None:
    with pytest.raises(EntryFileError, match=r"list\.xlsx: row 1: unknown column 'colour'"):
        rows_of(workbook(["plate", "colour"]))
    (bad,) = rows_of(workbook(["plate", "instructions"], ["ABC1234", "x", "y"]))
    assert bad == BadRow(2, "3 cells, but 2 columns")


def test_the_first_visible_sheet_is_read() -> None:
    (row,) = rows_of(workbook(["plate"], ["ABC1234"], others=[["plate"], ["XYZ9876"]]))
    assert isinstance(row, Row)
    assert row.entry.plate == "ABC1234"


UNREADABLE = "is not a readable Excel workbook"
BOMB = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
ROWS = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
END = b"</sheetData></worksheet>"
GOOD = workbook(["plate"], ["ABC1234"])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"plate\nABC1234\n", "is not an Excel workbook"),
        (b"", "is not an Excel workbook"),
        (b"PK\x03\x04 and no more", "is not an Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is an old .xls file or has a password"),
        (GOOD[:-200], "is not an Excel workbook"),
        (changed(GOOD, SHEET, None), "has no visible sheet"),
        (changed(GOOD, SHEET, b"<worksheet"), UNREADABLE),
        (changed(GOOD, SHEET, BOMB + ROWS + b"<row>&b;</row>"), UNREADABLE),
        (
            changed(GOOD, "xl/workbook.xml", BOMB + b"<x>&b;</x>"),
            UNREADABLE,
        ),
        (
            changed(GOOD, SHEET, ROWS + b'<row r="1"><c r="ZZZ1" t="str"><v>x</v></c></row>' + END),
            f"row 1: has more than {limits.XLSX_COLUMNS} columns",
        ),
    ],
    ids=range(10),
)
def test_what_is_no_list_is_one_error(content: bytes, problem: str) -> None:
    with pytest.raises(EntryFileError) as caught:
        rows_of(content)
    assert problem in str(caught.value)
    assert str(caught.value).startswith("list.xlsx: ")


@pytest.mark.parametrize(
    ("part", "limit", "problem"),
    [
        (SHEET, "XLSX_BYTES", "unpacks to more than 97.7 KiB or 10000 parts"),
        ("xl/media/a.png", "XLSX_BYTES", "unpacks to more than 97.7 KiB or 10000 parts"),
        ("xl/sharedStrings.xml", "XLSX_TEXT_BYTES", "has more than 97.7 KiB of texts and"),
        ("xl/styles.xml", "XLSX_TEXT_BYTES", "has more than 97.7 KiB of texts and"),
    ],
)
def test_a_bomb_is_not_unpacked(
    part: str, limit: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, limit, 100_000)
    content = changed(GOOD, part, b" " * 200_000)
    assert len(content) < 20_000
    with pytest.raises(EntryFileError, match=problem):
        rows_of(content)


def test_a_row_far_below_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    far = ROWS + b'<row r="999999999"><c r="A999999999" t="str"><v>x</v></c></row>' + END
    content = changed(GOOD, SHEET, far)
    monkeypatch.setattr(limits, "XLSX_ROWS", 20_000)
    tracemalloc.start()
    try:
        with pytest.raises(EntryFileError, match=f"has more than {limits.XLSX_ROWS} rows"):
            rows_of(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 * 1024 * 1024


def test_a_workbook_under_another_name_is_called_one() -> None:
    with pytest.raises(EntryFileError, match=r"list\.csv: is an Excel workbook; save it as \.xlsx"):
        rows_of(GOOD, "list.csv")


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    really = builtins.__import__

    def refuse(name: str, *how: Any, **more: Any) -> Any:
        if name.startswith("openpyxl"):
            raise ImportError(name)
        return really(name, *how, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(HotlistError) as caught:
        rows_of(GOOD)
    assert str(caught.value) == (
        "reading .xlsx needs the package openpyxl; run: pip install 'hotlist-engine[xlsx]', or "
        "save the sheet as CSV"
    )
