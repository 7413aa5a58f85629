"""The suppression state on Kafka: a compacted topic, `<prefix>suppression.v1`.

The key of a record is `<group>/<source partition>/<32 hex digits of the key>`, because every group
of workers has a state of its own. The value is the latest SuppressionState, or none if the key is
evicted. The state of a partition of the reads is in the partition of the same number (modulo their
number), so that its next owner finds it in one place.

One writer sends what has changed, the latest state of each key once, and nothing more of a
partition before that is acknowledged; so the records of a key come in their order, whatever has
to be sent again. What comes meanwhile is put together and goes with the next round. A state on
the topic may be ahead of the committed offset, never behind it: `engine.matching.suppression` knows
the reads in between again when they come a second time.

Why no Faust table: Faust sends changelog records without waiting for them, while a fetch here
must not be done before they are acknowledged; a table's state follows the partition of its own
key, while this must follow the partition that the read came from; and recovery of its tables has
stalled and looped (faust issues #283, #176 and #597).

With delivery exactly once there is no writer: the states go into the transactions of the partition
that they are of (`engine.delivery.transactions`). So committed records are read, and up to where
the topic ends, not to where the first transaction is open: that one may be of another partition of
the reads, and what we look for may lie behind it. Its owner ends it soon, or the broker does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from engine import limits
from engine.delivery.records import Headers, ProducerRecord
from engine.delivery.send_queue import SendQueue
from engine.errors import BrokerError
from engine.kafka.cluster import Cluster
from engine.kafka.raw_fetcher import deliver_batches, log_ends, parse
from engine.kafka.reader import between
from engine.matching.suppression_states import SuppressionRecord
from engine.wire.batch_reader import BatchReader
from engine.wire.record_batch import BatchError, RawBatch

log = logging.getLogger(__name__)

_NO_HEADERS: Final[Headers] = []
_KEY_DIGITS: Final = 32

#: The latest state by key, as JSON that is not decoded yet.
Written = dict[bytes, bytes]


class Left(NamedTuple):
    """The state that a partition of the reads has left, and the current end of its reads."""

    written: Written
    end_offset: int


class DeliversStates(Protocol):
    """The part of `engine.delivery.sink.Sink` that is used here."""

    async def partitions_of(self, topic: str) -> int: ...
    async def deliver_in_order(
        self, records: Sequence[ProducerRecord], partition: int, what: str
    ) -> None: ...


class StateRecord(NamedTuple):
    """A record of the topic; without a value, a tombstone. `source` is the reads' partition."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Headers
    source: int


def state_record(cluster: Cluster, change: SuppressionRecord) -> StateRecord:
    """The record of a change."""
    named = _place(cluster.group, change.partition) + change.key.hex().encode()
    topic = cluster.topics.suppression
    return StateRecord(topic, named, change.value, _NO_HEADERS, change.partition)


class SuppressionLog:
    """Sends changes, only while `run` runs."""

    def __init__(self, cluster: Cluster, sink: DeliversStates) -> None:
        self._cluster = cluster
        self._sink = sink
        self._queue: SendQueue[Sequence[SuppressionRecord]] = SendQueue()

    def append(self, records: Sequence[SuppressionRecord]) -> asyncio.Future[None]:
        """Hand changes over, in the order in which they came about; the future is done when the
        broker has them, or later states of the same keys.

        It fails with what ends `run`, and then so does all that is handed over later.
        """
        return self._queue.add(records) if records else self._queue.nothing()

    async def flushed(self) -> None:
        """Wait until every change is acknowledged. Raises the error that ended `run`."""
        await self._queue.flushed()

    async def run(self) -> None:
        """Send changes until `close`. Raises BrokerError if that fails."""
        await self._queue.run(self._send)

    def close(self) -> None:
        """End `run` once every change is sent."""
        self._queue.close()

    async def _send(self) -> None:
        changes = [change for some in self._queue.take_all() for change in some]
        latest = {(change.partition, change.key): change for change in changes}
        partitions = await self._sink.partitions_of(self._cluster.topics.suppression)
        by_partition: dict[int, list[StateRecord]] = {}
        for change in latest.values():
            record = state_record(self._cluster, change)
            by_partition.setdefault(record.source % partitions, []).append(record)
        await asyncio.gather(
            *(
                self._sink.deliver_in_order(records, partition, "the suppression's states")
                for partition, records in by_partition.items()
            )
        )
        self._queue.acknowledge()


