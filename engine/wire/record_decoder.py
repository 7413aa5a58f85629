"""Kafka's record format v2, walked in compiled code: a row of numbers for each record.

Lengths come from the wire and none is trusted: each step checks that it stays inside the record,
and that the record stays inside the batch. A batch that does not follow the format to the last byte
is MALFORMED.

Format: KIP-98, https://kafka.apache.org/documentation/#recordbatch. Numba does not check bounds; a
missing check here reads foreign memory. `matching.scanner` and `batch_reader` call it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from engine import limits
from engine.arrays import Bytes
from engine.compiled import compiled, inlined
from engine.documents.fields import ALTERNATES_HEADER
from engine.plates.plate_hash import U64, is_plain, table_hash
from engine.wire.record_batch import RawBatch

Rows = npt.NDArray[np.int64]

#: The columns of a row.
KIND, SLOT, OFFSET, TIMESTAMP_MS, KEY_AT, KEY_LENGTH, VALUE_AT, VALUE_LENGTH = range(8)
COLUMNS: Final = 8

#: The kinds of rows (column KIND).
HIT: Final = 1  #: the key's hash is in the table; SLOT is the slot found there
ODD_KEY: Final = 2  #: no key, or one that is not plainly in normal form
SAMPLED: Final = 3  #: no hit, and in the sample of key checks
NO_VALUE: Final = 4
LARGE_VALUE: Final = 5
#: An entry may be like the key, or one of the alternates that the header names may be listed, or
#: the header is not plain.
LIKE: Final = 6

#: If alternates count, SLOT is the span of the header's value (`alternates_span`), or one of these:
#: no such header or one without a value; several such headers.
NO_ALTERNATES: Final = -1
ALTERNATES_TWICE: Final = -2

#: Kinds within a scan only, below all others: a plain key that has not been looked up yet; a plain
#: key with alternates.
PLAIN: Final = 0
ASKING: Final = -1

#: The fields of each batch's header that a scan needs.
_COUNT, _BASE, _FROM, _FIRST_MS, _APPEND_MS = range(5)
Header = npt.NDArray[np.int64]
Headers = npt.NDArray[np.int64]

#: The smallest record: a length and six fields of a byte each.
SMALLEST_RECORD = 7
MALFORMED: Final = -1
#: A value of `append_ms`: the topic keeps the producers' timestamps. It is the smallest number,
#: because any other may come from the wire.
NO_APPEND_TIME: Final = -(1 << 63)
#: No records. Read-only as all decompressed data is, so that the loops are compiled for that alone.
NO_DATA: Final[Bytes] = np.frombuffer(b"\0", dtype=np.uint8)[:0]

_HEADER_NAME: Final[Bytes] = np.frombuffer(ALTERNATES_HEADER.encode(), dtype=np.uint8)
_HEADER_LENGTH: Final = len(ALTERNATES_HEADER)
#: The factor that combines a position and a length in one number; a scan's data is shorter.
SPAN: Final = 1 << 31


@inlined
def _varint(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Return a zigzag varint and the position after it, or -1 if it does not end in time."""
    raw = U64(0)
    shift = 0
    while at < end and shift < 63:
        byte = data[at]
        at += 1
        raw |= U64(byte & 0x7F) << U64(shift)
        if byte < 0x80:
            # An int64, which plain Python and the type checker may treat as an int.
            return np.int64(raw >> U64(1)) ^ -np.int64(raw & U64(1)), at  # type: ignore[return-value]
        shift += 7
    return 0, -1


