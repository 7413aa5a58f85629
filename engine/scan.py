"""The scanner: from a batch's decompressed records to the few that may match.

`scan` walks Kafka's record format v2 in a compiled loop that frees the GIL. It makes no Python
object of a record; for the records that the rest of the engine must look at, it writes one row
of numbers into an array. Rows are a superset of what matches and never an answer: `match`
verifies each one.

Every length is read from the wire and none is believed: each step checks that it stays inside
the record and the record inside the batch. A batch that is not, to the last byte, what the
format says is reported as MALFORMED and left to aiokafka's own parser. So what the scanner
accepts, that parser accepts, with the same records (a property test holds this).

Format: KIP-98, https://kafka.apache.org/documentation/#recordbatch. Numba checks no bounds by
itself; an edit here that leaves one out reads foreign memory.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np
import numpy.typing as npt

from engine import limits
from engine.hashing import U64, hash_at
from engine.raw import RawBatch
from engine.table import EMPTY, HashTable

Bytes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]

#: Columns of a row.
KIND, SLOT, OFFSET, TIMESTAMP_MS, KEY_AT, KEY_LENGTH, VALUE_AT, VALUE_LENGTH = range(8)
COLUMNS: Final = 8

#: What a row is about (column KIND).
HIT: Final = 1  #: the key's hash is in the table; SLOT is the slot found there
ODD_KEY: Final = 2  #: no key, or one that is not plainly in normal form
SAMPLED: Final = 3  #: no hit, and drawn for a check of key against value
NO_VALUE: Final = 4
LARGE_VALUE: Final = 5

#: The smallest record: a length and six fields of a byte each.
_SMALLEST_RECORD = 7
_MALFORMED: Final = -1
#: As `append_ms`: the topic keeps the producers' timestamps. No wire value is safe from being
#: taken for this one but the least.
_NO_APPEND_TIME: Final = -(1 << 63)

_MIX = U64(0x9E3779B97F4A7C15)
_PLATE_CHARACTERS = limits.PLATE_CHARACTERS


@numba.njit(inline="always")
def _varint(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """A zigzag varint and the position after it; position -1 where it does not end in time."""
    raw = U64(0)
    shift = 0
    while at < end and shift < 63:
        byte = data[at]
        at += 1
        raw |= U64(byte & 0x7F) << U64(shift)
        if byte < 0x80:
            # An int64, which plain Python and the checker may take for an int.
            return np.int64(raw >> U64(1)) ^ -np.int64(raw & U64(1)), at  # type: ignore[return-value]
        shift += 7
    return 0, -1


@numba.njit(inline="always")
def _headers_end(data: Bytes, at: int, end: int) -> int:
    """The position after a record's headers; -1 where they are not well formed."""
    count, at = _varint(data, at, end)
    if at < 0 or count < 0:
        return -1
    while count > 0:
        length, at = _varint(data, at, end)
        if at < 0 or length < 0 or length > end - at:
            return -1
        for position in range(at, at + length):
            if data[position] >= 0x80:
                return -1  # may not be UTF-8; the parser decides
        at += length
        length, at = _varint(data, at, end)
        if at < 0 or length > end - at:
            return -1
        at += max(length, 0)
        count -= 1
    return at


@numba.njit(inline="always")
def _is_plain(data: Bytes, at: int, length: int) -> bool:
    """Whether a key is in normal form beyond doubt: 1 to 16 of A-Z and 0-9."""
    if length < 1 or length > _PLATE_CHARACTERS:
        return False
    for position in range(at, at + length):
        byte = data[position]
        if not (48 <= byte <= 57 or 65 <= byte <= 90):
            return False
    return True


@numba.njit(cache=True)
def _is_sampled(offset: int, every: int) -> bool:
    """Whether a read is drawn: one in `every`, spread over the offsets."""
    return every > 0 and (((U64(offset) * _MIX) >> U64(32)) * U64(every)) >> U64(32) == 0


def is_sampled(offset: int, every: int) -> bool:
    """As the scanner draws reads for a check of key against value; for all other readers."""
    return bool(_is_sampled(offset, every))


