"""`engine.kafka.topics` on a real Kafka: what it declares, corrects and refuses, and what it
says."""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from typing import Any

import orjson
import pytest
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from engine.errors import BrokerError, TopicError
from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import check_topics, create_topics, make_own_topic
from engine.kafka.topic_config import until_led
from engine.kafka.topics import DECLARED, Topics, apply_command, create_command
from tests.kafka.cli.test_cli import Commands
from tests.kafka.records import add_partitions, administering, delete_topic


@pytest.fixture
def topics() -> Topics:
    """Names that no topic has yet."""
    return Topics(f"test-{uuid.uuid4().hex[:12]}.")


async def settings_of(bootstrap: str, topic: str) -> dict[str, str]:
    async with administering(bootstrap) as admin:
        (response,) = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic)]
        )
    ((code, _, _, _, entries),) = response.resources
    assert code == 0
    return {key: value for key, value, *_ in entries}


async def partitions_of(bootstrap: str, topic: str) -> int:
    async with administering(bootstrap) as admin:
        (described,) = (t for t in await admin.describe_topics() if t["topic"] == topic)
    return len(described["partitions"])


async def make_by_hand(
    bootstrap: str, topics: Topics, *, settings: dict[str, dict[str, str]]
) -> None:
    """Topics as somebody might have made them, those of `settings` with these settings."""
    new = [
        NewTopic(topics.name(name), 1, 1, topic_configs=given) for name, given in settings.items()
    ]
    async with administering(bootstrap) as admin:
        response = await admin.create_topics(new)
        assert [code for _, code, *_ in response.topic_errors] == [0] * len(new)
        await until_led(admin, [topic.name for topic in new])


def test_names_are_those_of_the_contract() -> None:
    topics = Topics("lpr.")
    assert topics.all == (
        topics.detections,
        topics.hotlist,
        topics.policies,
        topics.matches,
        topics.rejects,
        topics.audit,
        topics.suppression,
    )
    assert topics.detections == "lpr.detections.v1"
    assert topics.audit == "lpr.audit.v1"
    assert Topics("").matches == "matches.v1"


def test_required_settings_are_declared() -> None:
    for declared in DECLARED:
        assert declared.required <= declared.settings.keys()


def test_the_command_can_be_pasted_into_a_shell() -> None:
    command = create_command("kafka:9092", Topics("it's "))
    assert command == """hotlist topics create --bootstrap kafka:9092 --prefix 'it'"'"'s '"""


async def test_create_then_check(real_kafka: str, topics: Topics) -> None:
    made = await create_topics(Cluster(real_kafka, topics), partitions=3, replication=1)
    assert made == [(name, "created") for name in topics.all]
    assert await check_topics(Cluster(real_kafka, topics)) == []
    again = await create_topics(Cluster(real_kafka, topics), partitions=3, replication=1)
    assert again == [(name, "exists") for name in topics.all]


@pytest.mark.parametrize("declared", DECLARED, ids=lambda declared: declared.name)
async def test_every_setting_reaches_the_broker(
    real_kafka: str, prefix: str, declared: Any
) -> None:
    topic = Topics(prefix).name(declared.name)
    settings = await settings_of(real_kafka, topic)
    assert {key: settings[key] for key in declared.settings} == declared.settings
    assert await partitions_of(real_kafka, topic) == (declared.partitions or 4)


async def test_missing_topics_are_named_and_not_made(real_kafka: str, topics: Topics) -> None:
    await make_by_hand(real_kafka, topics, settings={"detections": {}, "matches": {}})
    for _ in range(2):
        with pytest.raises(TopicError) as caught:
            await check_topics(Cluster(real_kafka, topics))
        text = str(caught.value)
        assert topics.hotlist in text
        assert topics.detections not in text
        assert create_command(real_kafka, topics) in text
        assert "\n" not in text


