"""A static member of a consumer group (KIP-345) ends when another process has taken its place.

aiokafka joins and syncs with the instance id, but its heartbeats have none. To a member whose id a
second process uses, the broker then answers that it does not know it, as it does after a session
that has expired. aiokafka joins again and takes the id back, so two processes with one id evict
each other for ever, and no read is processed. Here heartbeats carry the id, so that the broker can
say that the member is fenced, and before a member joins again it asks whether it is.

It wraps one method of one coordinator of aiokafka's; `tests/kafka_package/test_static_member.py`
fails loudly if that changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.group import (
    HeartbeatRequest,
    HeartbeatResponse_v1,
    JoinGroupRequest,
    SyncGroupRequest,
)
from aiokafka.protocol.types import Int32, Schema

from engine.errors import BrokerError
from engine.kafka.request_fields import TEXT

#: The broker's answer to a member whose instance id another member has now. aiokafka knows no name
#: for it.
FENCED_INSTANCE_ID: Final = 82

Send = Callable[[Any], Awaitable[Any]]


class _HeartbeatResponse(HeartbeatResponse_v1):  # type: ignore[misc]  # aiokafka has no types
    API_VERSION = 3


class _Heartbeat(RequestStruct):  # type: ignore[misc]
    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = _HeartbeatResponse
    SCHEMA = Schema(
        ("group", TEXT),
        ("generation_id", Int32),
        ("member_id", TEXT),
        ("group_instance_id", TEXT),
    )


class StaticHeartbeat(Request[_Heartbeat]):  # type: ignore[misc]
    """A heartbeat that says which instance it is of."""

    API_KEY = 12

    def __init__(self, *fields: Any) -> None:
        self._fields = fields

    def build(self, request_struct_class: type[_Heartbeat]) -> _Heartbeat:
        return request_struct_class(*self._fields)


def end_when_fenced(consumer: AIOKafkaConsumer, on_fenced: Callable[[BrokerError], None]) -> None:
    """Have a started consumer that is a static member call `on_fenced` once, in its event loop,
    when another process has joined with its instance id. From then on it does not join again.

    Raises RuntimeError if this aiokafka's coordinator sends in another way.
    """
    coordinator = consumer._coordinator
    if not hasattr(coordinator, "_send_req") or not hasattr(coordinator, "_group_instance_id"):
        raise RuntimeError("this version of aiokafka has another coordinator; pin aiokafka 0.14")
    if coordinator._group_instance_id is not None:
        coordinator._send_req = _Fencing(coordinator, coordinator._send_req, on_fenced).send


class _Fencing:
    """The requests of one static member, as they are sent."""

    def __init__(
        self, coordinator: Any, send: Send, on_fenced: Callable[[BrokerError], None]
    ) -> None:
        self._group = coordinator.group_id
        self._instance_id = coordinator._group_instance_id
        self._send = send
        self._on_fenced = on_fenced
        self._is_fenced = False
        #: Generation and id of the member that this process has been last.
        self._last: tuple[int, str] | None = None

    async def send(self, request: Any) -> Any:
        """As the coordinator's own. Never returns once another process has the instance id."""
        if isinstance(request, JoinGroupRequest):
            await self._look_before_joining(request)
        elif isinstance(request, HeartbeatRequest):
            request = self._heartbeat(request._generation_id, request._member_id)
        if not isinstance(request, JoinGroupRequest | SyncGroupRequest | StaticHeartbeat):
            return await self._send(request)
        await self._wait_if_fenced()
        response = await self._send(request)
        if response.error_code == FENCED_INSTANCE_ID:
            await self._fence()
        if isinstance(request, JoinGroupRequest) and response.error_code == 0:
            self._last = response.generation_id, response.member_id
        return response

    async def _look_before_joining(self, request: Any) -> None:
        """A member that the broker did not know may have expired, or have been replaced."""
        if self._last is None or request._member_id:
            return
        response = await self._send(self._heartbeat(*self._last))
        if response.error_code == FENCED_INSTANCE_ID:
            await self._fence()

    def _heartbeat(self, generation: int, member_id: str) -> StaticHeartbeat:
        return StaticHeartbeat(self._group, generation, member_id, self._instance_id)

    async def _fence(self) -> None:
        if not self._is_fenced:
            self._is_fenced = True
            self._on_fenced(
                BrokerError(
                    f"another worker has joined with the instance id {self._instance_id!r} and has "
                    "taken this one's place",
                    where=f"consumer group {self._group}",
                    hint="give each worker an id of its own, --group-instance-id "
                    "(HOTLIST_GROUP_INSTANCE_ID)",
                )
            )
        await self._wait_if_fenced()

    async def _wait_if_fenced(self) -> None:
        """aiokafka would try again at once, with a line in the log each time."""
        if self._is_fenced:
            await asyncio.get_running_loop().create_future()
