"""What a file is, by its first bytes, if it is no file of rows.

It is found out before the encoding: a PDF or a packed file is otherwise taken for text in some
encoding, and reported as a wrong column or as an error of each of its lines.
"""

from __future__ import annotations

import codecs
import enum
import re
from typing import Final

#: What `kind_of` must be given, if the file has as many.
HEAD_BYTES: Final = 4096
#: What an old workbook begins with, or an encrypted one.
OLD_WORKBOOK: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


class FileKind(enum.Enum):
    """A kind of file, as a sentence has it: `is ...`."""

    GZIP = "compressed (gzip)"
    PDF = "a PDF"
    WORKBOOK = "an Excel workbook"
    MARKUP = "XML or a web page"
    UTF_16 = "UTF-16 text"
    JSON = "JSON"
    JSON_ARRAY = "a JSON array"
    TABLE = "a table"


_BEGINNINGS: Final = (
    (b"\x1f\x8b", FileKind.GZIP),
    (b"%PDF-", FileKind.PDF),
    (b"PK\x03\x04", FileKind.WORKBOOK),
    (OLD_WORKBOOK, FileKind.WORKBOOK),
    (codecs.BOM_UTF16_LE, FileKind.UTF_16),
    (codecs.BOM_UTF16_BE, FileKind.UTF_16),
)
_MARKUP: Final = re.compile(rb"<(\?xml|!DOCTYPE|html)\b", re.IGNORECASE)
_JSON: Final = re.compile(rb"\{\s*\"|\[\s*\{")
#: The first row of a table: words, with or without delimiters between them.
_TABLE: Final = re.compile(rb"[A-Za-z_][\w \"]*([,;\t|:][\w \"]*)*\r?(\n|\Z)")


def kind_of(head: bytes, ending: str) -> FileKind | None:
    """Return what a file is that is not what its ending says (`.csv` or `.jsonl`), else None."""
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if _MARKUP.match(text):
        return FileKind.MARKUP
    if ending == ".csv":
        return FileKind.JSON if _JSON.match(text) else None
    if text.startswith(b"["):
        return FileKind.JSON_ARRAY if _JSON.match(text) else None
    return FileKind.TABLE if b"{" not in text and _TABLE.match(text) else None
