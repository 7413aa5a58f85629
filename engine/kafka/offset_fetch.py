"""What a group has committed, as its coordinator is certain of it.

aiokafka 0.14 asks in a way that has two faults. Both make a group look as if it had committed
nothing, and then a consumer begins at the oldest read kept:

* Since version 2 of OffsetFetch (KIP-88) a coordinator that is loading the group, or is not its
  coordinator any more, answers with one error for the whole group and without partitions. aiokafka
  looks only at the errors of partitions. Other clients had the fault too (Parsely/pykafka 958,
  IBM/sarama 3574).
* A coordinator of Kafka 4 that was elected just now answers, without an error, with what it knows
  to be on all replicas, and for some milliseconds that is nothing. From version 7 on a client can
  ask it to wait for the rest (`require_stable`, KIP-447): apache/kafka's GroupCoordinatorService
  then treats the request as a write, whose answer waits until all before it is replicated. aiokafka
  knows the versions up to 3.

A partition whose offset an open transaction is about to change has no stable offset either. It is
asked again, until that transaction has ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, NoError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import (
    OffsetFetchRequest,
    OffsetFetchRequest_v1,
    OffsetFetchRequest_v2,
    OffsetFetchRequest_v3,
    OffsetFetchResponse_v3,
)
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    Int16,
    Int32,
    Int64,
    Schema,
)
from aiokafka.structs import OffsetAndMetadata

from engine.kafka.request_fields import COMPACT_TEXT, NO_TAGS, TAGS

_UNSTABLE: Final = 88


class UnstableOffsetError(KafkaError):  # type: ignore[misc]
    """The offset that a partition will have is part of an open transaction."""

    errno = _UNSTABLE
    retriable = True


class _Response(Response):  # type: ignore[misc]
    API_KEY = 9
    API_VERSION = 7
    SCHEMA: ClassVar = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", COMPACT_TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", COMPACT_TEXT),
                        ("error_code", Int16),
                        TAGS,
                    ),
                ),
                TAGS,
            ),
        ),
        ("error_code", Int16),
        TAGS,
    )


class _Request(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 9
    API_VERSION = 7
    RESPONSE_TYPE = _Response
    SCHEMA: ClassVar = Schema(
        ("consumer_group", COMPACT_TEXT),
        (
            "topics",
            CompactArray(
                ("topic", COMPACT_TEXT),
                ("partitions", CompactArray(Int32)),
                TAGS,
            ),
        ),
        ("require_stable", Boolean),
        TAGS,
    )


class StableOffsetFetch(
    Request[  # type: ignore[misc]
        OffsetFetchRequest_v1 | OffsetFetchRequest_v2 | OffsetFetchRequest_v3 | _Request
    ],
):
    """A request for stable offsets; older brokers are asked as aiokafka asks them."""

    API_KEY = 9

    def __init__(self, group: str, topics: Iterable[tuple[str, Iterable[int]]]) -> None:
        self._group = group
        self.topics = [(topic, [*partitions]) for topic, partitions in topics]

    @classmethod
    def of(cls, request: OffsetFetchRequest) -> StableOffsetFetch:
        """The request that takes the place of one of aiokafka's consumer."""
        return cls(request._consumer_group, request._partitions or ())

    def build(self, request_struct_class: Any) -> Any:
        if request_struct_class is not _Request:
            return request_struct_class(self._group, self.topics)
        tagged = [(topic, partitions, NO_TAGS) for topic, partitions in self.topics]
        return _Request(self._group, tagged, True, NO_TAGS)


def stable_answer(response: Any, group: str) -> Any:
    """Return the answer to a StableOffsetFetch in the form that aiokafka reads.

    Raises the error of the whole answer, and UnstableOffsetError. aiokafka's consumer asks again
    after the retriable ones.
    """
    if response.API_VERSION >= 2 and (error := for_code(response.error_code)) is not NoError:
        raise error(group)
    if response.API_VERSION != _Response.API_VERSION:
        return response
    topics = [
        (topic, [(part, offset, text, code) for part, offset, _, text, code, _ in partitions])
        for topic, partitions, _ in response.topics
    ]
    if any(code == _UNSTABLE for _, partitions in topics for *_, code in partitions):
        raise UnstableOffsetError(group)
    return OffsetFetchResponse_v3(0, topics, 0)


async def committed_offsets(
    admin: Any, group: str, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """Ask a group's coordinator, with an admin client of aiokafka's. A partition without a
    committed offset has -1. Raises KafkaError."""
    topics: dict[str, list[int]] = {}
    for tp in partitions:
        topics.setdefault(tp.topic, []).append(tp.partition)
    coordinator = await admin.find_coordinator(group)
    request = StableOffsetFetch(group, topics.items())
    response = stable_answer(await admin._send_request(request, coordinator), group)
    found = {}
    for topic, of_topic in response.topics:
        for partition, offset, metadata, code in of_topic:
            if (error := for_code(code)) is not NoError:
                raise error(group)
            found[TopicPartition(topic, partition)] = OffsetAndMetadata(offset, metadata)
    return found
