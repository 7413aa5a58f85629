"""`engine.transport.driver` under a small Faust app: what is delivered, and what is committed
when.

Nothing here matches anything: the agent hands every fetch to the test, which says `done()`
when it likes. "Not committed" is asked after a commit was forced, not after some time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import faust
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from yarl import URL

from engine import limits
from engine.kafka.cluster import Cluster
from engine.kafka.raw_fetcher import parse
from engine.kafka.topics import Topics
from engine.transport.assignment import Assignment
from engine.transport.batch_topics import commit_by_group
from engine.transport.consumer import Consumer
from engine.transport.driver import Transport
from engine.transport.fetch import Fetch
from tests.kafka.conftest import Broker
from tests.kafka.records import (
    ToSend,
    committed_offsets,
    produce,
    producing,
    send_to_partition,
    until,
)


class Taker:
    """A Faust app whose agents hand what they get to the test."""

    def __init__(self, bootstrap: str, prefix: str, directory: Path) -> None:
        topics = Topics(prefix)
        servers = [URL(f"kafka://{server}") for server in bootstrap.split(",")]
        loop = asyncio.get_running_loop()
        self.fetches: list[Fetch] = []
        self.ordinary: list[bytes] = []
        self.app = faust.App(
            f"{prefix}group",
            broker=servers,
            loop=loop,
            datadir=directory,
            autodiscover=False,
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            stream_wait_empty=True,
            broker_commit_interval=0.1,
            broker_session_timeout=6.0,
            broker_heartbeat_interval=1.0,
        )
        self.app.transport = Transport(
            servers,
            self.app,
            loop=loop,
            cluster=Cluster(bootstrap, topics),
            batch_topics=[topics.detections],
            commit=commit_by_group,
            on_assigned=_all_ready,
            on_revoked=_nothing,
        )

        def raw(topic: str) -> Any:
            return self.app.topic(topic, key_serializer="raw", value_serializer="raw")

        async def take_fetches(stream: Any) -> None:
            async for fetch in stream:
                self.fetches.append(fetch)

        async def take_ordinary(stream: Any) -> None:
            async for value in stream:
                self.ordinary.append(value)

        self.app.agent(raw(topics.detections), name="fetches")(take_fetches)
        self.app.agent(raw(topics.matches), name="ordinary")(take_ordinary)

    async def has_taken(self, records: int) -> None:
        """Wait until fetches with so many records have come."""

        async def so() -> bool:
            return sum(len(offsets(fetch)) for fetch in self.fetches) >= records

        await until(so, f"{records} records", lambda: f"{self.fetches}")

    async def commit(self) -> None:
        """Commit whatever may be committed now."""
        await self.app.consumer.commit()

    def of_partition(self, partition: int) -> list[Fetch]:
        return [fetch for fetch in self.fetches if fetch.raw.partition == partition]


def _all_ready(assignment: Assignment, partitions: Iterable[int]) -> None:
    for partition in partitions:
        assignment.set_ready(partition)


async def _nothing(assignment: Assignment, partitions: Iterable[int]) -> None: ...


@asynccontextmanager
async def taking(bootstrap: str, prefix: str, directory: Path) -> AsyncIterator[Taker]:
    """A started app; what it has not done at the end is abandoned."""
    taker = Taker(bootstrap, prefix, directory)
    await taker.app.start()
    try:
        yield taker
    finally:
        for fetch in taker.fetches:
            fetch.abandon()
        await taker.app.stop()


def offsets(fetch: Fetch) -> list[int]:
    """The offsets of a fetch's records, by aiokafka's own parser."""
    return [record.offset for batch in fetch.raw.batches for record in parse(batch)]


def numbered(count: int) -> list[ToSend]:
    return [ToSend(b"K", b"%d" % number) for number in range(count)]


async def committed(bootstrap: str, prefix: str, topic: str = "detections") -> dict[int, int]:
    """What the group has committed, by partition."""
    name = Topics(prefix).name(topic)
    found = await committed_offsets(bootstrap, name, f"{prefix}group")
    return {tp.partition: offset for tp, offset in found.items()}


async def test_committed_is_what_is_done(broker: Broker, prefix: str, tmp_path: Path) -> None:
    topic = Topics(prefix).detections
    async with taking(broker.bootstrap, prefix, tmp_path) as taker:
        for part in range(3):  # one after the other, so that they are three fetches
            await produce(broker.bootstrap, topic, {0: numbered(10)})
            await taker.has_taken(10 * (part + 1))
        first, *between, last = taker.fetches
        assert offsets(first)[0] == 0
        assert [first.raw.last_offset, last.raw.last_offset] == [9, 29]
        await taker.commit()
        assert await committed(broker.bootstrap, prefix) == {}
        last.done()
        await taker.commit()
        assert await committed(broker.bootstrap, prefix) == {}, "the first is not done"
        first.done()
        await taker.commit()
        assert await committed(broker.bootstrap, prefix) == {0: 10}
        for fetch in between:
            fetch.done()
            fetch.done()
        await taker.commit()
        assert await committed(broker.bootstrap, prefix) == {0: 30}
    assert await committed(broker.bootstrap, prefix) == {0: 30}


async def test_what_is_not_done_is_not_committed_at_the_end(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    topic = Topics(prefix).detections
    await produce(broker.bootstrap, topic, {0: numbered(10)})
    async with taking(broker.bootstrap, prefix, tmp_path) as taker:
        await taker.has_taken(10)
    assert await committed(broker.bootstrap, prefix) == {}


async def test_a_restart_begins_where_the_last_one_ended(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    topic = Topics(prefix).detections
    async with taking(broker.bootstrap, prefix, tmp_path) as taker:
        await produce(broker.bootstrap, topic, {0: numbered(10), 1: numbered(5)})
        await taker.has_taken(15)
        for fetch in taker.fetches:
            fetch.done()
        await produce(broker.bootstrap, topic, {0: numbered(10)})
        await taker.has_taken(25)
    assert await committed(broker.bootstrap, prefix) == {0: 10, 1: 5}
    async with taking(broker.bootstrap, prefix, tmp_path) as taker:
        await taker.has_taken(10)
        assert [fetch.raw.partition for fetch in taker.fetches] == [0]
        assert offsets(taker.fetches[0]) == list(range(10, 20))
        assert taker.fetches[0].raw.first_offset == 10


async def test_a_restart_in_the_middle_of_a_batch(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    """The broker sends whole batches; what was done before is cut off the first."""
    tp = TopicPartition(Topics(prefix).detections, 0)
    await produce(broker.bootstrap, tp.topic, {0: numbered(10)})
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap, group_id=f"{prefix}group", enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign([tp])
        await consumer.commit({tp: 4})
    finally:
        await consumer.stop()
    async with taking(broker.bootstrap, prefix, tmp_path) as taker:
        await taker.has_taken(6)
        (fetch,) = taker.fetches
        assert fetch.raw.batches[0].base_offset == 0
        assert fetch.raw.first_offset == 4
        assert offsets(fetch) == [4, 5, 6, 7, 8, 9]
        assert fetch.lag == 0
        fetch.done()
        await taker.commit()
        assert await committed(broker.bootstrap, prefix) == {0: 10}


async def test_other_topics_are_as_ever(broker: Broker, prefix: str, tmp_path: Path) -> None:
    topics = Topics(prefix)
    values = [record.value for record in numbered(20)]
    async with taking(broker.bootstrap, prefix, tmp_path) as taker:
        await produce(broker.bootstrap, topics.matches, {0: numbered(20)})
        await produce(broker.bootstrap, topics.detections, {0: numbered(20)})
        await taker.has_taken(20)

        async def all_came() -> bool:
            await taker.commit()
            return await committed(broker.bootstrap, prefix, "matches") == {0: 20}

        await until(all_came, "ordinary messages are committed", lambda: f"{taker.ordinary}")
        assert taker.ordinary == values
        assert await committed(broker.bootstrap, prefix) == {}


async def test_offsets_that_are_missing(real_kafka: str, prefix: str, tmp_path: Path) -> None:
    """The beginning deleted, transactions with their markers, an aborted one in the middle."""
    topic = Topics(prefix).detections
    await produce(real_kafka, topic, {0: numbered(10)})
    admin = AIOKafkaAdminClient(bootstrap_servers=real_kafka)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(6)})
    finally:
        await admin.close()
    async with producing(real_kafka, acks="all", transactional_id=f"{prefix}reads") as producer:
        for commit in (True, False, True):
            await producer.begin_transaction()
            await send_to_partition(producer, topic, 0, numbered(3))
            await (producer.commit_transaction() if commit else producer.abort_transaction())
    async with taking(real_kafka, prefix, tmp_path) as taker:
        wanted = [6, 7, 8, 9, *range(10, 13), *range(18, 21)]
        await taker.has_taken(len(wanted))
        assert [offset for fetch in taker.fetches for offset in offsets(fetch)] == wanted
        for fetch in taker.fetches:
            fetch.done()
        await taker.commit()
        assert await committed(real_kafka, prefix) == {0: 21}


async def test_a_rebalance_waits_for_what_is_in_flight(
    real_kafka: str, prefix: str, tmp_path: Path
) -> None:
    """What becomes done while partitions are revoked is committed, and nobody gets it again."""
    topic = Topics(prefix).detections
    await produce(real_kafka, topic, {partition: numbered(10) for partition in range(4)})
    async with taking(real_kafka, prefix, tmp_path) as first:
        await first.has_taken(40)
        before = list(first.fetches)

        async def finish() -> None:
            await revoking(first)
            for fetch in before:
                fetch.done()

        finishing = asyncio.create_task(finish())
        async with taking(real_kafka, prefix, tmp_path) as second:
            await finishing
            await shared(first, second)
            await produce(real_kafka, topic, {partition: numbered(1) for partition in range(4)})

            def late() -> list[Fetch]:
                return [*first.fetches[len(before) :], *second.fetches]

            async def all_came() -> bool:
                return {fetch.raw.partition for fetch in late()} == {0, 1, 2, 3}

            await until(all_came, "the new read of each partition", lambda: f"{late()}")
            assert [offsets(fetch) for fetch in late()] == [[10]] * 4
            assert first.fetches[len(before) :], "the first has no partition any more"
            assert second.fetches


async def revoking(taker: Taker) -> None:
    """Wait until an app waits for what it has in flight, because of a rebalance."""
    assignments = cast(Consumer, taker.app.consumer).holdings.assignments

    async def so() -> bool:
        owned = [(part, assignments.of(part)) for part in assignments.partitions()]
        return any(one is not None and not one.may_begin(part) for part, one in owned)

    await until(so, "partitions are being revoked")


async def shared(first: Taker, second: Taker) -> None:
    """Wait until both apps have two partitions of the reads."""

    async def so() -> bool:
        def owned(taker: Taker) -> int:
            return sum(tp.topic.endswith("detections.v1") for tp in taker.app.consumer.assignment())

        return owned(first) == owned(second) == 2

    await until(so, "the partitions are shared")


async def test_a_rebalance_does_not_wait_for_ever(
    real_kafka: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not become done in time comes again, and its late `done` says nothing."""
    monkeypatch.setattr(limits, "SHUTDOWN_S", 0.5)
    topic = Topics(prefix).detections
    await produce(real_kafka, topic, {partition: numbered(10) for partition in range(4)})
    async with taking(real_kafka, prefix, tmp_path) as first:
        await first.has_taken(40)
        before = list(first.fetches)
        async with taking(real_kafka, prefix, tmp_path) as second:
            await shared(first, second)

            async def all_again() -> bool:
                return sum(len(offsets(fetch)) for fetch in second.fetches) >= 20

            await until(all_again, "all reads of the partitions that have moved come again")
            moved = {fetch.raw.partition for fetch in second.fetches}
            for fetch in before:
                fetch.done()
            await first.commit()
            await second.commit()
            stayed = set(range(4)) - moved
            assert await committed(real_kafka, prefix) == dict.fromkeys(stayed, 10)
            for fetch in second.fetches:
                fetch.done()
            await second.commit()
            assert await committed(real_kafka, prefix) == dict.fromkeys(range(4), 10)
