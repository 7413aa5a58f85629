"""Workers on a cluster of three brokers that loses some of them.

A broker that ends takes leaders of partitions and coordinators of groups and transactions with it.
The others take their places; while two of three are gone, nothing can be acknowledged. In no case
may a worker end, a match be lost or, with delivery exactly once, come twice. The tests share one
cluster.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from engine.kafka.topics import Topics
from tests.kafka.delivery.test_exactly_once import check_once, worker
from tests.kafka.forked_worker import ForkedWorker
from tests.kafka.real_cluster import RealCluster
from tests.kafka.records import WAIT_S, producing, send_to_partition, until
from tests.kafka.town import Town, found_matches
from tests.kafka.worker.test_main_job import all_done, check_likeness, matches_on
from tests.kafka.worker_process import WorkerProcess

#: How long two brokers are away before they are started, which takes about as long again.
_AWAY_S = 12.0
#: Kafka's own topic of transactions.
_STATE = "__transaction_state"


class Traffic:
    """The reads of a town, sent a share at a time: each once, whatever becomes of the brokers."""

    def __init__(self, cluster: RealCluster, topics: Topics, town: Town) -> None:
        self._bootstrap = cluster.bootstrap
        self._topics = topics
        self._town = town
        self._sent = 0.0

    async def send_up_to(self, share: float) -> None:
        """Send what is not sent yet of the first reads, 0.5 for the first half."""
        reads = self._town.reads_between(self._sent, share)
        self._sent = share
        async with producing(self._bootstrap, acks="all", enable_idempotence=True) as producer:
            for partition, records in reads.items():
                await send_to_partition(producer, self._topics.detections, partition, records)

    async def reaches(self, *workers: WorkerProcess) -> None:
        """Send more, a little at a time, until each of the workers has processed some."""

        async def taken() -> bool:
            counts = [await each.metric("hotlist_reads_total") for each in workers]
            if min(counts) == 0:
                assert self._sent < 0.5, "no read came to one of the workers"
                await self.send_up_to(self._sent + 0.01)
            return min(counts) > 0

        await until(taken, "each takes reads", lambda: "\n".join(each.log() for each in workers))


@pytest.fixture(scope="module")
def hamlet() -> Town:
    return Town(entries=2_000, sources=8, reads=16_000, hit_rate=0.1)


@pytest.fixture
async def traffic(real_cluster: RealCluster, prefix: str, hamlet: Town) -> Traffic:
    """Reads to come, of a hamlet whose lists and policies are on their topics."""
    topics = Topics(prefix)
    await hamlet.produce_control(real_cluster.bootstrap, topics.hotlist, topics.policies)
    return Traffic(real_cluster, topics, hamlet)


async def test_one_broker_of_three(
    real_cluster: RealCluster, prefix: str, hamlet: Town, traffic: Traffic, tmp_path: Path
) -> None:
    """The group's coordinator is killed, which leads partitions of the reads too; a worker is
    stopped while it is away."""
    bootstrap, reads = real_cluster.bootstrap, Topics(prefix).detections
    leaders = {real_cluster.leader_of(reads, partition) for partition in range(4)}
    assert leaders == set(real_cluster.brokers), "the reads have leaders on all brokers"
    async with (
        ForkedWorker(tmp_path / "stays.log", bootstrap, prefix) as stays,
        ForkedWorker(tmp_path / "goes.log", bootstrap, prefix) as goes,
    ):
        await traffic.reaches(stays, goes)
        coordinator = await asyncio.to_thread(real_cluster.group_coordinator, f"{prefix}group")
        real_cluster.brokers[coordinator].kill()
        await traffic.send_up_to(0.6)
        await goes.stop()
        await traffic.send_up_to(0.8)
        await asyncio.to_thread(real_cluster.start_again, [coordinator])
        await traffic.send_up_to(1)
        await all_done(bootstrap, prefix, stays)
        await stays.stop()
    records = await matches_on(bootstrap, prefix)
    check_likeness(records, hamlet)
    assert set(found_matches(records)) == hamlet.expected


async def test_two_brokers_of_three(
    real_cluster: RealCluster, prefix: str, hamlet: Town, traffic: Traffic, tmp_path: Path
) -> None:
    """With delivery exactly once. The group's coordinator is killed, and another one answers no
    more and refuses nothing."""
    bootstrap = real_cluster.bootstrap
    async with (
        worker(tmp_path / "one.log", bootstrap, prefix) as one,
        worker(tmp_path / "other.log", bootstrap, prefix) as other,
    ):
        await traffic.reaches(one, other)
        await traffic.send_up_to(0.7)
        coordinator = await asyncio.to_thread(real_cluster.group_coordinator, f"{prefix}group")
        silent = coordinator % len(real_cluster.brokers) + 1
        real_cluster.brokers[coordinator].kill()
        real_cluster.pause(silent)
        await asyncio.sleep(_AWAY_S)
        await asyncio.to_thread(real_cluster.start_again, [coordinator])
        real_cluster.go_on(silent)
        await traffic.send_up_to(1)
        for each in (one, other):
            await all_done(bootstrap, prefix, each)
            await each.stop()
    await check_once(bootstrap, prefix, hamlet)


async def test_the_coordinator_of_a_transactional_id_leads_its_partition(
    real_cluster: RealCluster, prefix: str
) -> None:
    """A fault campaign kills it: it must be the one. Kafka chooses it by Java's hash of the id."""
    ids = [f"{prefix}group/{Topics(prefix).detections}/{partition}" for partition in range(8)]
    found = [await asyncio.to_thread(real_cluster.transaction_coordinator, each) for each in ids]
    admin = AdminClient({"bootstrap.servers": real_cluster.bootstrap, "log_level": 0})
    state = (await asyncio.to_thread(admin.list_topics, timeout=WAIT_S)).topics[_STATE].partitions
    assert found == [state[abs(_java_hash(each)) % len(state)].leader for each in ids]
    assert len(set(found)) > 1


def _java_hash(text: str) -> int:
    """`String.hashCode` of ASCII text."""
    found = 0
    for byte in text.encode("ascii"):
        found = (31 * found + byte) & 0xFFFFFFFF
    return found - (found >> 31 << 32)
