"""Many records at once: where their parts lie in arrays, and batches that compiled code writes.

The batches are those of `record_encoder`, byte for byte, which writes records that are objects. No
object is made of a record here, and the GIL is not held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.arrays import Bytes
from engine.compiled import compiled, inlined, inner
from engine.wire.java_partitioner import murmur2_hash
from engine.wire.record_encoder import BATCH_HEADER_BYTES, BESIDE_BYTES, NO_HEADERS, WritableRecord

#: The columns of a record: where its key is, its value and its headers, and where each ends. What
#: begins at NONE is not there: such a record is a tombstone, or has no headers.
KEY_AT, KEY_END, VALUE_AT, VALUE_END, HEADERS_AT, HEADERS_END, COLUMNS = range(7)
NONE: Final = -1

Spans = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int64]

_1, _7, _MORE = np.uint64(1), np.uint64(7), np.uint64(0x80)


class RecordColumns(NamedTuple):
    """Records, a row of `spans` for each. `data` has the keys and the values, and `headers` the
    headers as they are written: their number, and they. No array is read-only: compiled code is
    compiled again for those."""

    data: Bytes
    headers: Bytes
    spans: Spans

    def record(self, number: int) -> tuple[bytes, Any, bytes]:
        """Return one record's key, its value, None if it is a tombstone, and its headers."""
        key_at, key_end, value_at, value_end, headers_at, headers_end = self.spans[number].tolist()
        return (
            self.data[key_at:key_end].tobytes(),
            None if value_at == NONE else self.data[value_at:value_end].tobytes(),
            NO_HEADERS if headers_at == NONE else self.headers[headers_at:headers_end].tobytes(),
        )


class SomeRecords(NamedTuple):
    """Some of these records, by their numbers, in this order."""

    columns: RecordColumns
    numbers: Numbers


def columns_of(records: Sequence[WritableRecord]) -> RecordColumns:
    """Return records that are objects as columns."""
    texts = [
        text for record in records for text in (record.key, record.value or b"", record.headers)
    ]
    ends = np.cumsum(np.array([len(text) for text in texts], dtype=np.int64)).reshape(-1, 3)
    spans = np.empty((len(records), COLUMNS), dtype=np.int64)
    spans[:, KEY_END::2] = ends
    spans[:, VALUE_AT::2] = ends[:, :2]
    spans[:1, KEY_AT] = 0
    spans[1:, KEY_AT] = ends[:-1, 2]
    spans[[record.value is None for record in records], VALUE_AT] = NONE
    data = np.frombuffer(bytearray().join(texts), dtype=np.uint8)
    return RecordColumns(data, data, spans)


def all_of(columns: RecordColumns) -> SomeRecords:
    """Return all of the records."""
    return SomeRecords(columns, np.arange(len(columns.spans), dtype=np.int64))


def by_key(some: SomeRecords, partitions: int) -> list[Numbers]:
    """Return for each of so many partitions the records whose keys Java's producer puts there."""
    columns, numbers = some
    if partitions == 1:
        return [numbers]
    chosen = np.empty(len(numbers), dtype=np.uint32)
    _hash_keys(columns.data, columns.spans, numbers, chosen)
    chosen %= np.uint32(partitions)
    return [numbers[chosen == partition] for partition in range(partitions)]


def encode_columns(
    parts: Iterable[SomeRecords], limit_bytes: int
) -> Iterator[tuple[int, memoryview]]:
    """Yield what `encode_records` yields of the same records. It is valid until the next one is
    asked for."""
    out = np.empty(0, dtype=np.uint8)
    count, size_bytes = 0, 0
    for (data, headers, spans), numbers in parts:
        begin = 0
        while begin < len(numbers):
            if not count:
                # A batch takes a first record of any size.
                first = spans[numbers[begin]]
                room_bytes = int((first[KEY_END::2] - first[KEY_AT::2]).sum()) + 2 * BESIDE_BYTES
                if len(out) < max(room_bytes, limit_bytes):
                    out = np.empty(max(room_bytes, limit_bytes), dtype=np.uint8)
            end, size_bytes = _encode(
                *(data, headers, spans, numbers, begin),
                *(count, size_bytes, limit_bytes - BATCH_HEADER_BYTES, out),
            )
            count += end - begin
            begin = end
            if begin < len(numbers):
                yield count, out[:size_bytes].data
                count, size_bytes = 0, 0
    if count:
        yield count, out[:size_bytes].data


