"""Measure `rolling_restart`: how long a partition's reads wait while workers are replaced.

Several workers in one group are under a steady load. One read in a few is a probe, so that every
partition has one every few milliseconds. Each worker is replaced in turn. The pause of a partition
is the longest delay of a probe of it, from its intended time to its visible match, less the usual
delay. Lost probes are a failure; matches that came twice are counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from benchmarks import fill
from benchmarks.definitions import Expected, Input
from benchmarks.measure import ProcessFailedError
from benchmarks.measures.children import Child
from benchmarks.measures.definition import Count, Strict
from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.measures.live import LiveWorker
from benchmarks.measures.long_list import send_filler
from benchmarks.measures.observer import Seen, Watch, Watching
from benchmarks.measures.pacer import Pace, Paced, Ready
from benchmarks.measures.scenery import (
    PROBE,
    PROBE_PLATES,
    fill_lists,
    partition_of,
    probe_entry,
    quantiles,
)
from benchmarks.reads import Scene
from benchmarks.runner import Say, WrongCountError
from engine.kafka.topics import Topics

_READY_S = 120.0
_END_S = 120.0

#: Whether the new worker is started when the old one has ended, or has joined before it ends.
Order = Literal["stop first", "start first"]
_ORDERS: tuple[Order, ...] = ("stop first", "start first")


class _List(Strict, frozen=True, kw_only=True):
    entries: Count
    paced_s: float


class Settings(Strict, frozen=True, kw_only=True):
    """`input.entries` of a list are the synthetic ones. `paced_s` must be enough for all restarts;
    after each step of one the load goes on for `settle_s`. Pauses are counted from there on."""

    input: Input
    expected: Expected
    lists: tuple[_List, ...]
    workers: Count
    reads_per_s: float
    probe_every: Count
    settle_s: float


@dataclass(slots=True)
class _Run:
    """One rolling restart: times in seconds, delays in milliseconds."""

    stopped_s: list[float] = field(default_factory=list)
    started_s: list[float] = field(default_factory=list)
    #: From and to, in nanoseconds of the machine's clock, of what a restart may delay.
    restarts: list[tuple[int, int]] = field(default_factory=list)
    usual_ms: float = 0.0
    #: By restart, of each partition.
    pauses_ms: list[list[float]] = field(default_factory=list)
    doubled: int = 0


def measure(bootstrap: str, settings: Settings, rounds: int, say: Say) -> list[MeasuredCase]:
    """Measure each list in each order."""
    cases = []
    for one, order in itertools.product(settings.lists, _ORDERS):
        name = f"{one.entries:,} entries, {order}"
        runs, failure = [], None
        for _ in range(rounds):
            prefix = f"bench-{uuid.uuid4().hex[:8]}."
            try:
                runs.append(_run_once(bootstrap, prefix, settings, one, order))
            except (ProcessFailedError, WrongCountError) as error:
                failure = str(error)
                say(f"  {name}: FAILED: {error}")
                break
            finally:
                fill.remove(bootstrap, prefix)
            say(f"  {name}: {_in_short(runs[-1])}")
        cases.append(
            MeasuredCase(case=name, failure=failure)
            if failure
            else MeasuredCase(case=name, figures=_figures(runs))
        )
    return cases


def _run_once(bootstrap: str, prefix: str, settings: Settings, one: _List, order: Order) -> _Run:
    topics, partitions = Topics(prefix), settings.input.partitions
    scene_ms = int(time.time() * 1000)
    probes = [probe_entry(f"{PROBE}{plate}", plate) for plate in PROBE_PLATES]
    fill.declare_topics(bootstrap, prefix, settings.input)
    scene = Scene(settings.input, scene_ms)
    asyncio.run(fill_lists(bootstrap, topics, scene, probes))
    more = one.entries - settings.input.entries
    if more > 0:
        asyncio.run(send_filler(bootstrap, topics.hotlist, 0, more, scene_ms, "import"))
    pace = Pace(
        bootstrap=bootstrap,
        topic=topics.detections,
        input=settings.input,
        scene_ms=scene_ms,
        reads=int(one.paced_s * settings.reads_per_s),
        reads_per_s=settings.reads_per_s,
        warm_up_s=settings.settle_s,
        probe_every=settings.probe_every,
        batches=False,
    )
    watch = Watch(bootstrap=bootstrap, topic=topics.matches, partitions=partitions, kind="matches")
    run = _Run()
    with contextlib.ExitStack() as stack:

        def start(*, audited: bool = False) -> LiveWorker:
            worker = LiveWorker(bootstrap, prefix, f"{prefix}group", audited=audited)
            return stack.enter_context(worker)

        workers = [start(audited=True)]
        workers += [start() for _ in range(settings.workers - 1)]
        for worker in workers:
            worker.wait_ready(_READY_S)
        pacer = stack.enter_context(Child("benchmarks.measures.pacer", pace))
        observer = stack.enter_context(Child("benchmarks.measures.observer", watch))
        observer.next(Watching, _READY_S)
        pacer.next(Ready, _READY_S)
        pacer.tell("go")
        paced_until_s = time.monotonic() + one.paced_s
        time.sleep(2 * settings.settle_s)  # the first of it is the pacer's warm-up
        for number in range(settings.workers):
            workers[number] = _replace(workers[number], start, order, settings.settle_s, run)
        if time.monotonic() > paced_until_s:
            raise ProcessFailedError(f"paced_s is too short for {settings.workers} restarts")
        paced = pacer.next(Paced, _END_S + one.paced_s)
        time.sleep(settings.settle_s)
        seen = observer.last(Seen, _END_S)
        for worker in workers:
            worker.stop()
    _judge(run, paced, seen, partitions)
    return run


def _replace(
    old: LiveWorker, start: Callable[[], LiveWorker], order: Order, settle_s: float, run: _Run
) -> LiveWorker:
    from_ns = time.time_ns()
    if order == "start first":
        new = _started(start, run)
        time.sleep(settle_s)
        _stop(old, run)
    else:
        _stop(old, run)
        time.sleep(settle_s)
        new = _started(start, run)
    time.sleep(settle_s)
    run.restarts.append((from_ns, time.time_ns()))
    return new


def _started(start: Callable[[], LiveWorker], run: _Run) -> LiveWorker:
    new = start()
    new.wait_ready(_READY_S)
    run.started_s.append(new.start_to_ready_s)
    return new


def _stop(old: LiveWorker, run: _Run) -> None:
    began_s = time.monotonic()
    old.stop()
    run.stopped_s.append(time.monotonic() - began_s)


def _judge(run: _Run, paced: Paced, seen: Seen, partitions: int) -> None:
    """What the restarts did to the probes. Raises WrongCountError where one is missing."""
    first_ns = seen.first_delays_ns(paced.probes, paced.matches)
    run.doubled = seen.records - paced.matches
    run.usual_ms = quantiles([delay / 1e6 for delay in first_ns.values()])[50]
    longest: list[list[float]] = [[0.0] * partitions for _ in run.restarts]
    # The pacer takes the plates in turn, and a read's time tells which of them it is.
    for intended_ns, plate in zip(sorted(first_ns), itertools.cycle(PROBE_PLATES), strict=False):
        partition = partition_of(plate.encode(), partitions)
        delay_ms = first_ns[intended_ns] / 1e6
        for (from_ns, to_ns), of_restart in zip(run.restarts, longest, strict=True):
            if from_ns <= intended_ns < to_ns:
                of_restart[partition] = max(of_restart[partition], delay_ms)
    run.pauses_ms = [[most - run.usual_ms for most in of_restart] for of_restart in longest]


def _figures(runs: list[_Run]) -> list[Figure]:
    every = [list(itertools.chain.from_iterable(run.pauses_ms)) for run in runs]
    return [
        Figure(name="longest pause", unit="ms", values=[max(pauses) for pauses in every]),
        Figure(name="median pause", unit="ms", values=[statistics.median(each) for each in every]),
        Figure(name="usual delay p50", unit="ms", values=[run.usual_ms for run in runs]),
        Figure(name="to the end", unit="s", values=[max(run.stopped_s) for run in runs]),
        Figure(name="start to ready", unit="s", values=[max(run.started_s) for run in runs]),
        Figure(name="lost", unit="", values=[0.0 for _ in runs]),
        Figure(name="doubled", unit="", values=[float(run.doubled) for run in runs]),
    ]


def _in_short(run: _Run) -> str:
    pauses = [f"{max(of_restart):.0f}" for of_restart in run.pauses_ms]
    return (
        f"longest pause of each restart {', '.join(pauses)} ms, usual delay {run.usual_ms:.0f} ms, "
        f"ended in at most {max(run.stopped_s):.1f} s, none lost, {run.doubled} doubled"
    )
