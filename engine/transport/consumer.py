"""The Faust transport driver: whole fetches instead of one message a record.

For the detections topic, a Faust agent on this transport receives one event per partition and
fetch, whose value is a `Fetch`: the raw record batches and the means to say that they are done.
All other topics go through Faust's own aiokafka driver unchanged.

What differs from that driver, for the topics that opt in:

* Records stay unopened (`engine.kafka.raw_fetcher`).
* Offsets are kept by range in an `OffsetBook`; Faust's own lists walk every single offset.
* Faust acknowledges an event when the agent asks for the next one, even when its flow is
  suspended. That says nothing about matches delivered, so it counts for nothing here: a fetch
  is done when the engine calls `Fetch.done()`, and only then may its offset be committed.
* `engine.transport.positions` alone sets where a partition is read from. Faust throws away what it
  has fetched while a rebalance goes on; then all partitions begin anew at the committed offsets. A
  fetch that leaves reads out ends the worker (`OffsetBook`).
* The consumer reads committed records only, and a commit that fails while the broker is away is
  tried again instead of crashing the worker.

Besides `engine.transport.app` this is the only module that imports faust.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import OffsetResetStrategy
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import ConsumerStoppedError, KafkaError, RecordTooLargeError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service
from mode.threads import ServiceThread, WorkerThread
from mode.utils.futures import notify

from engine import limits
from engine.kafka.cluster import Cluster
from engine.kafka.fetch_limit import FetchRoom
from engine.kafka.leave_group import leave_group
from engine.kafka.raw_fetcher import deliver_batches
from engine.observability.stall import Seen, Work
from engine.transport.assignment import Assignment, no_assignment
from engine.transport.memory import overwrite_receive_buffer
from engine.transport.offsets import Delivery, Missing, OffsetBook, SkippedReadsError
from engine.transport.positions import Fetched, FetchIntake, PositionedFetcher
from engine.wire.record_batch import RawBatch, RawFetch

log = logging.getLogger(__name__)

#: Commits what it was made for by the group's consumer; whether that came about.
ByGroup = Callable[[], Awaitable[bool]]
#: Commits an assignment's offsets by partition, by the group's consumer or in another way; those
#: that are committed.
Commit = Callable[[Assignment, Mapping[int, int], ByGroup], Awaitable[Mapping[int, int]]]
#: Told of reads that retention has removed before they were read: partition and how many offsets.
Expired = Callable[[int, int], None]


async def commit_by_group(
    assignment: Assignment, offsets: Mapping[int, int], by_group: ByGroup
) -> Mapping[int, int]:
    """Commit offsets by the group's consumer."""
    return offsets if await by_group() else {}


class Fetch:
    """What one fetch brought for one partition, on its way through the engine.

    `raw` holds the batches, `log_end` the end of the partition's log at that time, open
    transactions included, `assignment` is the one that the fetch belongs to, and `committed` what
    the group had committed of the partition when the fetch was delivered, None if this worker has
    committed nothing. `next_offset` is the one after its last record, `follows` that of the fetch
    before it, None if there was none in this assignment.

    Whoever has the fetch is the only one who changes it, and only by its methods: the agent's
    coroutine while it is processed, then its delivery.
    """

    __slots__ = (
        "_abandoned",
        "_begun",
        "_cut",
        "_done",
        "assignment",
        "committed",
        "follows",
        "log_end",
        "next_offset",
        "raw",
    )

    def __init__(
        self,
        raw: RawFetch,
        log_end: int,
        assignment: Assignment,
        *,
        follows: int | None = None,
        committed: int | None = None,
    ) -> None:
        self.raw = raw
        self.log_end = log_end
        self.assignment = assignment
        self.next_offset = raw.last_offset + 1
        self.follows = follows
        self.committed = committed
        self._begun: Callable[[], None] | None = None
        self._done: Callable[[], None] | None = None
        self._abandoned: Callable[[], None] | None = None
        self._cut: Callable[[int, Fetch], None] | None = None

    def begin(self) -> None:
        """Say that this worker works on the fetch from now on."""
        if self._begun is not None:
            self._begun()

    def release(self) -> None:
        """Let go of the batches: Faust holds on to an event until the next one comes."""
        self.raw = RawFetch(self.raw.topic, self.raw.partition, ())

    def skip_to(self, offset: int) -> None:
        """Leave out what lies below an offset, which is processed already."""
        self.raw = self.raw.since(offset)

    def cut(self, offset: int) -> Fetch:
        """Keep what lies below an offset, which is processed, and give the rest as a fetch of its
        own. Each is done or abandoned by itself."""
        rest = Fetch(
            *(self.raw.since(offset), self.log_end, self.assignment),
            follows=offset,
            committed=self.committed,
        )
        self.next_offset = offset
        self.release()
        if self._cut is not None:
            self._cut(offset, rest)
        return rest

    @property
    def lag(self) -> int:
        """Records of the partition that lay behind this fetch when it was made."""
        return max(0, self.log_end - self.next_offset)

    def done(self) -> None:
        """Say that all matches and rejects of this fetch are acknowledged by the broker.

        Call it in the event loop of the Faust app. Twice is the same as once, and so is to
        abandon it afterwards.
        """
        done = self._done
        self._forget()
        if done is not None:
            done()

    def abandon(self) -> None:
        """Say that this worker will not finish the fetch, so that its end need not wait for it.

        No offset from here on is committed: whoever gets the partition next reads it again.
        """
        abandoned = self._abandoned
        self._forget()
        if abandoned is not None:
            abandoned()

    def _forget(self) -> None:
        # They lead to the message, and that to the fetch: nothing would free it.
        self._begun = self._done = self._abandoned = self._cut = None


