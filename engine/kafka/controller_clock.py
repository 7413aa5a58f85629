"""The clock of the cluster's controller, which a client can ask for without writing anything.

A record's time tells that a broker's clock is ahead, never that it is behind: the record may be
old. Only what is written now is stamped now. But the controller says when it last heard of each
voter of its quorum, and of itself that is now (KIP-836, Kafka 3.3). aiokafka has no such request.
It is defined here, by Kafka's protocol guide: DescribeQuorum (55). It needs the right to Describe
the cluster.
"""

from __future__ import annotations

from typing import Any, Final

from aiokafka.errors import IncompatibleBrokerVersion, KafkaConnectionError
from aiokafka.protocol.types import CompactArray, Int16, Int32, Int64, Schema

from engine.clock import SystemClock
from engine.kafka.request_fields import COMPACT_TEXT, NO_TAGS, TAGS, define_request

#: The topic of the cluster's own records.
_METADATA: Final = "__cluster_metadata"
_REPLICAS: Final = CompactArray(
    ("replica_id", Int32),
    ("log_end_offset", Int64),
    ("last_fetch_ms", Int64),
    ("last_caught_up_ms", Int64),
    TAGS,
)


_Quorum: Final = define_request(
    55,
    1,
    asked=Schema(
        (
            "topics",
            CompactArray(
                ("name", COMPACT_TEXT),
                ("partitions", CompactArray(("partition", Int32), TAGS)),
                TAGS,
            ),
        ),
        TAGS,
    ),
    answered=Schema(
        ("error_code", Int16),
        (
            "topics",
            CompactArray(
                ("name", COMPACT_TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("high_watermark", Int64),
                        ("voters", _REPLICAS),
                        ("observers", _REPLICAS),
                        TAGS,
                    ),
                ),
                TAGS,
            ),
        ),
        TAGS,
    ),
)


async def controller_ahead_s(client: Any, node_id: int) -> float | None:
    """Return by how much the controller's clock is ahead of the local one at least, negative if it
    is behind; None if the brokers do not tell.

    `client` is an AIOKafkaClient, `node_id` any of its brokers. Raises KafkaError or TimeoutError
    if that does not answer.
    """
    before_ms = SystemClock().now_ms()
    try:
        asked = [(_METADATA, [(0, NO_TAGS)], NO_TAGS)]
        answer = await client.send(node_id, _Quorum(asked, NO_TAGS))
    except (IncompatibleBrokerVersion, NotImplementedError, KafkaConnectionError):
        return None  # a broker that does not know a request may close the connection
    after_ms = SystemClock().now_ms()
    for _, partitions, _ in answer.topics or ():
        for _, error, leader, _, _, voters, _, _ in partitions:
            for replica, _, heard_ms, _, _ in voters or ():
                if not error and replica == leader and heard_ms >= 0:
                    # It was between the two that the controller looked at its clock.
                    ahead_ms = max(0, heard_ms - after_ms) + min(0, heard_ms - before_ms)
                    return float(ahead_ms / 1000)
    return None
