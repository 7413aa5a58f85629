"""Faust's consumer, which keeps the offsets of the batch topics by range.

It makes one message of each fetch, commits the offsets of fetches that are done, and reports what
can be observed of each partition. `engine.transport.driver` says how it differs from Faust's own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Set
from functools import partial
from typing import Any, cast

from aiokafka.errors import KafkaError
from faust.types import TP, ConsumerMessage
from mode.services import WaitResults
from mode.utils.futures import notify

from engine.observability.stall import Seen, Work
from engine.transport.assignment import Assignment, no_assignment
from engine.transport.batch_topics import BatchTopics
from engine.transport.consumer_thread import ConsumerThread
from engine.transport.draining import DrainingConsumer
from engine.transport.fetch import Fetch, FetchedBatches, FetchParts
from engine.transport.holdings import Holdings
from engine.transport.offsets import Missing, OffsetBook, SkippedReadsError
from engine.transport.positions import Fetched, FetchIntake

log = logging.getLogger(__name__)


class Consumer(DrainingConsumer):
    """See the module. `holdings` has the assignments of the reads."""

    def __init__(self, *args: Any, batch_topics: BatchTopics, **kwargs: Any) -> None:
        self._topics = batch_topics
        self.book: OffsetBook[TP] = OffsetBook()
        self._intake: FetchIntake[TP] = FetchIntake(self.book, self)
        super().__init__(*args, **kwargs)
        self.holdings = Holdings(batch_topics, self)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, batch_topics=self._topics, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if not isinstance(record, FetchedBatches):
            return super()._to_message(tp, record)
        raw = record.raw
        assignment = self.holdings.assignments.of(raw.partition) or no_assignment()
        fetch = Fetch(
            *(raw, record.log_end, assignment),
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
            # Of single partitions that come and go Faust's stream need not know.
            generation_id=self.holdings.assignments.generation,
        )
        # Faust's stream has the acknowledging inlined, in compiled code, and calls no method of
        # ours. It leaves a message alone that is acknowledged already.
        message.acked = True
        delivery = self.book.deliver(tp, raw.first_offset, fetch.next_offset, raw.covered_from)
        FetchParts(self.book, partial(self._on_closed, message)).add(fetch, delivery)
        return message

    async def perform_seek(self) -> None:
        """Nothing: `engine.transport.positions` seeks, after each assignment."""

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Yield what is fetched, as `FetchIntake.take`. Faust's own drops what a rebalance
        overtakes, and does not report it."""
        if not self.flow_active:
            await self.wait(cast(Any, self.can_resume_flow))
        if self.should_stop:
            return
        async for tp, record in self._intake.take(timeout):
            # Faust would drop a message below the one before, and not report it.
            self._read_offset[tp] = None
            yield tp, self._to_message(tp, record)

    async def wait_first(self, *coros: Any, timeout: Any = None) -> Any:
        """Return which is done first, as Faust's own does with a task for each, and for two events.

        Faust passes on each message in such a race, which a message that need not wait has won
        after one task.
        """
        if len(coros) != 2 or not all(map(asyncio.iscoroutine, coros)):
            return await super().wait_first(*coros, timeout=timeout)
        passing_on, suspended = coros
        task = asyncio.ensure_future(passing_on)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            task.cancel()
            suspended.close()
            raise
        if not task.done() or self._stopped.is_set() or self._crashed.is_set():
            return await super().wait_first(task, suspended, timeout=timeout)
        suspended.close()
        return WaitResults([passing_on], [task.result()], False)

    async def fetch(self, timeout_s: float, *, restart: bool) -> Fetched[TP] | None:
        """As `PositionedFetcher.fetch`."""
        return await cast(ConsumerThread, self._thread).fetch(timeout_s, restart=restart)

    def may_take(self, generation: int) -> bool:
        """Whether what was fetched in this generation may be taken now."""
        is_current = generation == self.holdings.assignments.generation
        return bool(is_current and self.flow_active and not self.should_stop)

    def assignment_of(self, partition: TP) -> Assignment | bool | None:
        """The assignment of a partition of the reads; another topic's are Faust's affair."""
        if partition.topic not in self._topics.names:
            return True
        return self.holdings.assignments.of(partition.partition)

    def ready(self, generation: int) -> frozenset[int]:
        """The partitions whose reads may be fetched in this generation; for any thread."""
        assignments = self.holdings.assignments
        return assignments.ready() if assignments.generation == generation else frozenset()

    def begin(self, partition: TP, start: int | None) -> None:
        """A partition is read from `start` on; None for the start of its log."""
        if partition.topic in self._topics.names:
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
        self._topics.expired(partition.partition, count)

    def reads_skipped(self, partition: TP, missing: Missing) -> None:
        """Reads were left out: end the worker."""
        where = f"{partition.topic}/{partition.partition}"
        self.failed(SkippedReadsError(missing, where=where))

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

    def _on_closed(self, message: ConsumerMessage) -> None:
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)

    def on_buffer_full(self, tp: TP) -> None:
        # Faust would pause the partition and, once all are paused, sleep for a second. A full
        # buffer holds the fetching back without that: nothing is requested until it has room.
        if tp.topic not in self._topics.names:
            super().on_buffer_full(tp)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if tp.topic not in self._topics.names:
            await super()._add_gap(tp, offset_from, offset_to)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        yield from super()._filter_tps_with_pending_acks(topics)
        for tp in self.book.partitions():
            if topics is None or tp in topics or tp.topic in topics:
                yield tp

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        offsets: dict[TP, int] = super()._filter_committable_offsets(
            tp for tp in tps if tp.topic not in self._topics.names
        )
        for tp in self.book.partitions():
            offset = self.book.to_commit(tp)
            if offset is not None:
                offsets[tp] = offset
        return offsets

    async def _commit_offsets(
        self, offsets: Mapping[TP, int], start_new_transaction: bool = True
    ) -> bool:
        reads = {tp: offset for tp, offset in offsets.items() if tp.topic in self._topics.names}
        others = {tp: offset for tp, offset in offsets.items() if tp not in reads}
        by_group = super()._commit_offsets
        did_commit = bool(others) and await by_group(others, start_new_transaction)
        if reads:
            topics = {tp.partition: tp for tp in reads}
            taken = await self._topics.commit(
                {tp.partition: offset for tp, offset in reads.items()},
                # Faust's own leaves out what is revoked but not drained yet.
                lambda: self._commit(reads),
            )
            for partition, offset in taken.items():
                self.book.committed(topics[partition], offset)
            did_commit = did_commit or bool(taken)
        return bool(did_commit)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        if not self.app.should_stop:
            self.holdings.begin(assigned, generation_id)
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super().on_partitions_revoked(revoked)
        if not self.app.should_stop:
            await self.holdings.revoke_all(revoked)

    # What `Holdings` asks for.

    def route(self, partitions: Set[TP]) -> None:
        conductor = cast(Any, self.app.topics)
        conductor._update_tp_index(partitions)
        conductor._update_callback_map()

    def drop(self, partitions: Iterable[TP]) -> None:
        for tp in partitions:
            self.book.drop(tp)

    async def reassign(self, partition: int) -> None:
        thread = cast(ConsumerThread, self._thread)
        tps = {TP(topic, partition) for topic in self._topics.names}
        await thread.call_thread(thread.reassign, tps)

    def on_ready(self) -> None:
        cast(ConsumerThread, self._thread).fetch_ready()

    def failed(self, error: BaseException) -> None:
        cast(Any, self.app).on_crash(error)
