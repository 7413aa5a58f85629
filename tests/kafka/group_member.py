"""A member of a consumer group by hand: it asks for what it is told, and when.

It leads its group if it was the first member, and then a rebalance waits wherever it waits. The
requests are those of Kafka's protocol, as aiokafka sends them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.protocol.group import (
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    SyncGroupRequest,
)

from engine.transport.sticky_assignor import COOPERATIVE, protocols
from tests.kafka.records import until

#: The broker's answer to a heartbeat while the group rebalances.
_REBALANCE_IN_PROGRESS = 27
_MEMBER_ID_REQUIRED = 79
#: A coordinator that is loading, is not there, or is not this one.
_NOT_YET = (14, 15, 16)
_SESSION_MS, _REBALANCE_MS = 30_000, 120_000

Assigned = Mapping[str, list[TopicPartition]]


class GroupMember:
    """A member that takes no partition, and leads the others. `assigned` is what they have."""

    def __init__(self, bootstrap: str, group: str, topic: str, partitions: int) -> None:
        self._client = AIOKafkaClient(bootstrap_servers=bootstrap)
        self._group = group
        self._topic = topic
        known = SimpleNamespace(partitions_for_topic=lambda _: set(range(partitions)))
        self._known = cast(ClusterMetadata, known)
        self._assignors = protocols(lambda: self._generation, frozenset)
        self._node: Any = None
        self._member_id = ""
        self._generation = -1
        self._members: list[tuple[str, bytes]] = []
        self._protocol = ""
        self.assigned: Assigned = {}

    async def start(self) -> None:
        """Connect."""
        await self._client.bootstrap()
        await until(self._has_coordinator, "the group has a coordinator")

    async def _has_coordinator(self) -> bool:
        """Find it. A broker that has just started has none until it has made the topic for it."""
        try:
            self._node = await self._client.coordinator_lookup(CoordinationType.GROUP, self._group)
        except GroupCoordinatorNotAvailableError:
            return False
        return True

    async def stop(self) -> None:
        """Leave the group, and disconnect."""
        await self._ask(LeaveGroupRequest(self._group, self._member_id))
        await self._client.close()

    async def is_rebalancing(self) -> bool:
        """Tell the broker that this member lives; whether it answers that the group rebalances."""
        answer = await self._ask(HeartbeatRequest(self._group, self._generation, self._member_id))
        assert answer.error_code in (0, _REBALANCE_IN_PROGRESS), answer
        return bool(answer.error_code)

    async def join(self) -> None:
        """Join; returns when all members have."""
        offered = [
            (each.name, each.metadata([self._topic]).encode())
            for each in self._assignors
            if each.name in (COOPERATIVE, "sticky")
        ]
        while True:
            answer = await self._ask(
                JoinGroupRequest(
                    *(self._group, _SESSION_MS, _REBALANCE_MS, self._member_id, None),
                    *(ConsumerProtocol.PROTOCOL_TYPE, offered),
                )
            )
            if answer.error_code in _NOT_YET:
                await asyncio.sleep(0.2)
                await until(self._has_coordinator, "the group has a coordinator")
                continue
            self._member_id = answer.member_id
            if answer.error_code != _MEMBER_ID_REQUIRED:
                break
        assert answer.error_code == 0, answer
        assert answer.leader_id == answer.member_id, "it is the first member of the group"
        self._generation, self._protocol = answer.generation_id, answer.group_protocol
        self._members = [(member[0], member[-1]) for member in answer.members]

    async def assign(self) -> None:
        """Give the others their partitions, as a worker would that leads the group."""
        members = {
            name: ConsumerProtocol.METADATA.decode(metadata)
            for name, metadata in self._members
            if name != self._member_id
        }
        [assignor] = [each for each in self._assignors if each.name == self._protocol]
        given = assignor.assign(self._known, members) if members else {}
        self.assigned = {name: each.partitions() for name, each in given.items()}
        answer = await self._ask(
            SyncGroupRequest(
                *(self._group, self._generation, self._member_id, None),
                [
                    (self._member_id, ConsumerProtocol.ASSIGNMENT(0, [], b"").encode()),
                    *((name, each.encode()) for name, each in given.items()),
                ],
            )
        )
        assert answer.error_code in (0, _REBALANCE_IN_PROGRESS), answer

    async def lead(self, shares: Iterable[int]) -> None:
        """Lead the group until its members have so many partitions each."""
        while sorted(len(each) for each in self.assigned.values()) != sorted(shares):
            if await self.is_rebalancing():
                await self.join()
                await self.assign()
            await asyncio.sleep(0.05)

    async def _ask(self, request: Any) -> Any:
        return await self._client.send(self._node, request, group=ConnectionGroup.COORDINATION)


@asynccontextmanager
async def leading(
    bootstrap: str, group: str, topic: str, partitions: int
) -> AsyncIterator[GroupMember]:
    """The first member of a group."""
    member = GroupMember(bootstrap, group, topic, partitions)
    await member.start()
    try:
        await member.join()
        await member.assign()
        yield member
    finally:
        await member.stop()