@numba.njit(nogil=True, cache=True)
def _scan(
    data: Bytes,
    record_count: int,
    base_offset: int,
    from_offset: int,
    first_ms: int,
    append_ms: int,
    hashes: npt.NDArray[np.uint64],
    slots: npt.NDArray[np.int32],
    sample_every: int,
    rows: Rows,
) -> tuple[int, int]:
    """Fill `rows`; returns (rows filled or _MALFORMED, records seen from `from_offset` on)."""
    end = len(data)
    mask = U64(len(hashes) - 1)
    filled = 0
    seen = 0
    at = 0
    for _ in range(record_count):
        length, at = _varint(data, at, end)
        if at < 0 or length < _SMALLEST_RECORD - 1 or length > end - at:
            return _MALFORMED, 0
        stop = at + length
        if data[at] != 0:
            return _MALFORMED, 0  # no record attributes are defined
        delta_ms, at = _varint(data, at + 1, stop)
        if at < 0:
            return _MALFORMED, 0
        delta, at = _varint(data, at, stop)
        if at < 0 or delta < -0x80000000 or delta > 0x7FFFFFFF:
            return _MALFORMED, 0
        key_length, at = _varint(data, at, stop)
        if at < 0 or key_length > stop - at:
            return _MALFORMED, 0
        key_at = at
        at += max(key_length, 0)
        value_length, at = _varint(data, at, stop)
        if at < 0 or value_length > stop - at:
            return _MALFORMED, 0
        value_at = at
        at = _headers_end(data, at + max(value_length, 0), stop)
        if at != stop:
            return _MALFORMED, 0

        offset = base_offset + delta
        if offset < from_offset:
            continue
        seen += 1
        kind = 0
        slot = -1
        if value_length < 0:
            kind = NO_VALUE
        elif value_length > limits.READ_VALUE_BYTES:
            kind = LARGE_VALUE
        elif not _is_plain(data, key_at, key_length):
            kind = ODD_KEY
        else:
            wanted = hash_at(data, key_at, key_length)
            if wanted == EMPTY:
                wanted = U64(1)
            position = wanted & mask
            while hashes[position] != EMPTY:
                if hashes[position] == wanted:
                    slot = slots[position]
                    if slot >= 0:
                        kind = HIT
                    break
                position = (position + U64(1)) & mask
            if kind == 0 and _is_sampled(offset, sample_every):
                kind = SAMPLED
        if kind != 0:
            row = rows[filled]
            row[KIND] = kind
            row[SLOT] = slot
            row[OFFSET] = offset
            row[TIMESTAMP_MS] = first_ms + delta_ms if append_ms == _NO_APPEND_TIME else append_ms
            row[KEY_AT] = key_at
            row[KEY_LENGTH] = key_length
            row[VALUE_AT] = value_at
            row[VALUE_LENGTH] = value_length
            filled += 1
    if at != end:
        return _MALFORMED, 0
    return filled, seen


class Malformed(Exception):
    """The records are not what format v2 says."""


class Scanner:
    """Scans one batch after the other; serves one thread, because its rows are used again.

    `sample_every` draws one in so many of the reads that are no hit, by their offset, for a
    check of the key against the value; 0 draws none.
    """

    def __init__(self, sample_every: int) -> None:
        self._sample_every = sample_every
        self._rows: Rows = np.empty((1024, COLUMNS), dtype=np.int64)
        # Compiles what is not in numba's cache: now, and not when the first read waits.
        empty, table = np.empty(0, dtype=np.uint8), HashTable()
        _scan(empty, 0, 0, 0, 0, 0, table.hashes, table.slots, sample_every, self._rows)

    def scan(self, batch: RawBatch, data: Bytes, table: HashTable) -> tuple[Rows, int]:
        """The rows of a batch's records, and how many records were seen.

        `data` are the batch's records, decompressed. Positions in the rows are into `data`.
        The rows are valid until the next call. Raises Malformed.
        """
        # The count comes from the wire; what cannot fit in the data is not believed.
        if not 0 <= batch.record_count <= len(data) // _SMALLEST_RECORD:
            raise Malformed
        if len(self._rows) < batch.record_count:
            self._rows = np.empty((batch.record_count, COLUMNS), dtype=np.int64)
        filled, seen = _scan(
            data,
            batch.record_count,
            batch.base_offset,
            batch.from_offset,
            batch.first_ms,
            _NO_APPEND_TIME if batch.append_ms is None else batch.append_ms,
            table.hashes,
            table.slots,
            self._sample_every,
            self._rows,
        )
        if filled == _MALFORMED:
            raise Malformed
        return self._rows[:filled], seen
