"""A producer with a transactional id, for one partition of the reads.

The id is `<group>/<topic of the reads>/<partition>`. A new producer with this id fences the earlier
ones: the broker aborts their open transaction, completes one whose end is decided, and rejects
whatever they still try (`Fenced`). Only after that it is certain what the group has committed;
`GroupOffsets` returns it.

A transaction holds records and the group's offset, and all of it counts at once or nothing of it
does. Nothing is tried a second time here: aiokafka sends again what has to be sent again, within
DELIVERY_TIMEOUT_S. Where a transaction fails, it may yet have come about (the broker's last answer
was lost), and the producer is of no use any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTransactionTimeout,
    InvalidTxnState,
    KafkaError,
    ProducerFenced,
)

from engine import limits
from engine.delivery.known_changelog import Appended
from engine.delivery.producer import by_partition, make_producer, send
from engine.delivery.records import Outgoing
from engine.delivery.send_queue import Abandoned
from engine.delivery.suppression_changelog import StateRecord
from engine.errors import BrokerError
from engine.kafka.cluster import Cluster
from engine.kafka.diagnosis import refusal
from engine.kafka.offset_fetch import committed_offsets
from engine.kafka.until_answered import until_answered
from engine.tasks import retrieve

T = TypeVar("T")

#: The broker's errors for a producer whose id another one uses now, or that has expired, or whose
#: transaction the coordinator has ended.
_FENCING: Final = (
    ProducerFenced,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
)


class Fenced(Abandoned):
    """Another producer has the transactional id now, or the broker has ended the transaction."""


class TransactionalSink:
    """See the module. Used from one coroutine at a time."""

    def __init__(self, cluster: Cluster, partition: int) -> None:
        topic, topics = cluster.topics.detections, cluster.topics
        self._writes = {topics.matches, topics.rejects, topics.audit, topics.suppression}
        self.id: Final = f"{cluster.group}/{topic}/{partition}"
        self._cluster = cluster
        self._reads = TopicPartition(topic, partition)
        self._producer: Any = None

    async def start(self) -> None:
        """Claim this id, and fence its former user. Raises BrokerError if that fails."""
        self._producer = await _answered(self._started, f"transactional id {self.id}")

    async def transact(
        self, records: Sequence[Outgoing], states: Sequence[StateRecord], next_offset: int | None
    ) -> Appended | None:
        """Deliver records, and the group's offset where there is one, in one transaction.

        Returns when it is committed, with the offsets of the states. Raises Fenced, or BrokerError;
        then it may be so or not.
        """
        producer, started_s = self._producer, time.monotonic()
        try:
            async with asyncio.timeout(limits.DELIVERY_TIMEOUT_S):
                placed = await by_partition(producer, records)
                place, partitions = await self._place_of(states)
                if states:
                    placed[place] = [*states]
                await producer.begin_transaction()
                sending = asyncio.ensure_future(send(producer, placed))
                steps: list[Awaitable[Any]] = [sending]
                if next_offset is not None:
                    offsets = {self._reads: next_offset}
                    steps.append(producer.send_offsets_to_transaction(offsets, self._cluster.group))
                await asyncio.gather(*steps)
                await producer.commit_transaction()
                written = sending.result().get(place)
                return Appended(place[1], partitions, written, started_s) if written else None
        except (KafkaError, TimeoutError) as error:
            reason = _reason(producer, error)
            if isinstance(reason, _FENCING):
                raise Fenced(self.id) from error
            if refusal(reason) is not None:
                raise reason from None
            raise BrokerError(
                f"matches were not delivered in a transaction ({type(reason).__name__})",
                hint="no offset was committed, the reads will be processed again",
            ) from error

    async def stop(self) -> None:
        """Abort an open transaction, if the broker allows it, and disconnect."""
        if self._producer is not None:
            await _stopped(self._producer)

    async def _place_of(self, states: Sequence[StateRecord]) -> tuple[tuple[str, int], int]:
        """Return the topic and partition of the states, and the topic's number of partitions."""
        topic = self._cluster.topics.suppression
        partitions = len(await self._producer.partitions_for(topic)) if states else 1
        return (topic, self._reads.partition % partitions), partitions

    async def _started(self) -> Any:
        producer = make_producer(
            self._cluster,
            transactional_id=self.id,
            transaction_timeout_ms=int(1000 * limits.DELIVERY_TRANSACTION_S),
            retry_backoff_ms=limits.TRANSACTION_BACKOFF_MS,
        )
        try:
            await producer.start()
        except InvalidTransactionTimeout as error:
            await _stopped(producer)
            raise BrokerError(
                f"the brokers allow no transaction of {limits.DELIVERY_TRANSACTION_S:g} s",
                where=f"transactional id {self.id}",
                hint="ask the cluster's operator to raise transaction.max.timeout.ms",
            ) from error
        except BaseException:
            await _stopped(producer)
            raise
        # Asked for now, and in one request. aiokafka asks for each topic when its first record
        # comes, and the partition's reads wait for those matches.
        producer.client.set_topics(self._writes)
        return producer


