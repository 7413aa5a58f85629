"""Produces reads by a timetable: each has a time at which it is meant to be produced.

`python -m benchmarks.measures.pacer PACE`. The timetable is fixed before the first read, and a
read that goes out late keeps its intended time: a client or broker that stalls is charged for
all reads that had to wait, so no delay is omitted.

Some reads are probes, of plates that are listed and may match. A probe's id holds its intended
time in nanoseconds of the machine's clock. Two ways to produce, by pace: one record at a time
through librdkafka (`batches` false), or record batches in requests that are made before the start
(`batches` true), for paces at which a Python loop cannot make records. There, a probe is a batch
of one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Producer

from benchmarks.definitions import Input
from benchmarks.fill import open_producer
from benchmarks.measures.children import argument, input_ended, say
from benchmarks.measures.definition import Count
from benchmarks.measures.produce_requests import PartitionProducer
from benchmarks.measures.scenery import PROBE_PLATES, probe_read, quantiles
from benchmarks.reads import Read, Scene

_START_IN_NS = 500_000_000
_TICK_S = 0.001
_FLUSH_S = 60.0

_partition_of = DefaultPartitioner()


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What to produce. The reads are those of `input`, `input.distinct_reads` of them over and
    over, with the documents of `scene_ms`; one in `probe_every` is a probe. `warm_up_s` counts
    for everything but lateness. Single records stop sooner if the input ends."""

    bootstrap: str
    topic: str
    input: Input
    scene_ms: int
    reads: Count
    reads_per_s: float
    warm_up_s: float
    probe_every: Count
    batches: bool


class Paced(msgspec.Struct, frozen=True, kw_only=True):
    """What was produced. `late_ms` are quantiles (0 to 100) of how long after its intended time
    a probe was handed to the client, the warm-up left aside; `took_s` is up to the last
    acknowledgement."""

    reads: int
    probes: int
    matches: int
    took_s: float
    late_ms: list[float]


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The reads are made; a line of input starts the timetable."""

    distinct_reads: int


def _produce_records(pace: Pace, reads: list[Read]) -> Paced:
    producer = Producer(
        {
            "bootstrap.servers": pace.bootstrap,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",  # as Java's and aiokafka's
        }
    )
    cycled = itertools.cycle(reads)
    plates = itertools.cycle(PROBE_PLATES)
    late_ms: list[float] = []
    matches = probes = 0
    interval_ns = 1e9 / pace.reads_per_s
    start_ns = time.time_ns() + _START_IN_NS
    warm_ns = start_ns + int(pace.warm_up_s * 1e9)

    def put(key: bytes, value: bytes) -> None:
        while True:
            try:
                producer.produce(pace.topic, value, key)
                return
            except BufferError:  # the client is full: later, and that counts
                producer.poll(_TICK_S)

    ended = input_ended()
    sent = 0
    for number in range(pace.reads):
        if ended.is_set():
            break
        sent += 1
        intended_ns = start_ns + int(number * interval_ns)
        while (ahead_ns := intended_ns - time.time_ns()) > 0:
            producer.poll(0)
            time.sleep(min(_TICK_S, ahead_ns / 1e9))
        if number % pace.probe_every == 0:
            plate = next(plates)
            put(plate.encode(), probe_read(plate, intended_ns))
            probes += 1
            if intended_ns >= warm_ns:
                late_ms.append((time.time_ns() - intended_ns) / 1e6)
        else:
            read = next(cycled)
            matches += read.matches
            put(read.key, read.value)
    assert producer.flush(_FLUSH_S) == 0, "all reads are acknowledged"
    return Paced(
        reads=sent,
        probes=probes,
        matches=matches + probes,
        took_s=(time.time_ns() - start_ns) / 1e9,
        late_ms=quantiles(late_ms),
    )


@dataclass(frozen=True, slots=True)
class _Request:
    """A record batch in its request, its reads and the matches among them."""

    data: bytes
    reads: int
    matches: int


@dataclass(slots=True)
class _Partition:
    """A partition's requests, in turn over and over, and what was produced of it."""

    number: int
    producer: PartitionProducer
    requests: list[_Request]
    make_batch: Any
    reads: int = 0
    probes: int = 0
    matches: int = 0
    late_ms: list[float] = field(default_factory=list)

    def probe(self, plate: str, intended_ns: int) -> bytes:
        batch = self.make_batch()
        batch.append(key=plate.encode(), value=probe_read(plate, intended_ns), timestamp=None)
        return self.producer.request(batch._build())


