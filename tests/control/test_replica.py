"""`engine.control.replica`: what a fetch that fails comes to: no change is passed
over. What it follows, and how, is tested on brokers."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaError,
    LeaderNotAvailableError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
    UnknownTopicOrPartitionError,
)

from engine import limits
from engine.control.gate import Gate
from engine.control.replica import ControlReplica
from engine.control.state import ControlState
from engine.errors import BrokerError
from engine.kafka.acl_probe import Topic
from engine.kafka.cluster import Cluster
from engine.kafka.topics import Topics
from engine.matching.control_records import ControlRecords
from engine.matching.lists import ControlKind, Phase

TOPICS = Topics("lpr.")
ENTRIES = TopicPartition(TOPICS.hotlist, 0)


class Consumer:
    """A consumer of empty topics, of which some fetches fail."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.fails: deque[KafkaError] = deque()
        self.assigned: set[TopicPartition] = set()
        self.polls = 0

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    def last_poll_timestamp(self, _: TopicPartition) -> int:
        return self.polls

    async def position(self, _: TopicPartition) -> int:
        return 0

    async def end_offsets(self, parts: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(parts, 0)

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        self.polls += 1
        if self.fails:
            raise self.fails.popleft()
        return {}


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> Consumer:
    consumer = Consumer()
    monkeypatch.setattr("engine.kafka.cluster.close_whole", lambda *_, **__: None)
    monkeypatch.setattr("engine.kafka.cluster.AIOKafkaConsumer", lambda **_: consumer)
    monkeypatch.setattr(limits, "RETRY_PAUSE_S", 0.0)
    return consumer


class Updates:
    """Takes no note of what it is given."""

    audited_to: Mapping[tuple[ControlKind, int], int] = MappingProxyType({})

    async def apply(self, records: ControlRecords, phase: Phase) -> None: ...

    async def commit(self) -> None: ...


def a_replica() -> ControlReplica:
    return ControlReplica(Cluster("localhost:1", TOPICS), Updates(), Gate("a test has just begun"))


def a_state() -> ControlState:
    return ControlState(TOPICS.hotlist, {ENTRIES: 0, (TOPICS.policies, 0): 0}, 10.0)


async def test_a_batch_that_aiokafka_passes_over_ends_the_worker(consumer: Consumer) -> None:
    """Where a batch's length is damaged, aiokafka goes on one offset further."""
    replica = a_replica()
    consumer.fails.append(RecordTooLargeError("at lpr.hotlist.v1/0=7"))
    with pytest.raises(BrokerError, match="a control record cannot be read"):
        await replica._step(a_state())


async def test_an_offset_that_is_gone_ends_the_worker(consumer: Consumer) -> None:
    """What lay there cannot be had any more, or the topic is another one."""
    replica = a_replica()
    consumer.fails.append(OffsetOutOfRangeError({ENTRIES: 7}))
    gone = r"^lpr\.hotlist\.v1/0/7: .* then restart the worker"
    with pytest.raises(BrokerError, match=gone):
        await replica._step(a_state())


async def test_another_failure_is_waited_out(consumer: Consumer) -> None:
    replica = a_replica()
    consumer.fails.append(KafkaError("for a while"))
    state = a_state()
    await replica._step(state)
    await replica._step(state)
    assert consumer.polls == 2


def test_out_of_range_is_told_to_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka would go on somewhere else by itself."""
    made: list[dict[str, Any]] = []
    monkeypatch.setattr("engine.kafka.cluster.close_whole", lambda *_, **__: None)
    monkeypatch.setattr(
        "engine.kafka.cluster.AIOKafkaConsumer", lambda **options: made.append(options)
    )
    a_replica()
    assert made[0]["auto_offset_reset"] == "none"
    assert made[0]["metadata_max_age_ms"] == 1000 * limits.METADATA_MAX_AGE_S


@pytest.mark.parametrize(
    ("known", "shown", "is_other"),
    [(b"1", b"1", False), (b"1", b"2", True), (None, b"2", False), (b"1", None, False)],
)
def test_a_topic_made_anew_has_another_id(
    known: bytes | None, shown: bytes | None, is_other: bool
) -> None:
    """Brokers of which some know no ids end no worker."""
    topic = Topic(TOPICS.hotlist, 0, ((1, 1, 1),), None, shown)
    assert topic.is_other_than(known) is is_other


class StartingConsumer(Consumer):
    """A consumer whose broker answers the first descriptions of topics with an error."""

    class Client:
        async def set_topics(self, _: Any) -> None: ...

    def __init__(self) -> None:
        super().__init__()
        self._client = self.Client()

    def partitions_for_topic(self, _: str) -> set[int]:
        return {0}

    async def beginning_offsets(self, parts: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(parts, 0)

    def assign(self, parts: list[TopicPartition]) -> None:
        self.assigned = set(parts)

    def seek(self, _: TopicPartition, __: int) -> None: ...


async def test_a_description_with_an_error_has_no_id_and_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consumer = StartingConsumer()
    monkeypatch.setattr("engine.kafka.cluster.close_whole", lambda *_, **__: None)
    monkeypatch.setattr("engine.kafka.cluster.AIOKafkaConsumer", lambda **_: consumer)
    errors = deque([UnknownTopicOrPartitionError.errno, LeaderNotAvailableError.errno, 0])

    async def described(_: Any, names: list[str]) -> list[Topic]:
        error = errors.popleft()
        parts = () if error else ((1, 1, 1),)
        return [
            Topic(TOPICS.hotlist, error, parts, None, None if error else b"e"),
            Topic(TOPICS.policies, 0, ((1, 1, 1),), None, b"p"),
        ]

    monkeypatch.setattr("engine.control.replica.topics_as_shown", described)
    replica = a_replica()
    await replica._assign()
    assert replica._ids == {TOPICS.hotlist: b"e", TOPICS.policies: b"p"}
    assert consumer.assigned == {ENTRIES, TopicPartition(TOPICS.policies, 0)}
    assert not errors
