"""A cluster of three real brokers on this machine, without Docker, whose brokers may end.

Its controller is a process of its own that always runs, as in production, where it is a quorum on
machines of its own: two brokers of three may be gone, and the third still learns of it. Such a
combination of one controller and several brokers is described in Kafka's documentation of KRaft
(`process.roles`) and is what public Compose files for tests have.

Every topic has three replicas, of which two must be in sync, Kafka's own topics too. Broker 2 is in
the rack `zone-2`, and a consumer that names its rack fetches from the replica there (KIP-392).
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError as AnyKafkaError
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata

from benchmarks.measures.group_view import NO_COORDINATOR_YET
from tests.kafka.broker import Member, RealBroker
from tests.kafka.node import START_S, BrokerFailedError, KafkaNode, free_ports, new_id

#: Brokers, and replicas of each partition.
REPLICAS: Final = 3
_CONTROLLER: Final = 100
#: How long brokers may take to be in sync again, and a coordinator to be found.
_SETTLE_S: Final = 180
_POLL_S: Final = 0.1
_REPLICATED: Final = {
    "default.replication.factor": str(REPLICAS),
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": str(REPLICAS),
    "transaction.state.log.replication.factor": str(REPLICAS),
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": str(REPLICAS),
    "share.coordinator.state.topic.min.isr": "2",
    "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
    # A broker that comes back leads again what it led: soon, here.
    "leader.imbalance.check.interval.seconds": "5",
}


class RealCluster:
    """See the module. `properties` are further server properties of each broker, `single` has for
    each of them its port and properties of its own.

    `brokers` has them by their numbers; each keeps its port and its data when it is killed, stopped
    and started. All methods block: from a coroutine, call them through `asyncio.to_thread`.
    """

    def __init__(
        self,
        properties: Mapping[str, str] | None = None,
        single: Sequence[tuple[int, Mapping[str, str]]] = REPLICAS * ((0, {}),),
    ) -> None:
        cluster_id = new_id()
        [controller_port] = free_ports(1)
        voters = f"{_CONTROLLER}@127.0.0.1:{controller_port}"
        self._controller = KafkaNode(
            {
                "process.roles": "controller",
                "node.id": str(_CONTROLLER),
                "listeners": f"CONTROLLER://127.0.0.1:{controller_port}",
                "controller.quorum.voters": voters,
                **_REPLICATED,
            },
            cluster_id=cluster_id,
            light=True,
            heap="256m",
        )
        self.brokers: Final = {
            number: RealBroker(
                port=port,
                properties={
                    **_REPLICATED,
                    "broker.rack": f"zone-{number}",
                    **(properties or {}),
                    **own,
                },
                member=Member(number, cluster_id, voters),
            )
            for number, (port, own) in enumerate(single, 1)
        }
        self._paused: set[int] = set()

    @property
    def bootstrap(self) -> str:
        """The addresses of all brokers, `host:port,...`."""
        return ",".join(broker.bootstrap for broker in self.brokers.values())

    def start(self) -> None:
        """Start the controller and all brokers; return when all partitions can be led."""
        self._controller.launch()
        self.start_again(self.brokers)
        self.wait_until_in_sync()

    def start_again(self, numbers: Iterable[int]) -> None:
        """Start brokers that were killed or stopped, all at once; return when they answer."""
        chosen = [self.brokers[number] for number in numbers]
        for broker in chosen:
            broker.launch()
        for broker in chosen:
            broker.wait_until_it_answers()

    def pause(self, number: int) -> None:
        """Stop a broker's process for a while (SIGSTOP): it neither answers nor refuses."""
        self._paused.add(number)
        self._signal(number, signal.SIGSTOP)

    def go_on(self, number: int) -> None:
        """Let a broker's process go on that was paused (SIGCONT)."""
        self._paused.discard(number)
        self._signal(number, signal.SIGCONT)

    def restore(self) -> None:
        """Have all brokers run, and wait until they are in sync."""
        for number in list(self._paused):
            self.go_on(number)
        self.start_again(n for n, broker in self.brokers.items() if not broker.running)
        self.wait_until_in_sync()

    def close(self) -> None:
        """End all of it and delete its data."""
        for number in list(self._paused):
            self.go_on(number)
        for broker in self.brokers.values():
            broker.close()
        self._controller.close()

    def log(self) -> str:
        """The warnings and errors of all of its processes so far."""
        return self._controller.log() + "".join(each.log() for each in self.brokers.values())

    def leader_of(self, topic: str, partition: int) -> int:
        """The number of the broker that leads a partition now; negative if there is none."""
        leader: int = self._metadata().topics[topic].partitions[partition].leader
        return leader

    def group_coordinator(self, group: str) -> int:
        """The number of the broker that coordinates a consumer group now."""
        until_s = time.monotonic() + _SETTLE_S
        while True:
            admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
            try:
                described = admin.describe_consumer_groups([group], request_timeout=10)
                return int(described[group].result().coordinator.id)
            except KafkaException as error:
                kafka_error: KafkaError = error.args[0]
                # librdkafka says of an answer to an admin client that it is not retriable.
                passes = kafka_error.retriable() or kafka_error.code() in NO_COORDINATOR_YET
                if not passes or time.monotonic() > until_s:
                    raise
                time.sleep(_POLL_S)

    def transaction_coordinator(self, transactional_id: str) -> int:
        """The number of the broker that coordinates the transactions of an id now."""
        return asyncio.run(self._find_transaction_coordinator(transactional_id))

    async def _find_transaction_coordinator(self, transactional_id: str) -> int:
        # librdkafka's admin client does not ask this.
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap)
        kind, until_s = CoordinationType.TRANSACTION, time.monotonic() + _SETTLE_S
        try:
            await client.bootstrap()
            while True:
                try:
                    return int(await client.coordinator_lookup(kind, transactional_id))
                except AnyKafkaError as error:
                    if not error.retriable or time.monotonic() > until_s:
                        raise
                await asyncio.sleep(_POLL_S)
        except AnyKafkaError as error:
            raise BrokerFailedError(f"no coordinator of {transactional_id}: {error!r}") from error
        finally:
            await client.close()

    def wait_until_in_sync(self) -> None:
        """Return when all brokers are there and every partition has all its replicas in sync."""
        until_s = time.monotonic() + _SETTLE_S
        while behind := self._behind():
            if time.monotonic() > until_s:
                raise BrokerFailedError(f"not in sync within {_SETTLE_S} s: {behind}")
            time.sleep(_POLL_S)

    def _behind(self) -> str:
        try:
            metadata = self._metadata()
        except KafkaException as error:
            return str(error)
        if metadata.brokers.keys() != self.brokers.keys():
            return f"brokers {sorted(metadata.brokers)} of {sorted(self.brokers)}"
        return ", ".join(
            f"{topic.topic}/{number}"
            for topic in metadata.topics.values()
            for number, partition in topic.partitions.items()
            if partition.leader < 0 or len(partition.isrs) < len(partition.replicas)
        )

    def _metadata(self) -> ClusterMetadata:
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        return admin.list_topics(timeout=START_S)

    def _signal(self, number: int, which: signal.Signals) -> None:
        os.kill(self.brokers[number].pid, which)