class GroupOffsets:
    """Reads the group's committed offsets of the reads, independent of all consumers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._topic = cluster.topics.detections
        self._group = cluster.group
        self._admin = cluster.admin(request_timeout_ms=limits.REQUEST_MS)

    async def start(self) -> None:
        """Connect. Raises BrokerError if the broker is not reached."""
        await _answered(self._admin.start, f"consumer group {self._group}")

    async def stop(self) -> None:
        """Disconnect."""
        await self._admin.close()

    async def committed(self, partition: int) -> int | None:
        """Return the group's offset of a partition; None if it has none."""
        tp = TopicPartition(self._topic, partition)

        async def ask() -> int:
            return int((await committed_offsets(self._admin, self._group, [tp]))[tp].offset)

        offset = await _answered(ask, f"consumer group {self._group}")
        return None if offset < 0 else offset

    async def end(self, partition: int) -> int:
        """Return the current end of the partition."""
        tp = TopicPartition(self._topic, partition)

        async def ask() -> int:
            consumer = self._cluster.consumer(group_id=None, request_timeout_ms=limits.REQUEST_MS)
            try:
                await consumer.start()
                return int((await consumer.end_offsets([tp]))[tp])
            finally:
                await consumer.stop()

        return await _answered(ask, f"topic {self._topic}")


async def _answered(ask: Callable[[], Awaitable[T]], where: str) -> T:
    """Repeat a request until it succeeds. Raises BrokerError if it does not in time."""

    def failed(error: Exception) -> BrokerError:
        return BrokerError(
            f"the broker does not answer ({type(error).__name__})",
            where=where,
            hint="start the worker again when the cluster is well",
        )

    return await until_answered(ask, failed, within_s=limits.DELIVERY_TIMEOUT_S)


def _reason(producer: Any, error: BaseException) -> BaseException:
    """Return the error that ended a transaction.

    aiokafka's sender may have failed by another error than the one that it raises.
    """
    sender = producer._sender.sender_task
    if sender is not None and sender.done() and not sender.cancelled():
        error = sender.exception() or error
    while isinstance(error.__cause__, KafkaError):
        error = error.__cause__
    return error


async def _stopped(producer: Any) -> None:
    """Close a producer, whether or not the broker is available; an open transaction is dropped."""
    _hush(producer)
    # aiokafka asserts that there is something to abort, and that it still may.
    with contextlib.suppress(TimeoutError, KafkaError, OSError, AssertionError):
        await asyncio.wait_for(producer.abort_transaction(), limits.CLIENT_STOP_S)
    _hush(producer)
    with contextlib.suppress(TimeoutError, KafkaError, OSError):
        await asyncio.wait_for(producer.stop(), limits.CLIENT_STOP_S)
    _hush(producer)


def _hush(producer: Any) -> None:
    """Retrieve the exceptions of a producer's futures, or the event loop would log them.

    Some of them fail only while the producer is being stopped, and aiokafka makes one then.
    """
    accumulator = producer._message_accumulator
    batches = [batch for waiting in accumulator._batches.values() for batch in waiting]
    failed = [batch._drain_waiter for batch in (*batches, *accumulator._pending_batches)]
    failed += [batch.future for batch in batches]
    manager = producer._txn_manager
    failed += [committed for _, _, committed in manager._pending_txn_offsets]
    if (ended := manager.wait_for_transaction_end()) is not None:
        failed.append(ended)
    for waiter in failed:
        waiter.add_done_callback(retrieve)
