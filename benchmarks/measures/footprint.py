"""Measure `footprint`: what reads, entries, matches and a worker's first start take.

Bytes are those of the record batches on a topic, headers included: what a broker keeps of a
partition on disk, its indexes aside, and sends to each who reads it. They are counted by reading
the topic, unopened, as the worker does.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks import fill
from benchmarks.definitions import Codec, Count, Expected, Input
from benchmarks.fill import FillError
from benchmarks.measure import ProcessFailedError
from benchmarks.measures.definition import Strict
from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.measures.live import LiveWorker
from benchmarks.runner import Say, WrongCountError
from engine import limits
from engine.kafka.raw_fetcher import deliver_batches
from engine.kafka.topics import Topics
from engine.wire.record_batch import RawBatch

#: A ready worker is left alone for so long before its memory is taken, and a drained one before
#: its topics are counted.
_SETTLE_S = 2.0


class _Reads(Strict, frozen=True, kw_only=True):
    """How reads are produced; `batch_bytes` is a record batch before compression."""

    codec: Codec
    batch_bytes: Count


class Settings(Strict, frozen=True, kw_only=True):
    """The first of `reads` is the one that is matched; `input` says the rest of it."""

    input: Input
    expected: Expected
    reads: tuple[_Reads, ...]
    ready_timeout_s: float


def measure(bootstrap: str, settings: Settings, rounds: int, say: Say) -> list[MeasuredCase]:
    """Measure all of it, `rounds` times. Raises FillError where the expected number is not the
    input's."""
    run_id = f"bench-{uuid.uuid4().hex[:8]}"
    values: dict[str, dict[tuple[str, str], list[float]]] = {}
    try:
        for number in range(rounds):
            for case, figures in _round(bootstrap, f"{run_id}-{number}", settings):
                say(f"  {case}: " + ", ".join(f"{n} {v:.1f} {u}" for (n, u), v in figures.items()))
                for name, value in figures.items():
                    values.setdefault(case, {}).setdefault(name, []).append(value)
    except (ProcessFailedError, WrongCountError) as error:
        say(f"  FAILED: {error}")
        return [MeasuredCase(case="worker", failure=str(error))]
    finally:
        fill.remove(bootstrap, run_id)
    return [
        MeasuredCase(
            case=case,
            figures=[Figure(name=name, unit=unit, values=v) for (name, unit), v in found.items()],
        )
        for case, found in values.items()
    ]


_Figures = dict[tuple[str, str], float]


def _round(bootstrap: str, run_id: str, settings: Settings) -> list[tuple[str, _Figures]]:
    cases: list[tuple[str, _Figures]] = []
    for number, reads in enumerate(settings.reads):
        wanted = _with(settings.input, reads)
        prefix = f"{run_id}-{number}."
        filled = fill.fill(bootstrap, prefix, wanted)
        if filled.expected != settings.expected:
            raise FillError(f"the input gives {filled.expected}, not {settings.expected}")
        topics = Topics(prefix)
        name = f"a read, {reads.codec}, batches of {reads.batch_bytes // limits.KIB} KiB"
        cases.append((name, {("bytes", "bytes"): _bytes_each(bootstrap, topics.detections)}))
        if number == 0:
            entries = {("bytes", "bytes"): _bytes_each(bootstrap, topics.hotlist)}
            cases += [("an entry", entries), *_worker(bootstrap, prefix, wanted, settings)]
    return cases


def _with(wanted: Input, reads: _Reads) -> Input:
    fields = {name: getattr(wanted, name) for name in wanted.__struct_fields__}
    return Input(**(fields | {"codec": reads.codec, "batch_bytes": reads.batch_bytes}))


def _worker(
    bootstrap: str, prefix: str, wanted: Input, settings: Settings
) -> list[tuple[str, _Figures]]:
    """A worker's start on a machine where nothing is compiled yet, and on one where it is; and
    what the reads leave behind."""
    with tempfile.TemporaryDirectory() as compiled:
        starts: dict[str, _Figures] = {}
        for name in ("a first start, nothing compiled", "a start"):
            group = f"{prefix}group-{uuid.uuid4().hex[:8]}"
            environment = {"NUMBA_CACHE_DIR": compiled}
            with LiveWorker(bootstrap, prefix, group, environment=environment) as worker:
                worker.wait_ready(settings.ready_timeout_s)
                worker.wait_reads(wanted.reads, settings.ready_timeout_s)
                time.sleep(_SETTLE_S)
                matches = worker.metric("hotlist_matches_total")
                if matches != settings.expected.reads:
                    raise WrongCountError(
                        f"{matches:,.0f} matches instead of {settings.expected.reads:,}"
                    )
                starts[name] = {
                    ("start to ready", "s"): worker.start_to_ready_s,
                    ("resident", "MiB"): worker.resident_bytes() / 2**20,
                }
                worker.stop()
    topics = Topics(prefix)
    # Each worker has matched all reads, as each was a group of its own.
    left = {
        "a match": _bytes_of(bootstrap, topics.matches) / (2 * matches),
        "a match's audit record": _bytes_of(bootstrap, topics.audit) / (2 * matches),
        "what a match leaves for suppression": _bytes_of(bootstrap, topics.suppression)
        / (2 * matches),
    }
    return [
        *starts.items(),
        *((name, {("bytes", "bytes"): value}) for name, value in left.items()),
    ]


def _bytes_each(bootstrap: str, topic: str) -> float:
    return _bytes_of(bootstrap, topic) / fill.count_records(bootstrap, topic)


def _bytes_of(bootstrap: str, topic: str) -> int:
    return asyncio.run(_read_bytes(bootstrap, topic))


async def _read_bytes(bootstrap: str, topic: str) -> int:
    """All bytes of the record batches of a topic."""
    partitions = [TopicPartition(topic, number) for number in fill.partitions(bootstrap, topic)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False
    )
    await consumer.start()
    total = 0
    try:
        deliver_batches(consumer, topic.__eq__)
        ends: Mapping[TopicPartition, int] = await consumer.end_offsets(partitions)
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        at = dict.fromkeys(partitions, 0)
        while any(at[partition] < end for partition, end in ends.items()):
            found: dict[TopicPartition, list[RawBatch]] = await consumer.getmany(timeout_ms=200)
            for partition, batches in found.items():
                total += sum(len(batch.data) for batch in batches)
                at[partition] = batches[-1].next_offset
    finally:
        await consumer.stop()
    return total
