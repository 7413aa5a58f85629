"""Splits one partition's bytes of a fetch into record batches, and checks each one.

This module reads the header of a batch with its own struct. It does not read the records.

Formats: https://kafka.apache.org/documentation/#recordbatch, and the message formats 0 and 1 of
brokers before 0.11. From these it reads only the offset, the length and the checksum.

Pure.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Hashable, Iterator

from crc32c import crc32c

from engine.limits import CORRUPT_BATCH_FETCHES
from engine.wire.record_batch import V2_HEADER_BYTES, RawBatch

#: Offset (8) and length (4), which the length does not include.
_LENGTH_AT = 8
_LOG_OVERHEAD = 12
_MAGIC_AT = 16
#: The positions of a version 2 batch's checksum and of the first byte that it covers.
_V2_CRC_AT = 17
_V2_CRC_FROM = 21
#: More records than a broker accepts in one batch. A damaged header may hold any number.
_PLAUSIBLE_RECORDS = 1 << 20
#: The smallest batch of any magic: a version 0 message without key and value.
_SMALLEST_BATCH = 26
#: Offset, length, leader_epoch, magic, checksum, attributes, last offset delta, first and largest
#: timestamp, producer_id, producer_epoch, first sequence number, record count.
_V2_HEADER = struct.Struct(">qiibIhiqqqhii")
assert _V2_HEADER.size == V2_HEADER_BYTES

_CODEC = 0x07
_LOG_APPEND_TIME = 0x08
_TRANSACTIONAL = 0x10
_CONTROL = 0x20

#: By partition and position, how often a damaged batch was fetched.
Damaged = dict[tuple[Hashable, int], int]


class Batch:
    """One record batch of a partition.

    Iterating over it yields the whole batch as one record, as the seam in aiokafka needs it.
    """

    __slots__ = (
        "append_ms",
        "base_offset",
        "codec",
        "data",
        "first_ms",
        "intact",
        "is_control_batch",
        "is_transactional",
        "magic",
        "next_offset",
        "offset",
        "producer_id",
        "record_count",
    )

    def __init__(
        self, data: memoryview, base_offset: int, next_offset: int, magic: int = -1
    ) -> None:
        self.data = data
        self.base_offset = base_offset
        self.next_offset = next_offset
        self.offset = next_offset - 1
        self.magic = magic
        self.intact = magic >= 0
        self.codec = self.record_count = self.first_ms = -1
        self.append_ms: int | None = None
        self.producer_id: int | None = None
        self.is_control_batch = self.is_transactional = False

    @classmethod
    def read(cls, data: memoryview, position: int) -> Batch:
        """Return a batch with a correct checksum, with the fields of its header.

        `position` is the offset from which it was fetched.
        """
        magic = data[_MAGIC_AT]
        if magic < 2:
            # A message that wraps others has the offset of the last one, and not of the first.
            last_offset = int.from_bytes(data[:8], "big", signed=True)
            return cls(data, position, last_offset + 1, magic)
        (base_offset, _, _, _, _, attributes, last_delta, first_ms, max_ms, producer_id, _, _,
         count) = _V2_HEADER.unpack_from(data)  # fmt: skip
        batch = cls(data, base_offset, base_offset + last_delta + 1, magic)
        batch.codec = attributes & _CODEC
        batch.record_count = count
        batch.first_ms = first_ms
        if attributes & _LOG_APPEND_TIME:
            batch.append_ms = max_ms
        batch.producer_id = producer_id
        batch.is_transactional = bool(attributes & _TRANSACTIONAL)
        batch.is_control_batch = bool(attributes & _CONTROL)
        return batch

    def raw(self, from_offset: int, covered_from: int) -> RawBatch:
        """Return the batch in the scanner's form."""
        return RawBatch(
            data=self.data,
            magic=self.magic,
            codec=self.codec,
            record_count=self.record_count,
            base_offset=self.base_offset,
            next_offset=self.next_offset,
            from_offset=from_offset,
            first_ms=self.first_ms,
            append_ms=self.append_ms,
            intact=self.intact,
            is_transactional=self.is_transactional,
            covered_from=covered_from,
        )

    def validate_crc(self) -> bool:
        """Always true: `BatchSplitter` has checked it."""
        return True

    def __iter__(self) -> Iterator[Batch]:
        yield self


