"""Engines in turn, several rounds, every answer checked.

The engines take turns within a round, so that a slow minute of the machine hits all of them.
A run counts only if the engine processed every read, reported the expected number of matches,
and the matches topic grew by exactly that number. Anything else is a failure of that engine,
which then has no figure at all.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from benchmarks import commands, fill
from benchmarks.definitions import Case, Definition, Engine, load_engines
from benchmarks.fill import Filled, FillError
from benchmarks.job import Answer, Job
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.measure import ProcessFailedError, run_measured
from benchmarks.results import CaseResult, EngineResult, Result, Run

#: For one engine once, start included. The slowest engine gets a topic that takes it seconds.
TIMEOUT_S = 300.0

Say = Callable[[str], None]


class WrongCountError(Exception):
    """An engine processed or found another number than it had to."""


@dataclass(slots=True)
class _Tally:
    runs: list[Run] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    failure: str | None = None


def run(definition: Definition, bootstrap: str, *, quick: bool, say: Say) -> Result:
    """Measure all cases of a definition.

    Raises FillError where a definition's expected number is not what its input gives.
    """
    machine = describe_machine()
    rounds = definition.quick.rounds if quick else definition.rounds
    cases = [
        _run_case(definition, case, bootstrap, rounds=rounds, quick=quick, say=say)
        for case in definition.cases
    ]
    return Result(
        definition=definition.name,
        title=definition.title,
        shows=definition.shows,
        bias=definition.bias,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        quick=quick,
        rounds=rounds,
        machine=machine,
        versions=describe_versions(),
        cases=cases,
    )


def _run_case(
    definition: Definition, case: Case, bootstrap: str, *, rounds: int, quick: bool, say: Say
) -> CaseResult:
    wanted = definition.input_of(case, quick=quick)
    expected = definition.expected_of(case, quick=quick)
    prefix = f"bench-{uuid.uuid4().hex[:8]}."
    say(f"{definition.name}: {case.name}")
    try:
        filled = fill.fill(bootstrap, prefix, wanted)
        if filled.expected != expected:
            raise FillError(
                f"{definition.name}: {case.name}: the input gives {filled.expected} and the "
                f"definition says {expected}"
            )
        engines = {name: load_engines()[name] for name in definition.engines}
        tallies = {name: _Tally(failure=_cannot_run(engine)) for name, engine in engines.items()}
        for round_number in range(1, rounds + 1):
            for name, engine in engines.items():
                if tallies[name].failure is None:
                    _run_once(name, engine, filled, tallies[name])
                    say(f"  round {round_number}  {engine.title}: {_last(tallies[name])}")
    finally:
        fill.remove(bootstrap, prefix)
    return CaseResult(
        case=case.name,
        input=wanted,
        engines=[
            EngineResult(
                engine=name,
                title=engines[name].title,
                runs=tally.runs,
                versions=tally.versions,
                failure=tally.failure,
            )
            for name, tally in tallies.items()
        ],
    )


def _cannot_run(engine: Engine) -> str | None:
    if engine.unavailable is not None:
        return f"not run: {engine.unavailable}"
    try:
        commands.prepare(engine)
    except commands.UnavailableError as error:
        return f"not run: {error}"
    return None


def _last(tally: _Tally) -> str:
    if tally.failure is not None:
        return f"FAILED: {tally.failure}"
    return f"{tally.runs[-1].reads_per_s:,.0f} reads/s"


def _run_once(name: str, engine: Engine, filled: Filled, tally: _Tally) -> None:
    try:
        one, versions = run_engine(name, engine, filled)
    except (ProcessFailedError, WrongCountError) as error:
        tally.failure = str(error)
    else:
        if one.first_reads * 2 > one.reads:
            tally.failure = f"{one.first_reads:,} reads came at once: too little input for a rate"
            return
        tally.runs.append(one)
        tally.versions.update(versions)


def run_engine(name: str, engine: Engine, filled: Filled) -> tuple[Run, dict[str, str]]:
    """Run an engine once on filled topics; the run and the versions that it names.

    Raises ProcessFailedError, or WrongCountError for any number but the expected one.
    """
    job = filled.job(engine.topic, f"{filled.prefix}{name}-{uuid.uuid4().hex[:8]}")
    before = fill.count_committed(job.bootstrap, job.matches)
    measured = run_measured(
        commands.command(engine, job), timeout_s=TIMEOUT_S, environment=commands.ENVIRONMENT
    )
    answer = msgspec.json.decode(measured.output.splitlines()[-1], type=Answer)
    expected = getattr(filled.expected, engine.topic) if engine.matches else 0
    _check(answer, job, expected, fill.count_committed(job.bootstrap, job.matches) - before)
    one = Run(
        reads=answer.reads,
        first_reads=answer.first_reads,
        matches=answer.matches,
        drain_s=answer.drain_s,
        start_s=answer.first_read_unix_s - measured.started_unix_s,
        cpu_s=measured.cpu_s if answer.cpu_s is None else answer.cpu_s,
        peak_memory_bytes=answer.peak_memory_bytes or measured.peak_memory_bytes,
    )
    return one, answer.versions


def _check(answer: Answer, job: Job, expected: int, delivered: int) -> None:
    if answer.reads != job.reads:
        raise WrongCountError(f"{answer.reads:,} reads processed instead of {job.reads:,}")
    if answer.matches != expected:
        raise WrongCountError(f"{answer.matches:,} matches reported instead of {expected:,}")
    if delivered != expected:
        raise WrongCountError(f"{delivered:,} matches on the topic instead of {expected:,}")
