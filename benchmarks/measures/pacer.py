"""Produces reads by a timetable: each has a time at which it is meant to be produced.

`python -m benchmarks.measures.pacer PACE`. The timetable is fixed before the first read, and a
read that goes out late keeps its intended time: a client or broker that stalls is charged for
all reads that had to wait, so no delay is omitted.

Some reads are probes, of plates that are listed and may match. A probe's id holds its intended
time in nanoseconds of the machine's clock. Two ways to produce, by pace: one record at a time
through librdkafka (`batches` false), or prebuilt record batches through aiokafka (`batches`
true), for paces at which a Python loop cannot make records. There, a probe is a batch of one.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from typing import Any

import msgspec
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Producer

from benchmarks.definitions import Input
from benchmarks.fill import open_producer
from benchmarks.measures.children import argument, input_ended, say
from benchmarks.measures.definition import Count
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


class _Batches:
    """Batches of one partition over and over, with the matches in each, and their producer."""

    def __init__(self, producer: Any, reads: list[Read]) -> None:
        self.producer = producer
        self._cycled = itertools.cycle(list(_counted(producer, reads)))

    def next(self) -> tuple[Any, int]:
        batch, matches = next(self._cycled)
        return batch, matches


def _counted(producer: Any, reads: list[Read]) -> Any:
    batch, matches = producer.create_batch(), 0
    for read in reads:
        if batch.append(key=read.key, value=read.value, timestamp=None) is None:
            yield batch, matches
            batch, matches = producer.create_batch(), 0
            batch.append(key=read.key, value=read.value, timestamp=None)
        matches += read.matches
    batch.close()
    yield batch, matches


async def _produce_batches(pace: Pace, of_partition: list[_Batches]) -> Paced:
    late_ms: list[float] = []
    partitions = len(of_partition)
    share = pace.reads // partitions
    interval_ns = 1e9 * partitions / pace.reads_per_s
    start_ns = time.time_ns() + _START_IN_NS
    warm_ns = start_ns + int(pace.warm_up_s * 1e9)
    counts = {"reads": 0, "probes": 0, "matches": 0}

    async def wait_until(intended_ns: int) -> None:
        ahead_ns = intended_ns - time.time_ns()
        if ahead_ns > 0:
            await asyncio.sleep(ahead_ns / 1e9)

    async def one_partition(partition: int, batches: _Batches) -> None:
        producer = batches.producer
        sent = 0
        plates = itertools.cycle(PROBE_PLATES[partition::partitions])
        next_probe = pace.probe_every * (partition + 1) // partitions
        last = None
        while sent < share:
            # A batch goes out when its last read is due.
            batch, matches = batches.next()
            await wait_until(start_ns + int((sent + batch.record_count()) * interval_ns))
            last = await producer.send_batch(batch, pace.topic, partition=partition)
            sent += batch.record_count()
            counts["matches"] += matches
            if sent >= next_probe:
                intended_ns = start_ns + int(next_probe * interval_ns)
                plate = next(plates)
                value = probe_read(plate, intended_ns)
                probe = producer.create_batch()
                probe.append(key=plate.encode(), value=value, timestamp=None)
                probe.close()
                counts["probes"] += 1
                if intended_ns >= warm_ns:
                    late_ms.append((time.time_ns() - intended_ns) / 1e6)
                last = await producer.send_batch(probe, pace.topic, partition=partition)
                sent += 1
                next_probe += pace.probe_every
        if last is not None:
            await last
        counts["reads"] += sent

    await asyncio.gather(*(one_partition(n, batches) for n, batches in enumerate(of_partition)))
    await asyncio.gather(*(batches.producer.flush() for batches in of_partition))
    return Paced(
        reads=counts["reads"],
        probes=counts["probes"],
        matches=counts["matches"] + counts["probes"],
        took_s=(time.time_ns() - start_ns) / 1e9,
        late_ms=quantiles(late_ms),
    )


async def _run_batches(pace: Pace, reads: list[Read]) -> None:
    partitions = list(range(pace.input.partitions))
    by_partition: list[list[Read]] = [[] for _ in partitions]
    for read in reads:
        by_partition[_partition_of(read.key, partitions, partitions)].append(read)
    codec, batch_bytes = pace.input.codec, pace.input.batch_bytes
    async with contextlib.AsyncExitStack() as stack:
        # A producer for each partition: aiokafka has one request on its way at a time, and a
        # city has more than one producer.
        of_partition = [
            _Batches(await stack.enter_async_context(producer), some)
            for some in by_partition
            for producer in [open_producer(pace.bootstrap, codec, batch_bytes)]
        ]
        say(Ready(distinct_reads=len(reads)))
        await asyncio.to_thread(input)
        say(await _produce_batches(pace, of_partition))


def main() -> None:
    pace = argument(Pace)
    reads = list(Scene(pace.input, pace.scene_ms).distinct_reads())
    if pace.batches:
        asyncio.run(_run_batches(pace, reads))
        return
    say(Ready(distinct_reads=len(reads)))
    input()
    say(_produce_records(pace, reads))


if __name__ == "__main__":
    main()
