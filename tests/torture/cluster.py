"""The campaign's own broker: a listener for the campaign, and one behind each worker's network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from engine.kafka.topics import Topics
from tests.kafka.broker import RealBroker
from tests.kafka.node import free_ports
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
    """Where the broker listens, and for each worker where it connects to and what lies behind."""

    straight: int
    controller: int
    of_workers: tuple[tuple[int, int], ...]


def own_ports(workers: int) -> Ports:
    """Free ports for a broker and so many workers."""
    straight, controller, *pairs = free_ports(2 + 2 * workers)
    return Ports(straight, controller, tuple(zip(pairs[::2], pairs[1::2], strict=True)))


def own_broker(ports: Ports, disk: Disk) -> RealBroker:
    """A broker that tells each worker to come through its own network."""
    names = [f"SLOT{number}" for number in range(len(ports.of_workers))]
    inner = [
        f"{name}://127.0.0.1:{at}" for name, (_, at) in zip(names, ports.of_workers, strict=True)
    ]
    outer = [
        f"{name}://127.0.0.1:{at}" for name, (at, _) in zip(names, ports.of_workers, strict=True)
    ]
    straight = f"PLAINTEXT://127.0.0.1:{ports.straight}"
    controller = f"CONTROLLER://127.0.0.1:{ports.controller}"
    plain = [f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "CONTROLLER", *names)]
    properties = {
        "listeners": ",".join([straight, *inner, controller]),
        "advertised.listeners": ",".join([straight, *outer]),
        "listener.security.protocol.map": ",".join(plain),
        "controller.quorum.voters": f"1@127.0.0.1:{ports.controller}",
    }
    if disk.data is not None:
        properties["log.dirs"] = str(disk.data)
    return RealBroker(port=ports.straight, properties=properties)


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
