"""The replica of the control topics, and the gate that it holds.

A Faust table would be kept by the consumer group; this replica belongs to nobody's group. It
assigns itself all partitions of both control topics, reads them to the end as it was at the
start, then opens the gate and follows on. Reads are taken only while the gate is open: it
closes when a partition has been silent for too long, because then nobody knows whether the
lists still hold, and opens again when the replica has caught up.

No change is passed over. Every partition is read from its oldest record, and an offset that is
not there any more ends the worker. So does a control topic that is gone, that was made anew or
that was given more partitions; the replica asks the brokers every `limits.METADATA_MAX_AGE_S`.
With partitions added, the changes of one entry would lie in two of them and have no order.

Records are handed on in bounded steps. What was sent to the hot list in one transaction counts
as a whole: from its first batch on, records are handed on to be staged, and when the end of
every transaction that has begun is reached, they are committed. The end of the load is such a
point too. Beyond that the meaning of records is not known here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import MappingProxyType

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    KafkaError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
    UnknownTopicOrPartitionError,
)

from engine import limits
from engine.errors import BrokerError
from engine.kafka.acl_probe import Topic, topics_as_shown
from engine.kafka.diagnosis import refusal
from engine.kafka.raw_fetcher import OpenTransactions, deliver_batches, parse
from engine.kafka.security import PLAINTEXT, Security, arguments
from engine.kafka.topics import Topics
from engine.matching.lists import ControlKind, ControlRecord, Phase
from engine.wire.batch_reader import Unpacker, operator_of
from engine.wire.record_batch import BatchError, RawBatch

_POLL_MS = 200
_RETRY_PAUSE_S = 0.5
_METADATA_PAUSE_S = 0.01
#: A broker that has just started may not know a topic yet: so often all others are asked again.
_GONE_LOOKS = 3

#: By topic and partition, the offset below which nobody asks who made a change.
AuditedTo = Mapping[tuple[ControlKind, int], int]
_NOTHING_AUDITED: AuditedTo = MappingProxyType({})

#: Takes some records of one topic in order, and how they are to be applied.
Apply = Callable[[list[ControlRecord], Phase], Awaitable[None]]
#: Ends the load, or lets what is staged count.
Commit = Callable[[], Awaitable[None]]


class Gate:
    """Whether reads may be taken, and why not."""

    def __init__(self, reason: str) -> None:
        self._open = asyncio.Event()
        self.reason = reason

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    def open(self) -> None:
        self.reason = ""
        self._open.set()

    def close(self, reason: str) -> None:
        self.reason = reason
        self._open.clear()

    async def passed(self) -> None:
        """Wait until the gate is open."""
        await self._open.wait()


class ControlReplica:
    """Follows the control topics and opens and closes `gate`."""

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        apply: Apply,
        commit: Commit,
        *,
        audited_to: AuditedTo = _NOTHING_AUDITED,
        security: Security = PLAINTEXT,
        stale_s: float = limits.CONTROL_STALE_S,
    ) -> None:
        self.gate = Gate("the control topics have not been read to their end yet")
        self._kinds = {topics.hotlist: ControlKind.ENTRY, topics.policies: ControlKind.POLICY}
        self._apply = apply
        self._commit = commit
        self._audited_to = audited_to
        self._phase = Phase.LOADING
        self._open_transactions: OpenTransactions = {}
        self._stale_s = stale_s
        self._heard_s: dict[TopicPartition, float] = {}
        self._polled_ms: dict[TopicPartition, int] = {}
        self._assigned: set[TopicPartition] = set()
        self._unpacker = Unpacker(parse)
        self._ids: dict[str, bytes | None] = {}
        self._consumer = AIOKafkaConsumer(
            **arguments(bootstrap, security),
            group_id=None,
            auto_offset_reset="none",  # else aiokafka would pass records over where it has to
            isolation_level="read_committed",
            enable_auto_commit=False,
            metadata_max_age_ms=int(1000 * limits.METADATA_MAX_AGE_S),
            fetch_max_wait_ms=limits.FETCH_WAIT_MS,
            max_partition_fetch_bytes=limits.FETCH_PARTITION_BYTES,
            fetch_max_bytes=limits.FETCH_BYTES,
        )

    async def start(self) -> None:
        """Connect. Raises BrokerError where the broker or a control topic is not reached."""
        try:
            async with asyncio.timeout(limits.CONNECT_S):
                await self._consumer.start()
                self._open_transactions = deliver_batches(self._consumer, self._kinds.__contains__)
                await self._assign()
        except (KafkaError, TimeoutError, OSError) as error:
            await self._consumer.stop()
            raise self._unreadable(type(error).__name__) from error
        self._heard_s = dict.fromkeys(self._assigned, time.monotonic())

    async def _assign(self) -> None:
        """Begin all partitions of the topics at their oldest record."""
        client = self._consumer._client
        await client.set_topics(self._kinds)
        while not all(map(self._consumer.partitions_for_topic, self._kinds)):
            await asyncio.sleep(_METADATA_PAUSE_S)
            await client.force_metadata_update()
        # Before anything is read: a topic that is made anew from here on has another one.
        self._ids = {each.name: each.id for each in await self._shown()}
        self._assigned = {
            TopicPartition(topic, number)
            for topic in self._kinds
            for number in self._consumer.partitions_for_topic(topic) or ()
        }
        begins = await self._consumer.beginning_offsets(self._assigned)
        self._consumer.assign(list(self._assigned))
        for tp in self._assigned:
            self._consumer.seek(tp, begins[tp])

    async def _shown(self) -> list[Topic]:
        return await topics_as_shown(self._consumer._client, list(self._kinds))

    def _unreadable(self, why: str) -> BrokerError:
        return BrokerError(
            f"the control topics cannot be read ({why})", where=" and ".join(self._kinds)
        )

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def run(self) -> None:
        """Load, open the gate, follow; until cancelled. Raises BrokerError if that is not possible
        any more."""
        tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._watch())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self) -> None:
        try:
            ends = await self._ends()
        except KafkaError as error:
            raise self._unreadable(type(error).__name__) from error
        while not (await self._has_reached(ends) and await self._is_whole()):
            await self._step()
        await self._end_phase()
        self.gate.open()
        while True:
            await self._step()
            if self._phase is Phase.STAGED and await self._is_whole():
                await self._end_phase()
            await self._judge()

    async def _watch(self) -> None:
        """Ask again and again whether the topics are the ones that are read."""
        gone_looks = 0
        while True:
            await asyncio.sleep(_RETRY_PAUSE_S if gone_looks else limits.METADATA_MAX_AGE_S)
            try:
                async with asyncio.timeout(self._stale_s):
                    shown = await self._shown()
            except (KafkaError, TimeoutError, OSError):
                continue  # the silence is what counts; see _judge
            gone = [each.name for each in shown if each.error == UnknownTopicOrPartitionError.errno]
            gone_looks = gone_looks + 1 if gone else 0
            if gone_looks == _GONE_LOOKS:
                raise _other("the broker does not know the topic any more", *gone)
            for topic in shown:
                if not topic.error:
                    self._must_be_the_same(topic)

    def _must_be_the_same(self, shown: Topic) -> None:
        count, had = len(shown.partitions), sum(tp.topic == shown.name for tp in self._assigned)
        if shown.is_other_than(self._ids.get(shown.name)):
            raise _other("the topic was made anew", shown.name)
        if count != had:
            raise _other(f"the topic has {count} partitions now, and had {had}", shown.name)

    async def _step(self) -> None:
        try:
            found = await self._consumer.getmany(
                timeout_ms=_POLL_MS, max_records=limits.CONTROL_BATCHES_A_STEP
            )
        except OffsetOutOfRangeError as error:
            [(tp, offset)] = error.args[0].items()
            raise _other(
                "the topic does not hold the offset any more at which it is read on",
                f"{tp.topic}/{tp.partition}/{offset}",
            ) from error
        except RecordTooLargeError as error:
            # Of a batch whose length is damaged; aiokafka goes on one offset further.
            raise _damaged("corrupt_batch", " and ".join(self._kinds)) from error
        except KafkaError as error:
            if refusal(error) is not None:
                raise self._unreadable(type(error).__name__) from error
            await asyncio.sleep(_RETRY_PAUSE_S)  # the silence is what counts; see _judge
            return
        for tp, batches in found.items():
            first_staged = self._first_staged(tp, batches)
            await self._hand_on(tp, batches[:first_staged])
            if first_staged < len(batches):
                self._phase = Phase.STAGED
                await self._hand_on(tp, batches[first_staged:])

    def _first_staged(self, tp: TopicPartition, batches: list[RawBatch]) -> int:
        """The first batch that must not count before others have come; how many there are
        where none is."""
        if self._phase is Phase.FOLLOWING and self._kinds[tp.topic] is ControlKind.ENTRY:
            for number, batch in enumerate(batches):
                if batch.is_transactional:
                    return number
        return len(batches)

    async def _hand_on(self, tp: TopicPartition, batches: list[RawBatch]) -> None:
        records = self._unpack(tp, batches)
        while some := await asyncio.to_thread(_some, records):
            await self._apply(some, self._phase)

    async def _is_whole(self) -> bool:
        """Whether no transaction has been received in part.

        Where all that the partition holds has been received, none is open, whatever has become
        of its marker.
        """
        for tp, producers in self._open_transactions.items():
            if producers and self._kinds[tp.topic] is ControlKind.ENTRY:
                if await self._consumer.position(tp) < (self._consumer.highwater(tp) or 0):
                    return False
                producers.clear()
        return True

    async def _end_phase(self) -> None:
        await self._commit()
        self._phase = Phase.FOLLOWING

    def _unpack(self, tp: TopicPartition, batches: list[RawBatch]) -> Iterator[ControlRecord]:
        kind = self._kinds[tp.topic]
        # Who made a change is for the audit, which knows the ones below.
        named_from = self._audited_to.get((kind, tp.partition), 0)
        try:
            for batch in batches:
                for record in self._unpacker.each(batch, named_from):
                    offset, timestamp_ms, key, value, headers = record
                    operator = operator_of(headers) if headers else None
                    yield ControlRecord(
                        kind, tp.partition, offset, timestamp_ms, key, value, operator
                    )
        except BatchError as error:
            # A read may be passed over; a change of the lists may not.
            where = f"{tp.topic}/{tp.partition}/{error.next_offset}"
            raise _damaged(error.reason, where) from error

    async def _judge(self) -> None:
        """Open or close the gate by how long ago each partition was heard of."""
        now_s = time.monotonic()
        for tp in self._assigned:
            polled_ms = self._consumer.last_poll_timestamp(tp) or 0
            if polled_ms != self._polled_ms.get(tp):
                self._polled_ms[tp] = polled_ms
                self._heard_s[tp] = now_s
        silent = [tp for tp, heard_s in self._heard_s.items() if now_s - heard_s > self._stale_s]
        if silent:
            names = ", ".join(f"{tp.topic}/{tp.partition}" for tp in sorted(silent))
            self.gate.close(f"nothing heard of {names} for over {self._stale_s:g} s")
        elif not self.gate.is_open:
            await self._catch_up()

    async def _catch_up(self) -> None:
        """After a silence: what was missed first, then the gate."""
        try:
            async with asyncio.timeout(self._stale_s):
                reached = await self._has_reached(await self._ends())
        except (KafkaError, TimeoutError):
            return
        if reached and self._phase is Phase.LOADING:
            reached = await self._is_whole()
            if reached:
                await self._end_phase()
        if reached:
            self.gate.open()

    async def _ends(self) -> dict[TopicPartition, int]:
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(sorted(self._assigned))
        return ends

    async def _has_reached(self, ends: dict[TopicPartition, int]) -> bool:
        for tp, end in ends.items():
            if await self._consumer.position(tp) < end:
                return False
        return True


def _other(what: str, *where: str) -> BrokerError:
    """The topic is not what was read. Only a worker that reads it anew knows the lists again:
    nobody would take away what it held before."""
    return BrokerError(
        what,
        where=" and ".join(sorted(where)),
        hint="start the worker again when it is as it must be, so that the lists are read anew",
    )


def _damaged(reason: str, where: str) -> BrokerError:
    return BrokerError(
        f"a control record cannot be read ({reason})",
        where=where,
        hint="repair the topic or write the lists to it anew",
    )


def _some(records: Iterator[ControlRecord]) -> list[ControlRecord]:
    """The next records, as many as are applied in one step; none where there are no more."""
    some: list[ControlRecord] = []
    size_bytes = 0
    for record in records:
        some.append(record)
        size_bytes += len(record.key or b"") + len(record.value or b"")
        if len(some) == limits.CONTROL_RECORDS_A_STEP or size_bytes >= limits.CONTROL_STEP_BYTES:
            break
    return some
