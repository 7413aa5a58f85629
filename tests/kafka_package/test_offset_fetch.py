"""`engine.kafka.offset_fetch`: what is asked of a coordinator, and what its answers mean."""

from __future__ import annotations

import types
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import group_coordinator
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError
from aiokafka.protocol.commit import OffsetFetchResponse_v1, OffsetFetchResponse_v3
from aiokafka.structs import OffsetAndMetadata

from engine.kafka.group_commits import GroupCommits
from engine.kafka.offset_fetch import StableOffsetFetch, committed_offsets

PART = TopicPartition("reads", 0)
LOADING, UNAVAILABLE, ELSEWHERE, DENIED, UNEXPECTED, UNSTABLE = 14, 15, 16, 30, 42, 88
COMMITTED = OffsetFetchResponse_v3(0, [("reads", [(0, 7, "", 0)])], 0)
NOTHING = OffsetFetchResponse_v3(0, [("reads", [(0, -1, "", 0)])], 0)
#: A broker that knows the versions of Kafka 4.1, and one from before KIP-447.
NEW, OLD = {9: (1, 10)}, {9: (0, 6)}


def failed(error: int) -> Any:
    """The answer for a whole group, as Kafka's brokers give it."""
    return OffsetFetchResponse_v3(0, [], error)


def stable(offset: int, error: int = 0) -> Any:
    """The answer to the version that waits for what is not replicated yet."""
    tags: dict[int, bytes] = {}
    topics = [("reads", [(0, offset, -1, "", error, tags)], tags)]
    response = StableOffsetFetch("g", []).prepare(NEW).RESPONSE_TYPE
    encoded = response(0, topics, 0, tags).encode()
    return response.decode(BytesIO(encoded))


class Member:
    """A coordinator of aiokafka's, as far as it asks for commits; the broker gives `answers`."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []
        self.deaths = 0
        self.coordinator: Any = SimpleNamespace(
            group_id="g",
            coordinator_id=1,
            _retry_backoff_ms=0,
            _send_req=self._send,
            coordinator_dead=self._die,
            ensure_coordinator_known=self._known,
        )
        for name in ("fetch_committed_offsets", "_do_fetch_commit_offsets"):
            method = getattr(group_coordinator.GroupCoordinator, name)
            setattr(self.coordinator, name, types.MethodType(method, self.coordinator))

    def heeding(self) -> Member:
        client = SimpleNamespace(send=self._send_apart)
        consumer: Any = SimpleNamespace(_client=client, _coordinator=self.coordinator)
        GroupCommits(consumer, frozenset)
        return self

    async def committed(self) -> Any:
        return await self.coordinator.fetch_committed_offsets([PART])

    async def _known(self) -> None:
        pass

    def _die(self) -> None:
        self.deaths += 1

    async def _send(self, request: Any) -> Any:
        self.asked.append(request)
        return self.answers.pop(0)

    async def _send_apart(self, node: int, request: Any, group: int) -> Any:
        return await self._send(request)


async def test_aiokafka_alone_takes_a_group_that_is_loading_for_a_new_one() -> None:
    """If this fails, aiokafka has mended it, and the seam can go."""
    assert await Member(failed(LOADING), COMMITTED).committed() == {}


@pytest.mark.parametrize(("error", "deaths"), [(LOADING, 0), (UNAVAILABLE, 1), (ELSEWHERE, 1)])
async def test_a_coordinator_that_cannot_tell_is_asked_again(error: int, deaths: int) -> None:
    member = Member(failed(error), failed(error), COMMITTED).heeding()
    assert await member.committed() == {PART: OffsetAndMetadata(7, "")}
    assert member.deaths == 2 * deaths


async def test_an_offset_in_an_open_transaction_is_waited_for() -> None:
    member = Member(stable(-1, UNSTABLE), stable(7)).heeding()
    assert await member.committed() == {PART: OffsetAndMetadata(7, "")}
    assert member.deaths == 0


async def test_a_group_that_has_committed_nothing_has_nothing() -> None:
    assert await Member(NOTHING).heeding().committed() == {}
    assert await Member(stable(-1)).heeding().committed() == {}
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


async def test_brokers_are_asked_to_wait_for_what_is_not_replicated() -> None:
    member = Member(COMMITTED).heeding()
    await member.committed()
    (asked,) = member.asked
    request = asked.prepare(NEW)
    assert request.API_VERSION == 7
    assert request.require_stable is True
    assert request.topics == [("reads", [0], {})]
    assert type(request).decode(BytesIO(request.encode())).topics == [("reads", [0], {})]
    assert asked.prepare(OLD).API_VERSION == 3, "what the embedded broker knows, for one"


async def test_an_admin_client_is_answered_in_the_same_way() -> None:
    async def find_coordinator(group: str) -> int:
        return 1

    async def send(request: Any, node: int) -> Any:
        return answers.pop(0)

    admin = SimpleNamespace(find_coordinator=find_coordinator, _send_request=send)
    answers = [stable(7), stable(-1), failed(LOADING), stable(-1, UNSTABLE), stable(-1, UNEXPECTED)]
    assert await committed_offsets(admin, "g", [PART]) == {PART: OffsetAndMetadata(7, "")}
    assert await committed_offsets(admin, "g", [PART]) == {PART: OffsetAndMetadata(-1, "")}
    for error in (LOADING, UNSTABLE, UNEXPECTED):
        with pytest.raises(KafkaError) as raised:
            await committed_offsets(admin, "g", [PART])
        assert raised.value.errno == error
