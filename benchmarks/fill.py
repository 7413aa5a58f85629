"""Topics declared and filled for one case, and removed again.

Record batches are built once and sent as often as the case asks, so filling is bound by the
broker. A repeated batch differs in nothing but its offsets; the definitions say so under bias.
If the case suppresses matches or asks for it, each repetition is built again, for another day. The
size in bytes alone decides where a batch ends, as with a busy producer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, get_args

import click
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    NewTopic,
    OffsetSpec,
)

from benchmarks.definitions import Expected, Input, Topic
from benchmarks.job import Job
from benchmarks.reads import Read, Record, Scene, days_ago, expected_of
from engine.config import Settings
from engine.kafka.cluster import Cluster
from engine.kafka.reader import between, consuming
from engine.kafka.topic_admin import create_topics
from engine.kafka.topics import Topics

#: Control records go out in batches like those of `hotlist entries import`.
_CONTROL_BATCH_BYTES = 256 * 1024
_ADMIN_S = 30
#: Reads are a millisecond apart; the last of a few million is not to lie in the future.
_READS_BEGAN_AGO_MS = 6 * 3_600_000

_partition_of = DefaultPartitioner()


@dataclass(frozen=True, slots=True)
class Filled:
    """Topics that hold a case's input; the expected matches were counted while filling."""

    bootstrap: str
    prefix: str
    input: Input
    expected: Expected

    def job(self, topic: Topic, group: str) -> Job:
        """The job of an engine that reads one of the two detection topics."""
        topics = Topics(self.prefix)
        return Job(
            bootstrap=self.bootstrap,
            prefix=self.prefix,
            group=group,
            detections=_detections(self.prefix, topic),
            hotlist=topics.hotlist,
            policies=topics.policies,
            entries_by_plate=by_plate(self.prefix),
            matches=topics.matches,
            reads=self.input.records(topic),
            partitions=self.input.partitions,
        )


class FillError(Exception):
    """A topic does not hold what was sent to it."""


def _detections(prefix: str, topic: Topic) -> str:
    return Topics(prefix).name("detections" if topic == "reads" else f"detections-{topic}")


def by_plate(prefix: str) -> str:
    """The topic of the entries keyed by plate, for engines that can only join on a key."""
    return f"{prefix}hotlist-by-plate.v1"


def fill(bootstrap: str, prefix: str, wanted: Input, *, declare: bool = True) -> Filled:
    """Declare and fill the topics under a prefix that is not in use.

    Without `declare` the broker makes them by itself, as the embedded one does.
    Raises HotlistError, KafkaError, KafkaException or FillError where the broker does not go
    along.
    """
    if declare:
        declare_topics(bootstrap, prefix, wanted)
    expected = asyncio.run(_fill(bootstrap, prefix, wanted))
    filled = Filled(bootstrap, prefix, wanted, expected)
    for topic in get_args(Topic):
        job = filled.job(topic, "")
        found = count_records(bootstrap, job.detections)
        if found != job.reads:
            raise FillError(f"{job.detections} holds {found} reads instead of {job.reads}")
    return filled


def remove(bootstrap: str, prefix: str) -> None:
    """Delete all topics under a prefix, and those that engines named after their group."""
    names = [name for name in topic_names(bootstrap) if prefix in name]
    admin = _admin(bootstrap)  # held, as its answers die with it
    if names:
        for future in admin.delete_topics(names, operation_timeout=_ADMIN_S).values():
            future.result()


def topic_names(bootstrap: str) -> set[str]:
    """All topics of the broker."""
    return set(_admin(bootstrap).list_topics(timeout=_ADMIN_S).topics)


def partitions(bootstrap: str, topic: str) -> list[int]:
    """The numbers of a topic's partitions."""
    admin = _admin(bootstrap)
    return list(admin.list_topics(topic, timeout=_ADMIN_S).topics[topic].partitions)


def count_records(bootstrap: str, topic: str) -> int:
    """Records ever written to a topic, by its end offsets."""
    admin = _admin(bootstrap)
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(topic, number): latest for number in partitions(bootstrap, topic)}
    answers = admin.list_offsets(asked, request_timeout=_ADMIN_S)
    return sum(future.result().offset for future in answers.values())


def count_committed(bootstrap: str, topic: str) -> int:
    """Records of a topic that count: end offsets count the ends of transactions too."""
    partitions(bootstrap, topic)  # on the embedded broker, this brings it into being
    return asyncio.run(_count_committed(bootstrap, topic))


