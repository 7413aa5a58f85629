"""Reads a topic: to its end, from one offset to another, or as its records come.

Only committed records are read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Container, Mapping
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from engine import limits
from engine.config import Settings
from engine.errors import BrokerError
from engine.kafka.acl_probe import topics_as_shown
from engine.kafka.cluster import Cluster
from engine.kafka.raw_fetcher import deliver_batches
from engine.kafka.session import broker_errors, partitions_of, started, stopped

#: Called for a partition's deleted records: with the first of them, and the oldest that is kept.
Deleted = Callable[[TopicPartition, int, int], None]
Progress = Callable[[int], contextlib.AbstractContextManager[Callable[[int], None]]]


class LastRecord(NamedTuple):
    """The last record of a key: its value, and its timestamp in milliseconds since 1970."""

    value: bytes
    timestamp_ms: int


async def read_to_end(
    settings: Settings,
    topic: str,
    progress: Progress,
    *,
    only: Container[bytes] | None = None,
) -> dict[bytes, LastRecord]:
    """Return the last record of each key of a compacted topic, without the removed keys.

    `only` has the keys to keep; without it all are kept. `progress` makes a progress bar for a
    number of steps; its context returns a function that is called with the steps just done. Reads
    up to the topic's end at the time of the call. Raises BrokerError, or TopicError if the topic
    is missing.
    """
    found: dict[bytes, LastRecord] = {}
    async with consuming(settings, topic) as (consumer, partitions):
        starts = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        with progress(sum(ends.values()) - sum(starts.values())) as step:
            async for fetched, moved in between(consumer, starts, ends):
                for records in fetched.values():
                    _apply(records, found, only)
                step(moved)
    return found


async def between(
    consumer: Any,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    *,
    patience_s: float = limits.DELIVERY_TIMEOUT_S,
) -> AsyncGenerator[tuple[dict[TopicPartition, list[Any]], int], None]:
    """Yield the records between these offsets of the consumer's partitions, as they are fetched.

    Yields what `getmany` returns, and by how many offsets the position moved; some records beyond
    the ends may be included. Raises BrokerError if no more records come for `patience_s`.
    """
    waiting = {part for part in ends if starts[part] < ends[part]}
    for part in waiting:
        consumer.seek(part, starts[part])
    at = dict(starts)
    loop = asyncio.get_running_loop()
    moved_s = loop.time()
    while waiting:
        fetched = await consumer.getmany(*waiting, timeout_ms=limits.READ_LOOK_MS)
        moved = 0
        # Compaction and transaction markers leave gaps, so progress is measured by the position,
        # not by the last record.
        for part in list(waiting):
            position = min(await consumer.position(part), ends[part])
            moved += position - at[part]
            at[part] = position
            if position == ends[part]:
                waiting.remove(part)
        if moved:
            moved_s = loop.time()
        elif loop.time() - moved_s > patience_s:
            topic = next(iter(waiting)).topic
            raise BrokerError("is not readable to its end", where=f"topic {topic}")
        yield fetched, moved


def _apply(
    records: list[Any], found: dict[bytes, LastRecord], only: Container[bytes] | None
) -> None:
    for record in records:
        if record.key is None:
            continue  # a compacted topic accepts no record without a key
        if only is not None and record.key not in only:
            continue
        if record.value is None:
            found.pop(record.key, None)
        else:
            found[record.key] = LastRecord(record.value, record.timestamp)


def _nothing() -> None:
    pass


def _ignore(part: TopicPartition, first: int, next_offset: int) -> None:
    pass


async def follow(
    settings: Settings,
    topic: str,
    *,
    from_start: bool,
    deleted: Deleted = _ignore,
    caught_up: Callable[[], None] = _nothing,
    wait_ms: int = limits.FETCH_WAIT_MS,
) -> AsyncGenerator[bytes, None]:
    """Yield the values of a topic's records as they come, for ever.

    Starts at the oldest record, or with `from_start` False at the end. Partitions that are added to
    the topic, and a topic that is recreated, are read from their beginning. `deleted` is called
    for records that the topic deleted before they were read, and `caught_up` once, when what was on
    the topic at the start has been read and the next record is awaited. The broker may delay the
    answer to an idle fetch by `wait_ms`. Raises BrokerError, or TopicError if the topic is missing.
    """
    async with consuming(settings, topic, reset="none", fetch_max_wait_ms=wait_ms) as (
        consumer,
        partitions,
    ):
        # Offsets are fetched now, so that nothing sent after this moment is skipped.
        ends = await consumer.end_offsets(partitions)
        starts = await consumer.beginning_offsets(partitions) if from_start else ends
        for part, offset in starts.items():
            consumer.seek(part, offset)
        is_behind = True
        topic_id: bytes | None = None
        loop = asyncio.get_running_loop()
        look_at_s = loop.time()
        while True:
            if loop.time() >= look_at_s:
                if is_behind and await _has_reached(consumer, ends):
                    is_behind = False
                    caught_up()
                topic_id = await _follow_changes(consumer, topic, topic_id)
                look_at_s = loop.time() + limits.METADATA_MAX_AGE_S
            try:
                async with asyncio.timeout_at(look_at_s):
                    record = await consumer.getone()
            except TimeoutError:
                continue
            except OffsetOutOfRangeError as error:
                await _seek_to_oldest(consumer, error.args[0], deleted)
                continue
            if record.value is not None:
                yield record.value


async def _has_reached(consumer: Any, offsets: Mapping[TopicPartition, int]) -> bool:
    assigned = consumer.assignment()
    reached = [
        await consumer.position(part) >= offset
        for part, offset in offsets.items()
        if part in assigned
    ]
    return all(reached)


async def _follow_changes(consumer: Any, topic: str, known_id: bytes | None) -> bytes | None:
    """Add the topic's new partitions to the assignment; return the topic's id.

    Partitions that are already read continue at their position, unless the topic's id has changed.
    """
    try:
        async with asyncio.timeout(limits.CONNECT_S):
            [found] = await topics_as_shown(consumer._client, [topic])
    except (KafkaError, TimeoutError, OSError):
        return known_id  # reading continues; the next look may find a broker
    if found.error:
        return known_id
    is_recreated = found.is_other_than(known_id)
    partitions = [TopicPartition(topic, number) for number in range(len(found.partitions))]
    assigned = consumer.assignment()
    if is_recreated or not assigned.issuperset(partitions):
        offsets = dict.fromkeys(partitions, 0)
        if not is_recreated:
            offsets |= {part: await consumer.position(part) for part in assigned}
        # No await in between: an assignment starts without positions.
        consumer.assign(list(offsets))
        for part, offset in offsets.items():
            consumer.seek(part, offset)
    return found.id or known_id


async def _seek_to_oldest(consumer: Any, lost: dict[TopicPartition, int], deleted: Deleted) -> None:
    """Continue at the oldest record of partitions that no longer hold these offsets."""
    begins = await consumer.beginning_offsets(list(lost))
    for part, offset in lost.items():
        if offset < begins[part]:
            deleted(part, offset, begins[part])
        consumer.seek(part, begins[part])


@contextlib.asynccontextmanager
async def consuming(
    settings: Settings,
    topic: str,
    *,
    unopened: bool = False,
    reset: str = "earliest",
    **options: Any,
) -> AsyncIterator[tuple[Any, list[TopicPartition]]]:
    """Open a consumer outside any group, assigned to all partitions of the topic.

    With `unopened` it returns a `RawBatch` for each record batch instead of its records. `reset` is
    aiokafka's policy for an offset that is gone, and `options` are its other options. Raises
    BrokerError, or TopicError if the topic is missing.
    """
    with broker_errors(settings.bootstrap, topic, "Read"):
        numbers = await partitions_of(settings, topic, "Read")
        partitions = [TopicPartition(topic, part) for part in numbers]
        consumer = Cluster.of(settings).reader(
            reset=reset,
            client_id="hotlist-command",
            max_partition_fetch_bytes=limits.FETCH_PARTITION_BYTES,
            **options,
        )
        try:
            await started(consumer.start(), settings)
            if unopened:
                deliver_batches(consumer, lambda _: True)
            consumer.assign(partitions)
            yield consumer, partitions
        finally:
            await stopped(consumer)