async def test_entries_that_their_producers_timestamp_are_a_warning(
    real_kafka: str, topics: Topics
) -> None:
    """A topic of an older version: the worker starts, and says what to run."""
    given = {declared.name: dict(declared.settings) for declared in DECLARED}
    del given["hotlist"]["message.timestamp.type"]
    await make_by_hand(real_kafka, topics, settings=given)
    [warning] = await check_topics(Cluster(real_kafka, topics))
    assert warning == (
        f"topic {topics.hotlist}: message.timestamp.type is CreateTime and must be LogAppendTime "
        "(a producer could choose when an entry was created); "
        f"to correct it run: {apply_command(real_kafka, topics)}"
    )
    made = dict(await create_topics(Cluster(real_kafka, topics), partitions=1, replication=1))
    assert made[topics.hotlist] == "corrected"
    assert await check_topics(Cluster(real_kafka, topics)) == []


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
@pytest.mark.parametrize("name", ["hotlist", "policies", "suppression"])
async def test_a_topic_with_a_state_that_forgets_is_refused_then_corrected(
    real_kafka: str, topics: Topics, name: str, policy: str
) -> None:
    given: dict[str, dict[str, str]] = {declared.name: {} for declared in DECLARED}
    given["policies"] = {"cleanup.policy": "compact"}
    given["hotlist"] = {
        "cleanup.policy": "compact",
        "message.timestamp.type": "LogAppendTime",
        "delete.retention.ms": "31536000000",
    }
    given["suppression"] = {"cleanup.policy": "compact"}
    given["audit"] = {"retention.ms": "-1"}
    given[name] |= {"cleanup.policy": policy, "max.message.bytes": "2000000"}
    await make_by_hand(real_kafka, topics, settings=given)

    with pytest.raises(TopicError) as caught:
        await check_topics(Cluster(real_kafka, topics))
    text = str(caught.value)
    assert text.startswith(
        f"topic {topics.name(name)}: cleanup.policy is {policy} and must be compact (Kafka deletes "
    )
    assert text.endswith(f"; to correct it run: {apply_command(real_kafka, topics)}")

    made = dict(await create_topics(Cluster(real_kafka, topics), partitions=1, replication=1))
    assert made.pop(topics.name(name)) == "corrected"
    assert set(made.values()) == {"exists"}
    assert await check_topics(Cluster(real_kafka, topics)) == []
    settings = await settings_of(real_kafka, topics.name(name))
    assert settings["cleanup.policy"] == "compact"
    assert settings["max.message.bytes"] == "2000000", "an operator's own setting was lost"


async def test_a_control_topic_of_several_partitions_is_refused(
    real_kafka: str, topics: Topics
) -> None:
    """Changes of one entry may lie in two of them, once partitions were added."""
    await create_topics(Cluster(real_kafka, topics), partitions=2, replication=1)
    await add_partitions(real_kafka, topics.policies, 3)
    with pytest.raises(TopicError) as caught:
        await check_topics(Cluster(real_kafka, topics))
    assert str(caught.value) == (
        f"topic {topics.policies}: it has 3 partitions and must have one, or changes have no "
        f"order; delete it, run: {create_command(real_kafka, topics)}; then "
        "write the policies again"
    )


async def test_an_audit_that_forgets_is_a_warning(real_kafka: str, topics: Topics) -> None:
    given: dict[str, dict[str, str]] = {declared.name: {} for declared in DECLARED}
    given["policies"] = {"cleanup.policy": "compact"}
    given["hotlist"] = {
        "cleanup.policy": "compact",
        "message.timestamp.type": "LogAppendTime",
        "delete.retention.ms": "31536000000",
    }
    given["suppression"] = {"cleanup.policy": "compact"}
    given["audit"] = {"retention.ms": "604800000"}
    await make_by_hand(real_kafka, topics, settings=given)
    (warning,) = await check_topics(Cluster(real_kafka, topics))
    assert warning.startswith(f"topic {topics.audit}: retention.ms is 604800000 and must be -1 (")


async def test_the_engines_own_topic_is_made_where_it_is_missing(
    real_kafka: str, topics: Topics
) -> None:
    """By a worker that is newer than the topics, with as many partitions as the reads have."""
    assert await make_own_topic(Cluster(real_kafka, topics)) is None, (
        "without reads there is nothing"
    )
    await create_topics(Cluster(real_kafka, topics), partitions=3, replication=1)
    assert await make_own_topic(Cluster(real_kafka, topics)) is None
    async with administering(real_kafka) as admin:
        await delete_topic(admin, topics.suppression)
    with pytest.raises(TopicError, match="missing"):
        await check_topics(Cluster(real_kafka, topics))
    assert await make_own_topic(Cluster(real_kafka, topics)) == topics.suppression
    assert await check_topics(Cluster(real_kafka, topics)) == []
    assert await partitions_of(real_kafka, topics.suppression) == 3


async def test_settings_that_are_the_operators_to_choose_stay(
    real_kafka: str, topics: Topics
) -> None:
    await make_by_hand(real_kafka, topics, settings={"matches": {"retention.ms": "86400000"}})
    made = dict(await create_topics(Cluster(real_kafka, topics), partitions=4, replication=1))
    assert made[topics.matches] == "exists"
    assert (await settings_of(real_kafka, topics.matches))["retention.ms"] == "86400000"
    assert await partitions_of(real_kafka, topics.matches) == 1