class FetchedBatches(NamedTuple):
    """What one fetch brought for one partition, as the consumer thread hands it on."""

    raw: RawFetch
    log_end: int


class _Thread(WorkerThread):
    """A thread that keeps no process alive: whatever it hangs in, the worker's end is the end."""

    def __init__(self, service: ServiceThread, **options: Any) -> None:
        super().__init__(service, **options)
        self.daemon = True


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, whose consumer delivers batches for the opted-in topics."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.room = FetchRoom()
        self._source = _GroupSource(self)
        self.positioned: PositionedFetcher[TP] = PositionedFetcher(self._source)
        super().__init__(*args, **kwargs)

    Worker = _Thread

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        conf = self.app.conf
        return cast(Transport, transport).cluster.consumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=limits.FETCH_WAIT_MS,
            max_partition_fetch_bytes=limits.FETCH_PARTITION_BYTES,
            fetch_max_bytes=limits.FETCH_BYTES,
            metadata_max_age_ms=int(limits.METADATA_MAX_AGE_S * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(limits.REBALANCE_S * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
        )

    async def on_thread_stop(self) -> None:
        try:
            if self._consumer is not None:
                await leave_group(self._consumer)
        finally:
            await super().on_thread_stop()

    async def on_start(self) -> None:
        await super().on_start()
        opted_in = cast(Transport, self.transport).batch_topics
        consumer = self._ensure_consumer()
        deliver_batches(consumer, opted_in.__contains__, self.room.hold)
        self.room.mind(consumer)

    def batch_partitions(self) -> list[Any]:
        """The partitions of the opted-in topics that are assigned."""
        opted_in = cast(Transport, self.transport).batch_topics
        assigned = () if self._consumer is None else self._consumer.assignment()
        return [tp for tp in assigned if tp.topic in opted_in]

    def fetches_from(self, tp: TP) -> int | None:
        """The offset at which a partition is fetched on; None if that is not known now."""
        assignment = None if self._consumer is None else self._source.assignment()
        state = None if assignment is None else assignment.state_value(tp)
        # Asked by another thread, in which it may be gone by the next look.
        return None if state is None else cast("int | None", state._position)

    @Service.task
    async def _hear_of_refusal(self) -> None:
        """End the worker where the group is kept from it.

        aiokafka tells that to whoever asks for records, and without partitions nobody does.
        """
        while not self.should_stop:
            await self.sleep(limits.RETRY_PAUSE_S)
            consumer = self._consumer
            if consumer is None or consumer.assignment():
                continue
            try:
                consumer._coordinator.check_errors()
            except KafkaError as error:
                if not error.retriable:
                    self.parent_loop.call_soon_threadsafe(cast(Any, self.app).on_crash, error)
                    return

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        # Faust's own would print it, with what the exception says.
        log.error("Faust's consumer thread has crashed: %s", fmt[-1], exc_info=fmt[-1])

    async def fetch(self, timeout_s: float, *, restart: bool) -> Fetched[TP] | None:
        """As `PositionedFetcher.fetch`, in the consumer's thread; one `FetchedBatches` for each
        partition of the opted-in topics."""
        return cast(
            "Fetched[TP] | None",
            await self.call_thread(self.positioned.fetch, timeout_s, restart=restart),
        )

    async def log_start(self, tp: TP) -> int:
        """The first offset of a partition that is kept now. Raises KafkaError."""
        return int(await self.call_thread(self._log_start, tp))

    async def _log_start(self, tp: TP) -> int:
        fetcher = self._ensure_consumer()._fetcher
        starts = await fetcher.beginning_offsets([tp], limits.OFFSETS_MS)
        return int(starts[tp])

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        consumer = self._ensure_consumer()
        owned = consumer.assignment()
        try:
            await consumer.commit({tp: offset for tp, offset in offsets.items() if tp in owned})
        except KafkaError as error:
            log.warning("offsets not committed, will be tried again: %s", type(error).__name__)
            return False
        return True

    async def rejoin(self) -> None:
        """Ask the group to rebalance."""
        self._ensure_consumer()._coordinator.request_rejoin()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's own check compares two kinds of clock; the engine's metrics show lag."""


class _GroupSource:
    """What `PositionedFetcher` asks of the group's consumer, in the consumer's thread."""

    def __init__(self, thread: ConsumerThread) -> None:
        self._thread = thread

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        return self._thread._ensure_consumer()

    def assignment(self) -> Any:
        subscription = self._consumer._subscription
        if subscription.reassignment_in_progress or subscription.subscription is None:
            return None
        assignment = subscription.subscription.assignment
        return assignment if assignment is not None and assignment.active else None

    async def wait_for_assignment(self, timeout_s: float) -> Any:
        if self.assignment() is None:
            waiting = self._consumer._subscription.wait_for_assignment()
            done, _ = await asyncio.wait({waiting}, timeout=timeout_s)
            if done:
                waiting.result()  # raises what keeps this consumer from the group
            else:
                waiting.cancel()
        return self.assignment()

    def generation(self) -> int:
        return int(self._consumer._coordinator.generation)

    def may_fetch(self) -> bool:
        return bool(self._thread.consumer.flow_active)

    async def committed(self, assignment: Any) -> Mapping[TP, int | None] | None:
        partitions = list(assignment.tps)
        if not partitions:
            return {}
        asking = asyncio.ensure_future(
            self._consumer._coordinator.fetch_committed_offsets(partitions)
        )
        await asyncio.wait(
            {asking, assignment.unassign_future}, return_when=asyncio.FIRST_COMPLETED
        )
        if not asking.done():
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            return None
        offsets = {tp: found.offset for tp, found in asking.result().items()}
        # A group without a commit has -1, and aiokafka leaves out what it has no answer for.
        return {tp: offset if (offset := offsets.get(tp, -1)) >= 0 else None for tp in partitions}

    def seek(self, starts: Mapping[TP, int | None]) -> None:
        fetcher = self._consumer._fetcher
        state_of = self.assignment().state_value
        for tp, offset in starts.items():
            state = state_of(tp)
            if offset is None:
                fetcher.request_offset_reset([tp], OffsetResetStrategy.EARLIEST)
            elif not state.has_valid_position or state.position != offset:
                fetcher.seek_to(tp, offset)

    async def fetched(self, timeout_s: float) -> Mapping[TP, list[Any]]:
        consumer = self._consumer
        if consumer._closed or consumer._fetcher._closed:
            raise ConsumerStoppedError
        with consumer._fetcher._subscriptions.fetch_context():
            records = await self._taken(consumer, timeout_s)
        return {
            tp: [self._received(consumer, tp, found)] if isinstance(found[0], RawBatch) else found
            for tp, found in records.items()
        }

    async def _taken(self, consumer: AIOKafkaConsumer, timeout_s: float) -> Mapping[Any, Any]:
        try:
            return cast(
                Mapping[Any, Any], await consumer._fetcher.fetched_records(None, timeout=timeout_s)
            )
        except RecordTooLargeError as error:
            # Only of a batch whose length is damaged; aiokafka goes on one offset further.
            _, tp, offset, *_ = error.args
            log.error("a record cannot be read: %s/%d offset %d", tp.topic, tp.partition, offset)
            batches = cast(Transport, self._thread.transport).batch_topics
            return {tp: [RawBatch.unreadable(offset)]} if tp.topic in batches else {}
        except KafkaError as error:
            if not error.retriable:
                raise
            log.warning("fetching failed, will be tried again: %s", type(error).__name__)
            await asyncio.sleep(limits.RETRY_PAUSE_S)
            return {}

    def _received(
        self, consumer: AIOKafkaConsumer, tp: Any, batches: list[RawBatch]
    ) -> FetchedBatches:
        raw = RawFetch(tp.topic, tp.partition, tuple(batches))
        return FetchedBatches(raw, consumer.highwater(tp) or 0)


class _Parts:
    """The parts of a fetch that are neither done nor abandoned, and its message."""

    def __init__(self, message: ConsumerMessage) -> None:
        self.message = message
        self.open_count = 1


class Consumer(driver.Consumer):
    """Faust's consumer with offsets kept by range for the opted-in topics. `current` is the last
    assignment, which may have ended."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.current = no_assignment()
        self.book: OffsetBook[TP] = OffsetBook()
        self._intake: FetchIntake[TP] = FetchIntake(self.book, self)
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if not isinstance(record, FetchedBatches):
            return super()._to_message(tp, record)
        raw = record.raw
        fetch = Fetch(
            *(raw, record.log_end, self.current),
            follows=self.book.expected(tp),
            committed=self.book.committed_to(tp),
        )
        message = ConsumerMessage(
            raw.topic,
            raw.partition,
            raw.last_offset,
            time.time(),
            0,
            [],
            None,
            cast(bytes, fetch),  # Faust passes the value on unread
            None,
            0,
            raw.size_bytes,
            tp,
            generation_id=self.current.generation,
        )
        # Faust's stream has the acknowledging inlined, in compiled code, and asks no method of
        # ours; of a message that is acknowledged already it keeps its hands off.
        message.acked = True
        delivery = self.book.deliver(tp, raw.first_offset, fetch.next_offset, raw.covered_from)
        self._follow(fetch, _Parts(message), delivery)
        return message

    async def perform_seek(self) -> None:
        """Nothing: `engine.transport.positions` seeks, after each assignment."""

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Yield what is fetched, as `FetchIntake.take`. Faust's own throws away without a word what
        a rebalance overtakes."""
        if not self.flow_active:
            await self.wait(cast(Any, self.can_resume_flow))
        if self.should_stop:
            return
        async for tp, record in self._intake.take(timeout):
            # Faust would drop, without a word, a message below the one before.
            self._read_offset[tp] = None
            yield tp, self._to_message(tp, record)

    async def fetch(self, timeout_s: float, *, restart: bool) -> Fetched[TP] | None:
        """As `PositionedFetcher.fetch`."""
        return await cast(ConsumerThread, self._thread).fetch(timeout_s, restart=restart)

    def may_take(self, generation: int) -> bool:
        """Whether what was fetched in this generation may be taken now."""
        return bool(self.current.is_of(generation) and self.flow_active and not self.should_stop)

    def begin(self, partition: TP, start: int | None) -> None:
        """A partition is read from `start` on; None for the start of its log."""
        if partition.topic in cast(Transport, self.transport).batch_topics:
            self.book.begin(partition, start)
        else:
            self._read_offset[partition] = self._committed_offset[partition] = start or None

    def covered_from(self, record: Any) -> int | None:
        """The first offset for which a fetch accounts."""
        return record.raw.covered_from if isinstance(record, FetchedBatches) else None

    async def log_start(self, partition: TP) -> int | None:
        """The first offset that is kept now; None if the broker does not say it."""
        try:
            return await cast(ConsumerThread, self._thread).log_start(partition)
        except KafkaError as error:
            log.warning("the start of a partition is not known yet: %s", type(error).__name__)
            return None

    def reads_expired(self, partition: TP, missing: Missing) -> None:
        """Retention has removed reads before they were read: count and log them."""
        count = missing.next_offset - missing.first
        where = {"topic": partition.topic, "partition": partition.partition}
        log.warning(
            "%d reads were removed by retention before they were read",
            count,
            extra={**where, "offset": missing.first},
        )
        cast(Transport, self.transport).expired(partition.partition, count)

    def reads_skipped(self, partition: TP, missing: Missing) -> None:
        """Reads were left out: end the worker."""
        where = f"{partition.topic}/{partition.partition}"
        cast(Any, self.app).on_crash(SkippedReadsError(missing, where=where))

    def _follow(self, fetch: Fetch, parts: _Parts, delivery: Delivery[TP]) -> None:
        """See to it that a fetch, or a part of one, can become done, be abandoned and be cut."""

        def begun() -> None:
            delivery.begun = True

        def done() -> None:
            self.book.finish(delivery)
            abandoned()

        def abandoned() -> None:
            parts.open_count -= 1
            if not parts.open_count:
                self._forget(parts.message)

        def cut(offset: int, rest: Fetch) -> None:
            parts.open_count += 1
            self._follow(rest, parts, self.book.cut(delivery, offset))

        fetch._begun, fetch._done, fetch._abandoned, fetch._cut = begun, done, abandoned, cut

    @property
    def fetched_bytes(self) -> int:
        """What is fetched and not processed yet, in bytes as fetched."""
        return cast(ConsumerThread, self._thread).room.held_bytes

    def seen(self) -> dict[int, Seen]:
        """What there is to see of each partition that is assigned, by the thread of the app."""
        thread = cast(ConsumerThread, self._thread)
        heard_s = thread.room.heard_s
        seen = {}
        for tp in thread.batch_partitions():
            oldest, committed_to = self.book.oldest(tp), self.book.committed_to(tp)
            work: Work | None = None
            if oldest is not None:
                work = "delivery" if oldest.begun else "waiting"
            seen[tp.partition] = Seen(
                *(self.book.done_to(tp), committed_to, work, heard_s.get(tp)),
                next_offset=self._next_offset(tp),
            )
        return seen

    def _next_offset(self, tp: TP) -> int | None:
        """The offset from which on reads wait to be done; None for the start of the log."""
        if self.book.oldest(tp) is None and not self._intake.is_handing_on:
            # It is behind what holds no read: ends of transactions, and aborted ones.
            position = cast(ConsumerThread, self._thread).fetches_from(tp)
            if position is not None:
                return position
        done_to = self.book.done_to(tp)
        return self.book.start(tp) if done_to is None else done_to

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
        transport = cast(Transport, self.transport)
        reads = {tp: offset for tp, offset in offsets.items() if tp.topic in transport.batch_topics}
        others = {tp: offset for tp, offset in offsets.items() if tp not in reads}
        by_group = super()._commit_offsets
        did_commit = bool(others) and await by_group(others, start_new_transaction)
        if reads:
            topics = {tp.partition: tp for tp in reads}
            taken = await transport.commit(
                self.current,
                {tp.partition: offset for tp, offset in reads.items()},
                lambda: by_group(reads, start_new_transaction),
            )
            for partition, offset in taken.items():
                self.book.committed(topics[partition], offset)
            did_commit = did_commit or bool(taken)
        return bool(did_commit)

    async def rejoin(self) -> None:
        """Ask the group to rebalance."""
        await self._thread.call_thread(cast(ConsumerThread, self._thread).rejoin)

    async def wait_empty(self) -> None:
        """Wait, for a bounded time, until what the agent has begun is done; commit it.

        Faust's own version has no bound and collects garbage in a loop, which takes seconds
        with a long hot list in memory.
        """
        deadline = time.monotonic() + limits.SHUTDOWN_S
        while self._unacked_messages and time.monotonic() < deadline:
            await self._wait_for_ack(timeout=1)
        committing = asyncio.ensure_future(self.commit_and_end_transactions())
        await asyncio.wait({committing}, timeout=limits.LEAVE_S)
        if not committing.done():
            # aiokafka tries for ever while the broker is away. Not awaited: Faust takes the
            # cancelling of a commit for the end of somebody else's, and begins one of its own.
            committing.cancel()
            log.warning("offsets not committed, the reads above them will be processed again")

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self.current.end()
        self.current = Assignment(generation_id, self.rejoin)
        # What was still on its way while they were revoked belongs to no assignment.
        for tp in assigned:
            self.book.drop(tp)
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self.book.drop(tp)


class Transport(driver.Transport):
    """Faust's aiokafka transport with whole fetches for the topics in `batch_topics`.

    Clients are those of `cluster`. `commit` commits offsets of those topics. `expired` is told of
    reads of them that retention has removed before they were read.
    """

    Consumer = Consumer

    def __init__(
        self,
        *args: Any,
        cluster: Cluster,
        batch_topics: Iterable[str] = (),
        commit: Commit = commit_by_group,
        expired: Expired = lambda partition, count: None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.cluster = cluster
        self.commit = commit
        self.expired = expired
        self.batch_topics = frozenset(batch_topics)
