"""`engine.kafka.topic_admin` on a cluster whose brokers do not all know the same yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError, UnknownTopicOrPartitionError

from engine.errors import TopicError
from engine.kafka import topic_admin
from engine.kafka.acl_probe import Topic
from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import check_presence
from engine.kafka.topics import Topics

TOPICS = Topics("lpr.")
#: None is a broker that is away.
Known = Mapping[int, Sequence[str] | None]


class Admin:
    """An admin client whose first broker is asked what any broker may answer."""

    def __init__(self, known: Known) -> None:
        self.known = known
        brokers = [SimpleNamespace(nodeId=number) for number in known]
        self._client = SimpleNamespace(cluster=SimpleNamespace(brokers=lambda: brokers), of=self)

    async def list_topics(self) -> list[str]:
        return [*(self.known[0] or ())]

    async def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        return [{"topic": name, "partitions": [{"replicas": [0]}]} for name in names]


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def shown(client: Any, names: Sequence[str], node: int) -> list[Topic]:
        known = client.of.known[node]
        if known is None:
            raise NodeNotReadyError
        unknown = UnknownTopicOrPartitionError.errno
        shown = [Topic(name, 0 if name in known else unknown, (), None, None) for name in names]
        return shown[::-1]  # in any order

    async def hidden(*_: Any) -> list[str]:
        return []

    monkeypatch.setattr(topic_admin, "topics_as_shown", shown)
    monkeypatch.setattr(topic_admin, "hidden", hidden)


async def test_a_topic_is_there_if_any_broker_knows_it() -> None:
    fewer = TOPICS.all[:-2]
    admin = Admin({0: fewer, 1: None, 2: [*fewer, TOPICS.all[-1]], 3: TOPICS.all})
    assert set(await check_presence(admin, Cluster("b:1", TOPICS))) == set(TOPICS.all)


async def test_a_topic_that_no_broker_knows_is_missing() -> None:
    admin = Admin({0: (), 1: None, 2: TOPICS.all[2:]})
    with pytest.raises(TopicError, match=f"topics {TOPICS.all[0]}, {TOPICS.all[1]} missing"):
        await check_presence(admin, Cluster("b:1", TOPICS))