def _requests(producer: PartitionProducer, make_batch: Any, reads: list[Read]) -> list[_Request]:
    """The reads of a partition in batches of the producer's size, in requests."""

    def batches() -> Iterator[tuple[Any, int]]:
        batch, matches = make_batch(), 0
        for read in reads:
            if batch.append(key=read.key, value=read.value, timestamp=None) is None:
                yield batch, matches
                batch, matches = make_batch(), 0
                batch.append(key=read.key, value=read.value, timestamp=None)
            matches += read.matches
        yield batch, matches

    return [
        _Request(producer.request(batch._build()), batch.record_count(), matches)
        for batch, matches in batches()
    ]


def _wait_until(intended_ns: int) -> None:
    ahead_ns = intended_ns - time.time_ns()
    if ahead_ns > 0:
        time.sleep(ahead_ns / 1e9)


def _produce_partition(pace: Pace, start_ns: int, partition: _Partition) -> None:
    partitions = pace.input.partitions
    share = pace.reads // partitions
    interval_ns = 1e9 * partitions / pace.reads_per_s
    warm_ns = start_ns + int(pace.warm_up_s * 1e9)
    producer = partition.producer
    requests = itertools.cycle(partition.requests)
    plates = itertools.cycle(PROBE_PLATES[partition.number :: partitions])
    next_probe = pace.probe_every * (partition.number + 1) // partitions
    while partition.reads < share:
        # A batch goes out when its last read is due.
        request = next(requests)
        _wait_until(start_ns + int((partition.reads + request.reads) * interval_ns))
        producer.send(request.data)
        partition.reads += request.reads
        partition.matches += request.matches
        if partition.reads >= next_probe:
            intended_ns = start_ns + int(next_probe * interval_ns)
            probe = partition.probe(next(plates), intended_ns)
            if intended_ns >= warm_ns:
                partition.late_ms.append((time.time_ns() - intended_ns) / 1e6)
            producer.send(probe)
            partition.reads += 1
            partition.probes += 1
            next_probe += pace.probe_every
    producer.wait_answered()


def _produce_batches(pace: Pace, partitions: list[_Partition]) -> Paced:
    start_ns = time.time_ns() + _START_IN_NS
    with ThreadPoolExecutor(len(partitions)) as threads:
        list(threads.map(lambda each: _produce_partition(pace, start_ns, each), partitions))
    took_s = (time.time_ns() - start_ns) / 1e9
    probes = sum(each.probes for each in partitions)
    return Paced(
        reads=sum(each.reads for each in partitions),
        probes=probes,
        matches=sum(each.matches for each in partitions) + probes,
        took_s=took_s,
        late_ms=quantiles([late for each in partitions for late in each.late_ms]),
    )


async def _leaders(producer: Any, topic: str) -> dict[int, tuple[str, int]]:
    """The address of each partition's leader."""
    numbers = sorted(await producer.partitions_for(topic))
    cluster = producer.client.cluster
    nodes = {
        number: cluster.broker_metadata(cluster.leader_for_partition(TopicPartition(topic, number)))
        for number in numbers
    }
    return {number: (node.host, node.port) for number, node in nodes.items()}


async def _partitions(
    pace: Pace, reads: list[Read], stack: contextlib.ExitStack
) -> list[_Partition]:
    numbers = list(range(pace.input.partitions))
    by_partition: list[list[Read]] = [[] for _ in numbers]
    for read in reads:
        by_partition[_partition_of(read.key, numbers, numbers)].append(read)
    async with open_producer(pace.bootstrap, pace.input.codec, pace.input.batch_bytes) as client:
        leaders = await _leaders(client, pace.topic)
        producers = [
            stack.enter_context(PartitionProducer(leaders[number], pace.topic, number))
            for number in numbers
        ]
        make_batch = client.create_batch
        return [
            _Partition(number, producer, _requests(producer, make_batch, some), make_batch)
            for number, producer, some in zip(numbers, producers, by_partition, strict=True)
        ]


def _run_batches(pace: Pace) -> None:
    with contextlib.ExitStack() as stack:
        reads = list(Scene(pace.input, pace.scene_ms).distinct_reads())
        count = len(reads)
        partitions = asyncio.run(_partitions(pace, reads, stack))
        del reads
        gc.collect()
        gc.freeze()
        say(Ready(distinct_reads=count))
        input()
        say(_produce_batches(pace, partitions))


def main() -> None:
    pace = argument(Pace)
    if pace.batches:
        _run_batches(pace)
        return
    reads = list(Scene(pace.input, pace.scene_ms).distinct_reads())
    gc.collect()
    gc.freeze()  # the reads stay: a look for garbage among them would make the pacer late
    say(Ready(distinct_reads=len(reads)))
    input()
    say(_produce_records(pace, reads))


if __name__ == "__main__":
    main()
