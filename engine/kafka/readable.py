"""Waits until a command's records count: until readers of committed records can read them.

An acknowledged record does not count while a transaction that began before it is open. A command
then waits for a while, and reports which transaction that is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from engine import limits
from engine.clock import format_time
from engine.config import Settings
from engine.errors import BrokerError
from engine.kafka.open_transactions import OpenTransaction, describe_holders, open_transactions
from engine.kafka.reader import consuming

#: Between the topic and the list in the transactional id of a sync.
_SYNC: Final = "/sync/"


class NotReadableError(BrokerError):
    """A change was sent, and does not count yet."""


def sync_id(topic: str, list_id: str) -> str:
    """Return the transactional id that one sync of a list has at a time."""
    return f"{topic}{_SYNC}{list_id}"


async def wait_readable(settings: Settings, next_offsets: Mapping[TopicPartition, int]) -> None:
    """As `until_readable`, with a consumer of its own."""
    for topic in {part.topic for part in next_offsets}:
        async with consuming(settings, topic) as (consumer, _):
            await until_readable(consumer, next_offsets)


async def until_readable(
    consumer: Any, next_offsets: Mapping[TopicPartition, int], sent: str = "sent"
) -> None:
    """Wait until the records before these offsets of one topic can be read by everyone.

    `consumer` reads committed records, and `sent` is what was done. Raises NotReadableError after
    `limits.READABLE_S`.
    """

    async def is_readable() -> bool:
        ends = await consumer.end_offsets(list(next_offsets))
        return all(ends[part] >= offset for part, offset in next_offsets.items())

    if not await _in_time(is_readable):
        raise await _not_readable(
            consumer,
            next_offsets,
            f"{sent}, but does not count yet",
            "it counts by itself when that has ended: do not send it again",
        )


async def until_none_open(consumer: Any, partitions: Iterable[TopicPartition]) -> None:
    """Wait until no transaction is open on the partitions of one topic.

    Until then the topic's last records cannot be read. Raises NotReadableError after
    `limits.READABLE_S`.
    """
    partitions = list(partitions)

    async def is_none_open() -> bool:
        return not await _open(consumer, partitions)

    if not await _in_time(is_none_open):
        raise await _not_readable(
            consumer,
            partitions,
            "nothing was sent, because the last changes of the lists cannot be read yet",
            "try again when that has ended",
        )


async def _in_time(condition: Callable[[], Awaitable[bool]]) -> bool:
    """Wait until a condition holds; return False if it does not within `limits.READABLE_S`."""
    try:
        async with asyncio.timeout(limits.READABLE_S):
            while not await condition():
                await asyncio.sleep(limits.ADMIN_PAUSE_S)
    except TimeoutError:
        return False
    return True


async def _open(consumer: Any, partitions: Iterable[TopicPartition]) -> list[OpenTransaction]:
    partitions = list(partitions)
    client = consumer._client
    if any(client.cluster.leader_for_partition(part) is None for part in partitions):
        await client.force_metadata_update()
    found = await open_transactions(client, partitions)
    return [each for of_part in found.values() for each in of_part]


async def _not_readable(
    consumer: Any, partitions: Iterable[TopicPartition], what: str, hint: str
) -> NotReadableError:
    partitions = list(partitions)
    try:
        async with asyncio.timeout(limits.CONNECT_S):
            found = await _open(consumer, partitions)
    except (KafkaError, TimeoutError, OSError):
        found = []
    topic = partitions[0].topic
    until = [format_time(each.ends_ms) for each in found if each.ends_ms is not None]
    what = f"{what}: {describe_holders(found)} holds them back"
    if until:
        what += f", at the latest until about {max(until)}"
    return NotReadableError(what, where=topic, hint=hint + _remedy(topic, found))


def _remedy(topic: str, found: Iterable[OpenTransaction]) -> str:
    prefix = topic + _SYNC
    ids = [each.transactional_id for each in found]
    lists = [each.removeprefix(prefix) for each in ids if each.startswith(prefix)]
    return "".join(
        f"; if no sync of list {list_id} is running, the next one ends it at once"
        for list_id in lists
    )
