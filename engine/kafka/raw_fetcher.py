"""The seam in aiokafka: fetched record batches as they are, instead of one object for each record.

aiokafka turns a fetch response into Python objects in two steps, `MemoryRecords` (bytes to
batches) and `PartitionRecords` (batches to records, with checksums, aborted transactions and
control batches handled). For the topics that opt in, this module sits between the two, so that
aiokafka handles a whole batch as one record: every rule of `PartitionRecords` stays aiokafka's own
code, and nothing inside the batch is touched.

aiokafka has no public hook for this. The seam is the two names that
`Fetcher._proc_fetch_request` looks up; `deliver_batches` gives one fetcher a copy of that
method with other meanings for them. Nothing is patched for other consumers of the process.
`tests/kafka_package/test_raw_fetcher.py` is the contract with aiokafka and fails loudly if it
changes.

This is the only module that knows aiokafka's internals. It may not look into records.
"""

from __future__ import annotations

import copy
import struct
import types
import zlib
from collections.abc import Callable, Collection, Iterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.errors import UnsupportedCodecError
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from crc32c import crc32c

from engine.limits import CORRUPT_BATCH_FETCHES
from engine.wire.record_batch import V2_HEADER_BYTES, BatchError, RawBatch, Record

#: Offset (8), length (4): the bytes before those that the length counts.
_LOG_OVERHEAD = 12
_MAGIC_AT = 16
#: The checksum of a version 2 batch, and the first byte that it covers; it covers all after that.
_V2_CRC_AT = 17
_V2_CRC_FROM = 21
#: More records than a broker accepts in one batch: a damaged header may claim any number.
_PLAUSIBLE_RECORDS = 1 << 20
#: The smallest batch of any magic: aiokafka's own bound for a version 0 message.
_SMALLEST_BATCH = 26
_V2_HEADER = struct.Struct(">qiibIhiqqqhii")
assert _V2_HEADER.size == V2_HEADER_BYTES


def parse(batch: RawBatch) -> Iterator[Record]:
    """Yield the records of a batch by aiokafka's own parser, any magic and codec.

    Slow, and right: it parses the batches that the scanner hands back. Raises BatchError if even
    this parser fails, with the offset of the first record that it could not read.
    """
    next_offset = batch.first_offset
    try:
        parsed: Any = MemoryRecords(bytes(batch.data)).next_batch()
        for record in parsed:
            if record.offset < batch.from_offset:
                continue
            next_offset = record.offset + 1
            yield Record(
                record.offset,
                -1 if record.timestamp is None else record.timestamp,
                record.key,
                record.value,
                tuple(record.headers),
            )
    except UnsupportedCodecError as error:
        raise BatchError("unknown_codec", next_offset) from error
    except Exception as error:  # aiokafka's own, struct's, and each codec's types
        raise BatchError("corrupt_batch", next_offset) from error


#: By partition, the producers with a transaction that was delivered in part, but not its end.
OpenTransactions = dict[TopicPartition, set[int]]


def deliver_batches(
    consumer: AIOKafkaConsumer,
    wants: Callable[[str], bool],
    hold: Callable[[bytes], memoryview] = memoryview,
) -> OpenTransactions:
    """Make a started consumer's fetcher deliver `RawBatch` records for some topics.

    `wants` decides by a topic's name whether it opts in. The data of each fetch for such a topic's
    partition passes through `hold`, and its batches are parts of what that returns. From then on
    the consumer's `fetched_records` returns, for those topics, a list of `RawBatch`. Call it
    before the consumer subscribes to anything. Raises RuntimeError if this aiokafka has no such
    seam.

    Returns which partitions have a partly delivered transaction, kept current with the batches
    delivered if the consumer reads committed. If transactions overlap, the broker delivers the
    beginning of a committed one before its rest, because it stops at the first undecided
    transaction.
    """
    open_transactions: OpenTransactions = {}
    fetcher = consumer._fetcher
    method = aiokafka_fetcher.Fetcher._proc_fetch_request
    if fetcher is None or not {"MemoryRecords", "PartitionRecords"} <= set(
        method.__code__.co_names
    ):
        raise RuntimeError("this version of aiokafka has another fetcher; pin aiokafka 0.14")
    corrupt: dict[tuple[TopicPartition, int], int] = {}
    coverage: dict[TopicPartition, _Coverage] = {}

    def partition_records(
        tp: TopicPartition, records: _KeptRecords, aborted: Any, position: int, *rest: Any
    ) -> Any:
        if not wants(tp.topic):
            return aiokafka_fetcher.PartitionRecords(tp, records.parsed, aborted, position, *rest)
        batches = _Batches(hold(records.data), corrupt, tp, position)
        of_partition = _BatchesOfPartition(tp, batches, aborted, position, *rest)
        of_partition.open_producers = open_transactions.setdefault(tp, set())
        if tp not in coverage or coverage[tp].next_offset != position:
            coverage[tp] = _Coverage(position)  # the first fetch, or one after a seek
        of_partition.coverage = coverage[tp]
        return of_partition

    names = dict(aiokafka_fetcher.__dict__)
    names["MemoryRecords"] = _KeptRecords
    names["PartitionRecords"] = partition_records
    rebound = types.FunctionType(
        method.__code__, names, method.__name__, method.__defaults__, method.__closure__
    )
    fetcher._proc_fetch_request = types.MethodType(rebound, fetcher)
    return open_transactions


