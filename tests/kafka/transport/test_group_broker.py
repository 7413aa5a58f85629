"""The coordinator that tests use in place of a broker answers as a broker does.

Each case is run on both, and what the members are answered is compared. The cases are those that
`engine.transport.cooperation` depends on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import (
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    SyncGroupRequest,
)

from engine.kafka.topics import Topics
from tests.fakes.group_broker import ID_REQUIRED, REBALANCING, GroupBroker
from tests.kafka.records import until

_SESSION_MS, _REBALANCE_MS = 10_000, 60_000
#: A coordinator that is loading, is not there, or is not this one.
_NOT_YET = (14, 15, 16)
#: How long a test waits for what must come.
_BOUND_S = 60

Send = Callable[[Any], Awaitable[Any]]


class _Table:
    """The members of one group, and what they were answered."""

    def __init__(self, prefix: str, rebalance_ms: int) -> None:
        self.group = f"{prefix}group"
        self.topic = Topics(prefix).detections
        self.rebalance_ms = rebalance_ms
        self.told: list[str] = []
        self._names: dict[str, str] = {}

    async def member(self, name: str) -> _Member:
        """One more member, which is told its id."""
        return _Member(self, name, await self._connected())

    def name_of(self, member_id: str) -> str:
        """How the case calls the member with this id."""
        return self._names.get(member_id, "?")

    def know(self, member_id: str, name: str) -> None:
        """Note the id of a member."""
        self._names[member_id] = name

    async def pass_rebalance_timeout(self) -> None:
        """Return when the members that have not joined yet may be gone."""

    async def close(self) -> None:
        """Disconnect."""

    async def _connected(self) -> Send:
        raise NotImplementedError


class _InMemory(_Table):
    def __init__(self, prefix: str, rebalance_ms: int) -> None:
        super().__init__(prefix, rebalance_ms)
        self._broker = GroupBroker(1)

    async def pass_rebalance_timeout(self) -> None:
        self._broker.expire_late()

    async def _connected(self) -> Send:
        return self._broker.answer


class _OnKafka(_Table):
    def __init__(self, prefix: str, bootstrap: str, rebalance_ms: int) -> None:
        super().__init__(prefix, rebalance_ms)
        self._bootstrap = bootstrap
        self._clients: list[AIOKafkaClient] = []

    async def close(self) -> None:
        for client in self._clients:
            await client.close()

    async def _connected(self) -> Send:
        client = AIOKafkaClient(bootstrap_servers=self._bootstrap)
        self._clients.append(client)
        await client.bootstrap()
        found: list[int] = []

        async def has_coordinator() -> bool:
            try:
                asked = client.coordinator_lookup(CoordinationType.GROUP, self.group)
                found.append(await asked)
            except GroupCoordinatorNotAvailableError:
                return False
            return True

        await until(has_coordinator, "the group has a coordinator")

        async def send(request: Any) -> Any:
            return await client.send(found[-1], request, group=ConnectionGroup.COORDINATION)

        return send


class _Member:
    """A member that asks for what the case says."""

    def __init__(self, table: _Table, name: str, send: Send) -> None:
        self._table = table
        self._name = name
        self._send = send
        self.id = ""
        self.generation = -1
        self.members: list[str] = []

    async def join(self, protocols: str = "x", metadata: bytes = b"") -> None:
        """Join, with an id that the broker gives if it has none. `protocols` has a letter each."""
        while True:
            answer = await self._asked_to_join(protocols, metadata)
            if answer.error_code in _NOT_YET:
                await asyncio.sleep(0.2)
                continue
            if answer.error_code != ID_REQUIRED:
                break
            self._note("is told its id")
            self.id = answer.member_id
            self._table.know(self.id, self._name)
        if answer.error_code:
            self._note(f"joins: error {answer.error_code}")
            return
        self.generation = answer.generation_id
        self.members = [member[0] for member in answer.members]
        known = sorted((self._table.name_of(member[0]), member[-1]) for member in answer.members)
        self._note(
            f"joins: generation {answer.generation_id}, {answer.group_protocol}, led by "
            f"{self._table.name_of(answer.leader_id)}, {known}"
        )

    async def ask_for_id(self) -> None:
        """Begin to join, and not go on."""
        answer = await self._asked_to_join("x", b"")
        self._note(f"asks for an id: error {answer.error_code}")
        self.id = answer.member_id
        self._table.know(self.id, self._name)

    async def sync(self, given: bytes = b"") -> None:
        """Ask for its assignment; a leader gives each the same, with the name of the member."""
        assigned = [
            (member_id, given + self._table.name_of(member_id).encode())
            for member_id in self.members
        ]
        request = SyncGroupRequest(self._table.group, self.generation, self.id, None, assigned)
        answer = await self._send(request)
        what = (
            f"error {answer.error_code}" if answer.error_code else f"{answer.member_assignment!r}"
        )
        self._note(f"syncs: {what}")

    async def beat(self, *, generation: int | None = None, member_id: str | None = None) -> int:
        """Send a heartbeat."""
        error = await self._beaten(generation, member_id)
        self._note(f"beats: {error}")
        return error

    async def hears_of_rebalance(self) -> None:
        """Send heartbeats until one is answered that the group rebalances."""

        async def is_rebalancing() -> bool:
            return await self._beaten(None, None) == REBALANCING

        await until(is_rebalancing, "the group rebalances")
        self._note("hears of a rebalance")

    async def commit(self, offset: int, *, generation: int | None = None, name: str = "") -> None:
        """Commit an offset of the first partition."""
        answer = await self._send(
            OffsetCommitRequest(
                self._table.group,
                self.generation if generation is None else generation,
                name or self.id,
                OffsetCommitRequest.DEFAULT_RETENTION_TIME,
                [(self._table.topic, [(0, offset, "")])],
            )
        )
        [(_, [(_, error)])] = answer.topics
        self._note(f"commits: {error}")

    async def leave(self) -> None:
        """Leave the group."""
        answer = await self._send(LeaveGroupRequest(self._table.group, self.id))
        self._note(f"leaves: {answer.error_code}")

    async def _asked_to_join(self, protocols: str, metadata: bytes) -> Any:
        offered = [(protocol, metadata) for protocol in protocols]
        return await self._send(
            JoinGroupRequest(
                *(self._table.group, _SESSION_MS, self._table.rebalance_ms, self.id, None),
                *(ConsumerProtocol.PROTOCOL_TYPE, offered),
            )
        )

    async def _beaten(self, generation: int | None, member_id: str | None) -> int:
        request = HeartbeatRequest(
            self._table.group,
            self.generation if generation is None else generation,
            self.id if member_id is None else member_id,
        )
        return int((await self._send(request)).error_code)

    def _note(self, what: str) -> None:
        self._table.told.append(f"{self._name} {what}")


async def _stable(table: _Table, *names: str) -> list[_Member]:
    """The members of a stable group; the first one leads it."""
    members: list[_Member] = []
    for name in names:
        member = await table.member(name)
        joining = asyncio.ensure_future(member.join())
        for other in members:
            await other.hears_of_rebalance()
        await _all(joining, *(other.join() for other in members))
        members.append(member)
        await _all(*(each.sync() for each in members))
    return members


async def _all(*work: Awaitable[None]) -> None:
    """Wait for all of it; what they were told is in the order of their names."""
    await asyncio.gather(*work)


async def _alone(table: _Table) -> None:
    first = await table.member("a")
    await first.join()
    await first.beat()
    await first.commit(1)
    await first.join()  # it may not have heard the answer
    await first.sync()
    await first.sync()
    await first.beat()
    await first.commit(2)
    await first.commit(3, generation=0)
    await first.commit(3, name="nobody")
    await first.beat(generation=0)
    await first.beat(member_id="nobody")
    await first.leave()
    await first.leave()
    await first.beat()
    await first.join()


async def _joins_another(table: _Table) -> None:
    [first] = await _stable(table, "a")
    second = await table.member("b")
    joining = asyncio.ensure_future(second.join())
    await first.hears_of_rebalance()
    await first.commit(1)
    await first.sync()
    await _all(joining, first.join())
    await first.beat()
    await second.beat()
    await first.commit(2)
    await second.commit(2)
    await _all(second.sync(), first.sync(b"new-"))
    await second.sync()
    await second.commit(3)


async def _joins_again(table: _Table) -> None:
    first, second, third = await _stable(table, "a", "b", "c")
    await second.join()
    await third.beat()
    changed = asyncio.ensure_future(second.join(metadata=b"other"))
    await third.hears_of_rebalance()
    await first.hears_of_rebalance()
    await _all(changed, first.join(), third.join())
    await third.join()
    await first.join()
    await _all(first.sync(), second.sync(), third.sync())
    leading = asyncio.ensure_future(first.join())
    await third.hears_of_rebalance()
    await second.hears_of_rebalance()
    await _all(leading, second.join(), third.join())


async def _joins_while_others_sync(table: _Table) -> None:
    first, second = await _stable(table, "a", "b")
    leading = asyncio.ensure_future(first.join())
    await second.hears_of_rebalance()
    await _all(leading, second.join())
    syncing = asyncio.ensure_future(second.sync())
    third = await table.member("c")
    joining = asyncio.ensure_future(third.join())
    await syncing
    await first.hears_of_rebalance()
    await _all(joining, first.join(), second.join())


async def _offers_other_protocols(table: _Table) -> None:
    first = await table.member("a")
    await first.join("xy")
    await first.sync()
    stranger = await table.member("s")
    await stranger.join("z")
    second, third = await table.member("b"), await table.member("c")
    for member, others in ((second, [first]), (third, [first, second])):
        joining = asyncio.ensure_future(member.join("yx"))
        for other in others:
            await other.hears_of_rebalance()
        again = [other.join("xy" if other is first else "yx") for other in others]
        await _all(joining, *again)
        await _all(member.sync(), *(other.sync() for other in others))
    await third.join("z")


async def _leaves_while_others_wait(table: _Table) -> None:
    first, second, third = await _stable(table, "a", "b", "c")
    leading = asyncio.ensure_future(first.join())
    await third.hears_of_rebalance()
    again = asyncio.ensure_future(second.join())
    await third.leave()
    await _all(leading, again)
    syncing = asyncio.ensure_future(first.sync())
    await syncing
    await second.leave()
    await first.hears_of_rebalance()
    await first.join()


async def _begins_to_join(table: _Table) -> None:
    [first] = await _stable(table, "a")
    pending = await table.member("p")
    await pending.ask_for_id()
    await first.beat()
    second = await table.member("b")
    joining = asyncio.ensure_future(second.join())
    await first.hears_of_rebalance()
    again = asyncio.ensure_future(first.join())
    await asyncio.sleep(0.5)  # if they waited for each other alone, this would be another one
    await _all(joining, again, pending.join())


async def _begins_to_join_and_leaves(table: _Table) -> None:
    [first] = await _stable(table, "a")
    pending = await table.member("p")
    await pending.ask_for_id()
    second = await table.member("b")
    joining = asyncio.ensure_future(second.join())
    await first.hears_of_rebalance()
    again = asyncio.ensure_future(first.join())
    await pending.leave()
    await _all(joining, again)


async def _comes_too_late(table: _Table) -> None:
    first, second = await _stable(table, "a", "b")
    third = await table.member("c")
    joining = asyncio.ensure_future(third.join())
    await first.hears_of_rebalance()
    again = asyncio.ensure_future(first.join())
    await asyncio.sleep(0.1)
    await table.pass_rebalance_timeout()
    await _all(joining, again)
    await second.beat()
    await second.join()


Case = Callable[[_Table], Coroutine[Any, Any, None]]
CASES: dict[Case, int] = {
    _alone: _REBALANCE_MS,
    _joins_another: _REBALANCE_MS,
    _joins_again: _REBALANCE_MS,
    _joins_while_others_sync: _REBALANCE_MS,
    _offers_other_protocols: _REBALANCE_MS,
    _leaves_while_others_wait: _REBALANCE_MS,
    _begins_to_join: _REBALANCE_MS,
    _begins_to_join_and_leaves: _REBALANCE_MS,
    _comes_too_late: 2_000,
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__.strip("_"))
async def test_it_answers_as_a_broker_does(case: Case, real_kafka: str, prefix: str) -> None:
    rebalance_ms = CASES[case]
    tables = _InMemory(prefix, rebalance_ms), _OnKafka(prefix, real_kafka, rebalance_ms)
    for table in tables:
        try:
            async with asyncio.timeout(_BOUND_S):
                await case(table)
        finally:
            await table.close()
    in_memory, on_kafka = ([*_in_order(table.told)] for table in tables)
    assert in_memory == on_kafka


def _in_order(told: list[str]) -> list[str]:
    """What each member was told, member by member: whose answer comes first is by chance."""
    return sorted(told, key=lambda line: line[0])
