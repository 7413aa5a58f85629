"""Matches, rejects and audit records out to Kafka, acknowledged by all replicas.

Records are put together into whole batches by partition, because one call a record would cost
more than finding the match did. `deliver` returns when the broker has acknowledged everything;
only then may the reads' offsets be committed. What fails for a passing reason is sent again:
a consumer may see a record twice (its id tells), never not at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from engine import limits
from engine.connection import PLAINTEXT, Security, arguments
from engine.documents import Match, Reject, encode
from engine.errors import BrokerError
from engine.topics import Topics

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


def match_record(topics: Topics, match: Match) -> Outgoing:
    """A match event, with its CloudEvents 1.0 attributes as headers (Kafka binary binding)."""
    headers = [
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_id", match.match_id.encode()),
        ("ce_source", b"/hotlist-engine"),
        ("ce_type", b"lpr.match.v1"),
        ("ce_time", match.matched_at.encode()),
        ("ce_subject", match.entry.entry_id.encode()),
    ]
    return Outgoing(topics.matches, match.entry.entry_id.encode(), encode(match), headers)


def reject_record(topics: Topics, reject: Reject) -> Outgoing:
    """A pointer to a bad record."""
    key = f"{reject.topic}/{reject.partition}/{reject.offset}"
    return Outgoing(topics.rejects, key.encode(), encode(reject), [])


class Sink:
    """Produces records and waits for their acknowledgement."""

    def __init__(self, bootstrap: str, security: Security = PLAINTEXT) -> None:
        self._producer = AIOKafkaProducer(
            **arguments(bootstrap, security),
            acks="all",
            enable_idempotence=True,
            max_batch_size=limits.SINK_BATCH_BYTES,
            max_request_size=2 * limits.SINK_BATCH_BYTES,
            compression_type="lz4",
        )

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

        Raises BrokerError when that has not come about in DELIVERY_TIMEOUT_S.
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
        deadline = time.monotonic() + limits.DELIVERY_TIMEOUT_S
        while True:
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    await send()
                return
            except (KafkaError, TimeoutError) as error:
                retry = isinstance(error, KafkaError) and error.retriable
                if not retry or time.monotonic() + _RETRY_PAUSE_S > deadline:
                    raise BrokerError(
                        f"{what} were not acknowledged ({type(error).__name__})",
                        hint="no offset was committed, the reads will be processed again",
                    ) from error
            await asyncio.sleep(_RETRY_PAUSE_S)

    async def _send_in_order(self, records: Iterable[Record], partition: int) -> None:
        for topic, of_topic in groupby(records, key=lambda record: record.topic):
            for batch in self._batches(of_topic):
                await (await self._producer.send_batch(batch, topic, partition=partition))

    async def _send_all(self, records: Iterable[Outgoing]) -> None:
        partitions_of: dict[str, list[int]] = {}
        by_partition: dict[tuple[str, int], list[Outgoing]] = {}
        for record in records:
            if record.topic not in partitions_of:
                found = await self._producer.partitions_for(record.topic)
                partitions_of[record.topic] = sorted(found)
            partitions = partitions_of[record.topic]
            partition = _partition_of(record.key, partitions, partitions)
            by_partition.setdefault((record.topic, partition), []).append(record)
        acknowledgements = [
            await self._producer.send_batch(batch, topic, partition=partition)
            for (topic, partition), of_partition in by_partition.items()
            for batch in self._batches(of_partition)
        ]
        await asyncio.gather(*acknowledgements)

    def _batches(self, records: Iterable[Record]) -> Iterator[BatchBuilder]:
        batch = self._producer.create_batch()
        for record in records:
            while not _append(batch, record):
                yield batch
                batch = self._producer.create_batch()
        batch.close()
        yield batch


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


def _heed(acknowledged: asyncio.Future[None]) -> None:
    """Look at a failure, so that the event loop does not complain of one that nobody awaits."""
    if not acknowledged.cancelled():
        acknowledged.exception()
