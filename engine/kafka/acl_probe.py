"""What this login may do with topics and groups, as the broker reports it.

The metadata request asks for it, so that nothing is tried or changed. aiokafka's versions of these
requests cannot ask; newer ones are defined here, by Kafka's protocol guide (Metadata 8, and 11 that
knows the ids of topics; DescribeGroups 3). The protocol cannot ask about transactional ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from operator import itemgetter
from typing import Any, Final, NamedTuple

from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Array,
    Boolean,
    Bytes,
    CompactArray,
    Int16,
    Int32,
    Schema,
)

from engine.kafka.any_broker import send_to_any
from engine.kafka.request_fields import COMPACT_TEXT, NO_TAGS, TAGS, TEXT, define_request

_ID_BYTES: Final = 16

#: Kafka's numbers of operations, which are the positions of their bits.
_OPERATIONS: Final = {
    3: "Read",
    4: "Write",
    5: "Create",
    6: "Delete",
    7: "Alter",
    8: "Describe",
    9: "ClusterAction",
    10: "DescribeConfigs",
    11: "AlterConfigs",
    12: "IdempotentWrite",
}
_NOT_ASKED: Final = -(2**31)
_KEPT_FROM_US: Final = TopicAuthorizationFailedError.errno


class Topic(NamedTuple):
    """A topic as the broker describes it; `error` is Kafka's code, 0 if there is none.

    `partitions` has, for each, its leader (-1 if it has none), replicas, and replicas in sync.
    `may` has the operations that this login may do, None if the broker does not report them. `id`
    tells a topic from an earlier one of the same name; None from brokers before Kafka 2.8.
    """

    name: str
    error: int
    partitions: tuple[tuple[int, int, int], ...]
    may: frozenset[str] | None
    id: bytes | None

    def is_other_than(self, known_id: bytes | None) -> bool:
        """Return whether it is certainly not the topic with this id. The id may be absent: during
        a cluster's upgrade, some brokers know no ids."""
        return self.id is not None and known_id is not None and self.id != known_id


class GroupInfo(NamedTuple):
    """A consumer group: its state, its members, what this login may do with it, and the
    partitions that are assigned to its members, none while it rebalances."""

    name: str
    error: int
    state: str
    members: int
    may: frozenset[str] | None
    assigned: frozenset[tuple[str, int]] = frozenset()


class _MetadataResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", TEXT), ("port", Int32), ("rack", TEXT)),
        ),
        ("cluster_id", TEXT),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", TEXT),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(TEXT)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _Id(AbstractType[bytes]):  # type: ignore[misc]
    """A UUID, as its bytes."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(_ID_BYTES)


class _MetadataWithIdsResponse(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 11
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", COMPACT_TEXT),
                ("port", Int32),
                ("rack", COMPACT_TEXT),
                TAGS,
            ),
        ),
        ("cluster_id", COMPACT_TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", COMPACT_TEXT),
                ("topic_id", _Id),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        TAGS,
                    ),
                ),
                ("authorized_operations", Int32),
                TAGS,
            ),
        ),
        TAGS,
    )


class _MetadataWithIdsStruct(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 11
    RESPONSE_TYPE = _MetadataWithIdsResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Id), ("name", COMPACT_TEXT), TAGS),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        TAGS,
    )


class _Metadata(Request[_MetadataStruct | _MetadataWithIdsStruct]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = list(topics)

    def build(self, request_struct_class: Any) -> Any:
        if request_struct_class is _MetadataStruct:
            return request_struct_class(self._topics, False, False, True)
        named: list[Any] = [(bytes(_ID_BYTES), name, NO_TAGS) for name in self._topics]
        return request_struct_class(named, False, True, NO_TAGS)


_Groups: Final = define_request(
    15,
    3,
    asked=Schema(("groups", Array(TEXT)), ("include_authorized_operations", Boolean)),
    answered=Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            Array(
                ("error_code", Int16),
                ("group", TEXT),
                ("state", TEXT),
                ("protocol_type", TEXT),
                ("protocol", TEXT),
                (
                    "members",
                    Array(
                        ("member_id", TEXT),
                        ("client_id", TEXT),
                        ("client_host", TEXT),
                        ("member_metadata", Bytes),
                        ("member_assignment", Bytes),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
    ),
)


async def topics_as_shown(client: Any, names: Sequence[str], node: int = -1) -> list[Topic]:
    """Describe these topics, as a broker of `client` (an AIOKafkaClient): `node`, or -1 for any."""
    answer = await send_to_any(client, _Metadata(names), node)
    with_ids = answer.API_VERSION >= _MetadataWithIdsResponse.API_VERSION
    shown = []
    for error, name, *more in answer.topics:
        topic_id, _, parts, may = more[:4] if with_ids else (None, *more)
        partitions = tuple(
            (leader, len(replicas), len(isr))
            for _, _, leader, _, replicas, isr, *_ in sorted(parts, key=itemgetter(1))
        )
        allowed = frozenset() if error == _KEPT_FROM_US else _operations(may)
        known_id = topic_id if any(topic_id or ()) else None
        shown.append(Topic(name, error, partitions, allowed, known_id))
    return shown


async def group_as_shown(client: Any, coordinator: int, name: str) -> GroupInfo:
    """Describe a consumer group, as the broker that coordinates it."""
    answer = await client.send(coordinator, _Groups([name], True))
    error, _, state, protocol_type, _, members, may = answer.groups[0]
    assigned = frozenset(
        (topic, number)
        for *_, assignment in members
        if assignment and protocol_type == ConsumerProtocol.PROTOCOL_TYPE
        for topic, number in ConsumerProtocol.ASSIGNMENT.decode(assignment).partitions()
    )
    return GroupInfo(name, error, state, len(members), _operations(may), assigned)


def _operations(bits: int) -> frozenset[str] | None:
    if bits == _NOT_ASKED:
        return None
    return frozenset(name for place, name in _OPERATIONS.items() if bits >> place & 1)
