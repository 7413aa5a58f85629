"""`engine.control.audit_group`: what it makes of a group's answers. Its elections are tested on
Kafka."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    IllegalStateError,
    KafkaError,
)
from aiokafka.structs import OffsetAndMetadata

from engine import limits
from engine.audit.changes import ControlKind
from engine.audit.pending_changes import EXPIRIES, Listed, Progress
from engine.control.audit_group import AuditGroup
from engine.errors import BrokerError
from engine.kafka.cluster import Cluster
from engine.kafka.offset_fetch import StableOffsetFetch
from engine.kafka.topics import Topics
from tests.fakes.committed_offsets import committed_answer

TOPICS = Topics("lpr.")
ENTRIES = TopicPartition(TOPICS.hotlist, 0)
POLICIES = TopicPartition(TOPICS.policies, 0)


class Kafka:
    """The consumer and the admin client of a group, both at once."""

    def __init__(self) -> None:
        self.committed: dict[TopicPartition, OffsetAndMetadata] = {
            ENTRIES: OffsetAndMetadata(-1, ""),
            POLICIES: OffsetAndMetadata(-1, ""),
        }
        self.answers: list[KafkaError] = []
        self.sent: list[Any] = []
        self._coordinator = SimpleNamespace(_do_commit_offsets=None)
        self._client = self

    def answer(self) -> None:
        if self.answers:
            raise self.answers.pop(0)

    async def start(self) -> None:
        pass

    async def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        return [{"topic": name, "partitions": [{"partition": 0}]} for name in names]

    async def find_coordinator(self, group: str) -> int:
        assert group == "workers.audit"
        return 1

    async def send(self, node: int, request: StableOffsetFetch) -> Any:
        asked = {TopicPartition(topic, one) for topic, of in request.topics for one in of}
        assert asked == {ENTRIES, POLICIES}
        self.answer()
        return committed_answer(self.committed)

    async def getmany(self, *, timeout_ms: int) -> dict[Any, Any]:
        self.answer()
        return {}

    async def commit(self, offsets: Any) -> None:
        self.answer()
        self.sent.append(offsets)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    kafka = Kafka()
    monkeypatch.setattr("engine.kafka.cluster.close_whole", lambda *_, **__: None)
    monkeypatch.setattr("engine.kafka.cluster.AIOKafkaConsumer", lambda **_: kafka)
    monkeypatch.setattr("engine.kafka.cluster.AIOKafkaAdminClient", lambda **_: kafka)
    monkeypatch.setattr(limits, "COORDINATOR_PAUSE_S", 0)
    return kafka


def group(*, listed: Listed | None = None) -> AuditGroup:
    return AuditGroup(Cluster("localhost:1", TOPICS, "workers"), lambda: listed)


async def test_nothing_is_committed_yet(kafka: Kafka) -> None:
    assert await group().start() == Progress()


async def test_what_was_committed_is_what_comes_back(kafka: Kafka) -> None:
    progress = Progress({EXPIRIES: 7, (ControlKind.POLICY, 0): 2}, 1_234)
    assert await group().commit(progress)
    (sent,) = kafka.sent
    kafka.committed = {tp: OffsetAndMetadata(*at) for tp, at in sent.items()}
    assert await group().progress() == progress


def keep(kafka: Kafka) -> None:
    """The group holds what was committed last."""
    kafka.committed |= {tp: OffsetAndMetadata(*at) for tp, at in kafka.sent[-1].items()}


async def test_it_holds_how_much_was_listed(kafka: Kafka) -> None:
    listed = Listed(entries=1_000_000, policies=12)
    assert await group(listed=listed).commit(Progress({EXPIRIES: 7, (ControlKind.POLICY, 0): 2}, 9))
    keep(kafka)
    assert (await group().progress()).listed == listed
    kafka.committed[ENTRIES] = OffsetAndMetadata(-1, "")  # with its topic Kafka deletes its commit
    assert await group().progress() == Progress({(ControlKind.POLICY, 0): 2}, 0, listed)


async def test_what_was_listed_stays_known_while_a_worker_loads(kafka: Kafka) -> None:
    listed = Listed(entries=1000, policies=12)
    assert await group(listed=listed).commit(Progress({EXPIRIES: 7}))
    keep(kafka)
    loading = group()
    assert (await loading.progress()).listed == listed
    assert await loading.commit(Progress({EXPIRIES: 8}))
    keep(kafka)
    assert await group().progress() == Progress({EXPIRIES: 8}, 0, listed)


@pytest.mark.parametrize(
    "metadata",
    [
        *("", "x", "[]", "null", "7", "{", None),
        *('{"expired_until_ms":"1"}', '{"expired_until_ms":-5}'),
        *('{"entries":5}', '{"entries":"5","policies":5}', '{"entries":5,"policies":-1}'),
    ],
)
async def test_metadata_that_is_none_of_ours(kafka: Kafka, metadata: str | None) -> None:
    kafka.committed[ENTRIES] = OffsetAndMetadata(5, metadata)
    assert await group().progress() == Progress({EXPIRIES: 5})


async def test_a_coordinator_that_loads_has_not_said_nothing(kafka: Kafka) -> None:
    """To take its partitions for new would be to audit all again."""
    kafka.answers = [GroupLoadInProgressError()]
    with pytest.raises(BrokerError, match="GroupLoadInProgressError"):
        await group().progress()


async def test_a_coordinator_that_comes_later(kafka: Kafka) -> None:
    kafka.answers = [GroupCoordinatorNotAvailableError() for _ in range(3)]
    kafka.committed[POLICIES] = OffsetAndMetadata(3, "")
    assert await group().start() == Progress({(ControlKind.POLICY, 0): 3})


async def test_a_coordinator_that_never_comes(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONNECT_S", 0.05)
    kafka.answers = [GroupCoordinatorNotAvailableError() for _ in range(1_000_000)]
    message = (
        r"^consumer group workers\.audit: the workers cannot divide the audit among themselves "
        r"\(GroupCoordinatorNotAvailableError\)"
    )
    with pytest.raises(BrokerError, match=message):
        await group().start()


@pytest.mark.parametrize(
    "error", [CommitFailedError(), IllegalStateError(), GroupCoordinatorNotAvailableError()]
)
async def test_a_commit_that_may_be_tried_again(kafka: Kafka, error: KafkaError) -> None:
    kafka.answers = [error]
    assert not await group().commit(Progress({EXPIRIES: 1}))


async def test_a_commit_that_is_not_allowed(kafka: Kafka) -> None:
    kafka.answers = [GroupAuthorizationFailedError()]
    with pytest.raises(BrokerError, match=r"^consumer group workers.audit: .* for Read on it; "):
        await group().commit(Progress({EXPIRIES: 1}))


async def test_a_coordinator_that_loads_while_the_worker_joins(kafka: Kafka) -> None:
    alive = group()
    kafka.answers = [KafkaError("[Error 14] GroupLoadInProgressError")]
    await alive.keep_alive()
    assert not kafka.answers


async def test_a_group_that_is_denied(kafka: Kafka) -> None:
    kafka.answers = [GroupAuthorizationFailedError("workers.audit")]
    with pytest.raises(BrokerError, match=r"^consumer group workers.audit: .* for Read on it; "):
        await group().keep_alive()
