"""What a group has committed, asked while its coordinator moves from broker to broker."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import TopicPartition
from aiokafka.protocol.commit import OffsetFetchRequest

from engine.kafka.cluster import Cluster
from engine.kafka.offset_fetch import ask_again_for_commits
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
    send = coordinator._send_req

    async def send_and_note(request: Any) -> Any:
        response = await send(request)
        if isinstance(request, OffsetFetchRequest):
            told.append(response.error_code)
        return response

    coordinator._send_req = send_and_note
    ask_again_for_commits(consumer)
    answers = []
    is_over = asyncio.Event()

    async def ask() -> None:
        while not is_over.is_set():
            found = await coordinator.fetch_committed_offsets([part])
            answers.append(({tp: each.offset for tp, each in found.items()}, told[-1]))

    async def is_known() -> bool:
        return bool(answers) and answers[-1][0] == {part: 2}

    try:
        consumer.assign([part])
        await consumer.commit({part: 2})
        replicas = Replicas(real_cluster.bootstrap, topics)
        asking = asyncio.create_task(ask())
        for _ in range(_MOVES):
            # A broker may not know yet of a topic that the first commit has created.
            await until(lambda: replicas.lead_elsewhere(_OFFSETS), "others lead")
        await until(is_known, "the commit is known in the end")
        is_over.set()
        await asking
    finally:
        is_over.set()
        await consumer.stop()
    assert len(answers) > _MOVES
    assert any(told), "a coordinator could not say it at some time"
    # Kafka 4.1 itself says for some milliseconds that nothing is committed, and names no error: a
    # new coordinator reads its log as far as it knows that all replicas have it.
    assert [found for found, error in answers if error or found not in ({part: 2}, {})] == []
