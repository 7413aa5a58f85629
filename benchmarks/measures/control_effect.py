"""Measure `control_effect`: from an entry's produce to its first match, at full speed.

A worker drains a big topic in which every probe's plate comes once in a few batches, so that a
plate is in every fetch of its partition, and the first such fetch after an entry's arrival shows
its effect.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid

import click
import msgspec
from aiokafka.partitioner import DefaultPartitioner

from benchmarks import commands, fill
from benchmarks.definitions import Expected, Input, load_engines
from benchmarks.fill import Filled, FillError, batches_of, open_producer, send
from benchmarks.job import Answer, Job
from benchmarks.measure import ProcessFailedError, run_measured
from benchmarks.measures.children import Child
from benchmarks.measures.definition import Count, Strict
from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.measures.prober import Effect, Probe, Probed, Probing
from benchmarks.measures.scenery import PROBE_PLATES, fill_lists, probe_read, quantiles
from benchmarks.reads import Read, Scene, expected_of
from benchmarks.runner import TIMEOUT_S, Say, WrongCountError
from engine.kafka.topics import Topics

_READY_S = 60.0
_END_S = 30.0
#: Of an entry produced so shortly before the end, no read may have come any more.
_TAIL_NS = 1_000_000_000

_partition_of = DefaultPartitioner()


class Settings(Strict, frozen=True, kw_only=True):
    """`input` as everywhere; after every `probe_every` of its reads comes one of a probe's plate,
    each plate in turn. Entries are produced at `entries_per_s`; those of the first `warm_up_s`
    are left aside."""

    input: Input
    expected: Expected
    probe_every: Count
    entries_per_s: float
    warm_up_s: float
    least_samples: Count


def measure(bootstrap: str, settings: Settings, rounds: int, say: Say) -> list[MeasuredCase]:
    """Drain the topic as often as there are rounds, with a prober beside the worker."""
    prefix = f"bench-{uuid.uuid4().hex[:8]}."
    name = "at full speed"
    try:
        fill.declare_topics(bootstrap, prefix, settings.input)
        reads = asyncio.run(_fill(bootstrap, prefix, settings))
        filled = Filled(bootstrap, prefix, settings.input, settings.expected)
        runs = []
        for _ in range(rounds):
            job = filled.job("reads", f"{prefix}worker-{uuid.uuid4().hex[:8]}")
            job = msgspec.structs.replace(job, reads=reads)
            runs.append(_run_once(job, settings))
            say(f"  {_in_short(runs[-1])}")
    except (ProcessFailedError, WrongCountError) as error:
        return [MeasuredCase(case=name, failure=str(error))]
    finally:
        fill.remove(bootstrap, prefix)
    return [_case(name, runs, settings)]


class _Run(msgspec.Struct, frozen=True, kw_only=True):
    """Delays in milliseconds, and what the worker drained at the same time."""

    processed_ms: list[float]
    visible_ms: list[float]
    reads_per_min: float


def _run_once(job: Job, settings: Settings) -> _Run:
    probe = Probe(
        bootstrap=job.bootstrap,
        hotlist=job.hotlist,
        matches=job.matches,
        partitions=settings.input.partitions,
        entries_per_s=settings.entries_per_s,
    )
    before = fill.count_records(job.bootstrap, job.matches)
    with Child("benchmarks.measures.prober", probe) as prober:
        prober.next(Probing, _READY_S)
        drained = run_measured(
            commands.command(load_engines()["hotlist"], job),
            timeout_s=TIMEOUT_S,
            environment=commands.ENVIRONMENT,
        )
        time.sleep(1.0)  # for a match too many
        probed = prober.last(Probed, _END_S)
    answer = msgspec.json.decode(drained.output.splitlines()[-1], type=Answer)
    delivered = fill.count_records(job.bootstrap, job.matches) - before
    _check(answer, probed, delivered, job, settings)
    rate = (answer.reads - answer.first_reads) / answer.drain_s * 60
    effects = _counted(probed, settings)
    return _Run(
        processed_ms=[_ms(one, one.matched_ns) for one in effects],
        visible_ms=[_ms(one, one.visible_ns) for one in effects],
        reads_per_min=rate,
    )


def _check(answer: Answer, probed: Probed, delivered: int, job: Job, settings: Settings) -> None:
    if answer.reads != job.reads:
        raise WrongCountError(f"{answer.reads:,} reads processed instead of {job.reads:,}")
    if probed.others != settings.expected.reads:
        raise WrongCountError(
            f"{probed.others:,} matches of other entries instead of {settings.expected.reads:,}"
        )
    if not probed.others + probed.of_probes == answer.matches == delivered:
        raise WrongCountError(
            f"{probed.others + probed.of_probes:,} matches seen, {answer.matches:,} reported, "
            f"{delivered:,} on the topic"
        )


def _counted(probed: Probed, settings: Settings) -> list[Effect]:
    """The effects after the warm-up and before the tail; all of them must have come."""
    from_ns = probed.effects[0].intended_ns + int(settings.warm_up_s * 1e9)
    to_ns = probed.last_match_ns - _TAIL_NS
    effects = [effect for effect in probed.effects if from_ns <= effect.intended_ns <= to_ns]
    without = sum(effect.visible_ns is None for effect in effects)
    if without:
        raise WrongCountError(f"{without} of {len(effects)} entries had no match")
    if len(effects) < settings.least_samples:
        raise WrongCountError(f"{len(effects)} samples instead of {settings.least_samples}")
    return effects


def _ms(effect: Effect, at_ns: int | None) -> float:
    assert at_ns is not None
    # The worker's clock of a match is cut to milliseconds; so is the beginning, then.
    return max(0, at_ns - effect.intended_ns) / 1e6


async def _fill(bootstrap: str, prefix: str, settings: Settings) -> int:
    """Fill the declared topics; how many reads there are."""
    wanted = settings.input
    topics = Topics(prefix)
    scene = Scene(wanted, int(time.time() * 1000))
    await fill_lists(bootstrap, topics, scene, [])
    partitions = list(range(wanted.partitions))
    by_partition: dict[int, list[Read]] = {number: [] for number in partitions}
    matches = []
    plates = itertools.cycle(PROBE_PLATES)
    for number, read in enumerate(scene.distinct_reads(), 1):
        by_partition[_partition_of(read.key, partitions, partitions)].append(read)
        matches.append(read.matches)
        if number % settings.probe_every == 0:
            plate = next(plates)
            probe = Read(plate.encode(), probe_read(plate, number), False)
            by_partition[_partition_of(probe.key, partitions, partitions)].append(probe)
    expected = expected_of(matches, wanted)
    if expected != settings.expected:
        raise FillError(f"the input gives {expected}, not {settings.expected}")
    reads = sum(map(len, by_partition.values())) * wanted.repeats
    async with open_producer(bootstrap, wanted.codec, wanted.batch_bytes) as producer:
        once = {number: list(batches_of(producer, them)) for number, them in by_partition.items()}
        over_and_over = {
            number: itertools.chain.from_iterable(itertools.repeat(batches, wanted.repeats))
            for number, batches in once.items()
        }
        with click.progressbar(length=reads, label="filling topic  ") as bar:
            await send(producer, topics.detections, over_and_over, bar.update)
    return reads


def _case(name: str, runs: list[_Run], settings: Settings) -> MeasuredCase:
    figures = [Figure(name="samples", unit="", values=[float(len(run.visible_ms)) for run in runs])]
    for title, of_runs in (
        ("processed", [quantiles(run.processed_ms) for run in runs]),
        ("visible", [quantiles(run.visible_ms) for run in runs]),
    ):
        figures += [
            Figure(name=f"{title} {label}", unit="ms", values=[one[share] for one in of_runs])
            for label, share in (("p50", 50), ("p90", 90), ("p99", 99), ("max", 100))
        ]
    rates = [run.reads_per_min / 1e6 for run in runs]
    figures.append(Figure(name="drained", unit="M reads/min", values=rates))
    curves = {
        "entry to first match processed": _curve([run.processed_ms for run in runs]),
        "entry to first match visible": _curve([run.visible_ms for run in runs]),
    }
    about = (
        f"{settings.entries_per_s:g} entries a second, one in {settings.probe_every} reads a probe."
    )
    return MeasuredCase(case=name, about=about, figures=figures, curves=curves)


def _curve(of_runs: list[list[float]]) -> list[tuple[float, float]]:
    values = [delay for run in of_runs for delay in run]
    return [(float(share), value) for share, value in enumerate(quantiles(values))]


def _in_short(run: _Run) -> str:
    processed, visible = quantiles(run.processed_ms), quantiles(run.visible_ms)
    return (
        f"processed p50 {processed[50]:.0f} p99 {processed[99]:.0f} ms; visible p50 "
        f"{visible[50]:.0f} p99 {visible[99]:.0f} max {visible[100]:.0f} ms; "
        f"{len(run.visible_ms)} samples; {run.reads_per_min / 1e6:.0f} M reads/min"
    )
