"""Refuses the cells of a plate column that hold no plate.

Spreadsheets and databases leave such cells behind: `1.00E+05` and `1-Mar` for plates that look
like numbers and dates, `#REF!`, and `UNKNOWN` if there was no plate. In normal form most of them
would pass as plates. A cell is refused only if it is certainly no plate: `1E05` and `1-MAR` may be
plates. A vehicle may have a plate that reads NONE: `hotlist entries add` takes every plate, because
a person has typed it.

Pure.
"""

from __future__ import annotations

import re
from typing import Final

# A plate never has a `+`, and no one writes a plate with a decimal point before its E.
_NUMBER: Final = re.compile(
    r"[+-]?[0-9]+(?:[.,][0-9]+)?E\+[0-9]+|[+-]?[0-9]+[.,][0-9]+E-?[0-9]+|[0-9]+[.,]0+",
    re.ASCII | re.IGNORECASE,
)
_DAY: Final = "(?:0?[1-9]|[12][0-9]|3[01])"
_MONTH: Final = "(?:0?[1-9]|1[0-2])"
# As spreadsheets write a month: one capital. With four digits of a year, any usual order.
_NAMES: Final = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_YEAR: Final = "(?:19|20)[0-9]{2}"
_DATE: Final = re.compile(
    rf"{_DAY}-{_NAMES}(?:-(?:[0-9]{{2}}|{_YEAR}))?|{_NAMES}-[0-9]{{2}}"
    rf"|(?:{_YEAR}(?P<a>[-/.]){_MONTH}(?P=a){_DAY}|{_DAY}(?P<b>[-/.]){_MONTH}(?P=b){_YEAR}"
    rf"|{_MONTH}(?P<c>[-/.]){_DAY}(?P=c){_YEAR})(?:[ T][0-9]{{1,2}}:[0-9]{{2}}(?::[0-9]{{2}})?)?",
    re.ASCII,
)
_ERROR: Final = re.compile(r"#[A-Z/0-9_]+[!?]?|#N/A", re.ASCII | re.IGNORECASE)
_NO_PLATE: Final = re.compile(
    "UNK|UNKN|UNKNOWN|NONE|NA|NOTAVAILABLE|NOTAPPLICABLE|NULL|NIL|NAN|NOPLATES?|NOTAGS?|MISSING"
    "|TBD|TBA|TRUE|FALSE|X{4,}",
    re.ASCII,
)
#: No plate has these between its characters; a colon, some systems write.
_DELIMITER: Final = re.compile("[;|,]")
_SIGNS: Final = re.compile(r"[^A-Z0-9?]", re.ASCII)
#: Control characters, which no text of an entry may hold.
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
#: Letters at which the Windows code pages for Europe agree, as they do with ISO 8859-1 and -2.
_SURE: Final = frozenset(
    letter
    for letter in map(chr, range(0xC0, 0x100))
    if letter.encode("cp1252").decode("cp1250") == letter and letter.isalpha()
)


#: What is wrong with a formula in any column.
FORMULA: Final = "is a formula; paste it as a value, in a column of text"


class NoPlateError(ValueError):
    """The cell says that there is no plate."""


def check_plate_cell(cell: str, *, guessed: bool = False) -> None:
    """Raise ValueError with the cause if the cell is no plate.

    `guessed` is set if the file does not tell its encoding.
    """
    if CONTROL.search(cell):
        # Normalizing would drop it, and with a line break make one plate of two.
        raise ValueError("must not hold control characters")
    cell = cell.strip()
    if _NUMBER.fullmatch(cell):
        raise ValueError("a spreadsheet made a number of it; format the column as text")
    if _DATE.fullmatch(cell):
        raise ValueError("a spreadsheet made a date of it; format the column as text")
    if _ERROR.fullmatch(cell):
        raise ValueError("is the error of a formula in a spreadsheet")
    if _NO_PLATE.fullmatch(_SIGNS.sub("", cell.upper())) and cell.isascii():
        raise NoPlateError("stands for no plate; hotlist entries add lists a plate that reads so")
    if _DELIMITER.search(cell):
        raise ValueError("holds a delimiter: does the profile have the right one?")
    if not cell.isascii():
        _check_letters(cell, guessed=guessed)


def _check_letters(cell: str, *, guessed: bool) -> None:
    if "\ufffd" in cell:
        raise ValueError("a character was lost when the file was converted")
    if not guessed:
        return
    for letter in cell:
        if not letter.isascii() and letter not in _SURE:
            raise ValueError(
                f"the file does not say its encoding, and {letter} may be another letter; save it "
                "as UTF-8, or set --encoding"
            )
