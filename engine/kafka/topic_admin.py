"""Topics declared and checked on a broker.

`create_topics` creates missing topics and corrects the settings that a promise rests on;
`check_topics` only checks. Both use aiokafka's admin client, end within `limits.ADMIN_S` and
raise one-line errors that say what to do.

Neither creates a topic by asking about it (a broker with `auto.create.topics.enable` would,
with the wrong settings), and neither changes a setting that an operator may have chosen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Literal

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IncompatibleBrokerVersion,
    InvalidReplicationFactorError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from engine import limits
from engine.errors import BrokerError, TopicError
from engine.kafka.cluster import Cluster
from engine.kafka.diagnosis import Refusal, hidden, not_allowed, unreachable
from engine.kafka.topics import (
    COMPACTED,
    CONTROL,
    DECLARED,
    OWN,
    Declaration,
    Topics,
    create_command,
)

#: Kafka's source of a setting that was set for this topic (not inherited).
_SOURCE_TOPIC: Final = 1

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
            topic_configs=_settings(declared, replication),
        )
        for declared in DECLARED
    }
    async with _admin(cluster) as admin:
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
        wrong = await _wrong_settings(admin, cluster, present)
        for name, settings in wrong.items():
            await _correct(admin, name, settings)
            outcome[name] = "corrected"
        while wrong:  # until all brokers know it
            await asyncio.sleep(limits.ADMIN_PAUSE_S)
            wrong = await _wrong_settings(admin, cluster, present)
    return [(name, outcome[name]) for name in new]


async def delete_topics(cluster: Cluster) -> None:
    """Delete all topics of a prefix with everything in them: for the demo and for tests.

    Raises BrokerError if the broker is not reached.
    """
    async with _admin(cluster) as admin:
        await admin.delete_topics(list(cluster.topics.all), timeout_ms=limits.REQUEST_MS)


async def make_own_topic(cluster: Cluster) -> str | None:
    """Make the engine's own topic where it is missing, and only it, with as many partitions and
    replicas as the reads have; its name if so.

    Nothing is created if the topic of the reads is missing: `check_topics` reports that. Raises
    BrokerError if the broker is not reached, TopicError if it denies the topic.
    """
    topics = cluster.topics
    name = topics.name(OWN)
    async with _admin(cluster) as admin:
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
            topic_configs=_settings(declared, replication),
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
    async with _admin(cluster) as admin:
        there = set(await admin.list_topics())
        missing = [name for name in topics.all if name not in there]
        if missing:
            kept_from_us = await hidden(cluster.bootstrap, missing, cluster.security)
            if kept_from_us:
                raise not_allowed(Refusal.of_topics(kept_from_us), "Describe")
            raise _missing(missing, cluster)
        control = [topics.name(name) for name in sorted(CONTROL)]
        for topic in await admin.describe_topics(control):
            _must_have_order(topic["topic"], len(topic["partitions"]), topics, command)
        wrong = await _wrong_settings(admin, cluster, DECLARED)
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


def _missing(names: Sequence[str], cluster: Cluster) -> TopicError:
    return TopicError(
        f"{'topic' if len(names) == 1 else 'topics'} {', '.join(names)} missing",
        where=cluster.bootstrap,
        hint=f"run: {create_command(cluster.bootstrap, cluster.topics)}",
    )


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


def _settings(declared: Declaration, replication: int) -> dict[str, str]:
    settings = dict(declared.settings)
    if replication >= 3:
        # An acknowledged record is then on two machines, and one of the three may be down.
        settings["min.insync.replicas"] = "2"
    return settings


@asynccontextmanager
async def _admin(cluster: Cluster) -> AsyncIterator[Any]:
    """A connected admin client; everything that goes wrong inside becomes a BrokerError."""
    admin = None
    with _quiet("aiokafka"):
        try:
            async with asyncio.timeout(limits.ADMIN_S):
                admin = cluster.admin(
                    client_id="hotlist-engine-topics",
                    request_timeout_ms=limits.REQUEST_MS,
                )
                try:
                    await admin.start()
                except (KafkaError, OSError, TimeoutError) as error:
                    raise await unreachable(cluster.bootstrap, cluster.security) from error
                except ValueError as error:
                    raise BrokerError(
                        "not a broker address", where=cluster.bootstrap, hint="write HOST:PORT"
                    ) from error
                yield admin
        except TimeoutError as error:
            raise BrokerError(
                f"the broker did not finish within {limits.ADMIN_S:.0f} s",
                where=cluster.bootstrap,
                hint="try again when the cluster is well",
            ) from error
        except KafkaError as error:
            raise BrokerError(
                f"the broker did not answer as expected: {error!r}", where=cluster.bootstrap
            ) from error
        finally:
            if admin is not None:
                await admin.close()


@contextmanager
def _quiet(logger_name: str) -> Iterator[None]:
    """Suppress a library's log lines; what they report is raised as an error instead."""
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


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


async def _wrong_settings(
    admin: Any, cluster: Cluster, declared: Sequence[Declaration]
) -> dict[str, dict[str, tuple[str, str]]]:
    """By topic, the required settings that differ: name to (as it is, as it must be)."""
    wanted = {cluster.topics.name(d.name): d for d in declared if d.required}
    if not wanted:
        return {}
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(d.required))
        for name, d in wanted.items()
    ]
    try:
        responses = await admin.describe_configs(resources)
    except IncompatibleBrokerVersion as error:
        raise BrokerError(
            "the broker does not show how topics are set up",
            where=cluster.bootstrap,
            hint="use a Kafka cluster, 2.1 or newer",
        ) from error
    wrong: dict[str, dict[str, tuple[str, str]]] = {}
    for code, message, _, name, entries in _resources(responses):
        if code == UnknownTopicOrPartitionError.errno:  # deleted since it was listed
            raise _missing([name], cluster)
        if code:
            raise _unreadable(name, for_code(code), message)
        have = {key: value or "" for key, value, *_ in entries}
        settings = wanted[name].settings
        differing = {
            key: (have.get(key, ""), settings[key])
            for key in sorted(wanted[name].required)
            if have.get(key) != settings[key]
        }
        if differing:
            wrong[name] = differing
    return wrong


async def _correct(admin: Any, topic: str, wrong: Mapping[str, tuple[str, str]]) -> None:
    """Set the required settings of a topic and leave its others as they are.

    AlterConfigs replaces all settings that the topic has, so they are sent too.
    """
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    own: dict[str, str] = {}
    for code, message, _, _, entries in _resources(await admin.describe_configs([resource])):
        if code:
            raise _unreadable(topic, for_code(code), message)
        own = {key: value for key, value, _, source, *_ in entries if source == _SOURCE_TOPIC}
    own.update({key: want for key, (_, want) in wrong.items()})
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, own)
    for code, message, *_ in _resources(await admin.alter_configs([resource])):
        if code:
            raise TopicError(
                f"the broker refused to set {', '.join(sorted(wrong))}: "
                f"{message or for_code(code).__name__}",
                where=f"topic {topic}",
                hint="ask the cluster's operator for AlterConfigs on it",
            )


def _resources(responses: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    for response in responses:
        yield from response.resources


def _unreadable(topic: str, error: type[Exception], message: str) -> TopicError:
    return TopicError(
        f"the broker does not show how it is set up: {message or error.__name__}",
        where=f"topic {topic}",
        hint="ask the cluster's operator for DescribeConfigs on it",
    )
