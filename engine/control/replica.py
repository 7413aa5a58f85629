"""The replica of the control topics, which opens and closes the gate before the reads.

A Faust table would be kept by the consumer group; this replica belongs to no group. It assigns
itself all partitions of both control topics, reads them to the end as it was at the start, opens
the gate and follows them. `engine.control.state` decides what to do next; the I/O is here.

No change is skipped. Every partition is read from its oldest record, and an offset that is gone
ends the worker. So does a control topic that was deleted, was recreated or got more partitions; the
replica asks the brokers every `limits.METADATA_MAX_AGE_S`. With more partitions, the changes of one
entry could be in two of them and would have no order.

Records are passed on in bounded steps. This module does not interpret them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Protocol

from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
    UnknownTopicOrPartitionError,
)

from engine import limits
from engine.control.gate import Gate
from engine.control.state import (
    Action,
    CatchUp,
    CloseGate,
    CommitLists,
    ControlState,
    OpenGate,
    Received,
    SeenTopic,
    other_topic,
)
from engine.errors import BrokerError
from engine.kafka.acl_probe import Topic, topics_as_shown
from engine.kafka.cluster import Cluster
from engine.kafka.diagnosis import refusal
from engine.kafka.raw_fetcher import OpenTransactions, deliver_batches, parse
from engine.matching.control_records import ControlRecords
from engine.matching.lists import ControlKind, Phase
from engine.wire.batch_reader import BatchReader, every_step, unreadable_record
from engine.wire.record_batch import RawBatch


class Updates(Protocol):
    """The part of `engine.control.list_updater.ListUpdater` that is used here."""

    @property
    def audited_to(self) -> Mapping[tuple[ControlKind, int], int]:
        """By topic and partition, the offset below which the operator of a change is not needed."""

    async def apply(self, records: ControlRecords, phase: Phase) -> None:
        """Apply some records of one topic, in their order."""

    async def commit(self) -> None:
        """End the load, or commit the staged records."""


class ControlReplica:
    """Follows the control topics; opens and closes `gate`."""

    def __init__(
        self,
        cluster: Cluster,
        updater: Updates,
        gate: Gate,
        *,
        stale_s: float = limits.CONTROL_STALE_S,
    ) -> None:
        self.gate = gate
        self._updater = updater
        topics = cluster.topics
        self._hotlist = topics.hotlist
        self._kinds = {topics.hotlist: ControlKind.ENTRY, topics.policies: ControlKind.POLICY}
        self._stale_s = stale_s
        self._open_transactions: OpenTransactions = {}
        self._assigned: list[TopicPartition] = []
        self._ids: dict[str, bytes | None] = {}
        self._batch_reader = BatchReader(parse)
        self._consumer = cluster.reader(
            reset="none",  # otherwise aiokafka would skip records if an offset is gone
            metadata_max_age_ms=int(1000 * limits.METADATA_MAX_AGE_S),
            max_partition_fetch_bytes=limits.FETCH_PARTITION_BYTES,
            fetch_max_bytes=limits.FETCH_BYTES,
        )

    async def start(self) -> None:
        """Connect. Raises BrokerError if the broker or a control topic cannot be reached."""
        self.gate.close("the control topics have not been read to their end yet")
        try:
            async with asyncio.timeout(limits.CONNECT_S):
                await self._consumer.start()
                self._open_transactions = deliver_batches(self._consumer, self._kinds.__contains__)
                await self._assign()
        except (KafkaError, TimeoutError, OSError) as error:
            await self._consumer.stop()
            raise self._unreadable(type(error).__name__) from error

    async def _assign(self) -> None:
        """Begin all partitions of the topics at their oldest record."""
        consumer = self._consumer
        await consumer._client.set_topics(self._kinds)
        while not all(map(consumer.partitions_for_topic, self._kinds)):
            await asyncio.sleep(limits.METADATA_PAUSE_S)
            await consumer._client.force_metadata_update()
        # Before anything is read: a topic that is recreated from here on has another id.
        described = await self._describe()
        while any(topic.error for topic in described):
            # A description with an error has no id, and without it a later topic is not noticed.
            await asyncio.sleep(limits.METADATA_PAUSE_S)
            described = await self._describe()
        self._ids = {topic.name: topic.id for topic in described}
        self._assigned = [
            TopicPartition(topic, number)
            for topic in self._kinds
            for number in sorted(consumer.partitions_for_topic(topic))
        ]
        begins = await consumer.beginning_offsets(self._assigned)
        consumer.assign(self._assigned)
        for tp in self._assigned:
            consumer.seek(tp, begins[tp])

    async def _describe(self) -> list[Topic]:
        return await topics_as_shown(self._consumer._client, list(self._kinds))

    def _unreadable(self, why: str) -> BrokerError:
        return BrokerError(
            f"the control topics cannot be read ({why})", where=" and ".join(self._kinds)
        )

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def run(self) -> None:
        """Load the topics, open the gate and follow them, until cancelled.

        Raises BrokerError if it cannot follow them any more.
        """
        try:
            ends = await self._ends()
        except KafkaError as error:
            raise self._unreadable(type(error).__name__) from error
        state = ControlState(self._hotlist, ends, self._stale_s)
        tasks = [asyncio.create_task(self._follow(state)), asyncio.create_task(self._watch(state))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, state: ControlState) -> None:
        while True:
            received = await self._received()
            now_s = time.monotonic()
            await self._act(state, state.turn(received, now_s, is_open=self.gate.is_open))
            await self._step(state)

    async def _watch(self, state: ControlState) -> None:
        """Check regularly that the topics are still those that were read."""
        while True:
            await asyncio.sleep(state.look_again_s)
            try:
                async with asyncio.timeout(self._stale_s):
                    topics = await self._describe()
            except (KafkaError, TimeoutError, OSError):
                continue  # only the silence counts
            state.described(
                SeenTopic(
                    topic.name,
                    len(topic.partitions),
                    is_gone=topic.error == UnknownTopicOrPartitionError.errno,
                    is_anew=topic.is_other_than(self._ids.get(topic.name)),
                )
                for topic in topics
                if topic.error in (0, UnknownTopicOrPartitionError.errno)
            )

    async def _act(self, state: ControlState, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case CommitLists():
                    await self._updater.commit()
                case OpenGate():
                    self.gate.open()
                case CloseGate(reason):
                    self.gate.close(reason)
                case CatchUp():
                    await self._catch_up(state)

    async def _catch_up(self, state: ControlState) -> None:
        try:
            async with asyncio.timeout(self._stale_s):
                ends = await self._ends()
                received = await self._received()
        except (KafkaError, TimeoutError):
            return
        await self._act(state, state.caught_up(received, ends))

    async def _step(self, state: ControlState) -> None:
        """Fetch records, and pass them on."""
        try:
            most = limits.LOAD_BATCHES_A_STEP if state.is_loading else limits.CONTROL_BATCHES_A_STEP
            found = await self._consumer.getmany(timeout_ms=limits.POLL_MS, max_records=most)
        except OffsetOutOfRangeError as error:
            [(tp, offset)] = error.args[0].items()
            raise other_topic(
                "the topic does not hold the offset any more at which it is read on",
                f"{tp.topic}/{tp.partition}/{offset}",
            ) from error
        except RecordTooLargeError as error:
            # The length of a batch is damaged; aiokafka would continue one offset further.
            raise unreadable_record("corrupt_batch", " and ".join(self._kinds)) from error
        except KafkaError as error:
            if refusal(error) is not None:
                raise self._unreadable(type(error).__name__) from error
            await asyncio.sleep(limits.RETRY_PAUSE_S)  # the silence is what counts
            return
        for tp, batches in found.items():
            for each in state.batches(tp, [batch.is_transactional for batch in batches]):
                await self._hand_on(tp, batches[each.first : each.stop], each.phase)

    async def _hand_on(self, tp: TopicPartition, batches: list[RawBatch], phase: Phase) -> None:
        steps = self._unpack(tp, batches, phase)
        while (some := await asyncio.to_thread(next, steps, None)) is not None:
            await self._updater.apply(some, phase)

    async def _received(self) -> dict[TopicPartition, Received]:
        received: dict[TopicPartition, Received] = {}
        for tp in self._assigned:
            open_producers = self._open_transactions.get(tp, set())
            received[tp] = Received(
                position=await self._consumer.position(tp),
                log_end=self._consumer.highwater(tp) or 0,
                answered_ms=self._consumer.last_poll_timestamp(tp) or 0,
                is_partial=bool(open_producers),
            )
            if received[tp].is_whole:
                open_producers.clear()
        return received

    def _unpack(
        self, tp: TopicPartition, batches: list[RawBatch], phase: Phase
    ) -> Iterator[ControlRecords]:
        kind = self._kinds[tp.topic]
        # The operator of a change is for the audit, which has the changes below already.
        named_from = self._updater.audited_to.get((kind, tp.partition), 0)
        bounds = (
            (limits.LOAD_RECORDS_A_STEP, limits.LOAD_STEP_BYTES)
            if phase is Phase.LOADING
            else (limits.CONTROL_RECORDS_A_STEP, limits.CONTROL_STEP_BYTES)
        )
        where = f"{tp.topic}/{tp.partition}"
        for some in every_step(self._batch_reader, where, batches, named_from, *bounds):
            yield ControlRecords(kind, tp.partition, some)

    async def _ends(self) -> dict[TopicPartition, int]:
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(self._assigned)
        return ends
