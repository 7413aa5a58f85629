"""Consumer groups that stand where a run needs them before its worker starts."""

from __future__ import annotations

import asyncio
import json
import time

from aiokafka import AIOKafkaConsumer, TopicPartition

from engine.kafka.topics import Topics


def mark_audited(bootstrap: str, prefix: str, group: str) -> None:
    """Let a group of workers find that all changes of the lists are audited, as at every start
    but a deployment's first, which writes an audit record for each entry."""
    topics = Topics(prefix)
    control = [TopicPartition(topics.hotlist, 0), TopicPartition(topics.policies, 0)]
    until = json.dumps({"expired_until_ms": int(time.time() * 1000)})
    asyncio.run(_commit_ends(bootstrap, f"{group}.audit", control, until))


def pass_reads(bootstrap: str, prefix: str, group: str, partitions: int) -> None:
    """Let a group of workers find no reads: it stands at the end of them."""
    topic = Topics(prefix).detections
    reads = [TopicPartition(topic, number) for number in range(partitions)]
    asyncio.run(_commit_ends(bootstrap, group, reads, ""))


async def _commit_ends(
    bootstrap: str, group: str, partitions: list[TopicPartition], metadata: str
) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.commit({tp: (end, metadata) for tp, end in ends.items()})
    finally:
        await consumer.stop()
