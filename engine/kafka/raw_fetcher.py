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
import types
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.errors import UnsupportedCodecError
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords

from engine.wire.batch_splitter import Batch, BatchSplitter, Damaged, end_of_batch
from engine.wire.record_batch import BatchError, RawBatch, Record


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


_SEAM: Final = "_proc_fetch_request"
#: By partition, the producers with a transaction that was delivered in part, but not its end.
OpenTransactions = dict[TopicPartition, set[int]]


def deliver_batches(
    consumer: AIOKafkaConsumer,
    wants: Callable[[str], bool],
    hold: Callable[[bytes | memoryview], memoryview] = memoryview,
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
    method = getattr(aiokafka_fetcher.Fetcher, _SEAM)
    if fetcher is None or not {"MemoryRecords", "PartitionRecords"} <= set(
        method.__code__.co_names
    ):
        raise RuntimeError("this version of aiokafka has another fetcher; pin aiokafka 0.14")
    damaged: Damaged = {}
    coverage: dict[TopicPartition, _Coverage] = {}

    def partition_records(
        tp: TopicPartition, records: _KeptRecords, aborted: Any, position: int, *rest: Any
    ) -> Any:
        if not wants(tp.topic):
            return aiokafka_fetcher.PartitionRecords(tp, records.parsed, aborted, position, *rest)
        batches = BatchSplitter(hold(records.data), damaged, tp, position)
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
    setattr(fetcher, _SEAM, types.MethodType(rebound, fetcher))
    return open_transactions


def delivers_batches(consumer: AIOKafkaConsumer) -> bool:
    """Return whether `deliver_batches` was called for a consumer."""
    return _SEAM in vars(consumer._fetcher or object)


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
    """Replaces `MemoryRecords`: the same, and it keeps the bytes, which may be a view."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = data

    @property
    def parsed(self) -> Any:
        return MemoryRecords(bytes(self.data))

    def has_next(self) -> bool:
        """Whether the first batch is whole, by its own length."""
        return end_of_batch(self.data) <= len(self.data)

    def size_in_bytes(self) -> int:
        return len(self.data)


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

    def _contains_abort_marker(self, next_batch: Batch) -> bool:
        """Called for every control batch; each one ends its producer's transaction."""
        assert next_batch.producer_id is not None
        self.open_producers.discard(next_batch.producer_id)
        parsed: Any = DefaultRecordBatch(next_batch.data)
        aborts: bool = super()._contains_abort_marker(iter(parsed))
        return aborts

    def _consumer_record(self, tp: TopicPartition, batch: Batch) -> RawBatch:
        covered_from = self.coverage.covered_from
        self.coverage.covered_from = batch.next_offset
        if batch.is_transactional and self._isolation_level == aiokafka_fetcher.READ_COMMITTED:
            assert batch.producer_id is not None
            self.open_producers.add(batch.producer_id)
        return batch.raw(self.next_fetch_offset, covered_from)
