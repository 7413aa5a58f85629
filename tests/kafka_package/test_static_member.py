"""The contract with aiokafka's coordinator about static members, and what a fenced one does."""

from __future__ import annotations

import asyncio
import types
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer import group_coordinator
from aiokafka.protocol.group import JoinGroupRequest, JoinGroupResponse_v5, SyncGroupRequest

from engine.errors import BrokerError
from engine.kafka.static_member import FENCED_INSTANCE_ID, StaticHeartbeat, end_when_fenced

UNKNOWN_MEMBER = 25
VERSIONS = {12: (0, 4)}


class Member:
    """A coordinator of aiokafka's, as far as it sends, with the seam in it. The broker answers
    heartbeats with `heartbeat`, and lets each who asks join."""

    def __init__(self, instance_id: str | None = "worker-1") -> None:
        self.heartbeat = 0
        self.sent: list[Any] = []
        self.ends: list[BrokerError] = []
        coordinator: Any = SimpleNamespace(
            group_id="g",
            generation=3,
            member_id="m-1",
            coordinator_id=1,
            _group_instance_id=instance_id,
            _send_req=self._send,
            _subscription=SimpleNamespace(active=True),
            request_rejoin=lambda: None,
        )
        for name in ("_do_heartbeat", "reset_generation"):
            method = getattr(group_coordinator.GroupCoordinator, name)
            setattr(coordinator, name, types.MethodType(method, coordinator))
        self.coordinator = coordinator
        end_when_fenced(SimpleNamespace(_coordinator=coordinator), self.ends.append)

    async def join(self) -> None:
        """Join as aiokafka does, up to the answer."""
        request = JoinGroupRequest(
            *("g", 1000, 1000, self.coordinator.member_id),
            *(self.coordinator._group_instance_id, "consumer", []),
        )
        response = await self.coordinator._send_req(request)
        self.coordinator.member_id = response.member_id

    async def _send(self, request: Any) -> Any:
        self.sent.append(request)
        if isinstance(request, JoinGroupRequest):
            return JoinGroupResponse_v5(0, 0, 4, "range", "m-9", "m-1", [])
        return SimpleNamespace(error_code=self.heartbeat)


async def hangs(work: Any) -> bool:
    """Whether this waits for good; the event loop has nothing else to do."""
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if task.done():
        await task
        return False
    task.cancel()
    return True


async def test_heartbeats_say_whose_they_are() -> None:
    member = Member()
    assert await member.coordinator._do_heartbeat()
    [request] = member.sent
    written = request.prepare(VERSIONS)
    assert written.API_VERSION == 3
    assert written.to_object() == {
        "group": "g",
        "generation_id": 3,
        "member_id": "m-1",
        "group_instance_id": "worker-1",
    }


async def test_a_fenced_member_ends_once_and_never_joins_again() -> None:
    member = Member()
    member.heartbeat = FENCED_INSTANCE_ID
    assert await hangs(member.coordinator._do_heartbeat())
    assert await hangs(member.join())
    [error] = member.ends
    assert "consumer group g: another worker has joined with the instance id 'worker-1'" in str(
        error
    )
    assert "HOTLIST_GROUP_INSTANCE_ID" in str(error)
    assert not any(isinstance(request, JoinGroupRequest) for request in member.sent)


@pytest.mark.parametrize("answer", [FENCED_INSTANCE_ID, UNKNOWN_MEMBER])
async def test_a_member_that_the_broker_does_not_know_asks_before_it_joins_again(
    answer: int,
) -> None:
    """A commit was refused: its session has expired, or a second process has its id."""
    member = Member()
    await member.join()
    member.coordinator.reset_generation()
    member.heartbeat = answer
    is_fenced = answer == FENCED_INSTANCE_ID
    assert await hangs(member.join()) == is_fenced
    assert bool(member.ends) == is_fenced
    asked = member.sent[1]
    assert isinstance(asked, StaticHeartbeat)
    assert asked._fields == ("g", 4, "m-1", "worker-1")
    assert len(member.sent) == (2 if is_fenced else 3)


async def test_the_first_join_is_sent_as_it_is() -> None:
    member = Member()
    member.coordinator.reset_generation()
    await member.join()
    assert [type(request) for request in member.sent] == [JoinGroupRequest]


async def test_sync_is_fenced_too() -> None:
    member = Member()
    member.heartbeat = FENCED_INSTANCE_ID
    sync = SyncGroupRequest("g", 3, "m-1", "worker-1", [])
    assert await hangs(member.coordinator._send_req(sync))
    assert len(member.ends) == 1


async def test_a_dynamic_member_is_left_as_it_is() -> None:
    member = Member(None)
    member.heartbeat = UNKNOWN_MEMBER
    assert not await member.coordinator._do_heartbeat()
    assert not isinstance(member.sent[0], StaticHeartbeat)


def test_another_aiokafka_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"pin aiokafka 0\.14"):
        end_when_fenced(SimpleNamespace(_coordinator=SimpleNamespace()), print)
