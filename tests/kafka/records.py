"""Records in and out of a broker, many at a time, as the tests of the worker need them.

Producing goes in whole batches of encoded records, because one call a record would make a
test of a million reads a test of patience. Every wait has a bound and says what it waited for.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import KafkaError

#: Longer than anything here takes on a slow machine: a test that meets it has failed.
WAIT_S = 300.0

#: Bytes of records in one batch, before compression.
_BATCH_BYTES = 256 * 1024


class ToSend(NamedTuple):
    """A record to produce."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def encoded(document: object) -> bytes:
    """A document as JSON, to be kept. orjson leaves its buffer at the size to which it grew: a read
    of 700 bytes holds 4,096 or more for as long as it lives, so this copies it."""
    return bytes(memoryview(orjson.dumps(document)))


async def until(
    condition: Callable[[], Awaitable[bool]], what: str, detail: Callable[[], str] = str
) -> None:
    """Wait for a condition; fails with what was waited for, and the detail at that time.

    The condition is asked ever less often, so that a long wait takes little processor time from
    the thing that it waits for.
    """
    pause_s = 0.02
    try:
        async with asyncio.timeout(WAIT_S):
            while not await condition():
                await asyncio.sleep(pause_s)
                pause_s = min(1.2 * pause_s, 0.25)
    except TimeoutError:
        raise AssertionError(f"not within {WAIT_S:g} s: {what}\n{detail()}") from None


def partition_of(key: bytes, partitions: int) -> int:
    """Some partition, the same for the same key."""
    return zlib.crc32(key) % partitions


@asynccontextmanager
async def producing(bootstrap: str, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """A started producer."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, max_batch_size=_BATCH_BYTES, **{"acks": "all", **options}
    )
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()


async def send_to_partition(
    producer: AIOKafkaProducer, topic: str, partition: int, records: Iterable[ToSend]
) -> int:
    """Produce records to a partition in their order; returns the offset of the first.

    Returns when all are acknowledged.
    """
    acknowledgements: list[Awaitable[Any]] = []
    batch = producer.create_batch()

    async def send() -> None:
        batch.close()
        acknowledgements.append(await producer.send_batch(batch, topic, partition=partition))

    for record in records:
        while not _append(batch, record):
            await send()
            batch = producer.create_batch()
    if batch.record_count():
        await send()
    sent = await asyncio.gather(*acknowledgements)
    return int(sent[0].offset)


def _append(batch: Any, record: ToSend) -> bool:
    added = batch.append(
        key=record.key, value=record.value, timestamp=None, headers=list(record.headers)
    )
    return added is not None


async def produce(
    bootstrap: str,
    topic: str,
    records: Mapping[int, Iterable[ToSend]],
    *,
    codec: str | None = "lz4",
) -> None:
    """Produce records by partition."""
    async with producing(bootstrap, compression_type=codec) as producer:
        for partition, of_partition in records.items():
            await send_to_partition(producer, topic, partition, of_partition)


async def end_offsets(bootstrap: str, topic: str) -> dict[TopicPartition, int]:
    """The offset after the last record of each partition; waits for a topic that is new."""
    async with _asking(bootstrap) as consumer:
        partitions = await _partitions(consumer, topic)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    return ends


async def committed_offsets(bootstrap: str, topic: str, group: str) -> dict[TopicPartition, int]:
    """What a group has committed, by partition; partitions without a commit are left out."""
    async with _asking(bootstrap, group_id=group, enable_auto_commit=False) as consumer:
        found = {tp: await consumer.committed(tp) for tp in await _partitions(consumer, topic)}
    return {tp: offset for tp, offset in found.items() if offset is not None}


async def read_topic(
    bootstrap: str, topic: str, start: Mapping[TopicPartition, int] | None = None
) -> list[Any]:
    """All records of a topic that are committed now, from offsets or from the beginning."""
    async with _asking(
        bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    ) as consumer:
        partitions = await _partitions(consumer, topic)
        ends = await consumer.end_offsets(partitions)
        consumer.assign(partitions)
        for tp, offset in (start or {}).items():
            consumer.seek(tp, offset)
        records: list[Any] = []
        left: dict[TopicPartition, tuple[int, int]] = {}

        async def at_end() -> bool:
            nonlocal left
            for found in (await consumer.getmany(timeout_ms=100)).values():
                records.extend(found)
            places = {tp: (await consumer.position(tp), end) for tp, end in ends.items()}
            left = {tp: place for tp, place in places.items() if place[0] < place[1]}
            return not left

        def where() -> str:
            leaders = {tp: consumer._client.cluster.leader_for_partition(tp) for tp in left}
            return f"of {left} with leaders {leaders}; {len(records)} records are read"

        await until(at_end, f"the end of {topic}", where)
    return records


@asynccontextmanager
async def administering(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def delete_topic(admin: AIOKafkaAdminClient, topic: str) -> None:
    """Delete a topic; returns when a broker does not know it any more."""
    await admin.delete_topics([topic])

    async def gone() -> bool:
        return topic not in await admin.list_topics()

    await until(gone, f"{topic} is deleted")


async def add_partitions(bootstrap: str, topic: str, total: int) -> None:
    """Give a topic more partitions, so many in all; returns when all have leaders."""
    async with administering(bootstrap) as admin:
        await admin.create_partitions({topic: NewPartitions(total)})

        async def led() -> bool:
            [shown] = await admin.describe_topics([topic])
            return [part["leader"] >= 0 for part in shown["partitions"]] == [True] * total

        await until(led, f"{topic} has {total} partitions")


@asynccontextmanager
async def member(bootstrap: str, topic: str, group: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A member of the group that has been assigned partitions, and looks for no others."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:

        async def assigned() -> bool:
            await consumer.getmany(timeout_ms=0)
            return bool(consumer.assignment())

        await until(assigned, "the member has partitions")
        yield consumer
    finally:
        await consumer.stop()


@asynccontextmanager
async def _asking(bootstrap: str, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, **options)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    found: set[int] = set()

    async def known() -> bool:
        try:
            await consumer._client.force_metadata_update()
            await consumer._client.set_topics([topic])
        except KafkaError:
            return False
        found.update(consumer.partitions_for_topic(topic) or ())
        return bool(found)

    await until(known, f"partitions of {topic}")
    return [TopicPartition(topic, number) for number in sorted(found)]
