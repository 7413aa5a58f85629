"""The settings of topics as the brokers have them: read and changed.

`engine.kafka.topic_rules` judges them. aiokafka has no IncrementalAlterConfigs, which changes only
the settings that it names; the request is defined here, by Kafka's protocol guide.

Each function needs a connected admin client, which `connected_admin` gives: it ends within
`limits.ADMIN_S` and raises one-line errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, NamedTuple

from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    RequestTimedOutError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.types import Array, Boolean, Int8, Int16, Int32, Schema

from engine import limits
from engine.errors import BrokerError, TopicError
from engine.kafka.acl_probe import topics_as_shown
from engine.kafka.any_broker import send_to_any
from engine.kafka.cluster import Cluster
from engine.kafka.diagnosis import unreachable
from engine.kafka.request_fields import TEXT, define_request
from engine.kafka.topics import create_command

_TOPIC: Final = ConfigResourceType.TOPIC.value
_BROKER: Final = ConfigResourceType.BROKER.value
#: The operation of IncrementalAlterConfigs that sets a value.
_SET: Final = 0
#: The errors of a broker that cannot be reached now.
AWAY: Final = (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError)
_RETENTION: Final = ("retention.ms", "retention.bytes")


class Retention(NamedTuple):
    """How long and how much of a partition is kept; None is without a limit."""

    ms: int | None
    size_bytes: int | None


class ShownSettings(NamedTuple):
    """The settings of topics, by topic and name, and why the others are `hidden`, by topic."""

    settings: dict[str, dict[str, str]]
    hidden: dict[str, str]


_Alter: Final = define_request(
    44,
    0,
    asked=Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", TEXT),
                ("configs", Array(("name", TEXT), ("operation", Int8), ("value", TEXT))),
            ),
        ),
        ("validate_only", Boolean),
    ),
    answered=Schema(
        ("throttle_time_ms", Int32),
        (
            "resources",
            Array(
                ("error_code", Int16),
                ("error_message", TEXT),
                ("resource_type", Int8),
                ("resource_name", TEXT),
            ),
        ),
    ),
)


async def retention(cluster: Cluster, topic: str) -> Retention:
    """Return the retention of a topic. Raises BrokerError, or TopicError if it may not be read."""
    async with connected_admin(cluster) as admin:
        asked = [(_TOPIC, topic, [*_RETENTION])]
        for code, message, _, name, entries in await _shown(admin, asked):
            if code:
                raise unreadable(name, message or for_code(code).__name__)
            have = {key: int(value) for key, value, *_ in entries if key in _RETENTION}
            ms, size_bytes = (have.get(key, -1) for key in _RETENTION)
            return Retention(None if ms < 0 else ms, None if size_bytes < 0 else size_bytes)
    raise BrokerError("the broker does not show how topics are set up", where=cluster.bootstrap)


async def settings_in_effect(
    admin: Any, cluster: Cluster, names: Iterable[str], node: int = -1
) -> ShownSettings:
    """Return the settings of topics as Kafka writes them, a setting without a value as none.

    They are those in effect on the broker `node`, or -1 for any. The embedded broker shows none.
    Raises TopicError if a topic is missing.
    """
    found = ShownSettings({}, {})
    asked = [(_TOPIC, name, None) for name in names]
    if not asked:
        return found
    try:
        shown = await _shown(admin, asked, node)
    except IncompatibleBrokerVersion:
        old = "the broker is not of Kafka 2.1 or newer"
        return ShownSettings({}, {name: old for _, name, _ in asked})
    for code, message, _, name, entries in shown:
        if code == UnknownTopicOrPartitionError.errno:  # deleted since it was listed
            raise missing_topics([name], cluster)
        if code:
            found.hidden[name] = message or for_code(code).__name__
        else:
            found.settings[name] = {key: text for key, text, *_ in entries if text is not None}
    return found


async def broker_setting(admin: Any, key: str) -> str | None:
    """Return a setting of a broker; None if the brokers do not show it. Raises KafkaError."""
    for broker in admin._client.cluster.brokers():
        # Only the broker itself shows its own.
        asked = [(_BROKER, str(broker.nodeId), [key])]
        with contextlib.suppress(IncompatibleBrokerVersion, *AWAY):
            for *_, entries in await _shown(admin, asked, broker.nodeId):
                for name, value, *_ in entries:
                    if name == key and value is not None:
                        return str(value)
    return None


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


async def change_settings(admin: Any, topic: str, settings: Mapping[str, str]) -> None:
    """Set these settings of a topic and leave its others as they are. Raises TopicError."""
    changed = [(key, _SET, value) for key, value in settings.items()]
    try:
        asked = _Alter([(_TOPIC, topic, changed)], False)
        answer = await send_to_any(admin._client, asked)
    except IncompatibleBrokerVersion as error:
        raise TopicError(
            "the broker does not change single settings",
            where=f"topic {topic}",
            hint="use a Kafka cluster, 2.3 or newer",
        ) from error
    for code, message, *_ in answer.resources:
        if code:
            raise TopicError(
                f"the broker refused to set {', '.join(sorted(settings))}: "
                f"{message or for_code(code).__name__}",
                where=f"topic {topic}",
                hint="ask the cluster's operator for AlterConfigs on it",
            )


async def until_led(admin: Any, names: Sequence[str]) -> None:
    """Wait until every broker knows a leader of every partition; the caller bounds the time."""

    async def are_led(node: int) -> bool:
        shown = await topics_as_shown(admin._client, names, node)
        return all(
            topic.partitions and all(leader >= 0 for leader, *_ in topic.partitions)
            for topic in shown
        )

    await until_all_know(admin, are_led)


async def until_all_know(admin: Any, knows: Callable[[int], Awaitable[bool]]) -> None:
    """Wait until `knows` is true of every broker that can be reached, given its number.

    Each broker learns of a change by itself, and a client may ask any of them next.
    """
    for broker in admin._client.cluster.brokers():
        with contextlib.suppress(*AWAY):  # it learns when it comes back
            while not await knows(broker.nodeId):
                await asyncio.sleep(limits.ADMIN_PAUSE_S)


async def _shown(
    admin: Any, asked: Sequence[tuple[int, str, Sequence[str] | None]], node: int = -1
) -> list[tuple[Any, ...]]:
    """Return what a broker shows of these resources: kind, name and settings, None for all."""
    response = await send_to_any(admin._client, DescribeConfigsRequest(list(asked)), node)
    return list(response.resources)


def unreadable(topic: str, reason: str) -> TopicError:
    """Return the error of a topic whose settings the broker does not show."""
    return TopicError(
        f"the broker does not show how it is set up: {reason}",
        where=f"topic {topic}",
        hint="ask the cluster's operator for DescribeConfigs on it",
    )
