"""The campaign's own brokers: each has a listener for the campaign, and one behind each worker's
network.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from engine.kafka.topics import Topics
from tests.fakes.faulty_proxy import FaultyProxy
from tests.kafka.broker import RealBroker
from tests.kafka.node import free_ports
from tests.kafka.real_cluster import RealCluster
from tests.torture.disk import Disk
from tests.torture.waits import CLIENT_S, bounded

#: Partitions of every topic but those of control when a campaign begins; the reads may get more,
#: up to so many.
PARTITIONS: Final = 4
MOST_PARTITIONS: Final = 16
#: The topics that are followed.
KINDS: Final = ("detections", "hotlist", "policies", "matches", "rejects", "audit")
#: A client starts when the broker is there, which may be starting itself.
START_S: Final = 120.0
_CONTROL: Final = ("hotlist", "policies")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a broker listens, and for each worker where it connects to and what lies behind."""

    straight: int
    controller: int
    of_workers: tuple[tuple[int, int], ...]


class OwnBrokers:
    """One broker, or a cluster of several, that tells each worker to come through its own network.

    `all` are the brokers. `cluster` is None if there is one. The first one's data lie on the disk
    that may be full. All methods block.
    """

    def __init__(self, brokers: int, workers: int, disk: Disk) -> None:
        of_each = 2 + 2 * workers
        found = free_ports(brokers * of_each)
        self._ports = [
            _ports(found[start : start + of_each]) for start in range(0, len(found), of_each)
        ]
        properties = [_listening(ports, alone=brokers == 1) for ports in self._ports]
        if disk.data is not None:
            properties[0]["log.dirs"] = str(disk.data)
        self.cluster: RealCluster | None = None
        if brokers == 1:
            lone = RealBroker(port=self._ports[0].straight, properties=properties[0])
            self.all = [lone]
            self._kafka: RealBroker | RealCluster = lone
        else:
            straight = [ports.straight for ports in self._ports]
            self.cluster = RealCluster(single=list(zip(straight, properties, strict=True)))
            self.all = list(self.cluster.brokers.values())
            self._kafka = self.cluster

    @property
    def bootstrap(self) -> str:
        """Where the campaign itself reaches them."""
        return self._kafka.bootstrap

    def networks(self, worker: int) -> list[FaultyProxy]:
        """What lies between a worker and the brokers, one for each broker; not started."""
        return [FaultyProxy(*ports.of_workers[worker]) for ports in self._ports]

    def start(self) -> None:
        """Start them; returns when they answer."""
        self._kafka.start()

    def close(self) -> None:
        """End them and delete their data."""
        self._kafka.close()

    def log(self) -> str:
        """Their warnings and errors so far."""
        return self._kafka.log()


def _ports(found: list[int]) -> Ports:
    straight, controller, *pairs = found
    return Ports(straight, controller, tuple(zip(pairs[::2], pairs[1::2], strict=True)))


def _listening(ports: Ports, *, alone: bool) -> dict[str, str]:
    """The listeners of a broker; one that is `alone` is its own controller."""
    names = [f"SLOT{number}" for number in range(len(ports.of_workers))]
    inner = [
        f"{name}://127.0.0.1:{at}" for name, (_, at) in zip(names, ports.of_workers, strict=True)
    ]
    outer = [
        f"{name}://127.0.0.1:{at}" for name, (at, _) in zip(names, ports.of_workers, strict=True)
    ]
    straight = f"PLAINTEXT://127.0.0.1:{ports.straight}"
    controller = [f"CONTROLLER://127.0.0.1:{ports.controller}"] if alone else []
    plain = [f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "CONTROLLER", *names)]
    properties = {
        "listeners": ",".join([straight, *inner, *controller]),
        "advertised.listeners": ",".join([straight, *outer]),
        "listener.security.protocol.map": ",".join(plain),
    }
    if alone:
        properties["controller.quorum.voters"] = f"1@127.0.0.1:{ports.controller}"
    return properties


class ReadPartitions:
    """How many partitions the reads have.

    No other topic gets more along with them: what the workers remember of a partition lies in the
    suppression topic where the partition's number says, and would not be found any more.
    """

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self.count = PARTITIONS

    async def add(self, more: int) -> bool:
        """Add some; False where there would be too many."""
        wanted = self.count + more
        if wanted > MOST_PARTITIONS:
            return False
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            await admin.create_partitions({self._topics.detections: NewPartitions(wanted)})
        finally:
            await admin.close()
        self.count = wanted
        return True

    def drawn(self, number: int) -> TopicPartition:
        """Some partition of the reads, by a number that was drawn."""
        return TopicPartition(self._topics.detections, number % self.count)

    def followed(self) -> list[TopicPartition]:
        """The partitions of all topics that are followed."""
        counts = {"detections": self.count, **dict.fromkeys(_CONTROL, 1)}
        return [
            TopicPartition(self._topics.name(kind), partition)
            for kind in KINDS
            for partition in range(counts.get(kind, PARTITIONS))
        ]


@asynccontextmanager
async def all_records(bootstrap: str, partitions: ReadPartitions) -> AsyncIterator[Any]:
    """A consumer of all committed records of all topics, from their beginning."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
        request_timeout_ms=10_000,
        retry_backoff_ms=50,
    )
    await bounded(consumer.start(), START_S, "a consumer of all topics is started")
    try:
        consumer.assign(partitions.followed())
        yield consumer
    finally:
        await bounded(consumer.stop(), CLIENT_S, "a consumer of all topics is stopped")
