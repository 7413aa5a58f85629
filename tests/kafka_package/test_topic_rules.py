"""`engine.kafka.topic_rules`: what a topic's settings may be, and what stops a worker.

The settings are as DescribeConfigs has them: text, by the names in Kafka's documentation of topic
configs (https://kafka.apache.org/documentation/#topicconfigs).
"""

from __future__ import annotations

import pytest

from engine import limits
from engine.kafka.topic_rules import SettingFault, faults, settings_of_new
from engine.kafka.topics import DECLARED, Topics

TOPICS = Topics("lpr.")
#: What Kafka has by default.
DEFAULTS = {
    "cleanup.policy": "delete",
    "retention.ms": "604800000",
    "retention.bytes": "-1",
    "delete.retention.ms": "86400000",
    "message.timestamp.type": "CreateTime",
    "max.message.bytes": "1048588",
    "min.insync.replicas": "1",
}
YEAR_MS = "31536000000"


def declared(replication: int = 1) -> dict[str, dict[str, str]]:
    return {
        TOPICS.name(each.name): DEFAULTS | settings_of_new(each, replication) for each in DECLARED
    }


def replicas(count: int) -> dict[str, int]:
    return dict.fromkeys(TOPICS.all, count)


def found(name: str, key: str, value: str, count: int = 1) -> list[SettingFault]:
    settings = declared(count)
    settings[TOPICS.name(name)][key] = value
    return list(faults(TOPICS, settings, replicas(count)))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_what_topics_create_makes_is_well(count: int) -> None:
    assert not list(faults(TOPICS, declared(count), replicas(count)))


@pytest.mark.parametrize(
    ("name", "key", "value", "want", "stops"),
    [
        ("detections", "retention.ms", "-1", "3600000", False),
        ("detections", "retention.ms", "9223372036854775807", "3600000", False),
        ("rejects", "retention.ms", "-1", "86400000", False),
        ("matches", "retention.ms", "-1", "2592000000", False),
        ("detections", "cleanup.policy", "compact", "delete", True),
        ("detections", "cleanup.policy", "compact,delete", "delete", True),
        ("matches", "cleanup.policy", "compact", "delete", True),
        ("matches", "cleanup.policy", "compact,delete", "delete", True),
        ("rejects", "cleanup.policy", "compact", "delete", True),
        ("rejects", "cleanup.policy", "compact,delete", "delete", False),
        ("hotlist", "cleanup.policy", "delete", "compact", True),
        ("policies", "cleanup.policy", "compact,delete", "compact", True),
        ("suppression", "cleanup.policy", "delete", "compact", True),
        ("audit", "cleanup.policy", "compact", "delete", True),
        ("audit", "retention.ms", "604800000", "-1", False),
        ("audit", "retention.bytes", "1000000000", "-1", False),
        ("hotlist", "message.timestamp.type", "CreateTime", "LogAppendTime", False),
        ("hotlist", "delete.retention.ms", "86400000", YEAR_MS, False),
        ("detections", "max.message.bytes", "100000", "262144", False),
        ("hotlist", "max.message.bytes", "262143", "262144", False),
        ("matches", "max.message.bytes", "524287", str(limits.SINK_BATCH_BYTES), False),
        ("suppression", "max.message.bytes", "1048575", str(2 * limits.SINK_BATCH_BYTES), False),
    ],
)
def test_a_setting_that_does_harm(name: str, key: str, value: str, want: str, stops: bool) -> None:
    [fault] = found(name, key, value)
    assert fault[:4] == (TOPICS.name(name), key, value, want)
    assert fault.stops == stops
    assert fault.what.startswith(f"{key} is {value} and must ")
    assert fault.required == (key in next(d.required for d in DECLARED if d.name == name))
    assert not found(name, key, want), "what apply sets is within the range"


@pytest.mark.parametrize(
    ("name", "key", "value", "count"),
    [
        ("detections", "retention.ms", "86400000", 1),
        ("detections", "retention.bytes", "1000000000", 1),
        ("matches", "retention.ms", YEAR_MS, 1),
        ("rejects", "retention.ms", "1000", 1),
        ("hotlist", "delete.retention.ms", "63072000000", 1),
        ("hotlist", "segment.ms", "1000", 1),
        ("matches", "max.message.bytes", "10485760", 1),
        ("matches", "min.insync.replicas", "3", 4),
        ("matches", "min.insync.replicas", "1", 2),
    ],
)
def test_what_an_operator_may_choose(name: str, key: str, value: str, count: int) -> None:
    assert not found(name, key, value, count)


def test_three_replicas_of_which_one_is_enough() -> None:
    """`min.insync.replicas` is 1 by default, with any number of replicas."""
    wrong = list(faults(TOPICS, declared(), replicas(3)))
    assert [each.topic for each in wrong] == list(TOPICS.all)
    assert {each[1:4] for each in wrong} == {("min.insync.replicas", "1", "2")}
    assert not any(each.stops or each.required or each.deletes for each in wrong)


@pytest.mark.parametrize(
    ("name", "key", "value", "deleted"),
    [
        ("detections", "retention.ms", "-1", "records of lpr.detections.v1 older than 1 h"),
        ("matches", "retention.ms", "-1", "records of lpr.matches.v1 older than 30 d"),
        (
            "rejects",
            "cleanup.policy",
            "compact",
            "records of lpr.rejects.v1 older than its retention.ms",
        ),
        ("audit", "retention.ms", "604800000", ""),
        ("audit", "cleanup.policy", "compact", ""),
        ("hotlist", "cleanup.policy", "delete", ""),
    ],
)
def test_what_a_correction_deletes(name: str, key: str, value: str, deleted: str) -> None:
    [fault] = found(name, key, value)
    assert fault.deletes == deleted


def test_a_topic_whose_settings_are_not_shown_is_not_judged() -> None:
    settings = {TOPICS.audit: {"cleanup.policy": "compact"}}
    [only, *others] = faults(TOPICS, settings, {})
    assert {each.topic for each in (only, *others)} == {TOPICS.audit}
