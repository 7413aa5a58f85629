"""`engine.transport.group_source` on aiokafka's own fetcher: what is fetched, and what is not yet.

Only the network and the group are played. The form of the answers is that of Kafka's protocol,
Fetch version 4 (https://kafka.apache.org/protocol#The_Messages_Fetch).
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import SubscriptionState

from engine.kafka.raw_fetcher import deliver_batches
from engine.transport.group_source import GroupSource
from engine.transport.positions import PositionedFetcher
from tests.fakes.assignments import an_assignment
from tests.fakes.event_loop import settle
from tests.fakes.record_batches import TOPIC, Sent, batch_bytes

GENERATION = 3
STAYS, MOVED = 0, 1
COMMITTED = 100


class Broker:
    """Leads two partitions without end: every fetch finds a batch of one read. `fetches` counts
    the fetches by partition."""

    def __init__(self) -> None:
        self.fetches: Counter[int] = Counter()
        self.cluster = SimpleNamespace(leader_for_partition=lambda _: 1)
        self._loop = asyncio.get_running_loop()
        self._metadata_max_age_ms = 1000

    async def send(self, node: int, request: Any) -> Any:
        await asyncio.sleep(0)
        [(topic, asked)] = request.topics
        found = []
        for partition, offset, _ in asked:
            self.fetches[partition] += 1
            data = batch_bytes([Sent(b"K", b"V")], base_offset=offset)
            found.append((partition, 0, 1 << 40, 1 << 40, None, data))
        return SimpleNamespace(API_VERSION=4, topics=[(topic, found)])


class Member:
    """A member of a group with both partitions; it fetches what `assignment` says is ready."""

    def __init__(self, assigned: tuple[int, ...] = (STAYS, MOVED)) -> None:
        self.broker = Broker()
        self.assignment = an_assignment(GENERATION, on_ready=self._on_ready)
        parts = {TopicPartition(TOPIC, each) for each in assigned}
        #: Where partitions began, as the fetches say it.
        self.starts: dict[int, int | None] = {}
        self._state = SubscriptionState()
        self._state.subscribe({TOPIC})
        self._fetcher = Fetcher(self.broker, self._state)
        self._consumer = SimpleNamespace(
            _fetcher=self._fetcher,
            _subscription=self._state,
            _closed=False,
            _coordinator=SimpleNamespace(
                generation=GENERATION, fetch_committed_offsets=self._committed
            ),
            partitions_for_topic=lambda _: {STAYS, MOVED},
            highwater=lambda _: 1 << 40,
        )
        deliver_batches(cast(Any, self._consumer), {TOPIC}.__contains__)
        self.source = GroupSource(
            lambda: cast(Any, self._consumer),
            lambda: True,
            lambda generation: self.assignment.ready if generation == GENERATION else frozenset(),
            {TOPIC},
        )
        self._positioned: PositionedFetcher[Any] = PositionedFetcher(cast(Any, self.source))
        self._state.assign_from_subscribed(parts)
        for tp in parts:  # as aiokafka does by itself, with what the group has committed
            self._fetcher.seek_to(tp, COMMITTED)

    async def fetch(self) -> dict[int, list[int]]:
        """The offsets of one fetch, by partition."""
        fetched = await self._positioned.fetch(5, restart=False)
        assert fetched is not None
        assert fetched.generation == GENERATION
        self.starts |= {tp.partition: start for tp, start in fetched.starts.items()}
        return {
            tp.partition: [batch.base_offset for one in records for batch in one.raw.batches]
            for tp, records in fetched.records.items()
        }

    async def close(self) -> None:
        await self._fetcher.close()

    def _on_ready(self) -> None:
        asyncio.get_running_loop().call_soon_threadsafe(self.source.fetch_ready)

    async def _committed(self, parts: list[TopicPartition]) -> dict[TopicPartition, Any]:
        return {tp: SimpleNamespace(offset=COMMITTED) for tp in parts}


@asynccontextmanager
async def member(assigned: tuple[int, ...] = (STAYS, MOVED)) -> AsyncIterator[Member]:
    one = Member(assigned)
    try:
        yield one
    finally:
        await one.close()


async def test_a_partition_that_is_not_ready_holds_up_no_other_one() -> None:
    async with member() as one:
        one.assignment.set_ready(STAYS)
        offsets = []
        for _ in range(5):
            fetched = await one.fetch()
            assert fetched.keys() == {STAYS}
            offsets += fetched[STAYS]
        assert offsets == [100, 101, 102, 103, 104]
        assert one.broker.fetches[MOVED] <= 2, "it is not fetched again and again, to be dropped"


async def test_it_is_read_from_its_beginning_when_it_is_ready() -> None:
    async with member() as one:
        one.assignment.set_ready(STAYS)
        for _ in range(3):
            await one.fetch()
        one.assignment.set_ready(MOVED)
        offsets: list[int] = []
        while len(offsets) < 3:
            offsets += (await one.fetch()).get(MOVED, [])
        assert offsets[:3] == [100, 101, 102]


async def test_a_fetch_that_waits_already_takes_it() -> None:
    async with member() as one:
        waiting = asyncio.ensure_future(one.fetch())
        await settle()
        assert not waiting.done()
        one.assignment.set_ready(MOVED)
        assert await waiting == {MOVED: [100]}


async def test_a_partition_that_is_added_begins_where_it_is_told_while_the_other_goes_on() -> None:
    async with member((STAYS,)) as one:
        one.assignment.set_ready(STAYS)
        stays = [*(await one.fetch())[STAYS]]
        moved: list[int] = []
        one.source.add({TopicPartition(TOPIC, MOVED): None}, {TopicPartition(TOPIC, MOVED): 7})
        for _ in range(5):
            stays += (await one.fetch()).get(STAYS, [])
        assert one.starts == {STAYS: COMMITTED, MOVED: None}
        one.assignment.set_ready(MOVED)
        while len(moved) < 3:
            fetched = await one.fetch()
            moved += fetched.get(MOVED, [])
            stays += fetched.get(STAYS, [])
        assert moved[:3] == [7, 8, 9]
        assert stays == [*range(COMMITTED, COMMITTED + len(stays))]


async def test_a_partition_that_is_removed_stops_and_the_other_goes_on() -> None:
    async with member() as one:
        one.assignment.set_ready(STAYS)
        one.assignment.set_ready(MOVED)
        stays: list[int] = []
        while not (fetched := await one.fetch()).get(MOVED):
            stays += fetched.get(STAYS, [])
        stays += fetched.get(STAYS, [])
        # A fetch of it is on its way, and one lies in aiokafka's buffer.
        one.source.remove([TopicPartition(TOPIC, MOVED)])
        for _ in range(10):
            fetched = await one.fetch()
            assert MOVED not in fetched
            stays += fetched.get(STAYS, [])
        assert stays == [*range(COMMITTED, COMMITTED + len(stays))]
        one.source.add({TopicPartition(TOPIC, MOVED): 500}, {TopicPartition(TOPIC, MOVED): 500})
        while not (fetched := await one.fetch()).get(MOVED):
            pass
        assert fetched[MOVED][0] == 500, "it has come back, and begins elsewhere"


async def test_partitions_have_their_turns_in_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka shuffles the partitions of each request, and the broker answers in that order."""
    is_reversed = cycle([False, True])
    monkeypatch.setattr(random, "shuffle", lambda some: some.sort(reverse=next(is_reversed)))
    async with member() as one:
        one.assignment.set_ready(STAYS)
        one.assignment.set_ready(MOVED)
        fetches = [await one.fetch() for _ in range(8)]
    rounds = [[*fetched] for fetched in fetches if len(fetched) == 2]
    assert len(rounds) > 2
    assert all(turns == [STAYS, MOVED] for turns in rounds)


async def test_what_was_ready_in_another_generation_is_not_ready_in_this_one() -> None:
    async with member() as one:
        one.assignment = an_assignment(GENERATION - 1, on_ready=one._on_ready)
        one.assignment.set_ready(STAYS)
        one.source._ready = lambda generation: (  # as the consumer of the worker asks it
            one.assignment.ready if one.assignment.generation == generation else frozenset()
        )
        waiting = asyncio.ensure_future(one.fetch())
        await settle()
        assert not waiting.done()
        one.assignment = an_assignment(GENERATION, on_ready=one._on_ready)
        one.assignment.set_ready(STAYS)
        assert (await waiting).keys() == {STAYS}
