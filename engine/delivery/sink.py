"""Matches, rejects and audit records out to Kafka, acknowledged by all replicas.

Records are put together into whole batches by partition, because one call a record would cost
more than finding the match did. `deliver` returns when the broker has acknowledged everything;
only then may the reads' offsets be committed. What fails for a passing reason is sent again:
a consumer may see a record twice (its id tells), never not at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from engine import limits
from engine.documents.codec import encode
from engine.documents.model import Match, Reject
from engine.errors import BrokerError
from engine.kafka.security import PLAINTEXT, Security, arguments
from engine.kafka.topics import Topics
from engine.wire.trace_context import TraceContext

Headers = list[tuple[str, bytes]]

_RETRY_PAUSE_S = 0.5
_partition_of = DefaultPartitioner()


class Outgoing(NamedTuple):
    """A record to produce."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


class Record(Protocol):
    """What is sent: an Outgoing, or one whose value is None, a tombstone."""

    @property
    def topic(self) -> str: ...
    @property
    def key(self) -> bytes: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


def match_record(topics: Topics, match: Match, trace: TraceContext | None = None) -> Outgoing:
    """A match event, with its CloudEvents 1.0 attributes as headers (Kafka binary binding).

    The trace that it belongs to stands there twice: as tracing libraries have it on Kafka, and as
    an attribute of the event (CloudEvents' extension for distributed tracing), which is what is
    left of it where somebody passes the event on by another way than Kafka.
    """
    headers = [
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_id", match.match_id.encode()),
        ("ce_source", b"/hotlist-engine"),
        ("ce_type", b"lpr.match.v1"),
        ("ce_time", match.matched_at.encode()),
        ("ce_subject", match.entry.entry_id.encode()),
    ]
    if trace is not None:
        for name, value in trace.headers():
            headers += [(name, value), (f"ce_{name}", value)]
    return Outgoing(topics.matches, match.entry.entry_id.encode(), encode(match), headers)


def reject_record(topics: Topics, reject: Reject) -> Outgoing:
    """A pointer to a bad record."""
    key = f"{reject.topic}/{reject.partition}/{reject.offset}"
    return Outgoing(topics.rejects, key.encode(), encode(reject), [])


#: Records by topic and partition, in their order.
ByPartition = Mapping[tuple[str, int], Sequence[Record]]


def make_producer(bootstrap: str, security: Security, **options: Any) -> Any:
    """A producer as the engine has them; `options` are further ones of aiokafka's."""
    return AIOKafkaProducer(
        **arguments(bootstrap, security),
        acks="all",
        enable_idempotence=True,
        max_batch_size=limits.SINK_BATCH_BYTES,
        max_request_size=2 * limits.SINK_BATCH_BYTES,
        compression_type="lz4",
        **options,
    )


async def by_partition(producer: Any, records: Iterable[Record]) -> dict[Any, list[Record]]:
    """Records by the topic and partition that their keys say."""
    partitions_of: dict[str, list[int]] = {}
    found: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        if record.topic not in partitions_of:
            partitions_of[record.topic] = sorted(await producer.partitions_for(record.topic))
        partitions = partitions_of[record.topic]
        partition = _partition_of(record.key, partitions, partitions)
        found.setdefault((record.topic, partition), []).append(record)
    return found


async def send(
    producer: Any, records: ByPartition, acknowledged: Callable[[object], None] | None = None
) -> None:
    """Produce records in whole batches, all at once; returns when all are acknowledged, each of
    which `acknowledged` is told."""
    acknowledgements = []
    for (topic, partition), of_partition in records.items():
        for batch in batches(producer, of_partition):
            acknowledgement = await send_batch(producer, batch, topic, partition)
            if acknowledged is not None:
                acknowledgement.add_done_callback(acknowledged)
            acknowledgements.append(acknowledgement)
    await asyncio.gather(*acknowledgements)


async def send_batch(
    producer: Any, batch: BatchBuilder, topic: str, partition: int
) -> asyncio.Future[Any]:
    """Give a batch to the producer as soon as it has room; its acknowledgement."""
    while True:
        try:
            found: asyncio.Future[Any] = await producer.send_batch(
                batch, topic, partition=partition
            )
            return found
        except KafkaTimeoutError:
            # The one before it waits still. How long to go on is not for aiokafka to say, which
            # counts each of its waits several times.
            continue


def batches(producer: Any, records: Iterable[Record]) -> Iterator[BatchBuilder]:
    """Records put together, closed and ready to be sent."""
    batch = producer.create_batch()
    for record in records:
        while not _append(batch, record):
            yield batch
            batch = producer.create_batch()
    batch.close()
    yield batch