@compiled
def _hash_keys(data: Bytes, spans: Spans, numbers: Numbers, hashes: npt.NDArray[np.uint32]) -> None:
    for place in range(len(numbers)):
        span = spans[numbers[place]]
        hashes[place] = murmur2_hash(data, span[KEY_AT], span[KEY_END] - span[KEY_AT])


@inlined
def _length_bytes(length: int) -> int:
    """Return how long a length is, written."""
    left, count = length >> 6, 1
    while left != 0:
        left >>= 7
        count += 1
    return count


@inlined
def put_length(out: Bytes, to: np.uint64, length: int) -> np.uint64:
    """Write a number that is not negative; return the position after it."""
    left = np.uint64(length) << _1
    while left >= _MORE:
        out[to] = np.uint8(left | _MORE)
        left >>= _7
        to += _1
    out[to] = np.uint8(left)
    return to + _1


@inner
def put_text(texts: Bytes, begin: int, length: int, out: Bytes, to: np.uint64) -> np.uint64:
    """Write a text; return the position after it."""
    at, count = np.uint64(begin), np.uint64(length)  # see `documents.written_numbers`
    for index in range(count):
        out[to + index] = texts[at + index]
    return to + count


@compiled
def _encode(
    data: Bytes,
    headers: Bytes,
    spans: Spans,
    numbers: Numbers,
    begin: int,
    count: int,
    size_bytes: int,
    limit_bytes: int,
    out: Bytes,
) -> tuple[int, int]:
    """Write records from a place in `numbers` on behind `count` others of a batch, as many as it
    takes; return the place after them, and the size of all. There is room for a first record."""
    to = np.uint64(size_bytes)
    for place in range(begin, len(numbers)):
        span = spans[numbers[place]]
        key_bytes = span[KEY_END] - span[KEY_AT]
        value_bytes = span[VALUE_END] - span[VALUE_AT] if span[VALUE_AT] >= 0 else 0
        headers_bytes = span[HEADERS_END] - span[HEADERS_AT] if span[HEADERS_AT] >= 0 else 1
        body_bytes = key_bytes + value_bytes + headers_bytes
        if count != 0 and np.int64(to) + body_bytes + BESIDE_BYTES > limit_bytes:
            return place, np.int64(to)  # type: ignore[return-value]
        value_length = _length_bytes(value_bytes) if span[VALUE_AT] >= 0 else 1
        body_bytes += 2 + _length_bytes(count) + _length_bytes(key_bytes) + value_length
        to = put_length(out, to, body_bytes)
        out[to] = 0  # no attributes
        out[to + _1] = 0  # as old as the batch
        to = put_length(out, to + _1 + _1, count)
        to = put_length(out, to, key_bytes)
        to = put_text(data, span[KEY_AT], key_bytes, out, to)
        if span[VALUE_AT] >= 0:
            to = put_length(out, to, value_bytes)
            to = put_text(data, span[VALUE_AT], value_bytes, out, to)
        else:
            out[to] = 1  # the length of what is not there
            to += _1
        if span[HEADERS_AT] >= 0:
            to = put_text(headers, span[HEADERS_AT], headers_bytes, out, to)
        else:
            out[to] = 0  # how many there are
            to += _1
        count += 1
    return len(numbers), np.int64(to)  # type: ignore[return-value]


def _compile() -> None:
    """Compile what is not in numba's cache now, and not when the first match waits."""
    nothing = columns_of(())
    by_key(all_of(nothing), 2)
    _encode(*nothing, np.zeros(0, dtype=np.int64), 0, 0, 0, 0, np.zeros(0, dtype=np.uint8))


_compile()
