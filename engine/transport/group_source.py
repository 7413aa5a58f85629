"""The group's aiokafka consumer, as `engine.transport.positions` uses it.

All of it runs in the consumer thread. It knows aiokafka's internals, and not Faust.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, Final, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import OffsetResetStrategy
from aiokafka.consumer.subscription_state import TopicPartitionState
from aiokafka.errors import ConsumerStoppedError, KafkaError, RecordTooLargeError
from aiokafka.structs import OffsetAndMetadata

from engine import limits
from engine.transport.fetch import FetchedBatches
from engine.wire.record_batch import RawBatch, RawFetch

log = logging.getLogger(__name__)

#: The offset of a group that has committed none.
_NO_COMMIT: Final = -1


class GroupSource:
    """The source of a `PositionedFetcher`, whose methods it has.

    `consumer` returns the group's consumer, and `may_fetch` whether the application takes
    anything now. The topics in `batch_topics` are fetched as whole batches, and of their partitions
    only those that `ready` returns for the generation; call `fetch_ready` when there are more.
    """

    def __init__(
        self,
        consumer: Callable[[], AIOKafkaConsumer],
        may_fetch: Callable[[], bool],
        ready: Callable[[int], Set[int]],
        batch_topics: Set[str],
    ) -> None:
        self._get_consumer = consumer
        self._may_fetch = may_fetch
        self._ready = ready
        self._batch_topics = batch_topics
        #: The generation in which the assignment began; None if that is the group's own.
        self.began_in: int | None = None
        self._added: dict[TopicPartition, int | None] = {}

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        return self._get_consumer()

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
        if self.began_in is not None:
            return self.began_in
        return int(self._consumer._coordinator.generation)

    def may_fetch(self) -> bool:
        return self._may_fetch()

    async def committed(self, assignment: Any) -> Mapping[TopicPartition, int | None] | None:
        asking = asyncio.ensure_future(self.committed_of(assignment.tps))
        await asyncio.wait(
            {asking, assignment.unassign_future}, return_when=asyncio.FIRST_COMPLETED
        )
        if not asking.done():
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            return None
        return asking.result()

    async def committed_of(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int | None]:
        """Return the committed offset of partitions, None if there is none. Raises KafkaError."""
        partitions = list(partitions)
        if not partitions:
            return {}
        answer = await self._consumer._coordinator.fetch_committed_offsets(partitions)
        offsets = {tp: found.offset for tp, found in answer.items()}
        # A group without a commit has -1, and aiokafka leaves out what it has no answer for.
        return {tp: offset if (offset := offsets.get(tp, -1)) >= 0 else None for tp in partitions}

    async def first_offsets(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Return the first offset that the log of each partition keeps. Raises KafkaError."""
        partitions = list(partitions)
        if not partitions:
            return {}
        fetcher = self._consumer._fetcher
        return dict(await fetcher.beginning_offsets(partitions, limits.OFFSETS_MS))

    def add(
        self, starts: Mapping[TopicPartition, int | None], positions: Mapping[TopicPartition, int]
    ) -> None:
        """Add partitions to the current assignment, each with its position. The others go on:
        aiokafka's own way is a new assignment, for which it drops all that it has fetched.

        They are fetched as soon as they are ready.
        """
        assignment, fetcher = self.assignment(), self._consumer._fetcher
        for tp in starts:
            state = assignment._tp_state[tp] = TopicPartitionState(assignment)
            state.seek(positions[tp])
            state.pause()
        assignment._topic_partitions |= starts.keys()
        self._added.update(starts)
        self.fetch_ready()
        fetcher._notify(fetcher._wait_consume_future)

    def remove(self, partitions: Iterable[TopicPartition]) -> None:
        """Take partitions out of the current assignment. What was fetched of them is dropped, and
        so is what comes still, because they have no position any more."""
        assignment, fetcher = self.assignment(), self._consumer._fetcher
        partitions = frozenset(partitions) & assignment.tps
        assignment._topic_partitions -= partitions
        for tp in partitions:
            self._added.pop(tp, None)
            fetcher._records.pop(tp, None)
            state = assignment.state_value(tp)
            state._position = None
            # aiokafka may wait for this, and asks the group about assigned partitions only.
            state.update_committed(OffsetAndMetadata(_NO_COMMIT, ""))

    def added(self) -> Mapping[TopicPartition, int | None]:
        added, self._added = self._added, {}
        return added

    def seek(self, starts: Mapping[TopicPartition, int | None]) -> None:
        assignment, fetcher = self.assignment(), self._consumer._fetcher
        for tp, offset in starts.items():
            if tp not in assignment.tps:
                continue
            state = assignment.state_value(tp)
            if offset is None:
                fetcher.request_offset_reset([tp], OffsetResetStrategy.EARLIEST)
            elif not state.has_valid_position or state.position != offset:
                fetcher.seek_to(tp, offset)

    async def fetched(self, timeout_s: float) -> Mapping[TopicPartition, list[Any]]:
        consumer = self._consumer
        if consumer._closed or consumer._fetcher._closed:
            raise ConsumerStoppedError
        self.fetch_ready()
        with consumer._fetcher._subscriptions.fetch_context():
            records = await self._taken(consumer, timeout_s)
        # In one order each partition has its turn once a round. aiokafka shuffles them for each
        # request, so that one could come last in one round and first, or last again, in the next.
        return {
            tp: [self._received(consumer, tp, found)] if isinstance(found[0], RawBatch) else found
            for tp, found in sorted(records.items())
        }

    def fetch_ready(self) -> None:
        """Fetch the partitions that are ready, and no others: pause these, and resume those.

        aiokafka drops what it has fetched of a paused partition already, and fetches it again from
        the same offset.
        """
        assignment = self.assignment()
        if assignment is None:
            return
        ready = self._ready(self.generation())
        for tp in assignment.tps:
            state = assignment.state_value(tp)
            may_fetch = tp.topic not in self._batch_topics or tp.partition in ready
            if may_fetch and state.paused:
                state.resume()
            elif not may_fetch and not state.paused:
                state.pause()

    async def _taken(self, consumer: AIOKafkaConsumer, timeout_s: float) -> Mapping[Any, Any]:
        try:
            return cast(
                Mapping[Any, Any], await consumer._fetcher.fetched_records(None, timeout=timeout_s)
            )
        except RecordTooLargeError as error:
            # Only of a batch whose length is damaged; aiokafka goes on one offset further.
            _, tp, offset, *_ = error.args
            log.error("a record cannot be read: %s/%d offset %d", tp.topic, tp.partition, offset)
            return {tp: [RawBatch.unreadable(offset)]} if tp.topic in self._batch_topics else {}
        except KafkaError as error:
            if not error.retriable:
                raise
            log.warning("fetching failed, will be tried again: %s", type(error).__name__)
            await asyncio.sleep(limits.RETRY_PAUSE_S)
            return {}

    def _received(
        self, consumer: AIOKafkaConsumer, tp: Any, batches: list[RawBatch]
    ) -> FetchedBatches:
        count = len(consumer.partitions_for_topic(tp.topic) or ())
        raw = RawFetch(tp.topic, tp.partition, tuple(batches), count)
        return FetchedBatches(raw, consumer.highwater(tp) or 0)