@inlined
def _headers(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Return the position after a record's headers, and its alternates as in SLOT.

    The position is -1 if the headers are malformed.
    """
    alternates = NO_ALTERNATES
    named = 0
    count, at = _varint(data, at, end)
    if at < 0 or count < 0:
        return -1, alternates
    while count > 0:
        length, at = _varint(data, at, end)
        if at < 0 or length < 0 or length > end - at:
            return -1, alternates
        differing = 0 if length == _HEADER_LENGTH else 1
        for position in range(at, at + length):
            if data[position] >= 0x80:
                return -1, alternates  # may not be UTF-8; the parser decides
            if differing == 0 and data[position] != _HEADER_NAME[position - at]:
                differing = 1
        at += length
        length, at = _varint(data, at, end)
        if at < 0 or length > end - at:
            return -1, alternates
        if differing == 0:
            named += 1
            if length > 0:
                alternates = at * SPAN + length
        at += max(length, 0)
        count -= 1
    if named > 1:
        alternates = ALTERNATES_TWICE
    return at, alternates


@compiled
def walk(data: Bytes, at: int, header: Header, rows: Rows, filled: int) -> tuple[int, int]:
    """Write a row for each record of one batch; return the position after it and the row count.

    The position is MALFORMED if the batch is. Rows of plain keys get KIND PLAIN, and their hash as
    SLOT, because the table is probed later, for many records in a row. If there are alternates,
    KIND is ASKING and SLOT is for them.
    """
    end = len(data)
    base_offset, from_offset = header[_BASE], header[_FROM]
    first_ms, append_ms = header[_FIRST_MS], header[_APPEND_MS]
    for _ in range(header[_COUNT]):
        length, at = _varint(data, at, end)
        if at < 0 or length < SMALLEST_RECORD - 1 or length > end - at:
            return MALFORMED, filled
        stop = at + length
        if data[at] != 0:
            return MALFORMED, filled  # no record attributes are defined
        delta_ms, at = _varint(data, at + 1, stop)
        if at < 0:
            return MALFORMED, filled
        delta, at = _varint(data, at, stop)
        if at < 0 or delta < -0x80000000 or delta > 0x7FFFFFFF:
            return MALFORMED, filled
        key_length, at = _varint(data, at, stop)
        if at < 0 or key_length > stop - at:
            return MALFORMED, filled
        key_at = at
        at += max(key_length, 0)
        value_length, at = _varint(data, at, stop)
        if at < 0 or value_length > stop - at:
            return MALFORMED, filled
        value_at = at
        at, alternates = _headers(data, at + max(value_length, 0), stop)
        if at != stop:
            return MALFORMED, filled

        offset = base_offset + delta
        if offset < from_offset:
            continue
        rows[filled, SLOT] = alternates
        if value_length < 0:
            rows[filled, KIND] = NO_VALUE
        elif value_length > limits.READ_VALUE_BYTES:
            rows[filled, KIND] = LARGE_VALUE
        elif is_plain(data, key_at, key_length):
            if alternates == NO_ALTERNATES:
                rows[filled, KIND] = PLAIN
                rows[filled, SLOT] = np.int64(table_hash(data, key_at, key_length))
            else:
                rows[filled, KIND] = ASKING
        else:
            rows[filled, KIND] = ODD_KEY
        rows[filled, OFFSET] = offset
        rows[filled, TIMESTAMP_MS] = (
            first_ms + delta_ms if append_ms == NO_APPEND_TIME else append_ms
        )
        rows[filled, KEY_AT] = key_at
        rows[filled, KEY_LENGTH] = key_length
        rows[filled, VALUE_AT] = value_at
        rows[filled, VALUE_LENGTH] = value_length
        filled += 1
    return at, filled


def alternates_span(slot: int) -> tuple[int, int]:
    """Return the position and length of a read's alternates header, from the SLOT of its row."""
    return slot // SPAN, slot % SPAN


class Malformed(Exception):
    """The error for records that do not follow format v2."""


class TooManyRecords(Exception):
    """The error for more records than `limits.BATCH_RECORDS`."""


def headers_of(batches: Sequence[RawBatch], data_bytes: int) -> Headers:
    """Return what a walk needs of each batch's header.

    `data_bytes` is the length of all their records. Raises Malformed and TooManyRecords.
    """
    # Counts come from the wire, so they are checked against the size of the data.
    count = sum(batch.record_count for batch in batches)
    if count > data_bytes // SMALLEST_RECORD or any(b.record_count < 0 for b in batches):
        raise Malformed
    if count > limits.BATCH_RECORDS:
        raise TooManyRecords
    assert data_bytes < SPAN, "a position and a length must fit in one number"
    headers: Headers = np.array(
        [
            (
                batch.record_count,
                batch.base_offset,
                batch.from_offset,
                batch.first_ms,
                NO_APPEND_TIME if batch.append_ms is None else batch.append_ms,
            )
            for batch in batches
        ],
        dtype=np.int64,
    ).reshape(-1, 5)
    return headers