class SuppressionReader:
    """Reads the states that a group has left of partitions of the reads, in whole batches."""

    def __init__(self, cluster: Cluster) -> None:
        self._group = cluster.group
        self._topic = cluster.topics.suppression
        self._reads = cluster.topics.detections
        self._batch_reader = BatchReader(parse)
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
            raise self._unreadable(type(error).__name__) from error
        deliver_batches(self._consumer, self._topic.__eq__)

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def states_of(self, sources: Sequence[int], partitions: int) -> dict[int, Left]:
        """Return the states of partitions of the reads, up to the current end of the topic.

        `partitions` is the topic's number of partitions. Raises BrokerError if it cannot be read.
        """
        states = {source: Left({}, 0) for source in sources}
        of_reads = {source: TopicPartition(self._reads, source) for source in sources}
        held = {TopicPartition(self._topic, source % partitions) for source in sources}
        consumer = self._consumer
        try:
            # All in one assignment: for each further one the consumer requests metadata again, and
            # waits a tenth of a second.
            consumer.assign([*held, *of_reads.values()])
            consumer.pause(*of_reads.values())
            begins = await consumer.beginning_offsets([*held])
            ends = await log_ends(consumer, [*held, *of_reads.values()])
            for part in (*held, *of_reads.values()):
                consumer.seek(part, begins.get(part, 0))
            of_held = {tp: ends[tp] for tp in held}
            # An open transaction may hold it up longer than the commands are patient.
            read = between(consumer, begins, of_held, patience_s=limits.RESTORE_S)
            async with asyncio.timeout(limits.RESTORE_S), contextlib.aclosing(read):
                async for found, _ in read:
                    for part, batches in found.items():
                        await asyncio.to_thread(self._take, batches, part.partition, states)
            consumer.unsubscribe()
        except (KafkaError, TimeoutError, OSError) as error:
            raise self._unreadable(type(error).__name__) from error
        return {source: Left(states[source].written, ends[of_reads[source]]) for source in sources}

    def _take(self, batches: Sequence[RawBatch], partition: int, states: dict[int, Left]) -> None:
        places = [(_place(self._group, source), left.written) for source, left in states.items()]
        for batch in batches:
            try:
                for record in self._batch_reader.each(batch):
                    if record.key is not None:
                        keep_latest(places, record.key, record.value)
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

    def _unreadable(self, why: str) -> BrokerError:
        return BrokerError(
            f"the suppression state cannot be read ({why})",
            where=f"topic {self._topic}",
            hint="start the worker again when the cluster is well",
        )


def keep_latest(places: Sequence[tuple[bytes, Written]], key: bytes, value: bytes | None) -> None:
    """Keep a state with those of its partition, by what stands before its key; None takes it away.

    Of all of them no more are kept than a worker remembers: beyond that those go that were written
    longest ago.
    """
    for place, written in places:
        if key.startswith(place) and len(key) == len(place) + _KEY_DIGITS:
            written.pop(key, None)
            if value is not None:
                written[key] = value
                if sum(len(each) for _, each in places) > limits.SUPPRESSION_KEYS:
                    largest = max((each for _, each in places), key=len)
                    del largest[next(iter(largest))]
            return


def _place(group: str, source: int) -> bytes:
    """Return the part of a record's key before the digits."""
    return f"{group}/{source}/".encode()


def key_in(key: bytes) -> bytes | None:
    """Return the state's key from a record's key; None if the record is not ours."""
    digits = key.rpartition(b"/")[2]
    try:
        return bytes.fromhex(digits.decode()) if len(digits) == _KEY_DIGITS else None
    except ValueError:
        return None
