"""Topics declared and checked on a broker.

`create_topics` creates missing topics and corrects the settings that a promise rests on;
`faulty_settings` finds those that break a rule of `topic_rules`, and `apply_settings` corrects
them; `check_topics` only checks. They use aiokafka's admin client, end within `limits.ADMIN_S` and
raise one-line errors that say what to do.

None creates a topic by asking about it (a broker with `auto.create.topics.enable` would, with the
wrong settings), and none changes a setting that an operator may have chosen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
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
from engine.kafka.acl_probe import topics_as_shown
from engine.kafka.cluster import Cluster
from engine.kafka.diagnosis import Refusal, hidden, not_allowed
from engine.kafka.nearest_replica import unknown_rack
from engine.kafka.topic_config import (
    AWAY,
    change_settings,
    connected_admin,
    missing_topics,
    settings_in_effect,
    unreadable,
    until_all_know,
    until_led,
)
from engine.kafka.topic_rules import SettingFault, faults, settings_of_new
from engine.kafka.topics import CONTROL, DECLARED, OWN, Topics, apply_command, create_command

TopicOutcome = Literal["created", "exists", "corrected"]


async def create_topics(
    cluster: Cluster, *, partitions: int, replication: int
) -> list[tuple[str, TopicOutcome]]:
    """Declare all topics and return what became of each, in the order of `DECLARED`.

    An existing topic keeps its partitions and settings, except for the required ones
    (`corrected`). Returns when every broker knows a leader of every partition, and the settings are
    in effect. Raises BrokerError if the broker is not reached or does not manage topics, TopicError
    if it denies one.
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
            await until_led(admin, list(new))
        present = [name for name in new if outcome[name] != "created"]
        wrong = [each for each in await _faults(admin, cluster, present) if each.required]
        await _correct(admin, cluster, wrong)
        outcome.update((each.topic, "corrected") for each in wrong)
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
        await until_led(admin, [name])
    return name


async def check_topics(cluster: Cluster) -> list[str]:
    """Check that the topics are there, that control topics have one partition, and the settings.

    Returns one line of warning for each topic with a wrong setting that loses nothing, or whose
    settings this login may not see, and for a rack that no broker is in. Raises BrokerError if the
    broker is not reached, TopicError if a topic is missing, would lose records or wrongly keep them
    (`SettingFault.stops`), or if it holds a state or the audit and its settings are not shown.
    """
    async with connected_admin(cluster) as admin:
        replicas = await check_presence(admin, cluster)
        shown = await settings_in_effect(admin, cluster, replicas)
        described = await admin.describe_cluster()
    rack = unknown_rack(cluster.member.rack, described["brokers"])
    warnings = [rack] if rack else []
    promised = {cluster.topics.name(declared.name) for declared in DECLARED if declared.required}
    for topic, reason in shown.hidden.items():
        if topic in promised:
            raise unreadable(topic, reason)
        warnings.append(str(unreadable(topic, reason)))
    wrong = list(faults(cluster.topics, shown.settings, replicas))
    hint = f"to correct it run: {apply_command(cluster.bootstrap, cluster.topics)}"
    stopping = {each.topic for each in wrong if each.stops}
    for topic, of_topic in groupby(wrong, attrgetter("topic")):
        what = ", ".join(each.what for each in of_topic)
        error = TopicError(what, where=f"topic {topic}", hint=hint)
        if topic in stopping:
            raise error
        warnings.append(str(error))
    return warnings


async def check_presence(admin: Any, cluster: Cluster) -> dict[str, int]:
    """Check that the topics are there, and that control topics have one partition.

    Returns the fewest replicas that a partition of each topic has, 0 if its partitions are not
    known yet. Raises TopicError.
    """
    topics = cluster.topics
    if missing := await _unknown_to_all(admin, topics.all):
        kept_from_us = await hidden(cluster.bootstrap, missing, cluster.security)
        if kept_from_us:
            raise not_allowed(Refusal.of_topics(kept_from_us), "Describe")
        raise missing_topics(missing, cluster)
    described = {each["topic"]: each["partitions"] for each in await _described(admin, topics.all)}
    for name in sorted(CONTROL):
        topic = topics.name(name)
        command = create_command(cluster.bootstrap, topics)
        _must_have_order(topic, len(described[topic]), topics, command)
    return {topic: _fewest_replicas(described[topic]) for topic in topics.all}


async def faulty_settings(cluster: Cluster) -> list[SettingFault]:
    """Return the settings that break a rule. Raises as `check_topics` does, and TopicError if the
    settings of a topic are not shown."""
    async with connected_admin(cluster) as admin:
        await check_presence(admin, cluster)
        return await _faults(admin, cluster, cluster.topics.all)


async def apply_settings(cluster: Cluster, wrong: Sequence[SettingFault]) -> None:
    """Correct these settings. Returns when they are in effect; raises TopicError if the broker
    refuses one, and those before it are then corrected."""
    async with connected_admin(cluster) as admin:
        await _correct(admin, cluster, wrong)


async def _faults(
    admin: Any, cluster: Cluster, topics: Sequence[str], node: int = -1
) -> list[SettingFault]:
    if not topics:
        return []
    shown = await settings_in_effect(admin, cluster, topics, node)
    for topic, reason in shown.hidden.items():
        raise unreadable(topic, reason)
    described = await _described(admin, topics)
    replicas = {each["topic"]: _fewest_replicas(each["partitions"]) for each in described}
    return list(faults(cluster.topics, shown.settings, replicas))


async def _correct(admin: Any, cluster: Cluster, wrong: Sequence[SettingFault]) -> None:
    """Correct the settings, and wait until all brokers know them; the caller bounds the time."""
    for topic, of_topic in groupby(wrong, attrgetter("topic")):
        await change_settings(admin, topic, {each.key: each.want for each in of_topic})
    corrected = {(each.topic, each.key) for each in wrong}
    topics = list(dict.fromkeys(each.topic for each in wrong))

    async def is_corrected(node: int) -> bool:
        wrong_there = await _faults(admin, cluster, topics, node)
        return corrected.isdisjoint((each.topic, each.key) for each in wrong_there)

    await until_all_know(admin, is_corrected)


async def _unknown_to_all(admin: Any, names: Sequence[str]) -> list[str]:
    """Return the topics that no broker knows: one that has just come back may know fewer."""
    there = set(await admin.list_topics())
    unknown = [name for name in names if name not in there]
    for broker in admin._client.cluster.brokers() if unknown else ():
        with contextlib.suppress(*AWAY):
            shown = await topics_as_shown(admin._client, unknown, broker.nodeId)
            there.update(each.name for each in shown if not each.error)
            unknown = [name for name in names if name not in there]
    return unknown


async def _described(admin: Any, topics: Iterable[str]) -> list[Any]:
    return list(await admin.describe_topics(list(topics)))


def _fewest_replicas(partitions: Sequence[Any]) -> int:
    return min((len(part["replicas"]) for part in partitions), default=0)


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
