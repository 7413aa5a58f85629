"""What the doctor makes of the topics' settings, replicas and partitions.

The settings are as DescribeConfigs has them: text, by the names in Kafka's documentation of topic
configs (https://kafka.apache.org/documentation/#topicconfigs).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IncompatibleBrokerVersion, TopicAuthorizationFailedError

from engine import limits
from engine.cli.doctor.topic_settings import judge_fit, judge_topic_settings
from engine.kafka.topic_admin import settings_of_new
from engine.kafka.topic_config import settings_in_effect
from engine.kafka.topics import DECLARED, Topics

TOPICS = Topics("lpr.")
#: What Kafka has by default.
DEFAULTS = {"max.message.bytes": "1048588", "min.insync.replicas": "1"}


def declared() -> dict[str, dict[str, str]]:
    return {TOPICS.name(each.name): {**DEFAULTS, **each.settings} for each in DECLARED}


def replicas(count: int) -> dict[str, int]:
    return dict.fromkeys(TOPICS.all, count)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_what_topics_create_makes_is_well(count: int) -> None:
    made = {TOPICS.name(each.name): DEFAULTS | settings_of_new(each, count) for each in DECLARED}
    assert not list(judge_topic_settings("b:1", TOPICS, made, replicas(count)))
    assert not list(judge_fit("b:1", TOPICS, dict.fromkeys(TOPICS.all, 4), replicas(count)))


@pytest.mark.parametrize(
    ("name", "key", "value", "mended"),
    [
        ("detections", "retention.ms", "-1", "3600000"),
        ("matches", "retention.ms", "-1", "2592000000"),
        ("rejects", "retention.ms", "-1", "86400000"),
        ("detections", "cleanup.policy", "compact", "delete"),
        ("matches", "cleanup.policy", "compact,delete", "delete"),
        ("detections", "max.message.bytes", "100000", "262144"),
        ("hotlist", "max.message.bytes", "262143", "262144"),
        ("matches", "max.message.bytes", "524287", str(limits.SINK_BATCH_BYTES)),
        ("suppression", "max.message.bytes", "1048575", str(2 * limits.SINK_BATCH_BYTES)),
    ],
)
def test_a_setting_that_does_harm(name: str, key: str, value: str, mended: str) -> None:
    settings = declared()
    settings[TOPICS.name(name)][key] = value
    [found] = judge_topic_settings("b:1", TOPICS, settings, replicas(1))
    assert (found.check, found.state) == ("topics", "warning")
    assert found.what.startswith(f"topic {TOPICS.name(name)}: {key} is {value}")
    assert found.todo == (
        f"kafka-configs.sh --bootstrap-server b:1 --alter --topic {TOPICS.name(name)} "
        f"--add-config {key}={mended}"
    )


def test_three_replicas_of_which_one_is_enough() -> None:
    """`min.insync.replicas` is 1 by default, with any number of replicas."""
    found = list(judge_topic_settings("b:1", TOPICS, declared(), replicas(3)))
    assert [each.what.split(":")[0] for each in found] == [f"topic {name}" for name in TOPICS.all]
    assert all(each.todo.endswith("--add-config min.insync.replicas=2") for each in found)


def test_settings_that_this_login_may_not_see() -> None:
    shown = {name: each for name, each in declared().items() if name != TOPICS.audit}
    [found] = judge_topic_settings("b:1", TOPICS, shown, replicas(1))
    assert found.state == "note"
    assert found.what == "the brokers do not show the settings of lpr.audit.v1"


@pytest.mark.parametrize("count", [1, 4])
def test_one_topic_with_other_replicas(count: int) -> None:
    [found] = judge_fit("b:1", TOPICS, {}, {**replicas(3), TOPICS.audit: count})
    assert found.state == "warning"
    assert found.what == f"topic lpr.audit.v1 has {count} replicas, and most topics have 3"
    assert "kafka-reassign-partitions.sh --bootstrap-server b:1" in found.todo
    assert not list(judge_fit("b:1", TOPICS, {}, replicas(3)))


def test_suppression_with_other_partitions() -> None:
    counts = {TOPICS.detections: 6, TOPICS.suppression: 4}
    [found] = judge_fit("b:1", TOPICS, counts, replicas(3))
    assert found.state == "note"
    assert found.what.startswith("topic lpr.suppression.v1 has 4 partitions and the reads have 6")
    assert found.todo.startswith("leave it as it is")
    assert not list(judge_fit("b:1", TOPICS, counts | {TOPICS.suppression: 6}, replicas(3)))


async def test_what_brokers_show() -> None:
    """A topic whose settings they keep from this login, and a setting without a value."""

    class Admin:
        async def describe_configs(self, resources: list[Any]) -> list[Any]:
            denied = TopicAuthorizationFailedError.errno
            assert [each.name for each in resources] == ["a", "b"]
            shown: list[tuple[Any, ...]] = [
                ("retention.ms", "-1", False, 1, False, []),
                ("x", None, False, 5, True, []),
            ]
            rows = [(0, None, 2, "a", shown), (denied, "no", 2, "b", [])]
            return [SimpleNamespace(resources=rows)]

    assert await settings_in_effect(Admin(), ["a", "b"]) == {"a": {"retention.ms": "-1"}}
    assert await settings_in_effect(Admin(), []) == {}


async def test_a_broker_that_shows_no_settings() -> None:
    class Admin:
        async def describe_configs(self, _: Any) -> list[Any]:
            raise IncompatibleBrokerVersion

    assert await settings_in_effect(Admin(), ["a"]) == {}
