"""The contract with aiokafka's coordinator about a group's commits that it cannot be told."""

from __future__ import annotations

import types
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import group_coordinator
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError
from aiokafka.protocol.commit import (
    OffsetFetchRequest,
    OffsetFetchResponse_v1,
    OffsetFetchResponse_v3,
)
from aiokafka.structs import OffsetAndMetadata

from engine.kafka.offset_fetch import ask_again_for_commits

PART = TopicPartition("reads", 0)
LOADING, UNAVAILABLE, ELSEWHERE, DENIED, UNEXPECTED = 14, 15, 16, 30, 42
COMMITTED = OffsetFetchResponse_v3(0, [("reads", [(0, 7, "", 0)])], 0)
NOTHING = OffsetFetchResponse_v3(0, [("reads", [(0, -1, "", 0)])], 0)


def failed(error: int) -> Any:
    """The answer for a whole group, as Kafka's brokers give it."""
    return OffsetFetchResponse_v3(0, [], error)


class Member:
    """A coordinator of aiokafka's, as far as it asks for commits; the broker gives `answers`."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.deaths = 0
        self.coordinator: Any = SimpleNamespace(
            group_id="g",
            _retry_backoff_ms=0,
            _send_req=self._send,
            coordinator_dead=self._die,
            ensure_coordinator_known=self._known,
        )
        for name in ("fetch_committed_offsets", "_do_fetch_commit_offsets"):
            method = getattr(group_coordinator.GroupCoordinator, name)
            setattr(self.coordinator, name, types.MethodType(method, self.coordinator))

    def heeding(self) -> Member:
        ask_again_for_commits(SimpleNamespace(_coordinator=self.coordinator))
        return self

    async def committed(self) -> Any:
        return await self.coordinator.fetch_committed_offsets([PART])

    async def _known(self) -> None:
        pass

    def _die(self) -> None:
        self.deaths += 1

    async def _send(self, request: Any) -> Any:
        assert isinstance(request, OffsetFetchRequest)
        return self.answers.pop(0)


async def test_aiokafka_alone_takes_a_group_that_is_loading_for_a_new_one() -> None:
    """If this fails, aiokafka has mended it, and the seam can go."""
    assert await Member(failed(LOADING), COMMITTED).committed() == {}


@pytest.mark.parametrize(("error", "deaths"), [(LOADING, 0), (UNAVAILABLE, 1), (ELSEWHERE, 1)])
async def test_a_coordinator_that_cannot_tell_is_asked_again(error: int, deaths: int) -> None:
    member = Member(failed(error), failed(error), COMMITTED).heeding()
    assert await member.committed() == {PART: OffsetAndMetadata(7, "")}
    assert member.deaths == 2 * deaths


async def test_a_group_that_has_committed_nothing_has_nothing() -> None:
    assert await Member(NOTHING).heeding().committed() == {}
    old = OffsetFetchResponse_v1([("reads", [(0, 7, "", 0)])])
    assert await Member(old).heeding().committed() == {PART: OffsetAndMetadata(7, "")}


@pytest.mark.parametrize("error", [DENIED, UNEXPECTED])
async def test_an_error_that_stays_is_raised(error: int) -> None:
    with pytest.raises(KafkaError) as raised:
        await Member(failed(error)).heeding().committed()
    assert raised.value.errno == error
    if error == DENIED:
        assert isinstance(raised.value, GroupAuthorizationFailedError)
        assert raised.value.args == ("g",)


async def test_a_consumer_of_another_aiokafka_is_refused() -> None:
    with pytest.raises(RuntimeError, match="pin aiokafka"):
        ask_again_for_commits(SimpleNamespace(_coordinator=SimpleNamespace()))
