"""The text of a file: its encoding, UTF-8 or Windows-1252, and its lines.

A file is UTF-8 unless the user says otherwise, or all of the file does. It counts as Windows-1252
if some of its bytes are not UTF-8, no letter beyond ASCII is, and Windows-1252 defines all bytes.
Spreadsheets in Western Europe and America save such files as `CSV`. A file that has letters in
UTF-8, and other bytes too, is a UTF-8 file with damaged rows. To find out, the file is read once,
in bounded pieces. Even then a plate has only letters that other encodings have too: see
`plate_cells`.

Bytes that the encoding does not define come through as surrogates, so that they are a problem of
one row and not of the whole file.

`numbered_lines` is for `.jsonl` files of reads and entries. Memory is bounded by the longest line
allowed; a longer line is skipped without being held. Lines are bytes: the caller decides what they
mean and whether they are UTF-8.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from engine.errors import HotlistError
from engine.list_files.file_kinds import HEAD_BYTES, FileKind, kind_of

#: The encodings that a user may choose.
ENCODINGS: Final = ("auto", "utf-8", "windows-1252")

_PIECE_BYTES: Final = 1024 * 1024
_ASK: Final = "ask for the list as CSV, .xlsx or .jsonl"
#: What makes a list of a file of another kind.
_HINTS: Final = {
    FileKind.GZIP: "unpack it first",
    FileKind.PDF: _ASK,
    FileKind.WORKBOOK: "save it as .xlsx, or its sheet as CSV",
    FileKind.MARKUP: _ASK,
    FileKind.UTF_16: "save it as UTF-8",
    FileKind.JSON: "name it .jsonl, with one entry on each line",
    FileKind.JSON_ARRAY: "put each entry on a line of its own",
    FileKind.TABLE: "name it .csv",
}


class EntryFileError(HotlistError):
    """The file as a whole cannot be read as entries."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """`name` for people, `codec` for Python; `guessed` if the user did not choose it."""

    name: str
    codec: str
    guessed: bool = False

    @property
    def problem(self) -> str:
        """What is wrong with a row whose bytes are not text in this encoding."""
        return f"not {self.name} text"


UTF_8: Final = Encoding("UTF-8", "utf-8-sig")
WINDOWS_1252: Final = Encoding("Windows-1252", "cp1252")


def encoding_of(file: BinaryIO, wanted: str, where: str) -> Encoding:
    """Return the encoding of an open file, which is left at its beginning.

    `wanted` is one of `ENCODINGS`, and `where` the file's path: a workbook has an encoding of its
    own. Raises EntryFileError for a file of another kind, such as UTF-16 text, which some programs
    write and call Unicode, or a workbook under another name.
    """
    file.seek(0)
    if where.lower().endswith(".xlsx"):
        return UTF_8
    head = file.read(HEAD_BYTES)
    kind = kind_of(head, ".jsonl" if where.lower().endswith(".jsonl") else ".csv")
    if kind is not None:
        raise EntryFileError(f"is {kind.value}", where=where, hint=_HINTS[kind])
    head = head[: len(codecs.BOM_UTF8)]
    if wanted == "windows-1252":
        found = WINDOWS_1252
    elif wanted == "utf-8" or head == codecs.BOM_UTF8 or not _is_windows_1252(file):
        found = UTF_8
    else:
        found = Encoding(WINDOWS_1252.name, WINDOWS_1252.codec, guessed=True)
    file.seek(0)
    return found


#: Text decoded as UTF-8 with surrogates for all other bytes: letters beyond ASCII, bytes that are
#: not UTF-8, and bytes that are not defined in Windows-1252 either.
_LETTER: Final = re.compile("[^\x00-\x7f\udc80-\udcff]")
_NOT_UTF_8: Final = re.compile("[\udc80-\udcff]")
_UNDEFINED: Final = re.compile("[\udc81\udc8d\udc8f\udc90\udc9d]")


def _is_windows_1252(file: BinaryIO) -> bool:
    file.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    found = False
    while True:
        piece = file.read(_PIECE_BYTES)
        text = decoder.decode(piece, final=not piece)
        if not text.isascii():
            if _LETTER.search(text) or _UNDEFINED.search(text):
                return False
            found = found or _NOT_UTF_8.search(text) is not None
        if not piece:
            return found


def numbered_lines(file: BinaryIO, limit_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield number (from 1) and content of each line that is not blank, without its line end.

    None stands for a line of more than `limit_bytes`. A byte order mark at the start is dropped.
    Lines end in LF or CR LF.
    """
    number = 0
    # Room for the line end, and on the first line for the byte order mark.
    while line := file.readline(limit_bytes + (2 if number else 2 + len(codecs.BOM_UTF8))):
        number += 1
        content = line.removesuffix(b"\n").removesuffix(b"\r")
        if number == 1:
            content = content.removeprefix(codecs.BOM_UTF8)
        if len(content) > limit_bytes:
            while line and not line.endswith(b"\n"):
                line = file.readline(limit_bytes)
            yield number, None
        elif content and not content.isspace():
            yield number, content
