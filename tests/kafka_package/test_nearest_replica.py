"""The contract with aiokafka about replicas: which one is asked, and whose word counts.

A leader (node 1) and a follower (node 2) are played; aiokafka's own fetcher decides between them,
with the engine's seams in it.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v11

from engine.kafka.nearest_replica import let_leaders_decide, unknown_rack
from engine.kafka.raw_fetcher import deliver_batches
from tests.fakes.record_batches import TOPIC, Sent, batch_bytes

LEADER, FOLLOWER = 1, 2
TP = TopicPartition(TOPIC, 0)
OUT_OF_RANGE = 1
BATCH = batch_bytes([Sent(b"KEY", b"v")], base_offset=7)


class Partition:
    """What aiokafka keeps of an assigned partition, as far as it is asked here."""

    def __init__(self) -> None:
        self.position: int | None = 7
        self.reset: Any = None

    @property
    def has_valid_position(self) -> bool:
        return self.position is not None

    def await_reset(self, strategy: Any) -> None:
        self.position, self.reset = None, strategy


class Cluster:
    """A consumer of one partition with its fetcher. `answers` says what each node answers: an
    error, the replica that it names, and the records."""

    def __init__(self, answers: dict[int, tuple[int, int, bytes]]) -> None:
        self.asked: list[int] = []
        self.updates = 0
        self.state = Partition()
        self._answers = answers
        client = SimpleNamespace(
            send=self._send,
            force_metadata_update=self._update,
            cluster=SimpleNamespace(
                leader_for_partition=lambda _: LEADER, broker_metadata=lambda _: object()
            ),
        )
        fetcher: Any = SimpleNamespace(
            _client=client,
            _client_rack="zone-b",
            _records={},
            _key_deserializer=None,
            _value_deserializer=None,
            _check_crcs=True,
            _isolation_level=1,
            _prefetch_backoff=0.1,
            _max_partition_fetch_bytes=1 << 20,
            _preferred_read_replica={},
            _preferred_replica_ttl=300,
            _rack_warning_logged=False,
            _default_reset_strategy=-2,
        )
        for name in ("_select_read_replica", "_update_preferred_read_replica"):
            method: Callable[..., Any] = getattr(aiokafka_fetcher.Fetcher, name)
            setattr(fetcher, name, types.MethodType(method, fetcher))
        self._fetcher = fetcher
        consumer: Any = SimpleNamespace(_fetcher=fetcher, _client=client)
        deliver_batches(consumer, lambda _: True)
        let_leaders_decide(consumer)

    async def fetch(self) -> list[Any]:
        """What one fetch delivers, from the node that aiokafka chooses."""
        node = self._fetcher._select_read_replica(TP)
        request = FetchRequest(
            *(100, 1, 1 << 20, 1, [(TOPIC, [(0, self.state.position, 1 << 20)])]), rack_id="zone-b"
        )
        assignment = SimpleNamespace(active=True, state_value=lambda _: self.state)
        await self._fetcher._proc_fetch_request(assignment, node, request)
        result = self._fetcher._records.pop(TP, None)
        return [] if result is None else list(result._partition_records._records_iterator)

    async def _send(self, node: int, request: Any) -> Any:
        self.asked.append(node)
        error, preferred, data = self._answers[node]
        return FetchResponse_v11(0, 0, 0, [(TOPIC, [(0, error, 9, 9, 0, [], preferred, data)])])

    def _update(self) -> None:
        self.updates += 1


def test_reads_come_from_the_replica_that_the_leader_names() -> None:
    cluster = Cluster({LEADER: (0, FOLLOWER, b""), FOLLOWER: (0, -1, BATCH)})

    async def run() -> None:
        await cluster.fetch()
        assert len(await cluster.fetch()) == 1

    asyncio.run(run())
    assert cluster.asked == [LEADER, FOLLOWER]


def test_a_follower_without_the_offset_moves_nothing() -> None:
    """Its own retention may run before the leader's. The reads would come again from the start."""
    cluster = Cluster({LEADER: (0, FOLLOWER, b""), FOLLOWER: (OUT_OF_RANGE, -1, b"")})

    async def run() -> None:
        await cluster.fetch()
        await cluster.fetch()
        assert (cluster.state.position, cluster.state.reset) == (7, None)
        await cluster.fetch()

    asyncio.run(run())
    assert cluster.asked == [LEADER, FOLLOWER, LEADER]
    assert cluster.updates == 1


def test_a_leader_without_the_offset_decides() -> None:
    cluster = Cluster({LEADER: (OUT_OF_RANGE, -1, b"")})
    asyncio.run(cluster.fetch())
    assert cluster.state.reset == -2


def test_another_request_is_passed_on_as_it_is() -> None:
    async def send(node_id: int, request: Any, **options: Any) -> Any:
        return node_id, request, options

    consumer: Any = SimpleNamespace(_client=SimpleNamespace(send=send))
    let_leaders_decide(consumer)
    assert asyncio.run(consumer._client.send(3, "a request", group=1)) == (
        *(3, "a request"),
        {"group": 1},
    )


def test_a_rack_that_no_broker_is_in() -> None:
    here: list[dict[str, Any]] = [{"rack": "zone-b"}, {"rack": "zone-a"}, {"rack": None}]
    assert unknown_rack(None, here) == ""
    assert unknown_rack("zone-a", here) == ""
    assert unknown_rack("zone-c", here) == (
        "no broker is in the rack zone-c: they are in zone-a, zone-b"
    )
    assert unknown_rack("zone-c", [{"rack": None}]) == (
        "no broker is in the rack zone-c: they have none"
    )
