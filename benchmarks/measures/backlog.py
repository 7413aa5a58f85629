"""Measure `backlog`: a day's reads that wait, drained by one worker, and what that takes.

Once alone, and once while every entry of a long list changes in one transaction, as a nightly
sync changes them. Memory is what the kernel says of the worker's process.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiokafka import AIOKafkaProducer

from benchmarks import fill
from benchmarks.definitions import Expected, Input
from benchmarks.fill import FillError
from benchmarks.measure import ProcessFailedError
from benchmarks.measures.definition import Count, Strict
from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.measures.live import LiveWorker
from benchmarks.measures.long_list import filler, send_filler
from benchmarks.runner import Say, WrongCountError
from engine.config import Settings as EngineSettings
from engine.kafka.reader import between, consuming
from engine.kafka.topics import Topics

_LOOK_EVERY_S = 0.2
_BATCH_BYTES = 256 * 1024
_TRANSACTION_MS = 600_000

_Figures = dict[tuple[str, str], float]


class Settings(Strict, frozen=True, kw_only=True):
    """`changed_entries` are those that no read shows and that all change; the list begins with
    `input.entries`. Everything must be done within `timeout_s`."""

    input: Input
    expected: Expected
    changed_entries: Count
    timeout_s: float


def measure(bootstrap: str, settings: Settings, rounds: int, say: Say) -> list[MeasuredCase]:
    """Measure both, `rounds` times. Raises FillError where the expected number is not the
    input's."""
    run_id = f"bench-{uuid.uuid4().hex[:8]}"
    cases = {
        "the reads alone": 0,
        f"{settings.changed_entries:,} entries change meanwhile": settings.changed_entries,
    }
    values: dict[str, dict[tuple[str, str], list[float]]] = {name: {} for name in cases}
    failures: dict[str, str] = {}
    for number in range(rounds):
        for name, changed in cases.items():
            prefix = f"{run_id}-{number}-{changed}."
            try:
                found = _run_once(bootstrap, prefix, settings, changed)
            except (ProcessFailedError, WrongCountError) as error:
                failures[name] = str(error)
                say(f"  {name}: FAILED: {error}")
                continue
            finally:
                fill.remove(bootstrap, prefix)
            say(
                f"  {name}: "
                + ", ".join(f"{one} {v:,.1f} {unit}" for (one, unit), v in found.items())
            )
            for figure, value in found.items():
                values[name].setdefault(figure, []).append(value)
    return [
        MeasuredCase(case=name, failure=failures[name])
        if name in failures
        else MeasuredCase(
            case=name,
            figures=[Figure(name=one, unit=unit, values=v) for (one, unit), v in found.items()],
        )
        for name, found in values.items()
    ]


def _run_once(bootstrap: str, prefix: str, settings: Settings, changed: int) -> _Figures:
    filled = fill.fill(bootstrap, prefix, settings.input)
    if filled.expected != settings.expected:
        raise FillError(f"the input gives {filled.expected}, not {settings.expected}")
    topics = Topics(prefix)
    now_ms = int(time.time() * 1000)
    if changed:
        asyncio.run(send_filler(bootstrap, topics.hotlist, 0, changed, now_ms, "import"))
    first_revision = fill.count_records(bootstrap, topics.hotlist)
    with (
        LiveWorker(bootstrap, prefix, f"{prefix}group") as worker,
        ThreadPoolExecutor(1) as beside,
    ):
        worker.wait_ready(settings.timeout_s)
        ready_bytes = worker.resident_bytes()
        changing = (
            beside.submit(asyncio.run, _change(bootstrap, topics.hotlist, changed, now_ms))
            if changed
            else None
        )
        started_s = time.monotonic()
        before = worker.metric("hotlist_reads_total")
        worker.wait_reads(settings.input.reads, settings.timeout_s)
        took_s = time.monotonic() - started_s
        figures: _Figures = {
            ("drained", "M reads/min"): (settings.input.reads - before) / took_s * 60 / 1e6,
        }
        if changing is not None:
            changing.result(settings.timeout_s)
            _wait(worker, "hotlist_list_revision", first_revision + changed, settings.timeout_s)
            figures["changed in", "s"] = time.monotonic() - started_s
            _wait(worker, "hotlist_audit_records_total", changed, settings.timeout_s)
            figures["audited in", "s"] = time.monotonic() - started_s
        _wait(worker, "hotlist_matches_total", settings.expected.reads, settings.timeout_s)
        figures["resident when ready", "MiB"] = ready_bytes / 2**20
        figures["at its peak", "MiB"] = worker.peak_bytes() / 2**20
        worker.stop()
    delivered = fill.count_records(bootstrap, topics.matches)
    if delivered != settings.expected.reads:
        raise WrongCountError(f"{delivered:,} matches instead of {settings.expected.reads:,}")
    figures["reads on disk", "MiB"] = asyncio.run(_bytes_of(bootstrap, topics.detections)) / 2**20
    return figures


def _wait(worker: LiveWorker, metric: str, least: float, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while (found := worker.metric(metric)) < least:
        if time.monotonic() > deadline_s:
            raise WrongCountError(f"{metric} came to {found:,.0f} instead of {least:,.0f}")
        time.sleep(_LOOK_EVERY_S)


async def _change(bootstrap: str, topic: str, entries: int, made_ms: int) -> None:
    producer: Any = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type="lz4",
        max_batch_size=_BATCH_BYTES,
        transactional_id=f"bench-{uuid.uuid4().hex[:8]}",
        transaction_timeout_ms=_TRANSACTION_MS,
    )
    await producer.start()
    try:
        async with producer.transaction():
            # The same entries with times of their own: each is another one, and none is new.
            records = filler(0, entries, made_ms, "single")
            await fill.send(producer, topic, {0: fill.batches_of(producer, records)})
    finally:
        await producer.stop()


async def _bytes_of(bootstrap: str, topic: str) -> int:
    """All bytes of the record batches of a topic."""
    async with consuming(EngineSettings(bootstrap=bootstrap), topic, unopened=True) as (
        consumer,
        parts,
    ):
        starts = await consumer.beginning_offsets(parts)
        ends = await consumer.end_offsets(parts)
        return sum(
            [
                len(batch.data)
                async for fetched, _ in between(consumer, starts, ends)
                for batches in fetched.values()
                for batch in batches
            ]
        )
