"""Notes when probes become visible on a topic, until its input ends.

`python -m benchmarks.measures.observer WATCH`. It begins at the end of the topic as it is. A
probe's delay is from the intended time in its id to the moment at which the consumer hands it
out, by the one clock of the machine.

`reads` and `matches` are plain librdkafka consumers, one message at a time as their users have
it. `batches` is for paces at which no Python loop can take single reads: aiokafka with the
worker's own seam, which opens the batches of one record, the probes, and no others.
"""

from __future__ import annotations

import asyncio
import time
from typing import Literal

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as AiokafkaPartition
from confluent_kafka import Consumer, TopicPartition

from benchmarks.measures.children import argument, input_ended, say
from benchmarks.measures.scenery import PROBE
from benchmarks.runner import WrongCountError
from engine import limits
from engine.kafka.raw_fetcher import deliver_batches, parse
from engine.wire.batch_reader import BatchReader
from engine.wire.record_batch import RawBatch

_MARK = f'"read_id":"{PROBE}'.encode()
_POLL_S = 0.1
_ANSWER_S = 20.0


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What to look at."""

    bootstrap: str
    topic: str
    partitions: int
    kind: Literal["reads", "matches", "batches"]


class Watching(msgspec.Struct, frozen=True, kw_only=True):
    """The consumer stands at the end of the topic."""

    topic: str


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Probes seen, (intended time, delay) in nanoseconds, and all records that came."""

    probes: list[tuple[int, int]]
    records: int

    def first_delays_ns(self, probes: int, matches: int) -> dict[int, int]:
        """Return each probe's delay by its intended time; of a match that came twice, the first.

        Raises WrongCountError if one of so many probes, or of the matches at least, is missing.
        """
        first_ns: dict[int, int] = {}
        for intended_ns, delay_ns in self.probes:
            first_ns[intended_ns] = min(delay_ns, first_ns.get(intended_ns, delay_ns))
        if len(first_ns) != probes or self.records < matches:
            raise WrongCountError(
                f"{len(first_ns):,} of {probes:,} probes and {self.records:,} matches of "
                f"{matches:,} came"
            )
        return first_ns


def _note(value: bytes, now_ns: int, probes: list[tuple[int, int]]) -> None:
    at = value.find(_MARK)
    if at >= 0:
        at += len(_MARK)
        intended_ns = int(value[at : at + 16], 16)
        probes.append((intended_ns, now_ns - intended_ns))


def _watch_records(watch: Watch) -> Seen:
    consumer = Consumer(
        {
            "bootstrap.servers": watch.bootstrap,
            "group.id": f"{watch.topic}-observer",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    ended = input_ended()
    probes: list[tuple[int, int]] = []
    records = 0
    assign_ends(consumer, watch.topic, watch.partitions)
    say(Watching(topic=watch.topic))
    while not ended.is_set():
        message = consumer.poll(_POLL_S)
        if message is None:
            continue
        now_ns = time.time_ns()
        value = message.value()
        assert message.error() is None, message.error()
        assert value is not None
        records += 1
        _note(value, now_ns, probes)
    consumer.close()
    return Seen(probes=probes, records=records)


def assign_ends(consumer: Consumer, topic: str, partitions: int) -> None:
    """Make a consumer read a topic from its end as it is now.

    Not from OFFSET_END, which would mean the end at the time of the first fetch.
    """
    ends = []
    for number in range(partitions):
        found = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_ANSWER_S)
        assert found is not None, "the topic is not reached"
        ends.append(TopicPartition(topic, number, found[1]))
    consumer.assign(ends)


async def _watch_batches(watch: Watch) -> Seen:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=watch.bootstrap,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_partition_fetch_bytes=limits.FETCH_PARTITION_BYTES,
        fetch_max_bytes=limits.FETCH_BYTES,
        fetch_max_wait_ms=limits.FETCH_WAIT_MS,
    )
    ended = input_ended()
    batch_reader = BatchReader(parse)
    probes: list[tuple[int, int]] = []
    records = 0
    await consumer.start()
    try:
        deliver_batches(consumer, watch.topic.__eq__)
        partitions = [AiokafkaPartition(watch.topic, n) for n in range(watch.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        say(Watching(topic=watch.topic))
        while not ended.is_set():
            found: dict[AiokafkaPartition, list[RawBatch]] = await consumer.getmany(timeout_ms=100)
            for batch in (batch for batches in found.values() for batch in batches):
                records += batch.record_count
                if batch.record_count == 1:
                    (record,) = batch_reader.records(batch)
                    assert record.value is not None
                    _note(record.value, time.time_ns(), probes)
    finally:
        await consumer.stop()
    return Seen(probes=probes, records=records)


def main() -> None:
    watch = argument(Watch)
    if watch.kind == "batches":
        say(asyncio.run(_watch_batches(watch)))
    else:
        say(_watch_records(watch))


if __name__ == "__main__":
    main()