async def log_ends(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the offsets at which partitions end, including what is not committed yet.

    For a consumer that reads committed, `end_offsets` returns where the first open transaction
    begins.
    """
    fetcher = copy.copy(consumer._fetcher)
    fetcher._isolation_level = aiokafka_fetcher.READ_UNCOMMITTED
    ends: dict[TopicPartition, int] = await fetcher.end_offsets(
        partitions, consumer._request_timeout_ms
    )
    return ends


class _KeptRecords:
    """Replaces `MemoryRecords`: the same, and it keeps the bytes."""

    __slots__ = ("data", "has_next", "parsed", "size_in_bytes")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.parsed = MemoryRecords(data)
        self.has_next = self.parsed.has_next
        self.size_in_bytes = self.parsed.size_in_bytes


class _Batch:
    """Replaces one aiokafka batch: iterates as one record, which is the whole batch."""

    __slots__ = (
        "_parsed",
        "base_offset",
        "data",
        "intact",
        "is_control_batch",
        "is_transactional",
        "next_offset",
        "offset",
        "producer_id",
    )

    def __init__(self, data: memoryview, position: int) -> None:
        self.data = data
        self.intact = True
        if data[_MAGIC_AT] >= 2:
            parsed: Any = DefaultRecordBatch(data)
            self._parsed = parsed
            self.base_offset: int = parsed.base_offset
            self.next_offset: int = parsed.next_offset
            self.producer_id: int | None = parsed.producer_id
            self.is_control_batch: bool = parsed.is_control_batch
            self.is_transactional: bool = parsed.is_transactional
        else:
            # A message that wraps others has the offset of the last one, and of no other.
            self._parsed = None
            self.base_offset = position
            self.next_offset = int.from_bytes(data[:8], "big", signed=True) + 1
            self.producer_id = None
            self.is_control_batch = False
            self.is_transactional = False
        self.offset = self.next_offset - 1

    @classmethod
    def damaged(cls, data: memoryview, position: int, next_offset: int) -> _Batch:
        """Make a batch with a wrong checksum. Its header is then as doubtful as the rest."""
        batch = cls.__new__(cls)
        batch._parsed = None
        batch.data = data
        batch.intact = False
        batch.base_offset = position
        batch.next_offset = next_offset
        batch.producer_id = None
        batch.is_control_batch = False
        batch.is_transactional = False
        batch.offset = next_offset - 1
        return batch

    def validate_crc(self) -> bool:
        return True  # `_Batches` has checked it

    def __iter__(self) -> Iterator[_Batch]:
        yield self

    def __next__(self) -> Any:
        """Return a control batch's record, which says whether a transaction was aborted."""
        return next(iter(self._parsed))


class _Batches:
    """Replaces `MemoryRecords`: splits a partition's bytes into batches.

    A wrong checksum ends the data before that batch, which makes aiokafka fetch it again: the
    damage may have happened in transit. If the same batch is still wrong at the last attempt, it is
    delivered with `intact` False, so that it is rejected and does not stop the stream. (aiokafka
    would raise, and would lose the good batches before the bad one.)

    `position` is the offset from which the data was fetched. The position after a damaged batch is
    always higher, and never past a batch that is intact.
    """

    def __init__(
        self,
        data: bytes | memoryview,
        corrupt: dict[tuple[TopicPartition, int], int],
        tp: TopicPartition,
        position: int,
    ) -> None:
        self._data = memoryview(data)
        self._at = 0
        self._corrupt = corrupt
        self._tp = tp
        self._position = position
        self._next: _Batch | None = None
        self._advance()

    def has_next(self) -> bool:
        return self._next is not None

    def next_batch(self) -> _Batch | None:
        batch = self._next
        self._advance()
        return batch

    def _advance(self) -> None:
        self._next = None
        at = self._at
        end = self._end_of_batch(at)
        if end > len(self._data):
            return  # the broker cuts a response anywhere; the rest comes with the next fetch
        key = (self._tp, self._position)
        if _is_intact(self._data[at:end]):
            self._corrupt.pop(key, None)
            self._next = _Batch(self._data[at:end], self._position)
        else:
            self._corrupt[key] = self._corrupt.get(key, 0) + 1
            if self._corrupt[key] < CORRUPT_BATCH_FETCHES:
                return
            del self._corrupt[key]
            if end - at < _SMALLEST_BATCH:
                end = len(self._data)  # without a length, the next batch cannot be found
            self._next = _Batch.damaged(
                self._data[at:end], self._position, self._offset_after_damage(at, end)
            )
        self._at = end
        self._position = max(self._position, self._next.next_offset)

    def _end_of_batch(self, at: int) -> int:
        """Return where the batch ends by its own length; past all data if it is cut off."""
        if len(self._data) - at < _LOG_OVERHEAD:
            return len(self._data) + 1
        length = int.from_bytes(self._data[at + 8 : at + _LOG_OVERHEAD], "big", signed=True)
        return at + _LOG_OVERHEAD + length

    def _offset_after_damage(self, at: int, end: int) -> int:
        """Return where to continue: at the next intact batch; else where the header says, if two
        of its fields agree on it; else one offset further, so that the stream never stops."""
        position, data = self._position, self._data
        following = self._end_of_batch(end)
        if following <= len(data) and _is_intact(data[end:following]):
            batch = _Batch(data[end:following], position + 1)
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


def _is_intact(batch: memoryview) -> bool:
    """Return whether a batch's checksum is right."""
    if len(batch) < _SMALLEST_BATCH:
        return False
    if batch[_MAGIC_AT] >= 2:
        if len(batch) < V2_HEADER_BYTES:
            return False
        stored = int.from_bytes(batch[_V2_CRC_AT:_V2_CRC_FROM], "big")
        # Not aiokafka's own, which sums 2 GB a second: it took a sixth of all CPU time. And never
        # without the GIL: acquiring it again would take longer than the sum.
        checksum: int = crc32c(batch[_V2_CRC_FROM:], gil_release_mode=0)
        return checksum == stored
    return zlib.crc32(batch[_MAGIC_AT:]) == int.from_bytes(batch[_LOG_OVERHEAD:_MAGIC_AT], "big")


class _Coverage:
    """The end of the part of a partition's log that was delivered, or that aiokafka rightly
    skipped: from `covered_from` to `next_offset` nothing was delivered yet."""

    __slots__ = ("covered_from", "next_offset")

    def __init__(self, position: int) -> None:
        self.covered_from = self.next_offset = position


class _BatchesOfPartition(aiokafka_fetcher.PartitionRecords):  # type: ignore[misc]
    """aiokafka's iteration over a partition's batches, with whole batches as records."""

    def __init__(self, tp: Any, batches: Any, aborted: Any, position: int, *rest: Any) -> None:
        super().__init__(tp, batches, aborted, position, *rest)
        self.open_producers: set[int] = set()
        self.coverage = _Coverage(position)

    def __next__(self) -> Any:
        try:
            return super().__next__()
        finally:
            self.coverage.next_offset = self.next_fetch_offset

    def _contains_abort_marker(self, next_batch: _Batch) -> bool:
        """Override the check of a control batch, because every one ends a transaction."""
        assert next_batch.producer_id is not None
        self.open_producers.discard(next_batch.producer_id)
        aborts: bool = super()._contains_abort_marker(next_batch)
        return aborts

    def _consumer_record(self, tp: TopicPartition, batch: _Batch) -> RawBatch:
        data = batch.data
        magic = data[_MAGIC_AT] if batch.intact else -1
        covered_from = self.coverage.covered_from
        self.coverage.covered_from = batch.next_offset
        if magic < 2:
            return RawBatch(
                data=data,
                magic=magic,
                codec=-1,
                record_count=-1,
                base_offset=batch.base_offset,
                next_offset=batch.next_offset,
                from_offset=self.next_fetch_offset,
                first_ms=-1,
                append_ms=None,
                intact=batch.intact,
                covered_from=covered_from,
            )
        header = _V2_HEADER.unpack_from(data)
        attributes, first_ms, max_ms, count = header[5], header[7], header[8], header[12]
        if batch.is_transactional and self._isolation_level == aiokafka_fetcher.READ_COMMITTED:
            assert batch.producer_id is not None
            self.open_producers.add(batch.producer_id)
        return RawBatch(
            data=data,
            magic=magic,
            codec=attributes & 0x07,
            record_count=count,
            base_offset=batch.base_offset,
            next_offset=batch.next_offset,
            from_offset=self.next_fetch_offset,
            first_ms=first_ms,
            append_ms=max_ms if attributes & 0x08 else None,
            intact=batch.intact,
            is_transactional=batch.is_transactional,
            covered_from=covered_from,
        )
