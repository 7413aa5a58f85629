"""Moves the replicas of a topic between brokers while it is read and written.

As `kafka-reassign-partitions.sh` and `kafka-leader-election.sh` do it: AlterPartitionReassignments
(KIP-455) and ElectLeaders (KIP-460). With as many replicas as brokers a replica can move only to
where it was deleted, so a move has two halves: each partition loses the replica that leads it, and
gets it back, copied from its beginning, as the one that is to lead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import AlterPartitionReassignmentsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int8, Int16, Int32, Schema, String
from confluent_kafka.admin import AdminClient

from engine.kafka.topics import Topics
from tests.torture.waits import CLIENT_S, bounded

#: By partition, the brokers that hold it, the one that is to lead first.
Placement = Mapping[int, Sequence[int]]

_POLL_S: Final = 0.1
#: An election that changes nothing is answered by ELECTION_NOT_NEEDED. One that comes before the
#: controller knows that the replica is in sync is answered by PREFERRED_LEADER_NOT_AVAILABLE.
_NO_ERROR: Final = 0
_NOT_AVAILABLE: Final = 80
_NOT_NEEDED: Final = 84
_PREFERRED: Final = 0
_REQUEST_MS: Final = 20_000
_TEXT: Final = String("utf-8")


class _ElectResponse(Response):  # type: ignore[misc]
    API_KEY = 43
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "results",
            Array(
                ("topic", _TEXT),
                (
                    "partitions",
                    Array(("partition", Int32), ("error_code", Int16), ("error_message", _TEXT)),
                ),
            ),
        ),
    )


class _ElectStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 43
    API_VERSION = 1
    RESPONSE_TYPE = _ElectResponse
    SCHEMA = Schema(
        ("election_type", Int8),
        ("topics", Array(("topic", _TEXT), ("partitions", Array(Int32)))),
        ("timeout_ms", Int32),
    )


class _Elect(Request[_ElectStruct]):  # type: ignore[misc]
    API_KEY = 43

    def __init__(self, topic: str, partitions: Sequence[int]) -> None:
        self._topics = [(topic, list(partitions))]

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(_PREFERRED, self._topics, _REQUEST_MS)


class Replicas:
    """Where a cluster's topics lie. `topics` are moved, Kafka's own beside the engine's."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self.topics: Final = (
            *(
                topics.name(kind)
                for kind in ("detections", "hotlist", "policies", "matches", "audit", "suppression")
            ),
            *("__consumer_offsets", "__transaction_state"),
        )

    async def move(self, topic: str, pause_s: float) -> bool:
        """Take each partition's leader from it, and after a pause have it lead again as a new
        replica; False if the topic is not there."""
        before = await self._placed(topic)
        if not before:
            return False
        await self._place(topic, {at: held[1:] for at, held in before.items()})
        await asyncio.sleep(pause_s)
        await self._place(topic, before)
        await self._elect(topic, before)
        return True

    async def lead_elsewhere(self, topic: str) -> bool:
        """Have another replica lead each partition, at once; False if the topic is not there."""
        before = await self._placed(topic)
        if not before:
            return False
        turned = {at: [*held[1:], held[0]] for at, held in before.items()}
        await self._place(topic, turned)
        await self._elect(topic, turned)
        return True

    async def _placed(self, topic: str) -> dict[int, list[int]]:
        """Where the partitions lie, the leader of each first."""
        found = await self._described(topic)
        return {
            at: sorted(partition.replicas, key=lambda broker: broker != partition.leader)
            for at, partition in found.items()
        }

    async def _place(self, topic: str, wanted: Placement) -> None:
        """Ask for a placement and wait until it is so, with all replicas in sync."""
        partitions: Any = [(at, list(held), {}) for at, held in wanted.items()]
        request = AlterPartitionReassignmentsRequest(_REQUEST_MS, [(topic, partitions, {})], {})
        answer = await self._asked(request, f"a reassignment of {topic}")
        codes = [code for _, parts, _ in answer.responses for _, code, *_ in parts]
        if {answer.error_code, *codes} - {_NO_ERROR}:
            raise KafkaError(f"{topic} was not reassigned: {answer}")
        while not await self._is_placed(topic, wanted):
            await asyncio.sleep(_POLL_S)

    async def _is_placed(self, topic: str, wanted: Placement) -> bool:
        found = await self._described(topic)
        return found.keys() == wanted.keys() and all(
            found[at].replicas == list(held) and sorted(found[at].isrs) == sorted(held)
            for at, held in wanted.items()
        )

    async def _elect(self, topic: str, wanted: Placement) -> None:
        """Have the preferred replica of each partition lead, and wait until it does."""
        while True:
            answer = await self._asked(_Elect(topic, list(wanted)), f"an election for {topic}")
            codes = [code for _, parts in answer.results for _, code, _ in parts]
            if {answer.error_code, *codes} - {_NO_ERROR, _NOT_NEEDED, _NOT_AVAILABLE}:
                raise KafkaError(f"no election for {topic}: {answer}")
            found = await self._described(topic)
            if all(at in found and found[at].leader == held[0] for at, held in wanted.items()):
                return
            await asyncio.sleep(_POLL_S)

    async def _asked(self, request: Any, what: str) -> Any:
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self._bootstrap, request_timeout_ms=_REQUEST_MS
        )
        await bounded(admin.start(), CLIENT_S, "an admin client is started")
        try:
            return await bounded(admin._send_request(request), CLIENT_S, what)
        finally:
            await bounded(admin.close(), CLIENT_S, "an admin client is closed")

    async def _described(self, topic: str) -> dict[int, Any]:
        listing = asyncio.to_thread(self._admin.list_topics, topic, CLIENT_S)
        described = (await listing).topics.get(topic)
        if described is None or described.error is not None:
            return {}
        partitions: dict[int, Any] = described.partitions
        return partitions
