"""Files of lines: numbered, one at a time, whatever is in them.

For `.jsonl` files of reads and entries. Memory is bounded by the longest line allowed; a
longer one is passed over without being held. Lines are bytes: what they mean, and whether
they are UTF-8, is for the caller.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO


def numbered_lines(file: BinaryIO, limit_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """Number (from 1) and content of each line that is not blank, without its line end.

    None stands for a line of more than `limit_bytes`. A byte order mark at the start is left
    out. Lines end in LF or CR LF.
    """
    number = 0
    # Room for the line end, and in the first line for the mark.
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
