"""Measure `delay`: from the time at which a read is meant to be produced to its visible match.

Pacer, worker and observers are processes of their own with one clock. The expected number of
matches is counted: every probe matches once, and every other read that must match does.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass

from benchmarks import fill
from benchmarks.definitions import Expected, Input, load_engines
from benchmarks.fill import FillError
from benchmarks.measure import ProcessFailedError
from benchmarks.measures.children import Child
from benchmarks.measures.cores import BusyCores
from benchmarks.measures.definition import Count, Share, Strict
from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.measures.live import LiveWorker
from benchmarks.measures.observer import Seen, Watch, Watching
from benchmarks.measures.pacer import Pace, Paced, Ready
from benchmarks.measures.scenery import PROBE, PROBE_PLATES, fill_lists, probe_entry, quantiles
from benchmarks.reads import Scene
from benchmarks.runner import Say, WrongCountError, run_engine
from engine.kafka.topics import Topics

_READY_S = 120.0
_END_S = 120.0


class Settings(Strict, frozen=True, kw_only=True):
    """`input` is drained for the full speed, and its distinct reads are what is paced.

    The records are paced at `reads_per_min`, the batches at each of `shares_of_full` of the full
    speed, all for `paced_s`; `probes` of them are probes, those in the first `warm_up_s` left
    aside.
    """

    input: Input
    expected: Expected
    drains: Count
    reads_per_min: Count
    shares_of_full: list[Share]
    paced_s: float
    warm_up_s: float
    probes: Count
    least_samples: Count


@dataclass(frozen=True, slots=True)
class DelayRun:
    """What one paced run gave; delays in milliseconds by intended time in nanoseconds.

    `cores` are those that were busy while a worker matched, by what kept them busy.
    """

    paced: Paced
    cores: dict[str, float]
    matches: dict[int, float]
    reads: dict[int, float]


def measure(bootstrap: str, settings: Settings, rounds: int, say: Say) -> list[MeasuredCase]:
    """Measure all paces. They take turns within a round."""
    run_id = f"bench-{uuid.uuid4().hex[:8]}"
    try:
        full_per_s = _full_speed(bootstrap, f"{run_id}-full.", settings, say)
        paces = {
            f"{settings.reads_per_min:,} reads a minute": (settings.reads_per_min / 60, False),
            **{
                f"{share:g} of full speed": (share * full_per_s, True)
                for share in settings.shares_of_full
            },
        }
        runs: dict[str, list[DelayRun]] = {name: [] for name in paces}
        failures: dict[str, str] = {}
        for number in range(rounds):
            for place, (name, (reads_per_s, batches)) in enumerate(paces.items()):
                prefix = f"{run_id}-{number}-{place}."
                try:
                    one = run_once(bootstrap, prefix, settings, reads_per_s, batches=batches)
                except (ProcessFailedError, WrongCountError) as error:
                    failures[name] = str(error)
                    say(f"  {name}: FAILED: {error}")
                    continue
                finally:
                    fill.remove(bootstrap, prefix)
                runs[name].append(one)
                say(f"  {name}: {in_short(one)}")
    finally:
        fill.remove(bootstrap, run_id)
    return [
        MeasuredCase(case=name, failure=failures[name])
        if name in failures
        else _case(name, runs[name], settings, reads_per_s, full_per_s)
        for name, (reads_per_s, _) in paces.items()
    ]


def _full_speed(bootstrap: str, prefix: str, settings: Settings, say: Say) -> float:
    """Reads a second in which a worker drains the filled topic: the fastest of the drains."""
    filled = fill.fill(bootstrap, prefix, settings.input)
    if filled.expected != settings.expected:
        raise FillError(f"the input gives {filled.expected}, not {settings.expected}")
    engine = load_engines()["hotlist"]
    drains = [run_engine("hotlist", engine, filled)[0] for _ in range(settings.drains)]
    fill.remove(bootstrap, prefix)
    full_per_s = max(drain.reads_per_s for drain in drains)
    say(f"  full speed: {full_per_s * 60 / 1e6:.0f} M reads/min")
    return full_per_s


def run_once(
    bootstrap: str,
    prefix: str,
    settings: Settings,
    reads_per_s: float,
    *,
    batches: bool,
    delivery: str = "at_least_once",
) -> DelayRun:
    """One paced run with a worker of its own."""
    reads = int(settings.paced_s * reads_per_s)
    scene_ms = int(time.time() * 1000)
    topics = Topics(prefix)
    probes = [probe_entry(f"{PROBE}{plate}", plate) for plate in PROBE_PLATES]
    fill.declare_topics(bootstrap, prefix, settings.input)
    asyncio.run(fill_lists(bootstrap, topics, Scene(settings.input, scene_ms), probes))
    partitions = settings.input.partitions
    pace = Pace(
        bootstrap=bootstrap,
        topic=topics.detections,
        input=settings.input,
        scene_ms=scene_ms,
        reads=reads,
        reads_per_s=reads_per_s,
        warm_up_s=settings.warm_up_s,
        probe_every=max(1, reads // settings.probes),
        batches=batches,
    )
    watch_matches = Watch(
        bootstrap=bootstrap, topic=topics.matches, partitions=partitions, kind="matches"
    )
    watch_reads = Watch(
        bootstrap=bootstrap,
        topic=topics.detections,
        partitions=partitions,
        kind="batches" if batches else "reads",
    )
    environment = {"HOTLIST_DELIVERY": delivery}
    with LiveWorker(bootstrap, prefix, f"{prefix}group", environment=environment) as worker:
        worker.wait_ready(_READY_S)
        if batches:  # beside the worker it would take a share of what is being measured
            paced, cores, seen = _pace(pace, [watch_matches], worker, topics)
            worker.stop()
            _, _, seen_reads = _pace(pace, [watch_reads], None, topics)
            seen += seen_reads
        else:
            paced, cores, seen = _pace(pace, [watch_matches, watch_reads], worker, topics)
            worker.stop()
    return DelayRun(paced, cores, _delays(seen[0], settings), _delays(seen[1], settings))


def _pace(
    pace: Pace, watches: list[Watch], worker: LiveWorker | None, topics: Topics
) -> tuple[Paced, dict[str, float], list[Seen]]:
    """Run the timetable once before observers; checked against what must come out."""
    with Child("benchmarks.measures.pacer", pace) as pacer:
        observers = [Child("benchmarks.measures.observer", watch) for watch in watches]
        try:
            for observer in observers:
                observer.next(Watching, _READY_S)
            pacer.next(Ready, _READY_S)
            workers = [] if worker is None else [worker]
            busy = BusyCores({"worker": workers, "pacer": [pacer], "observers": observers})
            pacer.tell("go")
            paced = pacer.next(Paced, _END_S + 2 * pace.reads / pace.reads_per_s)
            cores = busy.so_far()
            if worker is not None:
                worker.wait_reads(paced.reads, _END_S)
                _wait_records(pace.bootstrap, topics.matches, paced.matches)
            time.sleep(1.0)  # for a match too many, and the observers' last poll
            seen = [observer.last(Seen, _END_S) for observer in observers]
        finally:
            for observer in observers:
                observer.__exit__(None, None, None)
    for watch, one in zip(watches, seen, strict=True):
        wanted = paced.matches if watch.kind == "matches" else paced.reads
        if one.records != wanted or len({intended for intended, _ in one.probes}) != paced.probes:
            raise WrongCountError(
                f"{watch.kind}: {one.records:,} records and {len(one.probes):,} probes were seen "
                f"instead of {wanted:,} and {paced.probes:,}"
            )
    return paced, cores, seen


def _wait_records(bootstrap: str, topic: str, records: int) -> None:
    deadline_s = time.monotonic() + _END_S
    while fill.count_committed(bootstrap, topic) < records:
        if time.monotonic() > deadline_s:
            raise WrongCountError(
                f"{fill.count_committed(bootstrap, topic):,} matches instead of {records:,}"
            )
        time.sleep(0.2)


def _delays(seen: Seen, settings: Settings) -> dict[int, float]:
    first_ns = min(intended for intended, _ in seen.probes)
    from_ns = first_ns + int(settings.warm_up_s * 1e9)
    delays = {intended: delay / 1e6 for intended, delay in seen.probes if intended >= from_ns}
    if len(delays) < settings.least_samples:
        raise WrongCountError(f"{len(delays)} samples instead of {settings.least_samples}")
    return delays


SHARES = {"p50": 50, "p90": 90, "p99": 99, "max": 100}


def _case(
    name: str, runs: list[DelayRun], settings: Settings, reads_per_s: float, full_per_s: float
) -> MeasuredCase:
    figures = [Figure(name="samples", unit="", values=[float(len(run.matches)) for run in runs])]
    matched = [quantiles(list(run.matches.values())) for run in runs]
    kafka = [quantiles(list(run.reads.values())) for run in runs]
    for title, of_runs in (("match", matched), ("Kafka alone", kafka)):
        figures += [
            Figure(name=f"{title} {label}", unit="ms", values=[one[share] for one in of_runs])
            for label, share in SHARES.items()
        ]
    ratios = [match[99] / alone[99] for match, alone in zip(matched, kafka, strict=True)]
    late = [run.paced.late_ms[99] for run in runs]
    rates = [run.paced.reads / run.paced.took_s * 60 / 1e6 for run in runs]
    figures += [
        Figure(name="match p99 to Kafka's p99", unit="times", values=ratios),
        Figure(name="pacer late p99", unit="ms", values=late),
        Figure(name="produced", unit="M reads/min", values=rates),
        *(
            Figure(name=name, unit="cores", values=[run.cores[name] for run in runs])
            for name in runs[0].cores
        ),
    ]
    share = sum(run.paced.matches for run in runs) / sum(run.paced.reads for run in runs)
    about = (
        f"{reads_per_s * 60 / 1e6:.1f} M reads a minute asked for, the full speed being "
        f"{full_per_s * 60 / 1e6:.0f} M, for {settings.paced_s:g} s; {share:.3%} of the reads "
        f"match; the first {settings.warm_up_s:g} s left aside."
    )
    curves = {
        "read to visible match": curve([run.matches for run in runs]),
        "Kafka alone, read to consumer": curve([run.reads for run in runs]),
    }
    return MeasuredCase(case=name, about=about, figures=figures, curves=curves)


def curve(of_runs: list[dict[int, float]]) -> list[tuple[float, float]]:
    """Percentile and delay in ms, all rounds together."""
    values = [delay for run in of_runs for delay in run.values()]
    return [(float(share), value) for share, value in enumerate(quantiles(values))]


def in_short(run: DelayRun) -> str:
    """A run in a line."""
    parts = []
    for title, delays in (("match", run.matches), ("Kafka alone", run.reads)):
        at = quantiles(list(delays.values()))
        parts.append(f"{title} p50 {at[50]:.1f} p99 {at[99]:.1f} max {at[100]:.1f} ms")
    cores = ", ".join(f"{name} {taken:.2f}" for name, taken in run.cores.items())
    return (
        f"{'; '.join(parts)}; {len(run.matches)} samples; pacer late p99 "
        f"{run.paced.late_ms[99]:.1f} ms; {run.paced.reads / run.paced.took_s * 60 / 1e6:.1f} "
        f"M/min; cores: {cores}"
    )
