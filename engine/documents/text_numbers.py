"""Numbers for the different texts of a field of many entries, given by compiled code."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.arrays import Bytes
from engine.compiled import compiled, inner
from engine.documents.entry_scan import IS_PLAIN, Rows

Numbers = npt.NDArray[np.int32]


@compiled
def number_texts(
    data: Bytes, rows: Rows, column: int, numbers: Numbers, firsts: Numbers, heads: Numbers
) -> int:
    """Number the different texts of a field, among the rows that are plain; return how many.

    `column` is that of the text's position. `numbers` gets a number for each row, -1 if the field
    is absent, and `firsts` by number the first row with this text. `heads` is room for a hash
    table: a power of two, more than there are rows.
    """
    mask = len(heads) - 1
    for place in range(len(heads)):
        heads[place] = -1
    count = 0
    last = -1
    for index in range(len(rows)):
        at, length = rows[index, column], rows[index, column + 1]
        numbers[index] = -1
        if length < 0 or rows[index, IS_PLAIN] == 0:
            continue
        if last >= 0 and _is_same(data, at, length, rows, last, column):
            numbers[index] = numbers[last]
            continue
        hashed = np.uint64(length)
        for place in range(at, at + length):
            hashed = (hashed ^ np.uint64(data[place])) * np.uint64(0x9E3779B185EBCA87)
            hashed ^= hashed >> np.uint64(32)
        place = np.int64(hashed & np.uint64(mask))  # type: ignore[assignment]
        while heads[place] >= 0 and not _is_same(
            data, at, length, rows, firsts[heads[place]], column
        ):
            place = (place + 1) & mask
        if heads[place] < 0:
            heads[place] = count
            firsts[count] = index
            count += 1
        numbers[index] = heads[place]
        last = index
    return count


@inner
def _is_same(data: Bytes, at: int, length: int, rows: Rows, other: int, column: int) -> bool:
    if rows[other, column + 1] != length:
        return False
    other_at = rows[other, column]
    for index in range(length):  # noqa: SIM110 - compiled
        if data[at + index] != data[other_at + index]:
            return False
    return True
