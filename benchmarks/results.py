"""The result of a run: a dated JSON file, medians and spread, and tables for people."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from benchmarks.definitions import DIRECTORY, WORK, Input
from benchmarks.machine import Machine

KEPT = DIRECTORY / "results"
#: Quick runs say that everything works, not how fast it is, so they are not kept.
PASSING = WORK / "results"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One engine once. `start_s` is from the start of its process to its first reads.

    `first_reads` of the reads were in hand when the clock of `drain_s` started.
    """

    reads: int
    first_reads: int
    matches: int
    drain_s: float
    start_s: float
    cpu_s: float
    peak_memory_bytes: int | None

    @property
    def reads_per_s(self) -> float:
        return (self.reads - self.first_reads) / self.drain_s


class EngineResult(msgspec.Struct, frozen=True, kw_only=True):
    """One engine in all rounds.

    `failure` says why there is no figure; `runs` then counts for nothing.
    """

    engine: str
    title: str
    runs: list[Run]
    versions: dict[str, str] = {}
    failure: str | None = None

    def spread(self) -> Spread:
        """Reads a second over all rounds."""
        rates = [run.reads_per_s for run in self.runs]
        return Spread(median=statistics.median(rates), least=min(rates), most=max(rates))

    def median(self, field: str) -> float | None:
        """The median of one field of the runs; None where a run does not know it."""
        values = [getattr(run, field) for run in self.runs]
        return None if None in values else statistics.median(values)


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Of one figure over all rounds."""

    median: float
    least: float
    most: float


class CaseResult(msgspec.Struct, frozen=True, kw_only=True):
    """One case: its whole input, and every engine on it."""

    case: str
    input: Input
    engines: list[EngineResult]


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What was run, when and on what: what a result of any kind says first."""

    title: str
    shows: str
    bias: str
    date: str
    quick: bool
    rounds: int
    machine: Machine
    versions: dict[str, str]

    def paragraphs(self) -> list[str]:
        """The same as paragraphs of markdown."""
        machine = self.machine
        rounds = (
            f"median of {self.rounds} rounds (least to most)" if self.rounds > 1 else "one round"
        )
        given = [
            f"{self.date}{', quick' if self.quick else ''}",
            f"{machine.cpu}, {machine.cores} cores, {machine.memory_bytes / 2**30:.0f} GiB",
            f"broker on the same machine, load before the run {machine.load_1m}",
            rounds,
        ]
        versions = (f"{name} {version}" for name, version in self.versions.items())
        return [
            f"# {self.title}",
            "; ".join(given) + ".",
            ", ".join(versions) + ".",
            self.shows.strip(),
            f"Bias: {self.bias.strip()}",
        ]


class Result(Circumstances, frozen=True, kw_only=True):
    """A whole run of one definition."""

    definition: str
    cases: list[CaseResult]
    #: By file of the hot path a digest, where a page shows the figures; see `benchmarks.readme`.
    hot_path: dict[str, str] = {}

    @property
    def failures(self) -> list[str]:
        """One line for each engine without a figure, those that cannot run here left aside."""
        return self._without_figures(lambda failure: not failure.startswith("not run:"))

    @property
    def without_figures(self) -> list[str]:
        """One line for each engine without a figure, those that cannot run here too."""
        return self._without_figures(lambda _: True)

    def _without_figures(self, counts: Callable[[str], bool]) -> list[str]:
        return [
            f"{case.case}: {engine.title}: {engine.failure}"
            for case in self.cases
            for engine in case.engines
            if engine.failure and counts(engine.failure)
        ]


def save(result: Result, directory: Path | None = None) -> Path:
    """Write a result, its table beside it, and return the file."""
    directory = directory or (PASSING if result.quick else KEPT)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{result.date}-{result.definition}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    path.with_suffix(".md").write_text(table(result))
    return path


def load(path: Path) -> Result:
    """Read a result. Raises msgspec.ValidationError."""
    return msgspec.json.decode(path.read_bytes(), type=Result)


def newest(directory: Path = KEPT) -> list[Result]:
    """The newest kept result of each definition, in order of its name."""
    by_definition = {}
    for path in sorted(directory.glob("*.json")):
        result = load(path)
        by_definition[result.definition] = result
    return [by_definition[name] for name in sorted(by_definition)]


def table(result: Result) -> str:
    """The result as markdown."""
    tables = ["\n".join(_case_table(case)) for case in result.cases]
    return "\n\n".join([*result.paragraphs(), *tables]) + "\n"


_COLUMNS = (
    "engine",
    "reads",
    "reads/s",
    "M reads/min",
    "of the first",
    "matches",
    "start s",
    "CPU s/M reads",
    "peak MiB",
)


def _case_table(case: CaseResult) -> list[str]:
    given = case.input
    about = (
        f"{given.entries:,} entries, {given.hit_rate:.2%} hits, {given.partitions} partitions, "
        f"{given.codec}."
    )
    lines = [f"## {case.case}", "", about, "", row(_COLUMNS), row(["---"] * len(_COLUMNS))]
    first = next((engine for engine in case.engines if not engine.failure), None)
    for engine in case.engines:
        if engine.failure or first is None:
            why = (engine.failure or "").splitlines()[0]
            lines.append(row([engine.title, "", why, *[""] * (len(_COLUMNS) - 3)]))
        else:
            lines.append(row(_figures(engine, first.spread().median)))
    return lines


def _figures(engine: EngineResult, first_rate: float) -> list[str]:
    rate = engine.spread()
    run = engine.runs[0]
    cpu_s = statistics.median(run.cpu_s / run.reads * 1e6 for run in engine.runs)
    memory_bytes = engine.median("peak_memory_bytes")
    return [
        engine.title,
        f"{run.reads:,}",
        f"{rate.median:,.0f} ({rate.least:,.0f} to {rate.most:,.0f})",
        f"{rate.median * 60 / 1e6:.2f}",
        _ratio(rate.median / first_rate),
        f"{run.matches:,}",
        f"{engine.median('start_s'):.1f}",
        f"{cpu_s:.2f}",
        "" if memory_bytes is None else f"{memory_bytes / 2**20:,.0f}",
    ]


def row(cells: Iterable[str]) -> str:
    """A row of a table in markdown."""
    return f"| {' | '.join(cells)} |"


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"1/{1 / ratio:.0f}"