async def test_settings_are_corrected_after_a_plan(real_kafka: str, topics: Topics) -> None:
    """What an operator may choose stays, and nothing is left for a worker to warn of."""
    given = {declared.name: dict(declared.settings) for declared in DECLARED}
    given["detections"] |= {"retention.ms": "-1", "segment.ms": "7200000"}
    given["matches"] |= {"retention.ms": "86400000", "max.message.bytes": "100000"}
    given["audit"] |= {"retention.ms": "1000"}
    await make_by_hand(real_kafka, topics, settings=given)
    warnings = await check_topics(Cluster(real_kafka, topics))
    assert len(warnings) == 3
    assert warnings[0] == (
        f"topic {topics.detections}: retention.ms is -1 and must have a limit (Kafka never deletes "
        f"them for their age); to correct it run: {apply_command(real_kafka, topics)}"
    )

    def commands(*arguments: str) -> Any:
        return Commands(real_kafka, topics.prefix).run("topics", "apply", *arguments)

    planned = [
        (topics.detections, "retention.ms", "-1", "3600000"),
        (topics.matches, "max.message.bytes", "100000", "524288"),
        (topics.audit, "retention.ms", "1000", "-1"),
    ]
    result = await asyncio.to_thread(commands, "--dry-run")
    assert result.exit_code == 0
    rows = [tuple(line.split()[:4]) for line in result.stdout.splitlines()[1:]]
    assert rows == planned
    assert result.stderr == (
        f"Kafka will then delete records of {topics.detections} older than 1 h\n"
    )
    result = await asyncio.to_thread(commands)
    assert result.exit_code == 1
    assert result.stderr.endswith("; to change them without a question, add --yes\n")
    assert (await settings_of(real_kafka, topics.audit))["retention.ms"] == "1000"

    result = await asyncio.to_thread(commands, "--yes", "--json")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (0, "3 settings changed")
    lines = [orjson.loads(line) for line in result.stdout.splitlines()]
    assert [tuple(each.values())[:4] for each in lines] == planned
    assert await check_topics(Cluster(real_kafka, topics)) == []
    reads = await settings_of(real_kafka, topics.detections)
    assert (reads["retention.ms"], reads["segment.ms"]) == ("3600000", "7200000")
    matches = await settings_of(real_kafka, topics.matches)
    assert (matches["retention.ms"], matches["max.message.bytes"]) == ("86400000", "524288")
    result = await asyncio.to_thread(commands)
    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        "every setting is as it should be\n",
        "",
    )


async def test_too_many_copies_are_refused(real_kafka: str, topics: Topics) -> None:
    with pytest.raises(TopicError, match=r"set --replication \(HOTLIST_REPLICATION\)"):
        await create_topics(Cluster(real_kafka, topics), partitions=1, replication=100)


async def test_a_name_that_kafka_does_not_allow_is_refused(real_kafka: str) -> None:
    with pytest.raises(TopicError, match="the broker refused it: Topic name is invalid"):
        await create_topics(Cluster(real_kafka, Topics("no spaces ")), partitions=1, replication=1)


async def test_the_embedded_broker_refuses(embedded_kafka: str, topics: Topics) -> None:
    with pytest.raises(BrokerError, match="does not create topics on request"):
        await create_topics(Cluster(embedded_kafka, topics), partitions=1, replication=1)
    with pytest.raises(TopicError, match="hotlist topics create"):
        await check_topics(Cluster(embedded_kafka, topics))


async def test_no_broker_is_one_clear_line_and_no_log(
    topics: Topics, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers here
        bootstrap = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BrokerError) as caught, caplog.at_level(logging.DEBUG):
            await check_topics(Cluster(bootstrap, topics))
    assert str(caught.value) == (
        f"{bootstrap}: no Kafka broker answers; "
        "start one, or set --bootstrap (HOTLIST_BOOTSTRAP) to its address"
    )
    assert [r for r in caplog.records if r.name.startswith("aiokafka")] == []


async def test_a_silent_listener_is_given_up(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.limits.REQUEST_MS", 200)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bootstrap = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(BrokerError, match="no Kafka broker answers"):
            await check_topics(Cluster(bootstrap, topics))


async def test_an_address_that_is_none(topics: Topics) -> None:
    with pytest.raises(BrokerError, match="not a broker address; write HOST:PORT"):
        await check_topics(Cluster("localhost:nine", topics))
