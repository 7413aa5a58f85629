"""Topics declared and checked on a broker.

`create_topics` creates missing topics and corrects the settings that a promise rests on;
`check_topics` only checks. Both use aiokafka's admin client, end within `limits.ADMIN_S` and
raise one-line errors that say what to do.

Neither creates a topic by asking about it (a broker with `auto.create.topics.enable` would,
with the wrong settings), and neither changes a setting that an operator may have chosen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

from aiokafka.admin import NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidReplicationFactorError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from engine import limits
from engine.errors import BrokerError, TopicError
from engine.kafka.cluster import Cluster
from engine.kafka.diagnosis import Refusal, hidden, not_allowed
from engine.kafka.topic_config import connected_admin, correct, missing_topics, wrong_settings
from engine.kafka.topics import (
    COMPACTED,
    CONTROL,
    DECLARED,
    OWN,
    Declaration,
    Topics,
    create_command,
)

TopicOutcome = Literal["created", "exists", "corrected"]


async def create_topics(
    cluster: Cluster, *, partitions: int, replication: int
) -> list[tuple[str, TopicOutcome]]:
    """Declare all topics and return what became of each, in the order of `DECLARED`.

    An existing topic keeps its partitions and settings, except for the required ones
    (`corrected`). Returns when every partition has a leader and the settings are in effect. Raises
    BrokerError if the broker is not reached or does not manage topics, TopicError if it denies
    one.
    """
    topics = cluster.topics
    new = {
        topics.name(declared.name): NewTopic(
            topics.name(declared.name),
            declared.partitions or partitions,
            replication,
            topic_configs=settings_of_new(declared, replication),
        )
        for declared in DECLARED
    }
    async with connected_admin(cluster) as admin:
        described = await admin.describe_cluster()
        # The embedded broker names a controller that is none of its nodes.
        nodes = {node["node_id"] for node in described["brokers"]}
        if described.get("controller_id") not in nodes:
            raise BrokerError(
                "the broker does not create topics on request",
                where=cluster.bootstrap,
                hint="use a Kafka cluster; the embedded broker makes topics when first used",
            )
        there = set(await admin.list_topics())
        outcome: dict[str, TopicOutcome] = {name: "exists" for name in new if name in there}
        missing = [topic for name, topic in new.items() if name not in there]
        if missing:
            response = await admin.create_topics(missing, timeout_ms=limits.REQUEST_MS)
            for name, code, message in _created(response):
                error = for_code(code)
                if error is TopicAlreadyExistsError:
                    outcome[name] = "exists"
                elif code:
                    raise _refused(name, error, message)
                else:
                    outcome[name] = "created"
            await _until_led(admin, set(new))
        present = [d for d in DECLARED if outcome[topics.name(d.name)] != "created"]
        wrong = await wrong_settings(admin, cluster, present)
        for name, settings in wrong.items():
            await correct(admin, name, settings)
            outcome[name] = "corrected"
        while wrong:  # until all brokers know it
            await asyncio.sleep(limits.ADMIN_PAUSE_S)
            wrong = await wrong_settings(admin, cluster, present)
    return [(name, outcome[name]) for name in new]


async def delete_topics(cluster: Cluster) -> None:
    """Delete all topics of a prefix with everything in them: for the demo and for tests.

    Raises BrokerError if the broker is not reached.
    """
    async with connected_admin(cluster) as admin:
        await admin.delete_topics(list(cluster.topics.all), timeout_ms=limits.REQUEST_MS)


async def make_own_topic(cluster: Cluster) -> str | None:
    """Make the engine's own topic where it is missing, and only it, with as many partitions and
    replicas as the reads have; its name if so.

    Nothing is created if the topic of the reads is missing: `check_topics` reports that. Raises
    BrokerError if the broker is not reached, TopicError if it denies the topic.
    """
    topics = cluster.topics
    name = topics.name(OWN)
    async with connected_admin(cluster) as admin:
        there = set(await admin.list_topics())
        if name in there or topics.detections not in there:
            return None
        (reads,) = await admin.describe_topics([topics.detections])
        replication = min(len(part["replicas"]) for part in reads["partitions"])
        declared = next(declared for declared in DECLARED if declared.name == OWN)
        new = NewTopic(
            name,
            len(reads["partitions"]),
            replication,
            topic_configs=settings_of_new(declared, replication),
        )
        response = await admin.create_topics([new], timeout_ms=limits.REQUEST_MS)
        for _, code, message in _created(response):
            error = for_code(code)
            if error in (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
                raise TopicError(
                    "missing, and this user may not create it",
                    where=f"topic {name}",
                    hint=f"run, as one who may: {create_command(cluster.bootstrap, topics)}",
                )
            if code and error is not TopicAlreadyExistsError:
                raise _refused(name, error, message)
        await _until_led(admin, {name})
    return name


async def check_topics(cluster: Cluster) -> list[str]:
    """Check that the topics are there, that those which hold a state are compacted, and that
    control topics have one partition.

    Returns one line of warning for each topic with another required setting that is wrong (an audit
    topic with a retention, entries that their producers timestamp). Raises BrokerError if the
    broker is not reached, TopicError if a topic is missing or would lose entries, changes or
    counts.
    """
    topics = cluster.topics
    command = create_command(cluster.bootstrap, topics)
    async with connected_admin(cluster) as admin:
        there = set(await admin.list_topics())
        missing = [name for name in topics.all if name not in there]
        if missing:
            kept_from_us = await hidden(cluster.bootstrap, missing, cluster.security)
            if kept_from_us:
                raise not_allowed(Refusal.of_topics(kept_from_us), "Describe")
            raise missing_topics(missing, cluster)
        control = [topics.name(name) for name in sorted(CONTROL)]
        for topic in await admin.describe_topics(control):
            _must_have_order(topic["topic"], len(topic["partitions"]), topics, command)
        wrong = await wrong_settings(admin, cluster, DECLARED)
    compacted = {topics.name(name) for name in COMPACTED}
    warnings = []
    for name, settings in wrong.items():
        what = ", ".join(
            f"{key} is {have or 'not set'} and must be {want}"
            for key, (have, want) in settings.items()
        )
        error = TopicError(what, where=f"topic {name}", hint=f"to correct it run: {command}")
        if name in compacted and "cleanup.policy" in settings:
            raise error
        warnings.append(str(error))
    return warnings


def _must_have_order(topic: str, partitions: int, topics: Topics, command: str) -> None:
    """Raise TopicError if a control topic has several partitions.

    A key moves to another partition when some are added. Which record of an entry is the last, and
    so whether it is listed, would then depend on the order in which partitions are read.
    """
    if partitions > 1:
        what = "lists" if topic == topics.hotlist else "policies"
        raise TopicError(
            f"it has {partitions} partitions and must have one, or changes have no order",
            where=f"topic {topic}",
            hint=f"delete it, run: {command}; then write the {what} again",
        )


def settings_of_new(declared: Declaration, replication: int) -> dict[str, str]:
    """Return the settings with which a topic is created that has so many replicas."""
    settings = dict(declared.settings)
    if replication >= 3:
        # An acknowledged record is then on two machines, and one of the three may be down.
        settings["min.insync.replicas"] = "2"
    return settings


def _created(response: Any) -> Iterator[tuple[str, int, str]]:
    """Yield topic, error code and message (from version 1 of the answer on) of each topic."""
    for name, code, *message in response.topic_errors:
        yield name, code, (message[0] or "") if message else ""


def _refused(topic: str, error: type[Exception], message: str) -> TopicError:
    hint = ""
    what = message or getattr(error, "description", "") or error.__name__
    if error in (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
        what = "not allowed to create it"
        hint = "ask the cluster's operator for Create on it, or to create it"
    elif error is InvalidReplicationFactorError:
        hint = "set --replication (HOTLIST_REPLICATION) to at most the number of brokers"
    return TopicError(
        f"the broker refused it: {what.strip().rstrip('.')}", where=f"topic {topic}", hint=hint
    )


async def _until_led(admin: Any, names: set[str]) -> None:
    """Wait until every partition of the topics has a leader; the caller bounds the time."""
    while True:
        led = {
            topic["topic"]
            for topic in await admin.describe_topics()
            if topic["partitions"] and all(part["leader"] >= 0 for part in topic["partitions"])
        }
        if names <= led:
            return
        await asyncio.sleep(limits.ADMIN_PAUSE_S)
