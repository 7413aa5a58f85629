"""A worker's producer: it sends records in whole batches, by partition.

A call for each record would cost more than finding the match.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from aiokafka.errors import KafkaError, KafkaTimeoutError, NodeNotReadyError

from engine import limits
from engine.delivery.batch import BuiltBatch, batches
from engine.delivery.records import ProducerRecord, WrittenRecords
from engine.in_parts import PartsList, parts_of
from engine.kafka.cluster import Cluster
from engine.tasks import retrieve
from engine.wire.java_partitioner import murmur2_partition, murmur2_partitions

#: Records by topic and partition, in their order.
ByPartition = Mapping[tuple[str, int], Sequence[ProducerRecord]]


def make_producer(cluster: Cluster, **options: Any) -> Any:
    """Make a worker's producer; `options` are further options of aiokafka.

    A producer with a transactional id looks for its coordinators until it finds them: aiokafka's
    would end for good if it loses the connection meanwhile, or if a coordinator is loading.

    One that another worker fences fails the batches that it is about to send again, and aiokafka
    then takes each of them from its pending ones twice; see `_Pending`.
    """
    producer = cluster.producer(
        max_batch_size=limits.SINK_BATCH_BYTES,
        max_request_size=2 * limits.SINK_BATCH_BYTES,
        **options,
    )
    producer._message_accumulator._pending_batches = _Pending()
    if "transactional_id" in options:
        client = producer.client
        client.coordinator_lookup = _waited_out(client.coordinator_lookup)
    return producer


class _Pending(set[Any]):
    """Batches in flight. One that is not among them, because it has failed, may be removed again.

    With aiokafka's own set that is a KeyError in a task or a callback, and a traceback in the log.
    """

    def remove(self, batch: Any) -> None:
        self.discard(batch)


def _waited_out(lookup: Callable[..., Awaitable[int]]) -> Callable[..., Awaitable[int]]:
    """Wrap a client's lookup: it fails for a passing reason only with an error that aiokafka waits
    out."""

    async def wrapped(*args: Any) -> int:
        try:
            return await lookup(*args)
        except KafkaError as error:
            if error.retriable:
                raise NodeNotReadyError from error
            raise

    return wrapped


async def partition_of(producer: Any, topic: str, key: bytes) -> int:
    """The partition of a topic that the records of a key go to."""
    partitions: list[int] = sorted(await producer.partitions_for(topic))
    return partitions[murmur2_partition(key, len(partitions))]


async def by_partition(
    producer: Any, records: Sequence[ProducerRecord]
) -> dict[Any, Sequence[ProducerRecord]]:
    """Return records by topic and by the partition of their keys."""
    found: dict[tuple[str, int], PartsList[ProducerRecord]] = {}
    for part in parts_of(records):
        for topic, run in _by_topic(part):
            partitions = sorted(await producer.partitions_for(topic))
            for partition, some in zip(partitions, _by_key(run, len(partitions)), strict=True):
                if some:
                    found.setdefault((topic, partition), PartsList()).add(some)
    return {**found}


def _by_topic(
    records: Sequence[ProducerRecord],
) -> Iterator[tuple[str, Sequence[ProducerRecord]]]:
    if isinstance(records, WrittenRecords):
        yield records.topic, records
        return
    for topic, run in groupby(records, attrgetter("topic")):
        yield topic, [*run]


def _by_key(
    records: Sequence[ProducerRecord], partitions: int
) -> Iterable[Sequence[ProducerRecord]]:
    """Return for each of so many partitions the records whose keys belong there."""
    if isinstance(records, WrittenRecords):
        return records.by_partition(partitions)
    placed: list[list[ProducerRecord]] = [[] for _ in range(partitions)]
    chosen = murmur2_partitions([record.key for record in records], partitions)
    for record, number in zip(records, chosen, strict=True):
        placed[number].append(record)
    return placed


async def send(
    producer: Any, records: ByPartition, acknowledged: Callable[[object], None] | None = None
) -> dict[tuple[str, int], list[range]]:
    """Produce records in whole batches, all at once; return when all are acknowledged.

    Calls `acknowledged` for each batch. Returns the offsets of each batch.
    """
    sent = []
    for place, of_partition in records.items():
        for batch in batches_for(producer, of_partition):
            acknowledgement = await send_batch(producer, batch, *place)
            if acknowledged is not None:
                acknowledgement.add_done_callback(acknowledged)
            sent.append((place, batch, acknowledgement))
    await asyncio.gather(*(acknowledgement for *_, acknowledgement in sent))
    offsets: dict[tuple[str, int], list[range]] = {place: [] for place in records}
    for place, batch, acknowledgement in sent:
        offsets[place].append(offsets_of(batch, acknowledgement.result()))
    return offsets


def offsets_of(batch: BuiltBatch, acknowledged: Any) -> range:
    """Return the offsets of a batch that is acknowledged."""
    first = int(acknowledged.offset)
    return range(first, first + batch.record_count())


async def send_batch(
    producer: Any, batch: BuiltBatch, topic: str, partition: int
) -> asyncio.Future[Any]:
    """Pass a batch to the producer as soon as it has room; return the acknowledgement.

    Cancelling the acknowledgement does not cancel the batch: aiokafka fails for good if it has to
    send a cancelled batch again.
    """
    while True:
        try:
            found = await producer.send_batch(batch, topic, partition=partition)
            found.add_done_callback(retrieve)
            shielded: asyncio.Future[Any] = asyncio.shield(found)
            return shielded
        except KafkaTimeoutError:
            # The batch before it still waits. aiokafka's own time limit is not used, because it
            # counts each wait several times.
            continue


def batches_for(producer: Any, records: Sequence[ProducerRecord]) -> Iterator[BuiltBatch]:
    """Yield batches of the records that this producer can send."""
    return batches(records, is_transactional=producer._txn_manager.transactional_id is not None)