async def _count_committed(bootstrap: str, topic: str) -> int:
    settings = Settings(bootstrap=bootstrap)
    async with consuming(settings, topic, unopened=True) as (consumer, parts):
        starts = await consumer.beginning_offsets(parts)
        ends = await consumer.end_offsets(parts)
        return sum(
            [
                batch.record_count
                async for fetched, _ in between(consumer, starts, ends)
                for batches in fetched.values()
                for batch in batches
            ]
        )


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def declare_topics(bootstrap: str, prefix: str, wanted: Input) -> None:
    """Declare the topics under a prefix that is not in use."""
    # Before `create_topics`, which leaves a topic that exists as it is: reads must outlast the
    # longest run, and their producer's codec must stay.
    kept = {"retention.ms": "-1", "retention.bytes": "-1"}
    new = [
        *(
            NewTopic(_detections(prefix, topic), wanted.partitions, 1, config=kept)
            for topic in get_args(Topic)
        ),
        NewTopic(by_plate(prefix), 1, 1, config={"cleanup.policy": "compact"}),
    ]
    admin = _admin(bootstrap)
    for future in admin.create_topics(new, operation_timeout=_ADMIN_S).values():
        future.result()
    asyncio.run(
        create_topics(
            Cluster(bootstrap, Topics(prefix)), partitions=wanted.partitions, replication=1
        )
    )


async def _fill(bootstrap: str, prefix: str, wanted: Input) -> Expected:
    scene = Scene(wanted, int(time.time() * 1000) - _READS_BEGAN_AGO_MS)
    topics = Topics(prefix)
    hotlist, policies = scene.control_records()
    async with open_producer(bootstrap, "lz4", _CONTROL_BATCH_BYTES) as producer:
        for topic, records in (
            (topics.hotlist, hotlist),
            (topics.policies, policies),
            (by_plate(prefix), scene.entries_by_plate()),
        ):
            await send(producer, topic, {0: batches_of(producer, records)})
    async with open_producer(bootstrap, wanted.codec, wanted.batch_bytes) as producer:
        return await _fill_reads(producer, prefix, wanted, scene)


async def _fill_reads(producer: Any, prefix: str, wanted: Input, scene: Scene) -> Expected:
    partitions = list(range(wanted.partitions))
    of_partition: dict[int, list[Read]] = {number: [] for number in partitions}
    of_short: dict[int, list[Read]] = {number: [] for number in partitions}
    matches: list[int] = []
    with click.progressbar(
        scene.distinct_reads(),
        length=wanted.distinct_reads,
        label="making reads   ",
        update_min_steps=10_000,
    ) as reads:
        for read in reads:
            partition = _partition_of(read.key, partitions, partitions)
            of_partition[partition].append(read)
            if len(matches) < wanted.short_reads:
                of_short[partition].append(read)
            matches.append(read.matches)
    short = {number: list(batches_of(producer, them)) for number, them in of_short.items()}
    once = {number: list(batches_of(producer, them)) for number, them in of_partition.items()}
    over_and_over = {
        number: _repeated(producer, them, once[number], wanted)
        for number, them in of_partition.items()
    }
    total = sum(wanted.records(topic) for topic in get_args(Topic))
    with click.progressbar(length=total, label="filling topics ") as bar:
        await send(producer, _detections(prefix, "short"), short, bar.update)
        await send(producer, _detections(prefix, "once"), once, bar.update)
        await send(producer, _detections(prefix, "reads"), over_and_over, bar.update)
    return expected_of(matches, wanted)


def _repeated(producer: Any, reads: list[Read], batches: list[Any], wanted: Input) -> Iterator[Any]:
    """Repeat a partition's batches.

    If the case suppresses matches, or asks for it, each repetition is of another day, so that none
    is suppressed.
    """
    for days in reversed(range(wanted.repeats)):
        if wanted.suppress_s or wanted.is_daily:
            batches = list(batches_of(producer, (days_ago(read, days) for read in reads)))
        yield from batches


@asynccontextmanager
async def open_producer(bootstrap: str, codec: str, batch_bytes: int) -> AsyncIterator[Any]:
    """A started aiokafka producer whose batches have this size and codec."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        compression_type=None if codec == "none" else codec,
        max_batch_size=batch_bytes,
        max_request_size=16 * batch_bytes,
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def batches_of(producer: Any, records: Iterable[Read | Record]) -> Iterator[Any]:
    """The records in batches of the producer's size."""
    batch = producer.create_batch()
    for key, value, *_ in records:
        if batch.append(key=key, value=value, timestamp=None) is None:
            yield batch
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    if batch.record_count():
        batch.close()
        yield batch


async def send(
    producer: Any,
    topic: str,
    batches: Mapping[int, Iterable[Any]],
    progress: Any = lambda count: None,
) -> None:
    """Send each partition's batches in order; returns when all are acknowledged."""

    async def one_partition(partition: int, of_partition: Iterable[Any]) -> None:
        last = None
        for batch in of_partition:
            # Waits until the one before has left; a batch keeps its bytes once they are built,
            # so the same one can be sent again.
            last = await producer.send_batch(batch, topic, partition=partition)
            progress(batch.record_count())
        if last is not None:
            await last

    await asyncio.gather(*(one_partition(number, them) for number, them in batches.items()))
    await producer.flush()
