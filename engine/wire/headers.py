"""The headers of one record, read in Python from where they stand: record format v2.

The compiled walk passes over them. They are read here for few records: reads that have made a
match, and control records whose author is not known yet. The walk has found them well formed by
then, and still no length is believed.

Format: KIP-82, https://kafka.apache.org/documentation/#recordheader: how many there are, and of
each the length of its name, its name, the length of its value (negative: none) and its value.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine import limits

#: As they come: a name, and a value or none.
Headers = Sequence[tuple[str, bytes | memoryview | None]]


def headers_at(
    data: memoryview, *, first: int | None = None
) -> list[tuple[str, memoryview | None]] | None:
    """The headers that begin where `data` does; what follows them is not looked at.

    Values are parts of `data`, and valid as long as that is. None if they are not well formed
    within `data`, or more than `limits.READ_HEADERS`. With `first`, only so many are looked at, and
    there may be more.
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
    """A zigzag varint and the position after it; position -1 where it does not end in time."""
    if at < len(data) and (byte := data[at]) < 0x80:  # as nearly all of them
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
