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

from collections.abc import Sequence
from typing import Final

import numba
import numpy as np
import numpy.typing as npt

from engine import limits
from engine.hashing import U64, hash_at
from engine.raw import RawBatch
from engine.table import EMPTY, HashTable, is_marked

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

#: Only within a scan: a plain key that has not been looked up yet.
_PLAIN: Final = 0

#: What a scan needs of each batch's header.
_COUNT, _BASE, _FROM, _FIRST_MS, _APPEND_MS = range(5)
Header = npt.NDArray[np.int64]
Headers = npt.NDArray[np.int64]

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
def _walk(data: Bytes, at: int, header: Header, rows: Rows, filled: int) -> tuple[int, int]:
    """Write a row for each record of one batch; the position after it and the rows by then.

    Position _MALFORMED where it is not well formed. Rows of plain keys get KIND _PLAIN and
    their hash for a SLOT: the table is probed later, for many records in a row.
    """
    end = len(data)
    base_offset, from_offset = header[_BASE], header[_FROM]
    first_ms, append_ms = header[_FIRST_MS], header[_APPEND_MS]
    for _ in range(header[_COUNT]):
        length, at = _varint(data, at, end)
        if at < 0 or length < _SMALLEST_RECORD - 1 or length > end - at:
            return _MALFORMED, filled
        stop = at + length
        if data[at] != 0:
            return _MALFORMED, filled  # no record attributes are defined
        delta_ms, at = _varint(data, at + 1, stop)
        if at < 0:
            return _MALFORMED, filled
        delta, at = _varint(data, at, stop)
        if at < 0 or delta < -0x80000000 or delta > 0x7FFFFFFF:
            return _MALFORMED, filled
        key_length, at = _varint(data, at, stop)
        if at < 0 or key_length > stop - at:
            return _MALFORMED, filled
        key_at = at
        at += max(key_length, 0)
        value_length, at = _varint(data, at, stop)
        if at < 0 or value_length > stop - at:
            return _MALFORMED, filled
        value_at = at
        at = _headers_end(data, at + max(value_length, 0), stop)
        if at != stop:
            return _MALFORMED, filled

        offset = base_offset + delta
        if offset < from_offset:
            continue
        if value_length < 0:
            rows[filled, KIND] = NO_VALUE
        elif value_length > limits.READ_VALUE_BYTES:
            rows[filled, KIND] = LARGE_VALUE
        elif _is_plain(data, key_at, key_length):
            rows[filled, KIND] = _PLAIN
            wanted = hash_at(data, key_at, key_length)
            rows[filled, SLOT] = np.int64(U64(1) if wanted == EMPTY else wanted)
        else:
            rows[filled, KIND] = ODD_KEY
        rows[filled, OFFSET] = offset
        rows[filled, TIMESTAMP_MS] = (
            first_ms + delta_ms if append_ms == _NO_APPEND_TIME else append_ms
        )
        rows[filled, KEY_AT] = key_at
        rows[filled, KEY_LENGTH] = key_length
        rows[filled, VALUE_AT] = value_at
        rows[filled, VALUE_LENGTH] = value_length
        filled += 1
    return at, filled


@numba.njit(inline="always")
def _probe(hashes: npt.NDArray[np.uint64], slots: npt.NDArray[np.int32], wanted: np.uint64) -> int:
    """The slot filed under a hash, or -1."""
    mask = U64(len(hashes) - 1)
    position = wanted & mask
    while hashes[position] != EMPTY:
        if hashes[position] == wanted:
            return np.int64(slots[position])  # type: ignore[return-value]
        position = (position + U64(1)) & mask
    return -1


@numba.njit(nogil=True, cache=True)
def _scan(
    data: Bytes,
    headers: Headers,
    hashes: npt.NDArray[np.uint64],
    slots: npt.NDArray[np.int32],
    marks: npt.NDArray[np.uint64],
    sample_every: int,
    rows: Rows,
) -> tuple[int, int]:
    """Fill `rows`; returns (rows filled or _MALFORMED, records seen from `from_offset` on).

    One batch after the other: walked, then probed. Probing many records in a row keeps several
    misses of the cache under way at once, which a probe between two records would not.
    """
    at = 0
    kept = 0
    seen = 0
    for header in headers:
        at, filled = _walk(data, at, header, rows, kept)
        if at < 0:
            return _MALFORMED, 0
        seen += filled - kept
        for index in range(kept, filled):
            slot = -1
            if rows[index, KIND] == _PLAIN:
                wanted = U64(rows[index, SLOT])
                if is_marked(marks, wanted):
                    slot = _probe(hashes, slots, wanted)
                if slot >= 0:
                    rows[index, KIND] = HIT
                elif _is_sampled(rows[index, OFFSET], sample_every):
                    rows[index, KIND] = SAMPLED
                else:
                    continue
            rows[index, SLOT] = slot
            for column in range(COLUMNS):
                rows[kept, column] = rows[index, column]
            kept += 1
    if at != len(data):
        return _MALFORMED, 0
    return kept, seen


class Malformed(Exception):
    """The records are not what format v2 says."""


class Scanner:
    """Scans batches; serves one thread, because its rows are used again.

    `sample_every` draws one in so many of the reads that are no hit, by their offset, for a
    check of the key against the value; 0 draws none.
    """

    def __init__(self, sample_every: int) -> None:
        self._sample_every = sample_every
        self._rows: Rows = np.empty((1024, COLUMNS), dtype=np.int64)
        # Compiles what is not in numba's cache: now, and not when the first read waits.
        self._scan(np.empty(0, dtype=np.uint8), np.empty((0, 5), dtype=np.int64), HashTable())

    def scan(self, batches: Sequence[RawBatch], data: Bytes, table: HashTable) -> tuple[Rows, int]:
        """The rows of the batches' records, and how many records were seen.

        `data` are the records of all the batches, decompressed, in a row. Positions in the
        rows are into `data`. The rows are valid until the next call. Raises Malformed. Of
        several batches, only all together can be known to be well formed: where the count of
        one is too high by as many as the next one's is too low, a record may pass for one of
        the neighbour's (brokers refuse such batches).
        """
        # Counts come from the wire; what cannot fit in the data is not believed.
        count = sum(batch.record_count for batch in batches)
        if count > len(data) // _SMALLEST_RECORD or any(b.record_count < 0 for b in batches):
            raise Malformed
        if len(self._rows) < count:
            self._rows = np.empty((count, COLUMNS), dtype=np.int64)
        headers: Headers = np.array(
            [
                (
                    batch.record_count,
                    batch.base_offset,
                    batch.from_offset,
                    batch.first_ms,
                    _NO_APPEND_TIME if batch.append_ms is None else batch.append_ms,
                )
                for batch in batches
            ],
            dtype=np.int64,
        ).reshape(-1, 5)
        return self._scan(data, headers, table)

    def forget(self) -> None:
        """Wipe the rows: they held the hashes of keys, and a hash can be told a plate by trying.

        The rows of the last scan are not valid any more from here on.
        """
        self._rows.fill(0)

    def _scan(self, data: Bytes, headers: Headers, table: HashTable) -> tuple[Rows, int]:
        filled, seen = _scan(
            data, headers, table.hashes, table.slots, table.marks, self._sample_every, self._rows
        )
        if filled == _MALFORMED:
            raise Malformed
        return self._rows[:filled], seen
