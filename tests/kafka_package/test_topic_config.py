"""`engine.kafka.topic_config` against answers that the brokers of the tests do not give.

The rows are those of DescribeConfigs in Kafka's protocol guide
(https://kafka.apache.org/protocol#The_Messages_DescribeConfigs).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    NodeNotReadyError,
    PolicyViolationError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from engine.errors import TopicError
from engine.kafka.cluster import Cluster
from engine.kafka.topic_config import (
    broker_setting,
    change_settings,
    settings_in_effect,
    until_led,
)
from engine.kafka.topics import Topics

CLUSTER = Cluster("b:1", Topics("lpr."))


class Admin:
    """An admin client whose brokers give this answer, or raise it."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self._client = self

    def get_random_node(self) -> int:
        return 0

    async def send(self, _: int, __: Any) -> Any:
        if isinstance(self._answer, type):
            raise self._answer
        return SimpleNamespace(resources=self._answer)


async def test_what_brokers_show() -> None:
    """A topic whose settings they keep from this login, and a setting without a value."""
    rows: list[tuple[Any, ...]] = [
        ("retention.ms", "-1", False, 1, False, []),
        ("x", None, False, 5, True, []),
    ]
    denied = TopicAuthorizationFailedError.errno
    admin = Admin([(0, None, 2, "a", rows), (denied, "no", 2, "b", []), (denied, None, 2, "c", [])])
    shown = await settings_in_effect(admin, CLUSTER, ["a", "b", "c"])
    assert shown.settings == {"a": {"retention.ms": "-1"}}
    assert shown.hidden == {"b": "no", "c": "TopicAuthorizationFailedError"}
    assert await settings_in_effect(Admin(IncompatibleBrokerVersion), CLUSTER, []) == ({}, {})


async def test_a_topic_that_was_deleted_meanwhile() -> None:
    admin = Admin([(UnknownTopicOrPartitionError.errno, None, 2, "a", [])])
    with pytest.raises(TopicError, match="topic a missing; run: hotlist topics create"):
        await settings_in_effect(admin, CLUSTER, ["a"])


async def test_a_broker_that_shows_no_settings() -> None:
    shown = await settings_in_effect(Admin(IncompatibleBrokerVersion), CLUSTER, ["a"])
    assert shown == ({}, {"a": "the broker is not of Kafka 2.1 or newer"})


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            [(PolicyViolationError.errno, "too long", 2, "a")],
            (
                "topic a: the broker refused to set x, y: too long; "
                "ask the cluster's operator for AlterConfigs on it"
            ),
        ),
        (
            IncompatibleBrokerVersion,
            (
                "topic a: the broker does not change single settings; "
                "use a Kafka cluster, 2.3 or newer"
            ),
        ),
    ],
)
async def test_a_change_that_is_refused(answer: Any, line: str) -> None:
    with pytest.raises(TopicError) as caught:
        await change_settings(Admin(answer), "a", {"y": "1", "x": "2"})
    assert str(caught.value) == line


async def test_each_broker_learns_of_a_topic_by_itself() -> None:
    """Of three brokers one knows it at once, one at the fourth question and one is away."""
    asked: list[int] = []

    class Client:
        cluster = SimpleNamespace(brokers=lambda: [SimpleNamespace(nodeId=n) for n in (1, 2, 3)])

        async def send(self, node: int, _: Any) -> Any:
            asked.append(node)
            if node == 3:
                raise NodeNotReadyError
            is_known, is_led = node == 1 or asked.count(2) > 2, node == 1 or asked.count(2) > 3
            partition: tuple[Any, ...] = (0, 0, 1 if is_led else -1, 0, [1], [1], [])
            error = 0 if is_known else UnknownTopicOrPartitionError.errno
            topic = (error, "a", bytes(16), False, [partition] if is_known else [], 0)
            return SimpleNamespace(API_VERSION=11, topics=[topic])

    await until_led(SimpleNamespace(_client=Client()), ["a"])
    assert asked == [1, 2, 2, 2, 2, 3]


async def test_a_brokers_setting_is_that_of_the_first_that_shows_it() -> None:
    """One is away, one is too old, and one keeps it from this login."""
    shown: dict[int, Any] = {
        1: NodeNotReadyError,
        2: IncompatibleBrokerVersion,
        3: [(TopicAuthorizationFailedError.errno, "no", 4, "3", [])],
        4: [(0, None, 4, "4", [("a.ms", None, False, 5, True), ("b.ms", "900", False, 5, False)])],
    }

    class Brokers(Admin):
        cluster = SimpleNamespace(brokers=lambda: [SimpleNamespace(nodeId=each) for each in shown])

        async def send(self, node: int, request: Any) -> Any:
            self._answer = shown[node]
            return await super().send(node, request)

    assert await broker_setting(Brokers(None), "b.ms") == "900"
    assert await broker_setting(Brokers(None), "a.ms") is None
