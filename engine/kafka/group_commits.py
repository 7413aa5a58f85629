"""Commits of a group's member that go on while the group rebalances.

aiokafka sends commits on the connection on which it joins the group, and the broker answers there
in order: a commit would wait until the last member has joined. After some answers to a commit
aiokafka also joins again, or gives its member id up, although its heartbeats find out about that.
Here commits, and requests for what is committed (`offset_fetch`), have a connection of their own,
and their answers do not change the membership. Between its join and the group's assignment the
broker accepts no commit of a member (KIP-429): those wait for it.

It replaces two methods of one coordinator of aiokafka's; `tests/transport/test_cooperation.py`
tests that they are as expected.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    IllegalGenerationError,
    KafkaError,
    NotCoordinatorForGroupError,
    RequestTimedOutError,
    for_code,
)
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest
from aiokafka.structs import OffsetAndMetadata

from engine.kafka.offset_fetch import StableOffsetFetch, stable_answer

#: aiokafka's client has a connection for each group of requests and broker, and uses 0 and 1.
_CONNECTION: Final = 2

#: The answers after which the coordinator is looked for again.
_ELSEWHERE: Final = (
    GroupCoordinatorNotAvailableError,
    NotCoordinatorForGroupError,
    RequestTimedOutError,
)


class GroupCommits:
    """The commits of a started consumer. `owned` returns the partitions that may be committed."""

    def __init__(
        self, consumer: AIOKafkaConsumer, owned: Callable[[], Set[TopicPartition]]
    ) -> None:
        self._connections = consumer._client
        self._member: Any = consumer._coordinator
        self._owned = owned
        self._send = self._member._send_req
        self._synced = asyncio.Event()
        self._synced.set()
        self._member._send_req = self._send_apart
        self._member._do_commit_offsets = self._commit

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit offsets of partitions that are owned, in the member's current generation. Tries
        again while the coordinator is not found. Raises KafkaError."""
        structured = {tp: OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}
        await self._member.commit_offsets(None, structured)

    def stop(self) -> None:
        """Let commits wait no longer: the member leaves, and may never be assigned anything."""
        self._synced.set()

    async def _send_apart(self, request: Any) -> Any:
        if isinstance(request, OffsetCommitRequest):
            return await self._send_beside(request)
        if isinstance(request, OffsetFetchRequest):
            response = await self._send_beside(StableOffsetFetch.of(request))
            with self._looking_elsewhere():
                return stable_answer(response, self._member.group_id)
        if isinstance(request, SyncGroupRequest):
            try:
                return await self._send(request)
            finally:
                self._synced.set()
        if isinstance(request, JoinGroupRequest):
            self._synced.set()
        response = await self._send(request)
        if isinstance(request, JoinGroupRequest) and response.error_code == 0:
            self._synced.clear()
        return response

    async def _send_beside(self, request: Any) -> Any:
        coordinator = self._member
        if coordinator.coordinator_id is None:
            raise GroupCoordinatorNotAvailableError
        try:
            return await self._connections.send(
                coordinator.coordinator_id, request, group=_CONNECTION
            )
        except KafkaError:
            coordinator.coordinator_dead()
            raise

    @contextlib.contextmanager
    def _looking_elsewhere(self) -> Iterator[None]:
        """Look for the coordinator again after an error of a broker that is not it."""
        try:
            yield
        except _ELSEWHERE:
            self._member.coordinator_dead()
            raise

    async def _commit(self, _: object, offsets: Mapping[TopicPartition, Any]) -> None:
        await self._synced.wait()
        coordinator, owned = self._member, self._owned()
        by_topic: dict[str, list[tuple[int, int, str]]] = {}
        for tp, at in offsets.items():
            if tp in owned:
                by_topic.setdefault(tp.topic, []).append((tp.partition, at.offset, at.metadata))
        if not by_topic:
            return
        if coordinator.generation < 0:
            # The broker would take it from anyone if the group is empty.
            raise IllegalGenerationError(coordinator.group_id)
        response = await coordinator._send_req(
            OffsetCommitRequest(
                coordinator.group_id,
                coordinator.generation,
                coordinator.member_id,
                OffsetCommitRequest.DEFAULT_RETENTION_TIME,
                [*by_topic.items()],
            )
        )
        codes = {code for _, partitions in response.topics for _, code in partitions} - {0}
        for code in codes:
            with self._looking_elsewhere():
                raise for_code(code)(coordinator.group_id)
