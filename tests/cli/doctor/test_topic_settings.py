"""What the doctor makes of the topics' settings, replicas and partitions.

`tests/kafka_package/test_topic_rules.py` has the rules.
"""

from __future__ import annotations

import pytest

from engine.cli.doctor.topic_settings import judge_fit, judge_topic_settings
from engine.kafka.topic_rules import SettingFault
from engine.kafka.topics import Topics

TOPICS = Topics("lpr.")


def replicas(count: int) -> dict[str, int]:
    return dict.fromkeys(TOPICS.all, count)


@pytest.mark.parametrize(("stops", "state"), [(False, "warning"), (True, "problem")])
def test_a_setting_that_does_harm(stops: bool, state: str) -> None:
    fault = SettingFault("lpr.audit.v1", "x", "1", "2", "be 2", "it is kept", stops=stops)
    [found] = judge_topic_settings("b:1", TOPICS, [fault], [])
    assert (found.check, found.state) == ("topics", state)
    assert found.what == "topic lpr.audit.v1: x is 1 and must be 2 (it is kept)"
    assert found.todo == ("to correct it run: hotlist topics apply --bootstrap b:1 --prefix lpr.")


def test_settings_that_this_login_may_not_see() -> None:
    [found] = judge_topic_settings("b:1", TOPICS, [], [TOPICS.audit, TOPICS.matches])
    assert found.state == "note"
    assert found.what == "the brokers do not show the settings of lpr.audit.v1, lpr.matches.v1"


def test_topics_of_like_replicas_fit() -> None:
    assert not list(judge_fit("b:1", TOPICS, dict.fromkeys(TOPICS.all, 4), replicas(3)))


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
