"""The Faust transport driver: whole fetches instead of one message a record.

For the detections topic, a Faust agent on this transport receives one event per partition and
fetch, whose value is a `Fetch`: the raw record batches and the means to say that they are done.
All other topics go through Faust's own aiokafka driver unchanged.

What differs from that driver, for the topics that opt in:

* Records stay unopened (`engine.batches`).
* Offsets are kept by range in an `OffsetBook`; Faust's own lists walk every single offset.
* Faust acknowledges an event when the agent asks for the next one, even when its flow is
  suspended. That says nothing about matches delivered, so it counts for nothing here: a fetch
  is done when the engine calls `Fetch.done()`, and only then may its offset be committed.
* The consumer reads committed records only, and a commit that fails while the broker is away is
  tried again instead of crashing the worker.

Besides `engine.faust_app` this is the only module that imports faust.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError, RecordTooLargeError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service
from mode.utils.futures import notify

from engine import limits
from engine.batches import deliver_batches
from engine.connection import PLAINTEXT, Security, arguments
from engine.forgetting import overwrite_receive_buffer
from engine.offsets import Delivery, OffsetBook
from engine.raw import RawBatch, RawFetch

log = logging.getLogger(__name__)

_RETRY_PAUSE_S = 0.5


class Fetch:
    """What one fetch brought for one partition, on its way through the engine.

    `raw` holds the batches, `high_watermark` the first offset that committed readers cannot
    see yet, `generation` the consumer group's generation that the fetch belongs to, and
    `committed` what it had committed of the partition when the fetch was delivered, None where
    this worker has committed nothing.
    """

    __slots__ = ("_abandoned", "_done", "committed", "generation", "high_watermark", "raw")

    def __init__(self, raw: RawFetch, high_watermark: int, generation: int) -> None:
        self.raw = raw
        self.high_watermark = high_watermark
        self.generation = generation
        self.committed: int | None = None
        self._done: Callable[[], None] | None = None
        self._abandoned: Callable[[], None] | None = None

    def release(self) -> None:
        """Let go of the batches: Faust holds on to an event until the next one comes."""
        self.raw = RawFetch(self.raw.topic, self.raw.partition, ())

    @property
    def lag(self) -> int:
        """Records of the partition that lay behind this fetch when it was made."""
        return max(0, self.high_watermark - self.raw.last_offset - 1)

    def done(self) -> None:
        """Say that all matches and rejects of this fetch are acknowledged by the broker.

        Call it in the event loop of the Faust app. Twice is the same as once.
        """
        done, self._done = self._done, None
        if done is not None:
            done()

    def abandon(self) -> None:
        """Say that this worker will not finish the fetch, so that its end need not wait for it.

        No offset from here on is committed: whoever gets the partition next reads it again.
        """
        abandoned, self._abandoned = self._abandoned, None
        if abandoned is not None:
            abandoned()


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, whose consumer delivers batches for the opted-in topics."""

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        conf = self.app.conf
        return AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            **arguments(
                ",".join(driver.server_list(transport.url, transport.default_port)),
                cast(Transport, transport).security,
            ),
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=limits.FETCH_WAIT_MS,
            max_partition_fetch_bytes=limits.FETCH_PARTITION_BYTES,
            fetch_max_bytes=limits.FETCH_BYTES,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(limits.REBALANCE_S * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
        )

    async def on_start(self) -> None:
        await super().on_start()
        opted_in = cast(Transport, self.transport).batch_topics
        deliver_batches(self._ensure_consumer(), opted_in.__contains__)

    @Service.task
    async def _hear_of_refusal(self) -> None:
        """End the worker where the group is kept from it.

        aiokafka tells that to whoever asks for records, and without partitions nobody does.
        """
        while not self.should_stop:
            await self.sleep(_RETRY_PAUSE_S)
            consumer = self._consumer
            if consumer is None or consumer.assignment():
                continue
            try:
                consumer._coordinator.check_errors()
            except KafkaError as error:
                if not error.retriable:
                    self.parent_loop.call_soon_threadsafe(cast(Any, self.app).on_crash, error)
                    return

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: Any,
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Any:
        try:
            records = await super()._fetch_records(
                consumer, active_partitions, timeout, max_records
            )
        except RecordTooLargeError as error:
            # Only of a batch whose length is damaged; aiokafka goes on one offset further.
            log.error("a record was passed over: %s", error)
            return {}
        except KafkaError as error:
            if not error.retriable:
                raise
            log.warning("fetching failed, will be tried again: %s", type(error).__name__)
            await asyncio.sleep(_RETRY_PAUSE_S)
            return {}
        generation = consumer._coordinator.generation
        return {
            tp: [self._one_fetch(consumer, tp, found, generation)]
            if isinstance(found[0], RawBatch)
            else found
            for tp, found in records.items()
        }

    def _one_fetch(
        self, consumer: AIOKafkaConsumer, tp: Any, batches: list[RawBatch], generation: int
    ) -> Fetch:
        raw = RawFetch(tp.topic, tp.partition, tuple(batches))
        return Fetch(raw, consumer.last_stable_offset(tp) or 0, generation)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        consumer = self._ensure_consumer()
        owned = consumer.assignment()
        try:
            await consumer.commit({tp: offset for tp, offset in offsets.items() if tp in owned})
        except KafkaError as error:
            log.warning("offsets not committed, will be tried again: %s", type(error).__name__)
            return False
        return True

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's own check compares two kinds of clock; the engine's metrics show lag."""


class Consumer(driver.Consumer):
    """Faust's consumer with offsets kept by range for the opted-in topics."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.book: OffsetBook[TP] = OffsetBook()
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if not isinstance(record, Fetch):
            return super()._to_message(tp, record)
        raw = record.raw
        message = ConsumerMessage(
            raw.topic,
            raw.partition,
            raw.last_offset,
            time.time(),
            0,
            [],
            None,
            cast(bytes, record),  # Faust passes the value on unread
            None,
            0,
            raw.size_bytes,
            tp,
            generation_id=record.generation,
        )
        # Faust's stream has the acknowledging inlined, in compiled code, and asks no method of
        # ours; of a message that is acknowledged already it keeps its hands off.
        message.acked = True
        if record.generation == self.app.consumer_generation_id:
            delivery = self.book.deliver(tp, raw.first_offset, raw.last_offset + 1)
            record.committed = self.book.committed_to(tp)
            record._done = lambda: self._finish(message, delivery)
        record._abandoned = lambda: self._forget(message)
        return message

    def _finish(self, message: ConsumerMessage, delivery: Delivery[TP]) -> None:
        self.book.finish(delivery)
        self._forget(message)

    def _forget(self, message: ConsumerMessage) -> None:
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)

    async def overwrite_received(self) -> None:
        """Overwrite what the consumer thread's event loop has received last."""
        await self._thread.call_thread(overwrite_receive_buffer)

    def on_buffer_full(self, tp: TP) -> None:
        # Faust would pause the partition and, once all are paused, sleep for a second. A full
        # buffer holds the fetching back without that: nobody asks for more until it has room.
        if tp.topic not in cast(Transport, self.transport).batch_topics:
            super().on_buffer_full(tp)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if tp.topic not in cast(Transport, self.transport).batch_topics:
            await super()._add_gap(tp, offset_from, offset_to)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        yield from super()._filter_tps_with_pending_acks(topics)
        for tp in self.book.partitions():
            if topics is None or tp in topics or tp.topic in topics:
                yield tp

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        batch_topics = cast(Transport, self.transport).batch_topics
        offsets: dict[TP, int] = super()._filter_committable_offsets(
            tp for tp in tps if tp.topic not in batch_topics
        )
        for tp in self.book.partitions():
            offset = self.book.to_commit(tp)
            if offset is not None:
                offsets[tp] = offset
        return offsets

    async def _commit_offsets(
        self, offsets: Mapping[TP, int], start_new_transaction: bool = True
    ) -> bool:
        did_commit = await super()._commit_offsets(offsets, start_new_transaction)
        if did_commit:
            for tp, offset in offsets.items():
                self.book.committed(tp, offset)
        return bool(did_commit)

    async def wait_empty(self) -> None:
        """Wait, for a bounded time, until what the agent has begun is done; commit it.

        Faust's own version has no bound and collects garbage in a loop, which takes seconds
        with a long hot list in memory.
        """
        deadline = time.monotonic() + limits.SHUTDOWN_S
        while self._unacked_messages and time.monotonic() < deadline:
            await self._wait_for_ack(timeout=1)
        await self.commit_and_end_transactions()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self.book.drop(tp)


class Transport(driver.Transport):
    """Faust's aiokafka transport with whole fetches for the topics in `batch_topics`.

    `security` says how the brokers are reached.
    """

    Consumer = Consumer

    def __init__(
        self,
        *args: Any,
        batch_topics: Iterable[str] = (),
        security: Security = PLAINTEXT,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.security = security
        self.batch_topics = frozenset(batch_topics)
