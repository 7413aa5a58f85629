"""The worker while the broker, or the way to it, is gone.

The tests have a broker of their own, which they may stop, and a proxy between it and the
control replica, so that the lists can be changed behind its back.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import Any

import orjson
import pytest

from engine.control.replica import ControlReplica
from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import create_topics
from engine.kafka.topics import Topics
from engine.matching.lists import ControlKind
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.fakes.faulty_proxy import FaultyProxy
from tests.kafka.following import STALE_S, following, make_plain, matched_reads, reads, sent
from tests.kafka.own_broker import OwnBroker
from tests.kafka.records import (
    produce,
    read_topic,
    until,
)
from tests.kafka.worker_here import WorkerHere, worker_here


@pytest.fixture
async def own_prefix(own_broker: OwnBroker) -> str:
    """The topics of a test on the broker of its own."""
    prefix = f"own-{os.urandom(4).hex()}."
    await create_topics(Cluster(own_broker.straight, Topics(prefix)), partitions=2, replication=1)
    return prefix


async def test_compacted_topics_with_gaps(own_broker: OwnBroker) -> None:
    """Ten versions of each entry, of which Kafka's cleaner leaves the last, and tombstones."""
    bootstrap, topics = own_broker.straight, Topics(f"own-{os.urandom(4).hex()}.")
    await make_plain(
        bootstrap,
        topics.hotlist,
        topics.policies,
        **{
            "cleanup.policy": "compact",
            "segment.ms": "100",
            "max.compaction.lag.ms": "100",
            "min.cleanable.dirty.ratio": "0.01",
        },
    )
    versions = [
        an_entry(entry_id=f"E-{number}", instructions=f"version {version}")
        for version in range(10)
        for number in range(20)
    ]
    await produce(bootstrap, topics.hotlist, sent(*versions, ("E-3", None)))
    number = 0

    async def compacted() -> bool:
        # The active segment is never compacted: each further record may open a new one.
        nonlocal number
        number += 1
        await produce(bootstrap, topics.hotlist, sent(an_entry(entry_id="filler")))
        return len(await read_topic(bootstrap, topics.hotlist)) < 30 + number

    await until(compacted, "Kafka has compacted the topic")
    await produce(bootstrap, topics.policies, sent(a_policy()))
    async with following(bootstrap, topics.prefix) as here:
        of_entries = [record for record in here.loaded if record.kind is ControlKind.ENTRY]
    assert len(of_entries) < of_entries[-1].offset
    last = {record.key: record.value for record in of_entries if record.key != b"filler"}
    assert {key for key, value in last.items() if value is not None} == {
        f"E-{number}".encode() for number in range(20) if number != 3
    }
    assert {orjson.loads(value)["instructions"] for value in last.values() if value} == {
        "version 9"
    }


