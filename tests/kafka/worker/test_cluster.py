"""Workers on a cluster of three brokers.

What a deployment rests on most is tried here as on one broker: the main job, delivery exactly once,
and the end of a worker. Then the cluster loses brokers. A broker that ends takes leaders of
partitions and coordinators of groups and transactions with it. The others take their places; while
two of three are gone, nothing can be acknowledged. In no case may a worker end, a match be lost or,
with delivery exactly once, come twice. Last, where the reads are fetched from. The tests share one
cluster.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from confluent_kafka.admin import AdminClient

from engine.kafka.topics import Topics
from tests.kafka.delivery import test_exactly_once
from tests.kafka.delivery.test_exactly_once import check_once, worker
from tests.kafka.forked_worker import ForkedWorker
from tests.kafka.real_cluster import RealCluster
from tests.kafka.records import WAIT_S, producing, send_to_partition, until
from tests.kafka.town import Town, found_matches
from tests.kafka.worker import test_main_job, test_shutdown
from tests.kafka.worker.test_main_job import all_done, check_likeness, matches_on
from tests.kafka.worker.test_shutdown import Street
from tests.kafka.worker_here import worker_here
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
    return Town(entries=2_000, sources=20, reads=40_000, hit_rate=0.08)


# ---- as on one broker


@pytest.fixture
def real_kafka(real_cluster: RealCluster) -> str:
    """The cluster, for tests that elsewhere run on one broker."""
    return real_cluster.bootstrap


@pytest.fixture(scope="module")
def town(hamlet: Town) -> Town:
    """Smaller than the one that the main job has on one broker."""
    return hamlet


@pytest.fixture(scope="module")
def village(hamlet: Town) -> Town:
    return hamlet


log_file = test_main_job.log_file
street = test_shutdown.street

test_straight_through = test_main_job.test_straight_through
test_killed_in_the_middle = test_main_job.test_killed_in_the_middle
test_an_aborted_transaction_never_matches = test_main_job.test_an_aborted_transaction_never_matches
test_killed_in_the_middle_of_transactions = (
    test_exactly_once.test_killed_in_the_middle_of_transactions
)
test_one_that_was_stopped_comes_back = test_exactly_once.test_one_that_was_stopped_comes_back
test_running = test_shutdown.test_running
test_while_the_group_rebalances = test_shutdown.test_while_the_group_rebalances
test_a_signal_ends_it_in_order = test_shutdown.test_a_signal_ends_it_in_order


# ---- with fewer brokers


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


@pytest.fixture
def fetched(prefix: str, monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How many bytes of reads each broker has answered with."""
    reads, counts = Topics(prefix).detections, Counter[int]()
    send = AIOKafkaClient.send

    async def send_and_count(client: Any, node: int, request: Any, **options: Any) -> Any:
        response = await send(client, node, request, **options)
        if isinstance(request, FetchRequest):
            for topic, parts in response.topics:
                if topic == reads:
                    counts[node] += sum(len(data) for *_, data in parts)
        return response

    monkeypatch.setattr(AIOKafkaClient, "send", send_and_count)
    return counts


@pytest.mark.parametrize("rack", [None, "zone-2"])
async def test_reads_are_fetched_from_the_replica_in_the_workers_rack(
    real_cluster: RealCluster,
    prefix: str,
    street: Street,
    fetched: Counter[int],
    rack: str | None,
) -> None:
    """And from leaders if it has none, or that broker is away."""
    await street.pass_by(200)
    async with worker_here(real_cluster.bootstrap, prefix, client_rack=rack) as here:
        await here.has_processed(200)
        assert (+fetched).keys() == ({1, 2, 3} if rack is None else {2})
        if rack is not None:
            real_cluster.brokers[2].kill()
            fetched.clear()
            await street.pass_by(200)
            await here.has_processed(400)
            assert (+fetched).keys() == {1, 3}
    assert set(await street.matched()) == set(street.read_ids)


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
