"""The settings of topics as the brokers have them: compared with the declared, corrected, read.

Each function needs a connected admin client, which `connected_admin` gives: it ends within
`limits.ADMIN_S` and raises one-line errors.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, NamedTuple

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaError,
    UnknownTopicOrPartitionError,
    for_code,
)

from engine import limits
from engine.errors import BrokerError, TopicError
from engine.kafka.cluster import Cluster
from engine.kafka.diagnosis import unreachable
from engine.kafka.topics import Declaration, create_command

#: Kafka's source of a setting that was set for this topic (not inherited).
_SOURCE_TOPIC: Final = 1
_RETENTION: Final = ("retention.ms", "retention.bytes")


class Retention(NamedTuple):
    """How long and how much of a partition is kept; None is without a limit."""

    ms: int | None
    size_bytes: int | None


async def retention(cluster: Cluster, topic: str) -> Retention:
    """Return the retention of a topic. Raises BrokerError, or TopicError if it may not be read."""
    async with connected_admin(cluster) as admin:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, dict.fromkeys(_RETENTION))
        for code, message, _, name, entries in _resources(await admin.describe_configs([resource])):
            if code:
                raise _unreadable(name, for_code(code), message)
            have = {key: int(value) for key, value, *_ in entries if key in _RETENTION}
            ms, size_bytes = (have.get(key, -1) for key in _RETENTION)
            return Retention(None if ms < 0 else ms, None if size_bytes < 0 else size_bytes)
    raise BrokerError("the broker does not show how topics are set up", where=cluster.bootstrap)


async def settings_in_effect(admin: Any, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the settings of topics as Kafka writes them; without those that it does not show.

    The embedded broker shows none.
    """
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    try:
        responses = await admin.describe_configs(resources)
    except IncompatibleBrokerVersion:
        return {}
    return {
        name: {key: value for key, value, *_ in entries if value is not None}
        for code, _, _, name, entries in _resources(responses)
        if not code
    }


def missing_topics(names: Sequence[str], cluster: Cluster) -> TopicError:
    """Return the error of topics that are not there, with the command that creates them."""
    return TopicError(
        f"{'topic' if len(names) == 1 else 'topics'} {', '.join(names)} missing",
        where=cluster.bootstrap,
        hint=f"run: {create_command(cluster.bootstrap, cluster.topics)}",
    )


@asynccontextmanager
async def connected_admin(cluster: Cluster) -> AsyncIterator[Any]:
    """A connected admin client; an error of Kafka's inside becomes a BrokerError."""
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


async def wrong_settings(
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
            raise missing_topics([name], cluster)
        if code:
            raise _unreadable(name, for_code(code), message)
        have = {key: value or "" for key, value, *_ in entries}
        settings = wanted[name].settings
        differing = {
            key: (have.get(key, ""), settings[key])
            for key in sorted(wanted[name].required)
            if not wanted[name].is_met(key, have.get(key))
        }
        if differing:
            wrong[name] = differing
    return wrong


async def correct(admin: Any, topic: str, wrong: Mapping[str, tuple[str, str]]) -> None:
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
