"""Writes records to one topic for a command, in batches, and counts the acknowledged ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import (
    IllegalOperation,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerFenced,
)
from aiokafka.partitioner import DefaultPartitioner

from engine import limits
from engine.clock import SystemClock
from engine.config import Settings
from engine.errors import BrokerError
from engine.kafka.cluster import Cluster
from engine.kafka.session import broker_errors, partitions_of, started, stopped

#: Records are sent in batches of this size, with a few batches in flight at a time.
BATCH_BYTES: Final = 256 * limits.KIB
_BATCHES_IN_FLIGHT: Final = 8


Headers = list[tuple[str, bytes]]


class Outbox:
    """Writes records to one topic, in batches. Created by `outbox()`.

    `sent` counts the records that the broker has acknowledged. `next_offsets` has by partition
    the offset after the last of them. `broker_ahead_s` is by how much the clock of a broker that
    stamped records is ahead of the local one at least, negative if it is behind; the worst of them.
    """

    def __init__(self, producer: Any, bootstrap: str, topic: str, partitions: list[int]) -> None:
        self._producer = producer
        self._bootstrap = bootstrap
        self._topic = topic
        self._partitions = partitions
        # A key's partition is the one that every Kafka client chooses, so that all changes of
        # one entry are in one partition, whichever client writes them.
        self._partitioner = DefaultPartitioner()
        self._open: dict[int, Any] = {}
        self._in_flight: deque[tuple[Any, int, int]] = deque()
        self.sent = 0
        self.next_offsets: dict[TopicPartition, int] = {}
        self.broker_ahead_s = 0.0

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Make all records sent within the context count at once when it ends, or none of them.

        Only for an outbox with a transactional id.
        """
        await self._in_time(self._producer.begin_transaction())
        try:
            yield
            await self.flush()
            await self._in_time(self._producer.commit_transaction())
        except BaseException:
            self._open.clear()
            # A producer that is disconnected or fenced cannot abort; the broker does it.
            with contextlib.suppress(KafkaError, TimeoutError, IllegalOperation, AssertionError):
                await asyncio.wait_for(self._producer.abort_transaction(), limits.CLIENT_STOP_S)
            raise

    async def send(self, key: bytes, value: bytes | None, headers: Headers | None = None) -> None:
        """Add one record; it is sent with its batch. Raises BrokerError for an earlier one."""
        if len(self._partitions) == 1:
            partition = self._partitions[0]
        else:
            partition = self._partitioner(key, self._partitions, self._partitions)
        batch = self._open.get(partition)
        if batch is None:
            batch = self._open[partition] = self._producer.create_batch()
        if batch.append(key=key, value=value, timestamp=None, headers=headers or []) is None:
            await self._submit(partition)
            batch = self._open[partition] = self._producer.create_batch()
            # A batch accepts its first record whatever its size.
            batch.append(key=key, value=value, timestamp=None, headers=headers or [])

    async def flush(self) -> None:
        """Return when everything added so far is acknowledged; BrokerError otherwise."""
        for partition in list(self._open):
            await self._submit(partition)
        while self._in_flight:
            await self._acknowledged()

    async def _submit(self, partition: int) -> None:
        batch = self._open.pop(partition)
        count, now_ms = batch.record_count(), SystemClock().now_ms()
        future = await self._in_time(
            self._producer.send_batch(batch, self._topic, partition=partition)
        )
        self._in_flight.append((future, count, now_ms))
        while len(self._in_flight) > _BATCHES_IN_FLIGHT:
            await self._acknowledged()

    async def _acknowledged(self) -> None:
        future, count, sent_ms = self._in_flight.popleft()
        acknowledged = await self._in_time(future)
        self.sent += count
        part = TopicPartition(self._topic, acknowledged.partition)
        self.next_offsets[part] = acknowledged.offset + count
        self._compare_clocks(acknowledged.timestamp, sent_ms)

    def _compare_clocks(self, stamped_ms: int | None, sent_ms: int) -> None:
        """Compare the time that the broker gave records, if it did: between sending and now."""
        if stamped_ms is None or stamped_ms < limits.CLOCKS_BEGIN_MS:
            return
        ahead_ms = max(0, stamped_ms - SystemClock().now_ms()) + min(0, stamped_ms - sent_ms)
        self.broker_ahead_s = max(self.broker_ahead_s, ahead_ms / 1000, key=abs)

    async def _in_time(self, waiting: Any) -> Any:
        try:
            return await asyncio.wait_for(waiting, limits.DELIVERY_TIMEOUT_S)
        except (IllegalOperation, AssertionError) as error:
            # What aiokafka raises if its producer was fenced between two calls.
            raise ProducerFenced from error
        except (TimeoutError, KafkaTimeoutError):
            raise BrokerError(
                f"the broker stopped acknowledging records, after {self.sent} of them",
                where=self._bootstrap,
            ) from None
        except MessageSizeTooLargeError:
            raise BrokerError(
                "a record is larger than the topic allows", where=f"topic {self._topic}"
            ) from None


@contextlib.asynccontextmanager
async def outbox(
    settings: Settings,
    topic: str,
    *,
    transactional_id: str | None = None,
    transaction_s: float = limits.TRANSACTION_S,
) -> AsyncIterator[Outbox]:
    """Open an Outbox for the topic; when the context ends, all its records are acknowledged.

    With a transactional id it becomes the only one with that id: an earlier producer is fenced,
    and its open transaction is aborted. The brokers abort one that is open for `transaction_s`.
    Raises BrokerError, or TopicError if the topic is missing.
    """
    async with producing(
        settings,
        topic,
        max_batch_size=BATCH_BYTES,
        transactional_id=transactional_id,
        transaction_timeout_ms=int(transaction_s * 1000),
    ) as (producer, partitions):
        box = Outbox(producer, settings.bootstrap, topic, partitions)
        yield box
        await box.flush()


@contextlib.asynccontextmanager
async def producing(
    settings: Settings, topic: str, **options: Any
) -> AsyncIterator[tuple[Any, list[int]]]:
    """Open a producer with further options of aiokafka's; also return the topic's partitions.

    Raises BrokerError, or TopicError if the topic is missing.
    """
    with broker_errors(settings.bootstrap, topic, "Write"):
        partitions = await partitions_of(settings, topic, "Write")
        producer = Cluster.of(settings).producer(client_id="hotlist-command", **options)
        try:
            await started(producer.start(), settings)
            yield producer, partitions
        finally:
            await stopped(producer)