@pytest.fixture
def behind_the_proxy(own_broker: OwnBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's control replica, and it alone, reaches the broker through the proxy."""

    def replica(cluster: Cluster, *arguments: Any, **options: Any) -> ControlReplica:
        behind = replace(cluster, bootstrap=own_broker.behind_proxy)
        return ControlReplica(behind, *arguments, **options, stale_s=STALE_S)

    monkeypatch.setattr("engine.worker.worker.ControlReplica", replica)


@pytest.mark.usefixtures("behind_the_proxy")
async def test_no_reads_while_the_lists_cannot_be_followed(
    own_broker: OwnBroker, own_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap, topics = own_broker.straight, Topics(own_prefix)
    await produce(bootstrap, topics.hotlist, sent(an_entry()))
    await produce(bootstrap, topics.policies, sent(a_policy()))
    async with (
        FaultyProxy(own_broker.proxy_port, own_broker.proxy_target) as proxy,
        worker_here(bootstrap, own_prefix) as here,
    ):
        await here.ready()
        gate = AtTheGate(here, monkeypatch)
        await produce(bootstrap, topics.detections, reads(a_read(read_id="before")))
        await here.has_processed(1)
        assert await here.text("/readyz") == (200, "ok\n")

        proxy.pause()

        async def noticed() -> bool:
            return bool(here.worker.not_ready_because)

        await until(noticed, "the silence is noticed")
        status, reason = await here.text("/readyz")
        assert status == 503
        assert topics.hotlist in reason
        assert "nothing heard of" in reason
        assert await here.text("/healthz") == (200, "ok\n"), "a restart would not help"
        await produce(bootstrap, topics.detections, reads(a_read(read_id="during")))
        await gate.one_waits()
        # What changes now must be in force before the waiting read is taken.
        await produce(bootstrap, topics.hotlist, sent(("E-1", None), an_entry(entry_id="E-2")))
        assert here.metric("hotlist_reads_total") == 1

        proxy.resume()
        await here.ready()
        await here.has_processed(2)
    records = await read_topic(bootstrap, topics.matches)
    documents = [orjson.loads(record.value) for record in records]
    assert [(match["read"]["read_id"], match["entry"]["entry_id"]) for match in documents] == [
        ("before", "E-1"),
        ("during", "E-2"),
    ]


class AtTheGate:
    """Counts the fetches that wait for the gate of a ready worker to open."""

    def __init__(self, here: WorkerHere, monkeypatch: pytest.MonkeyPatch) -> None:
        self._here = here
        self._count = 0
        passed = here.worker.gate.passed

        async def counted() -> None:
            self._count += 1
            try:
                await passed()
            finally:
                self._count -= 1

        monkeypatch.setattr(here.worker.gate, "passed", counted)

    async def one_waits(self) -> None:
        """Wait until a fetch does."""

        async def waits() -> bool:
            await self._here.alive()
            return self._count > 0

        await until(waits, "a fetch waits at the gate", self._here.log)


@pytest.mark.usefixtures("behind_the_proxy")
async def test_it_can_be_stopped_while_the_gate_is_closed(
    own_broker: OwnBroker, own_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap, topics = own_broker.straight, Topics(own_prefix)
    await produce(bootstrap, topics.hotlist, sent(an_entry()))
    await produce(bootstrap, topics.policies, sent(a_policy()))
    async with FaultyProxy(own_broker.proxy_port, own_broker.proxy_target) as proxy:
        async with worker_here(bootstrap, own_prefix) as here:
            await here.ready()
            gate = AtTheGate(here, monkeypatch)
            proxy.pause()

            async def noticed() -> bool:
                return bool(here.worker.not_ready_because)

            await until(noticed, "the silence is noticed")
            await produce(bootstrap, topics.detections, reads(a_read()))
            await gate.one_waits()
        assert here.metric("hotlist_reads_total") == 0
        proxy.resume()
        async with worker_here(bootstrap, own_prefix) as successor:
            await successor.has_processed(1)
    assert await matched_reads(bootstrap, own_prefix) == ["R-1"]


async def test_a_broker_that_dies_and_comes_back(own_broker: OwnBroker, own_prefix: str) -> None:
    """The worker waits for it, and no read is lost or found twice into different outcomes."""
    bootstrap, topics = own_broker.straight, Topics(own_prefix)
    await produce(bootstrap, topics.hotlist, sent(an_entry()))
    await produce(bootstrap, topics.policies, sent(a_policy()))
    async with worker_here(bootstrap, own_prefix) as here:
        await here.ready()
        first = [a_read(read_id=f"R-{number}") for number in range(100)]
        await produce(bootstrap, topics.detections, reads(*first))
        await here.has_processed(1)
        own_broker.broker.kill()
        await asyncio.to_thread(own_broker.broker.start)
        second = [a_read(read_id=f"R-{number}") for number in range(100, 200)]
        await produce(bootstrap, topics.detections, reads(*second))
        await here.has_processed(200)
    found = await matched_reads(bootstrap, own_prefix)
    assert set(found) == {f"R-{number}" for number in range(200)}
