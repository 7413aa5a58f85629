"""Reads the suppression state that a group has left on Kafka, or what changed of it.

Committed records are read, and up to where the topic ends, not to where the first transaction is
open: that one may be of another partition of the reads, and what we look for may lie behind it. Its
owner ends it soon, or the broker does.

What is known of a partition already (`engine.delivery.known_changelog`) is not read again, unless
there is any doubt that the rest is all that is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from engine import limits
from engine.delivery.known_changelog import Incarnation, Known
from engine.delivery.suppression_changelog import KEY_DIGITS, place_of
from engine.errors import BrokerError
from engine.kafka.acl_probe import Topic, topics_as_shown
from engine.kafka.cluster import Cluster
from engine.kafka.raw_fetcher import deliver_batches, log_ends, parse
from engine.kafka.reader import between
from engine.kafka.until_answered import until_answered
from engine.wire.batch_reader import BatchReader
from engine.wire.record_batch import BatchError, RawBatch

log = logging.getLogger(__name__)

#: The latest state by the record's key, as JSON that is not decoded yet; None if there is none any
#: more, where what changed is asked for.
Written = dict[bytes, bytes | None]

Offsets = dict[TopicPartition, int]

_NOTHING: Final[Mapping[int, Known]] = MappingProxyType({})


class Left(NamedTuple):
    """The state that a partition of the reads has left, or what changed of it; the current end of
    its reads; and what is known of the changelog with it."""

    written: Written
    end_offset: int
    known: Known


class SuppressionReader:
    """Reads the states that a group has left of partitions of the reads, in whole batches.

    `records_read` is how many records it has read.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._group = cluster.group
        self._topic = cluster.topics.suppression
        self._reads = cluster.topics.detections
        self.records_read = 0
        self._consumer = cluster.reader(
            max_partition_fetch_bytes=limits.FETCH_PARTITION_BYTES,
            fetch_max_bytes=limits.FETCH_BYTES,
            # The consumer has no metadata of a topic before it is assigned, and waits this long
            # before it asks again. Meanwhile no reads of the partitions are taken.
            retry_backoff_ms=int(limits.METADATA_PAUSE_S * 1000),
        )

    async def start(self) -> None:
        """Connect. Raises BrokerError if the broker cannot be reached."""
        try:
            async with asyncio.timeout(limits.CONNECT_S):
                await self._consumer.start()
        except (KafkaError, TimeoutError, OSError) as error:
            await self._consumer.stop()
            raise self._unreadable(error) from error
        deliver_batches(self._consumer, self._topic.__eq__)

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def states_of(
        self, sources: Sequence[int], partitions: int, known: Mapping[int, Known] = _NOTHING
    ) -> dict[int, Left]:
        """Return the states of partitions of the reads, up to the current end of the topic.

        `partitions` is the topic's number of partitions. Of a partition in `known` it returns what
        changed since. If that is not certain, it leaves the partition out. Raises BrokerError if
        the topic cannot be read.
        """
        of_reads = {source: TopicPartition(self._reads, source) for source in sources}
        held = {source: TopicPartition(self._topic, source % partitions) for source in sources}
        consumer, now_s = self._consumer, time.monotonic()
        left: dict[int, Left] = {}
        # All in one assignment: for each further one the consumer requests metadata again, and
        # waits a tenth of a second.
        consumer.assign([*set(held.values()), *of_reads.values()])
        consumer.pause(*of_reads.values())

        async def bounds() -> tuple[Topic, Offsets, Offsets]:
            begins = await consumer.beginning_offsets([*held.values()])
            ends = await log_ends(consumer, [*held.values(), *of_reads.values()])
            [topic] = await topics_as_shown(consumer._client, [self._topic])
            return topic, begins, ends

        try:
            topic, begins, ends = await until_answered(
                bounds, self._unreadable, within_s=limits.RESTORE_S
            )
            starts = dict(ends)
            for source, part in held.items():
                log_now = Incarnation(topic.id, partitions, begins[part])
                start = known.get(source)
                if start is None or start.is_enough(log_now, ends[part], now_s):
                    if start is None:
                        starts[part] = begins[part]
                    elif not start.is_all(ends[part]):
                        starts[part] = min(starts[part], start.offset)
                    until = Known(log_now, ends[part], now_s)
                    left[source] = Left({}, ends[of_reads[source]], until)
            for part, offset in starts.items():
                consumer.seek(part, offset)
            of_held = {part: ends[part] for part in held.values()}
            # An open transaction may hold it up longer than the commands are patient.
            read = between(consumer, starts, of_held, patience_s=limits.RESTORE_S)
            latest = Latest(self._group, left, known.keys())
            # Of its own: when this reading is cancelled, the thread finishes the batches it has.
            reader = BatchReader(parse)
            async with asyncio.timeout(limits.RESTORE_S), contextlib.aclosing(read):
                async for found, _ in read:
                    for part, batches in found.items():
                        await asyncio.to_thread(self._take, reader, batches, part.partition, latest)
            consumer.unsubscribe()
        except (KafkaError, TimeoutError, OSError) as error:
            raise self._unreadable(error) from error
        return left

    def _take(
        self, reader: BatchReader, batches: Sequence[RawBatch], partition: int, latest: Latest
    ) -> None:
        for batch in batches:
            try:
                for record in reader.each(batch):
                    self.records_read += 1
                    if record.key is not None:
                        latest.take(record.key, record.value, partition)
            except BatchError as error:
                # No match is lost, but some may be repeated, and the counts are gone.
                log.error(
                    "states cannot be read: %s",
                    error.reason,
                    extra={
                        "topic": self._topic,
                        "partition": partition,
                        "offset": error.next_offset,
                    },
                )

    def _unreadable(self, error: Exception) -> BrokerError:
        return BrokerError(
            f"the suppression state cannot be read ({type(error).__name__})",
            where=f"topic {self._topic}",
            hint="start the worker again when the cluster is well",
        )


class Latest:
    """Collects the last record of each key in `left`, by partition of the reads.

    Of the partitions in `changes` a removed key counts as a change. No more keys are collected than
    a worker holds. Beyond that those go that were written longest ago; a partition in `changes` is
    left out instead.
    """

    def __init__(self, group: str, left: dict[int, Left], changes: Iterable[int]) -> None:
        self._left = left
        self._source_of = {place_of(group, source): source for source in left}
        self._changes = frozenset(changes)
        self._count = 0

    def take(self, key: bytes, value: bytes | None, partition: int) -> None:
        """Take the next record of a partition of the topic.

        One that was written before the topic got more partitions may lie in another partition than
        those written since. It is old, and comes in no order with these.
        """
        source = self._source_of.get(key[:-KEY_DIGITS])
        if source is None or source not in self._left:
            return
        left = self._left[source]
        if source % left.known.log.partitions != partition:
            return
        written = left.written
        before = len(written)
        written.pop(key, None)
        if value is not None or source in self._changes:
            written[key] = value
        self._count += len(written) - before
        if self._count > limits.SUPPRESSION_KEYS:
            self._make_room()

    def _make_room(self) -> None:
        if incomplete := self._changes & self._left.keys():
            self._count -= sum(len(self._left.pop(source).written) for source in incomplete)
        else:
            largest = max((left.written for left in self._left.values()), key=len)
            del largest[next(iter(largest))]
            self._count -= 1
