"""The headers of one record in record format v2, read in Python from the batch's buffer.

The compiled walk skips them. This module reads them for a few records only: reads that have made a
match, and control records whose operator is not known yet. The walk has checked by then that they
are well formed, but no length is trusted here either.

Format: KIP-82, https://kafka.apache.org/documentation/#recordheader: the number of headers, and for
each the length of its name, the name, the length of its value (negative if none) and the value.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine import limits

#: Names and values in their order; a value may be None.
Headers = Sequence[tuple[str, bytes | memoryview | None]]


def headers_at(
    data: memoryview, *, first: int | None = None
) -> list[tuple[str, memoryview | None]] | None:
    """Return the headers at the beginning of `data`, and ignore what follows them.

    Values are views of `data`, valid as long as it is. Returns None if the headers are malformed,
    or more than `limits.READ_HEADERS`. With `first`, reads only so many, whatever their number.
    """
    count, at = _varint(data, 0)
    if at < 0 or count < 0 or (first is None and count > limits.READ_HEADERS):
        return None
    found: list[tuple[str, memoryview | None]] = []
    for _ in range(count if first is None else min(count, first)):
        length, at = _varint(data, at)
        if at < 0 or not 0 <= length <= len(data) - at:
            return None
        try:
            name = str(data[at : at + length], "utf-8")
        except UnicodeDecodeError:
            return None
        at += length
        length, at = _varint(data, at)
        if at < 0 or length > len(data) - at:
            return None
        found.append((name, None if length < 0 else data[at : at + length]))
        at += max(length, 0)
    return found


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return a zigzag varint and the position after it, or -1 if it does not end in time."""
    if at < len(data) and (byte := data[at]) < 0x80:  # nearly all have one byte
        return (byte >> 1) ^ -(byte & 1), at + 1
    raw = 0
    for shift in range(0, 63, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (raw >> 1) ^ -(raw & 1), at
    return 0, -1
