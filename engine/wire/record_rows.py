"""Records of fetched batches as rows over their bytes: an object is made of a record if asked for.

Whoever loads a list of millions reads the rows (`record_decoder` has their columns), and takes the
records that it cannot read so one by one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from engine import limits
from engine.arrays import Bytes
from engine.wire.headers import headers_at
from engine.wire.record_batch import Headers, Record
from engine.wire.record_decoder import (
    KEY_AT,
    KEY_LENGTH,
    OFFSET,
    TIMESTAMP_MS,
    VALUE_AT,
    VALUE_LENGTH,
    Rows,
)


class RecordRows:
    """Some records of one partition, in order: `rows` over `data`, valid until the next ones.

    Records from the offset `headers_from` on have their headers, at most CONTROL_HEADERS each.
    """

    def __init__(self, data: Bytes, rows: Rows, headers_from: int) -> None:
        data.setflags(write=False)  # as decompressed data is; see `Decompressor`
        self.data: Final = data
        self.rows: Final = rows
        self._headers_from: Final = headers_from

    def __len__(self) -> int:
        return len(self.rows)

    def headers_of(self, place: int) -> Headers:
        """Return the headers of one record."""
        row = self.rows[place]
        at = int(row[VALUE_AT]) + max(int(row[VALUE_LENGTH]), 0)
        return () if row[OFFSET] < self._headers_from else _headers(self.data.data[at:])

    def records(self, places: Sequence[int] | None = None) -> Iterator[Record]:
        """Yield the records at some places, or all of them."""
        rows = self.rows if places is None else self.rows[list(places)]
        view = self.data.data
        for row in as_tuples(rows):
            offset, key_at, key_length = row[OFFSET], row[KEY_AT], row[KEY_LENGTH]
            at, length = row[VALUE_AT], row[VALUE_LENGTH]
            yield Record(
                offset,
                row[TIMESTAMP_MS],
                None if key_length < 0 else bytes(view[key_at : key_at + key_length]),
                None if length < 0 else bytes(view[at : at + length]),
                () if offset < self._headers_from else _headers(view[at + max(length, 0) :]),
            )


def as_tuples(rows: Rows) -> Iterator[tuple[int, ...]]:
    """Yield rows as Python integers, each when it is asked for.

    A list of all of them would take ten times the memory of the rows, and twice the time.
    """
    return struct.iter_unpack(f"{rows.shape[1]}q", rows.data)


def joined(parts: Sequence[RecordRows], headers_from: int) -> RecordRows:
    """Return the records of several parts as one."""
    if len(parts) == 1:
        return parts[0]
    data = np.concatenate([part.data for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    begin = at = 0
    for part in parts:
        moved = rows[at : at + len(part)]
        moved[:, KEY_AT] += begin
        moved[:, VALUE_AT] += begin
        begin += len(part.data)
        at += len(part)
    return RecordRows(data, rows, headers_from)


def _headers(data: memoryview) -> Headers:
    """Return a record's headers; the walk has already checked that they are well formed."""
    headers = headers_at(data, first=limits.CONTROL_HEADERS)
    assert headers is not None
    return tuple((name, None if value is None else bytes(value)) for name, value in headers)
