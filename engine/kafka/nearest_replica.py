"""A follower's answer never sets a partition back to its start.

A broker may name a follower in the consumer's rack as the replica to fetch from (KIP-392). A
follower may lack what its leader has: its own retention runs first, or its disk is new. It then
answers that the offset is out of range. aiokafka resets the position at that, to the start of the
leader's log, and every read that is kept would be matched a second time. As Kafka's own consumer
does, this module has the leader asked first; only its answer counts.

It wraps one method of one client of aiokafka's; `tests/kafka_package/test_nearest_replica.py` fails
loudly if that changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import NotLeaderForPartitionError, OffsetOutOfRangeError
from aiokafka.protocol.fetch import FetchRequest

_OUT_OF_RANGE: Final = OffsetOutOfRangeError.errno
#: At this aiokafka looks for the current leader, and asks no follower until that names one.
_NOT_LEADER: Final = NotLeaderForPartitionError.errno


def unknown_rack(rack: str | None, brokers: Iterable[Mapping[str, Any]]) -> str:
    """Return what is wrong with the rack of a member: that no broker is in it. Reads are then
    fetched from leaders, wherever they are. `brokers` are as aiokafka's admin client has them."""
    racks = {broker["rack"] for broker in brokers if broker["rack"]}
    if rack is None or rack in racks:
        return ""
    known = f"they are in {', '.join(sorted(racks))}" if racks else "they have none"
    return f"no broker is in the rack {rack}: {known}"


def let_leaders_decide(consumer: AIOKafkaConsumer) -> None:
    """Have a started consumer ask the leader if a follower says that an offset is out of range."""
    client = consumer._client
    send = client.send

    async def send_and_look(node_id: int, request: Any, **options: Any) -> Any:
        response = await send(node_id, request, **options)
        if isinstance(request, FetchRequest):
            response.topics = [
                (topic, [_as_leader(client, node_id, topic, part) for part in parts])
                for topic, parts in response.topics
            ]
        return response

    client.send = send_and_look


def _as_leader(client: Any, node_id: int, topic: str, part: Any) -> Any:
    partition, error, *rest = part
    if error != _OUT_OF_RANGE:
        return part
    if client.cluster.leader_for_partition(TopicPartition(topic, partition)) == node_id:
        return part
    return (partition, _NOT_LEADER, *rest)
