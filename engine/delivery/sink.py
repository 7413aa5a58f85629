"""Matches, rejects and audit records out to Kafka, acknowledged by all replicas.

`deliver` returns when the broker has acknowledged everything; only then may the reads' offsets be
committed. What fails for a passing reason is sent again: a consumer may see a record twice (its id
tells), never not at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from aiokafka.errors import KafkaError

from engine import limits
from engine.delivery.producer import (
    batches_for,
    by_partition,
    make_producer,
    offsets_of,
    partition_of,
    send,
    send_batch,
)
from engine.delivery.records import Outgoing, ProducerRecord
from engine.errors import BrokerError
from engine.kafka.cluster import Cluster

T = TypeVar("T")


class Sink:
    """Produces records and waits for their acknowledgement."""

    def __init__(self, cluster: Cluster) -> None:
        self._producer = make_producer(cluster)
        self._acknowledged_s = 0.0

    async def start(self) -> None:
        """Connect. Raises BrokerError if the broker cannot be reached."""
        try:
            await asyncio.wait_for(self._producer.start(), limits.CONNECT_S)
        except (KafkaError, TimeoutError, OSError) as error:
            await self._producer.stop()
            raise BrokerError("the broker does not take a producer", hint=str(error)) from error

    async def stop(self) -> None:
        """Send what is left and disconnect."""
        await self._producer.stop()

    async def deliver(self, records: Sequence[Outgoing]) -> None:
        """Produce records; return when all of them are acknowledged.

        Raises BrokerError when the broker has acknowledged nothing for DELIVERY_TIMEOUT_S, neither
        of these nor of any others: a slow one is waited for.
        """
        await self._persist(lambda: self._send_all(records), "matches")

    async def partition_of(self, topic: str, key: bytes) -> int:
        """Return the partition of a topic for a key."""
        return await partition_of(self._producer, topic, key)

    async def partitions_of(self, topic: str) -> int:
        """Return the number of partitions of a topic."""
        return len(await self._producer.partitions_for(topic))

    async def deliver_in_order(
        self, records: Sequence[ProducerRecord], partition: int, what: str = "audit records"
    ) -> list[range]:
        """Produce records of one topic to one of its partitions, in their order.

        No batch is sent before the one in front of it is acknowledged, so that what has to be
        sent again cannot come to stand behind what follows it. Returns the offsets of each batch.
        Otherwise as `deliver`; an error says `what` they are.
        """
        return await self._persist(lambda: self._send_in_order(records, partition), what)

    async def _persist(self, send: Callable[[], Awaitable[T]], what: str) -> T:
        """Send until it succeeds. Raises BrokerError if it cannot, or not in time."""
        started_s = time.monotonic()
        while True:
            try:
                return await self._while_it_moves(send(), started_s)
            except (KafkaError, TimeoutError) as error:
                retry = isinstance(error, KafkaError) and error.retriable
                if not retry or self._left_s(started_s) < limits.RETRY_PAUSE_S:
                    raise BrokerError(
                        f"{what} were not acknowledged ({type(error).__name__})",
                        hint="no offset was committed, the reads will be processed again",
                    ) from error
            await asyncio.sleep(limits.RETRY_PAUSE_S)

    def _left_s(self, started_s: float) -> float:
        """Return how long the next acknowledgement may still take."""
        since_s = max(started_s, self._acknowledged_s)
        return since_s + limits.DELIVERY_TIMEOUT_S - time.monotonic()

    async def _while_it_moves(self, sending: Awaitable[T], started_s: float) -> T:
        """Wait as long as acknowledgements arrive. Raises TimeoutError if they stop."""
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
        return task.result()

    def _note_acknowledgement(self, acknowledgement: Any) -> None:
        if not acknowledgement.cancelled() and acknowledgement.exception() is None:
            self._acknowledged_s = time.monotonic()

    async def _send_in_order(
        self, records: Sequence[ProducerRecord], partition: int
    ) -> list[range]:
        offsets = []
        for batch in batches_for(self._producer, records):
            acknowledgement = await send_batch(self._producer, batch, records[0].topic, partition)
            acknowledgement.add_done_callback(self._note_acknowledgement)
            offsets.append(offsets_of(batch, await acknowledgement))
        return offsets

    async def _send_all(self, records: Sequence[Outgoing]) -> None:
        placed = await by_partition(self._producer, records)
        await send(self._producer, placed, self._note_acknowledgement)
