"""`engine.kafka.any_broker` on a cluster that still names the brokers that it has lost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import NodeNotReadyError

from engine.kafka.any_broker import send_to_any
from engine.kafka.cluster import Cluster
from engine.kafka.topics import Topics


class Client:
    """A client of three brokers, of which some are lost; the first is the one that it picks."""

    def __init__(self, *lost: int) -> None:
        self.asked: list[int] = []
        self._lost = lost
        brokers = [SimpleNamespace(nodeId=number) for number in (1, 2, 3)]
        self.cluster = SimpleNamespace(brokers=lambda: brokers)

    def get_random_node(self) -> int:
        return 1

    async def send(self, node: int, request: str) -> str:
        self.asked.append(node)
        if node in self._lost:
            raise NodeNotReadyError
        return f"{request} at {node}"


@pytest.mark.parametrize(("lost", "answer"), [((), 1), ((1,), 2), ((1, 2), 3)])
async def test_lost_brokers_are_passed_over(lost: tuple[int, ...], answer: int) -> None:
    client = Client(*lost)
    assert await send_to_any(client, "asked") == f"asked at {answer}"
    assert client.asked == list(range(1, answer + 1))


async def test_all_are_lost() -> None:
    client = Client(1, 2, 3)
    with pytest.raises(NodeNotReadyError):
        await send_to_any(client, "asked")
    assert client.asked == [1, 2, 3]


async def test_an_administrators_client_asks_any() -> None:
    """But for what it asks a certain broker."""
    admin: Any = Cluster("127.0.0.1:1", Topics("lpr.")).admin()
    assert isinstance(admin, AIOKafkaAdminClient)
    client = Client(1)
    admin._client, real = client, admin._client
    try:
        assert await admin._send_request("asked") == "asked at 2"
        with pytest.raises(NodeNotReadyError):
            await admin._send_request("asked", 1)
    finally:
        admin._client = real
        await admin.close()
