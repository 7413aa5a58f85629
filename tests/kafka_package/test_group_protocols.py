"""The contract with aiokafka's coordinator about a member that offers several protocols."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance
from aiokafka.errors import InconsistentGroupProtocolError
from aiokafka.protocol.group import JoinGroupResponse_v5

from engine.kafka.group_protocols import join_once

PROTOCOLS = ["sticky", "roundrobin"]
#: The broker's answer to one who offers no protocol that the others know.
INCONSISTENT = 23


def an_assignor(name: str) -> Any:
    return SimpleNamespace(name=name, metadata=lambda topics: b"")


class Member:
    """A coordinator of aiokafka's, as far as it joins. The broker has members that know the last
    protocol only."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.coordinator = SimpleNamespace(
            member_id="",
            _group_instance_id=None,
            _rebalance_timeout_ms=1000,
            _assignors=PROTOCOLS,
            _send_req=self._send,
        )

    async def join(self) -> None:
        subscription = SimpleNamespace(topics=["reads"], active=True)
        rebalance: Any = CoordinatorGroupRebalance(
            *(self.coordinator, "group", 1, subscription),
            *([an_assignor(name) for name in PROTOCOLS], 1000, 1),
        )
        await rebalance.perform_group_join()

    async def _send(self, request: Any) -> Any:
        names = [name for name, _ in request._group_protocols]
        self.sent.append(names)
        error = 0 if PROTOCOLS[-1] in names else INCONSISTENT
        # Another one leads: an error ends it here, and a follower would go on.
        return JoinGroupResponse_v5(0, error or INCONSISTENT, 4, "", "m-9", "m-1", [])


async def test_aiokafka_joins_once_for_each_protocol() -> None:
    """If this fails, the seam is no longer needed."""
    member = Member()
    with pytest.raises(InconsistentGroupProtocolError):
        await member.join()
    assert member.sent == [["sticky"], ["sticky", "roundrobin"]]


async def test_a_worker_joins_once_with_all_of_them() -> None:
    member = Member()
    join_once(SimpleNamespace(_coordinator=member.coordinator))
    with pytest.raises(InconsistentGroupProtocolError):
        await member.join()
    assert member.sent == [["sticky", "roundrobin"]]
