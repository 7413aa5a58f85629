"""Measure `list_size`: start, memory and throughput by the length of the hot list.

Every list has topics of its own with the same reads; the lists take turns within a round. The
worker that memory and start are measured on is given a group that stands at the end of the
reads, so that no read is in its memory, and whose lists are audited already. A deployment's first
start, which writes an audit record for each entry, is measured apart.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks import fill
from benchmarks.definitions import Expected, Input, load_engines
from benchmarks.fill import Filled, FillError
from benchmarks.groups import pass_reads
from benchmarks.measure import ProcessFailedError
from benchmarks.measures.definition import Count, Strict
from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.measures.live import LiveWorker
from benchmarks.measures.long_list import Times, send_filler
from benchmarks.runner import Say, WrongCountError, run_engine
from engine.kafka.topics import Topics

#: A ready worker is left alone for so long before its memory is taken.
_SETTLE_S = 2.0


class _List(Strict, frozen=True, kw_only=True):
    entries: Count
    times: Times


class Settings(Strict, frozen=True, kw_only=True):
    """`input.entries` are the entries that reads show; every list begins with these and is made
    up to its length with entries that no read shows."""

    input: Input
    expected: Expected
    lists: tuple[_List, ...]
    ready_timeout_s: float
    first_start_entries: Count


@dataclass(slots=True)
class _Tally:
    """One list over the rounds; values by figure."""

    name: str
    entries: int
    filled: Filled
    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    failure: str | None = None

    def add(self, name: str, unit: str, value: float) -> None:
        self.values.setdefault((name, unit), []).append(value)


def measure(bootstrap: str, settings: Settings, rounds: int, say: Say) -> list[MeasuredCase]:
    """Measure every list. Raises FillError where the expected number is not the input's."""
    run_id = f"bench-{uuid.uuid4().hex[:8]}"
    try:
        with _empty_worker(bootstrap, f"{run_id}-empty.", settings) as empty_bytes:
            say(f"  a worker with an empty list: {empty_bytes / 2**20:.0f} MiB")
        tallies = []
        for number, one in enumerate(settings.lists):
            filled = _filled(bootstrap, f"{run_id}-{number}.", settings, one)
            tallies.append(_Tally(f"{one.entries:,} entries, {one.times}", one.entries, filled))
        for _ in range(rounds):
            for tally in tallies:
                if tally.failure is None:
                    _run_once(tally, empty_bytes, settings, say)
    finally:
        fill.remove(bootstrap, run_id)
    return [_case(tally) for tally in tallies]


def _case(tally: _Tally) -> MeasuredCase:
    figures = [
        Figure(name=name, unit=unit, values=values) for (name, unit), values in tally.values.items()
    ]
    if tally.failure is not None:
        return MeasuredCase(case=tally.name, failure=tally.failure)
    return MeasuredCase(case=tally.name, figures=figures)


def _run_once(tally: _Tally, empty_bytes: int, settings: Settings, say: Say) -> None:
    filled = tally.filled
    try:
        with _idle_worker(filled, settings) as worker:
            start_s = worker.start_to_ready_s
            time.sleep(_SETTLE_S)
            resident_bytes, peak_bytes = worker.resident_bytes(), worker.peak_bytes()
            held = worker.metric("hotlist_entries")
            worker.stop()
        if held != tally.entries:
            raise WrongCountError(f"{held:,.0f} entries in memory instead of {tally.entries:,}")
        first_s = None
        if tally.entries <= settings.first_start_entries:
            with _idle_worker(filled, settings, audited=False) as worker:
                first_s = worker.start_to_ready_s
                worker.stop()
        drained, _ = run_engine("hotlist", load_engines()["hotlist"], filled)
    except (ProcessFailedError, WrongCountError) as error:
        tally.failure = str(error)
        say(f"  {tally.name}: FAILED: {error}")
        return
    tally.add("start to ready", "s", start_s)
    if first_s is not None:
        tally.add("first start to ready", "s", first_s)
    tally.add("resident", "MiB", resident_bytes / 2**20)
    tally.add("at its peak", "MiB", peak_bytes / 2**20)
    an_entry = (resident_bytes - empty_bytes) / tally.entries
    if tally.entries >= 100_000:  # below that, the pages of everything else count for more
        tally.add("memory an entry", "bytes", an_entry)
        tally.add("peak an entry", "bytes", (peak_bytes - empty_bytes) / tally.entries)
    tally.add("drained", "M reads/min", drained.reads_per_s * 60 / 1e6)
    say(
        f"  {tally.name}: ready in {start_s:.1f} s, {an_entry:.0f} bytes an entry, "
        f"{drained.reads_per_s * 60 / 1e6:.0f} M reads/min"
    )


def _filled(bootstrap: str, prefix: str, settings: Settings, one: _List) -> Filled:
    filled = fill.fill(bootstrap, prefix, settings.input)
    if filled.expected != settings.expected:
        raise FillError(f"the input gives {filled.expected}, not {settings.expected}")
    more = one.entries - settings.input.entries
    now_ms = int(time.time() * 1000)
    hotlist = Topics(prefix).hotlist
    asyncio.run(send_filler(bootstrap, hotlist, 0, more, now_ms, one.times))
    held = fill.count_records(bootstrap, hotlist)
    if held != one.entries:
        raise FillError(f"{hotlist} holds {held} entries instead of {one.entries}")
    return filled


@contextmanager
def _empty_worker(bootstrap: str, prefix: str, settings: Settings) -> Iterator[int]:
    """Resident bytes of a worker that has nothing in its lists."""
    fill.declare_topics(bootstrap, prefix, settings.input)
    with LiveWorker(bootstrap, prefix, f"{prefix}group") as worker:
        worker.wait_ready(settings.ready_timeout_s)
        time.sleep(_SETTLE_S)
        yield worker.resident_bytes()
        worker.stop()


@contextmanager
def _idle_worker(
    filled: Filled, settings: Settings, *, audited: bool = True
) -> Iterator[LiveWorker]:
    """A ready worker with its list, and no reads to take."""
    group = f"{filled.prefix}idle-{uuid.uuid4().hex[:8]}"
    pass_reads(filled.bootstrap, filled.prefix, group, filled.input.partitions)
    with LiveWorker(filled.bootstrap, filled.prefix, group, audited=audited) as worker:
        worker.wait_ready(settings.ready_timeout_s)
        yield worker
