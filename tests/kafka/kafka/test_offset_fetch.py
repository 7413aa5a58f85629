"""What a group has committed, asked while its coordinator moves from broker to broker."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import TopicPartition

from engine.kafka.cluster import Cluster
from engine.kafka.group_commits import GroupCommits
from engine.kafka.offset_fetch import StableOffsetFetch
from engine.kafka.topics import Topics
from tests.kafka.real_cluster import RealCluster
from tests.kafka.records import until
from tests.torture.moving import Replicas

_MOVES = 12
_OFFSETS = "__consumer_offsets"


async def test_a_moving_coordinator_never_says_that_nothing_is_committed(
    real_cluster: RealCluster, prefix: str
) -> None:
    topics = Topics(prefix)
    part = TopicPartition(topics.detections, 0)
    consumer = Cluster(real_cluster.bootstrap, topics).consumer(group_id=f"{prefix}group")
    await consumer.start()
    told: list[int] = []
    coordinator: Any = consumer._coordinator
    client: Any = consumer._client
    send = client.send

    async def send_and_note(node: int, request: Any, **options: Any) -> Any:
        response = await send(node, request, **options)
        if isinstance(request, StableOffsetFetch):
            told.append(response.error_code)
        return response

    client.send = send_and_note
    answers: list[dict[TopicPartition, int]] = []
    is_over = asyncio.Event()

    async def ask() -> None:
        while not is_over.is_set():
            found = await coordinator.fetch_committed_offsets([part])
            answers.append({tp: each.offset for tp, each in found.items()})

    try:
        consumer.assign([part])
        await consumer.commit({part: 2})
        GroupCommits(consumer, consumer.assignment)
        replicas = Replicas(real_cluster.bootstrap, topics)
        asking = asyncio.create_task(ask())
        for _ in range(_MOVES):
            # A broker may not know yet of a topic that the first commit has created.
            await until(lambda: replicas.lead_elsewhere(_OFFSETS), "others lead")
        is_over.set()
        await asking
    finally:
        is_over.set()
        await consumer.stop()
    assert len(answers) > _MOVES
    assert any(told), "a coordinator could not say it at some time"
    assert [found for found in answers if found != {part: 2}] == []
