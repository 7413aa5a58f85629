"""What a controller's answer says of its clock."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.errors import IncompatibleBrokerVersion, KafkaConnectionError

from engine.clock import SystemClock
from engine.kafka.controller_clock import controller_ahead_s

LEADER, OTHER = 3, 1


class Broker:
    """Answers that the leader, and another voter a while ago, were heard of by a clock that is
    ahead."""

    def __init__(self, ahead_ms: int = 0, error: int = 0, leader: int = LEADER) -> None:
        self.ahead_ms = ahead_ms
        self.error = error
        self.leader = leader

    async def send(self, node_id: int, request: Any) -> Any:
        assert node_id == OTHER
        written = request.prepare({55: (0, 2)})
        assert written.to_object()["topics"][0]["name"] == "__cluster_metadata"
        now_ms = SystemClock().now_ms() + self.ahead_ms
        voters: list[Any] = [(OTHER, 9, now_ms - 900_000, 5, {}), (LEADER, 9, now_ms, now_ms, {})]
        partition: Any = (0, self.error, self.leader, 2, 9, voters, [], {})
        return written.RESPONSE_TYPE(0, [("__cluster_metadata", [partition], {})], {})


class Refusing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def send(self, node_id: int, request: Any) -> Any:
        raise self.error


async def test_the_leaders_own_time_is_now() -> None:
    assert await controller_ahead_s(Broker(), OTHER) == 0
    ahead_s = await controller_ahead_s(Broker(600_000), OTHER)
    behind_s = await controller_ahead_s(Broker(-600_000), OTHER)
    assert ahead_s is not None
    assert behind_s is not None
    assert 300 < ahead_s <= 600
    assert -600 <= behind_s < -300


@pytest.mark.parametrize(
    "broker",
    [
        Broker(error=31),
        Broker(leader=-1),
        Refusing(IncompatibleBrokerVersion("no such request")),
        Refusing(KafkaConnectionError("closed")),
    ],
)
async def test_brokers_that_do_not_tell(broker: Any) -> None:
    assert await controller_ahead_s(broker, OTHER) is None
