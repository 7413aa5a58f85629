"""What spreadsheets and data bases leave in a plate's column.

Where these cells come from:

- numbers and dates: Welsh et al., "Escape Excel" (journals.plos.org, pone.0185207), and Ziemann et
  al., "Gene name errors are widespread": `2310009E13` becomes `2.31E+13`, `MARCH1` becomes `1-Mar`
- words: the manual of Wisconsin's TIME system, "License plate number edits" ("do not use the words
  none, unknown, unk, etc."), and snopes.com, "What Happens When Your License Plate Says NO PLATE",
  with MISSING, UNKNOWN, XXXXXXX, NOTAG and NULL on real cars
- encodings: donatstudios.com, "CSV: An Encoding Nightmare": the code page of the machine's locale
"""

from __future__ import annotations

import json

import pytest

from engine.list_files import profile
from engine.list_files.plate_cells import check_plate_cell
from engine.list_files.rows import BadRow, Row
from engine.list_files.text import UTF_8, Encoding
from tests.list_files.test_rows import rows_of

GUESSED = Encoding("Windows-1252", "cp1252", guessed=True)
NUMBER = "a spreadsheet made a number of it; format the column as text"
DATE = "a spreadsheet made a date of it; format the column as text"
FORMULA = "is the error of a formula in a spreadsheet"
NONE = "stands for no plate; hotlist entries add lists a plate that reads so"
DELIMITER = "holds a delimiter: does the profile have the right one?"
LOST = "a character was lost when the file was converted"
CONTROL = "must not hold control characters"

REFUSED = {
    **dict.fromkeys(["1.00E+05", "1E+05", "2,31E+13", "12e+3", "1.5E-07", "100000.0"], NUMBER),
    **dict.fromkeys(["1-Mar", "01-Sep", "Mar-01", "1-Mar-26", "31-Dec-2026"], DATE),
    **dict.fromkeys(["2026-03-01", "3/1/2026", "01.03.2026", "1/3/2026 0:00"], DATE),
    **dict.fromkeys(["#N/A", "#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NUM!", "#NULL!"], FORMULA),
    **dict.fromkeys(["UNKNOWN", "unknown", "UNK", "NONE", "N/A", "NULL", "NaN", "nil"], NONE),
    **dict.fromkeys(["NO PLATE", "No Tag", "MISSING", "XXXXXXX", "TBD", "TRUE"], NONE),
    **dict.fromkeys(["AB12CD;NL", "AB12CD|x", "1,234"], DELIMITER),
    **dict.fromkeys(["M\ufffd1234", "\ufffd"], LOST),
    **dict.fromkeys(["AB12\0CD", "AB12CD\nEF34GH", "AB\x7f12CD"], CONTROL),
}
TAKEN = ["1E05", "100E05", "12E-05", "1-MAR", "MAR-01", "12-345-67", "NONE1", "UNKLE", "123456"]
TAKEN += ["XXX1234", "NULL0", "MÜ1234", "UNK?NOWN", "NØNE", "0000", "1.234", "31-12-26"]


@pytest.mark.parametrize(("cell", "cause"), REFUSED.items())
def test_what_is_no_plate_is_refused_with_its_cause(cell: str, cause: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        check_plate_cell(cell)
    assert str(caught.value) == cause


@pytest.mark.parametrize("cell", TAKEN)
def test_what_may_be_a_plate_is_taken(cell: str) -> None:
    check_plate_cell(cell)


@pytest.mark.parametrize("cell", [cell for cell in REFUSED if "\n" not in cell])
@pytest.mark.parametrize(
    ("name", "which", "head", "column"),
    [
        ("x.csv", "hotlist", "plate\n", "plate"),
        ("x.jsonl", "hotlist", "", "plate"),
        ("x.txt", "plates", "", "plate"),
        ("x.csv", "ncic", "LIC,NIC,MKE\n", "lic"),
        ("x.jsonl", "ncic", "", "LIC"),
    ],
)
def test_every_kind_of_file_refuses_it(
    cell: str, name: str, which: str, head: str, column: str
) -> None:
    cells = f'"{cell}"' + (",V1,EV" if which == "ncic" else "")
    if name == "x.jsonl":
        cells = json.dumps({column: cell} | ({"NIC": "V1", "MKE": "EV"} if which == "ncic" else {}))
    rows = rows_of(f"{head}{cells}\n", name, columns=profile.load(which))
    if which == "ncic" and REFUSED[cell] == NONE:
        assert rows == []  # a record without a plate, which this profile leaves out
        return
    (bad,) = rows
    assert isinstance(bad, BadRow)
    assert bad.problem == f"{column} {cell!r}: {REFUSED[cell]}".replace("LIC", bad.problem[:3])
    assert bad.entry_id is None


@pytest.mark.parametrize(
    ("letter", "is_sure"),
    [
        *((letter, True) for letter in "ÄÖÜäöüÉ"),
        # Windows-1250 has Č, Ć and Ř there, code page 850 and Mac Roman have ü, ä, ö below 0xA0.
        *((letter, False) for letter in "ÈÆØÅÑŽšŸ†„”"),
    ],
)
def test_a_guessed_encoding_makes_no_other_plate(letter: str, is_sure: bool) -> None:
    for name, data in (
        ("x.csv", f"plate\n{letter}K123AB\n"),
        ("x.jsonl", f'{{"plate":"{letter}K123AB"}}\n'),
        ("x.txt", f"{letter}K123AB\n"),
    ):
        used = profile.load("plates" if name == "x.txt" else "hotlist")
        (row,) = rows_of(data.encode("cp1252"), name, columns=used, encoding=GUESSED)
        if is_sure:
            # In our own columns a plate must be in normal form.
            assert isinstance(row, Row) or letter.islower()
        else:
            assert isinstance(row, BadRow)
            assert f"and {letter} may be another letter" in row.problem
        (row,) = rows_of(data, name, columns=used, encoding=UTF_8)
        assert isinstance(row, Row) or "normal form" in row.problem


def test_a_lone_byte_in_a_utf_8_file_is_one_rows_problem() -> None:
    data = "plate,agency\nMÜ1234,a\nAB12CD,b\n".encode() + b"M\xdc9999,c\n"
    first, second, bad = rows_of(data)
    assert isinstance(first, Row)
    assert (first.entry.plate, isinstance(second, Row)) == ("MÜ1234", True)
    assert bad == BadRow(4, "plate 'M\\udcdc9999': not UTF-8 text")