class BatchSplitter:
    """A splitter of a partition's bytes into batches. It replaces aiokafka's `MemoryRecords`.

    A wrong checksum ends the data before that batch, so aiokafka fetches it again: the network may
    have caused the damage. After CORRUPT_BATCH_FETCHES such fetches the batch is delivered with
    `intact` False. It is then rejected and does not stop the stream. (aiokafka would raise, and
    lose the good batches before the bad one.)

    `damaged` counts these fetches by `partition`, for all partitions. `position` is the offset from
    which the data was fetched. After a damaged batch the position always advances, and never past a
    batch that is whole.
    """

    def __init__(
        self, data: bytes | memoryview, damaged: Damaged, partition: Hashable, position: int
    ) -> None:
        self._data = memoryview(data)
        self._at = 0
        self._damaged = damaged
        self._partition = partition
        self._position = position
        self._next: Batch | None = None
        self._advance()

    def has_next(self) -> bool:
        """Return whether a whole batch is left."""
        return self._next is not None

    def next_batch(self) -> Batch | None:
        """Return the next batch, or None if no whole one is left."""
        batch = self._next
        self._advance()
        return batch

    def _advance(self) -> None:
        self._next = None
        at = self._at
        end = end_of_batch(self._data, at)
        if end > len(self._data):
            return  # a response may end inside a batch; the next fetch returns it whole
        key = (self._partition, self._position)
        if _is_intact(self._data[at:end]):
            self._damaged.pop(key, None)
            self._next = Batch.read(self._data[at:end], self._position)
        else:
            self._damaged[key] = self._damaged.get(key, 0) + 1
            if self._damaged[key] < CORRUPT_BATCH_FETCHES:
                return
            del self._damaged[key]
            if end - at < _SMALLEST_BATCH:
                end = len(self._data)  # without a length, the next batch cannot be found
            # The header of a damaged batch may be damaged too.
            next_offset = self._offset_after_damage(at, end)
            self._next = Batch(self._data[at:end], self._position, next_offset)
        self._at = end
        self._position = max(self._position, self._next.next_offset)

    def _offset_after_damage(self, at: int, end: int) -> int:
        """Return the offset at which to continue after a damaged batch.

        That is the offset of the next whole batch. Without one, it is the end that the header
        gives, if two of its fields agree; else one offset further, so that the stream advances.
        """
        position, data = self._position, self._data
        following = end_of_batch(data, end)
        if following <= len(data) and _is_intact(data[end:following]):
            batch = Batch.read(data[end:following], position + 1)
            if position < batch.base_offset:
                return batch.base_offset
        if end - at >= V2_HEADER_BYTES and data[at + _MAGIC_AT] >= 2:
            header = _V2_HEADER.unpack_from(data, at)
            base_offset, last_delta, count = header[0], header[6], header[12]
            next_offset: int = base_offset + last_delta + 1
            plausible = last_delta + 1 == count and 0 < count <= _PLAUSIBLE_RECORDS
            if plausible and base_offset <= position < next_offset:
                return next_offset
        return position + 1


def end_of_batch(data: bytes | memoryview, at: int = 0) -> int:
    """Return the end of a batch by its own length; past all data if it is cut off."""
    if len(data) - at < _LOG_OVERHEAD:
        return len(data) + 1
    length = int.from_bytes(data[at + _LENGTH_AT : at + _LOG_OVERHEAD], "big", signed=True)
    return at + _LOG_OVERHEAD + length


def _is_intact(batch: memoryview) -> bool:
    """Return whether a batch's checksum is correct."""
    if len(batch) < _SMALLEST_BATCH:
        return False
    if batch[_MAGIC_AT] >= 2:
        if len(batch) < V2_HEADER_BYTES:
            return False
        stored = int.from_bytes(batch[_V2_CRC_AT:_V2_CRC_FROM], "big")
        # aiokafka's own checksum processes 2 GB a second and took a sixth of all CPU time. The GIL
        # is kept, because taking it again would last longer than the checksum.
        checksum: int = crc32c(batch[_V2_CRC_FROM:], gil_release_mode=0)
        return checksum == stored
    return zlib.crc32(batch[_MAGIC_AT:]) == int.from_bytes(batch[_LOG_OVERHEAD:_MAGIC_AT], "big")
