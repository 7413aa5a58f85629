"""The beginning of a file that no profile describes: its delimiter and its rows of cells.

Pure.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from engine.list_files.column_names import probable_field
from engine.list_files.headers import separator_line
from engine.list_files.profile import DELIMITERS
from engine.list_files.text import Encoding
from engine.list_files.xlsx_files import sample_of_workbook

_SAMPLE_BYTES: Final = 256 * 1024
_SAMPLE_ROWS: Final = 500


class ListSample(NamedTuple):
    """The beginning of a file as rows of cells, and what the file says of them by itself."""

    rows: list[list[str]]
    lines: list[int]
    delimiter: str | None = None
    names: list[str] | None = None


def sample_of(file: BinaryIO, path: Path, encoding: Encoding) -> ListSample:
    """Return the beginning of an open file, which is left at its beginning."""
    ending = path.suffix.lower()
    file.seek(0)
    if ending == ".xlsx":
        sheet = sample_of_workbook(file, path, _SAMPLE_ROWS)
        width = max((len(cells) for _, cells in sheet), default=0)
        padded = [[*cells, *[""] * (width - len(cells))] for _, cells in sheet]
        return ListSample(padded, [line for line, _ in sheet])
    data = file.read(_SAMPLE_BYTES)
    file.seek(0)
    text = data.decode(encoding.codec, errors="replace")
    lines = io.StringIO(text, newline="").readlines()
    if len(data) == _SAMPLE_BYTES:
        lines = lines[:-1]  # the last one is cut off
    if ending == ".jsonl":
        return _objects(lines)
    while lines and not lines[-1].strip(" \r\n\x1a\0"):
        lines.pop()
    named = separator_line(lines[0]) if lines else None
    delimiter = named or max(DELIMITERS.values(), key=lambda each: _rank(lines, each))
    rows = _cells(lines[1:] if named else lines, delimiter)
    return ListSample([cells for _, cells in rows], [line for line, _ in rows], delimiter)


def _objects(lines: Sequence[str]) -> ListSample:
    names: dict[str, None] = {}
    found = []
    for line in lines[:_SAMPLE_ROWS]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
            names.update(dict.fromkeys(value))
    rows = [
        ["" if (cell := one.get(name)) is None else str(cell) for name in names] for one in found
    ]
    return ListSample(rows, list(range(1, len(rows) + 1)), None, list(names))


def _cells(lines: Sequence[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """Return the rows that have text, each with the line on which it ends."""
    reader = csv.reader(io.StringIO("".join(lines), newline=""), delimiter=delimiter)
    rows: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            if any(map(str.strip, row)):
                rows.append((reader.line_num, row))
            if len(rows) >= _SAMPLE_ROWS:
                break
    except csv.Error:
        pass
    return rows


def _rank(lines: Sequence[str], delimiter: str) -> tuple[bool, float, int]:
    """How well a delimiter splits the lines: into cells at all, evenly, and into many."""
    counts = Counter(len(cells) for _, cells in _cells(lines[:100], delimiter))
    if not counts:
        return False, 0.0, 0
    width, times = counts.most_common(1)[0]
    return width > 1, times / counts.total(), width


def is_header_row(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row names columns, by its names or by its want of digits."""
    first = rows[0]
    if any(probable_field(cell) for cell in first if cell.strip()):
        return True
    return (
        len(rows) > 1
        and not any(any(map(str.isdigit, cell)) for cell in first)
        and any(any(map(str.isdigit, cell)) for cell in rows[1])
    )