class Sink:
    """Produces records and waits for their acknowledgement."""

    def __init__(self, bootstrap: str, security: Security = PLAINTEXT) -> None:
        self._producer = make_producer(bootstrap, security)
        self._acknowledged_s = 0.0

    async def start(self) -> None:
        """Connect. Raises BrokerError where the broker cannot be reached."""
        try:
            await asyncio.wait_for(self._producer.start(), limits.CONNECT_S)
        except (KafkaError, TimeoutError, OSError) as error:
            await self._producer.stop()
            raise BrokerError("the broker does not take a producer", hint=str(error)) from error

    async def stop(self) -> None:
        """Send what is left and disconnect."""
        await self._producer.stop()

    async def deliver(self, records: list[Outgoing]) -> None:
        """Produce records; returns when all of them are acknowledged.

        Raises BrokerError when the broker has acknowledged nothing for DELIVERY_TIMEOUT_S, neither
        of these nor of any others: a slow one is waited for.
        """
        await self._persist(lambda: self._send_all(records), "matches")

    async def partition_of(self, topic: str, key: bytes) -> int:
        """The partition of a topic that the records of a key go to."""
        partitions = sorted(await self._producer.partitions_for(topic))
        return int(_partition_of(key, partitions, partitions))

    async def partitions_of(self, topic: str) -> int:
        """How many partitions a topic has."""
        return len(await self._producer.partitions_for(topic))

    async def deliver_in_order(
        self, records: Sequence[Record], partition: int, what: str = "audit records"
    ) -> None:
        """Produce records of one topic to one of its partitions, in their order.

        No batch is sent before the one in front of it is acknowledged, so that what has to be
        sent again cannot come to stand behind what follows it. Otherwise as `deliver`; an error
        says `what` they are.
        """
        await self._persist(lambda: self._send_in_order(records, partition), what)

    async def _persist(self, send: Callable[[], Awaitable[None]], what: str) -> None:
        """Send until it has succeeded; BrokerError where it cannot, or not in time."""
        started_s = time.monotonic()
        while True:
            try:
                await self._while_it_moves(send(), started_s)
                return
            except (KafkaError, TimeoutError) as error:
                retry = isinstance(error, KafkaError) and error.retriable
                if not retry or self._left_s(started_s) < _RETRY_PAUSE_S:
                    raise BrokerError(
                        f"{what} were not acknowledged ({type(error).__name__})",
                        hint="no offset was committed, the reads will be processed again",
                    ) from error
            await asyncio.sleep(_RETRY_PAUSE_S)

    def _left_s(self, started_s: float) -> float:
        """How long there may still be no acknowledgement."""
        since_s = max(started_s, self._acknowledged_s)
        return since_s + limits.DELIVERY_TIMEOUT_S - time.monotonic()

    async def _while_it_moves(self, sending: Awaitable[None], started_s: float) -> None:
        """Wait as long as there are acknowledgements. Raises TimeoutError."""
        task = asyncio.ensure_future(sending)
        try:
            while not task.done():
                left_s = self._left_s(started_s)
                if left_s <= 0:
                    raise TimeoutError
                await asyncio.wait({task}, timeout=left_s)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        task.result()

    def _note_acknowledgement(self, acknowledgement: Any) -> None:
        if not acknowledgement.cancelled() and acknowledgement.exception() is None:
            self._acknowledged_s = time.monotonic()

    async def _send_in_order(self, records: Iterable[Record], partition: int) -> None:
        for topic, of_topic in groupby(records, key=lambda record: record.topic):
            for batch in batches(self._producer, of_topic):
                acknowledgement = await send_batch(self._producer, batch, topic, partition)
                acknowledgement.add_done_callback(self._note_acknowledgement)
                await acknowledgement

    async def _send_all(self, records: Iterable[Outgoing]) -> None:
        placed = await by_partition(self._producer, records)
        await send(self._producer, placed, self._note_acknowledgement)


def _append(batch: BatchBuilder, record: Record) -> bool:
    """Add a record to a batch; False, and the batch closed, where it does not fit.

    An empty batch takes a record of any size.
    """
    added = batch.append(timestamp=None, key=record.key, value=record.value, headers=record.headers)
    return added is not None


def acknowledgement() -> asyncio.Future[None]:
    """A promise that the broker has something; that it fails may be nobody's concern."""
    acknowledged = asyncio.get_running_loop().create_future()
    acknowledged.add_done_callback(_heed)
    return acknowledged


def keep_all(promises: Iterable[asyncio.Future[None]]) -> None:
    """The broker has what was promised."""
    for promise in promises:
        if not promise.done():
            promise.set_result(None)


def fail_all(promises: Iterable[asyncio.Future[None]], error: Exception) -> None:
    """The broker will not have it, and this is why."""
    for promise in promises:
        if not promise.done():
            promise.set_exception(error)


async def all_kept(promises: Collection[asyncio.Future[None]]) -> None:
    """Wait until all promises are kept, or have failed; raises what the first that failed did."""
    if promises:
        await asyncio.wait(promises)
    for promise in promises:
        promise.result()


def _heed(acknowledged: asyncio.Future[None]) -> None:
    """Look at a failure, so that the event loop does not complain of one that nobody awaits."""
    if not acknowledged.cancelled():
        acknowledged.exception()
