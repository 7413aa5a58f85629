"""The targets, as data (`targets.toml`), and whether results reach them.

A target compares the median of one figure, or of one divided by another, with a bound. A figure
that is not measured yet leaves its target open; it is never met by default. The README's table of
goals is written from both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from benchmarks import results
from benchmarks.definitions import DIRECTORY
from benchmarks.measures import figures
from benchmarks.measures.figures import MeasuredResult
from benchmarks.readme import with_part
from benchmarks.results import Result, row

README: Final = DIRECTORY / "README.md"

_BEGIN: Final = "<!-- These goals are written by `python -m benchmarks report`. -->\n"
_END: Final = "<!-- End of these goals. -->\n"


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Source(_Strict, frozen=True, kw_only=True):
    """Where a value stands: a result's case, and in it an engine's throughput (in million reads
    a minute) or a measure's figure."""

    result: str
    case: str
    engine: str | None = None
    figure: str | None = None

    def __post_init__(self) -> None:
        if (self.engine is None) == (self.figure is None):
            raise ValueError("a value is either an engine's or a figure")


class Target(_Strict, frozen=True, kw_only=True):
    """One target: a lower bound or an upper one."""

    text: str
    unit: str
    value: Source
    divided_by: Source | None = None
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a target has one bound")

    @property
    def bound(self) -> str:
        """The bound in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:g} {self.unit}"
        return f"at most {self.at_most:g} {self.unit}"

    def is_met_by(self, value: float) -> bool:
        """Whether a value is within the bound."""
        if self.at_least is not None:
            return value >= self.at_least
        assert self.at_most is not None
        return value <= self.at_most


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A target, what was measured, None where nothing was, and the date of its kept result."""

    target: Target
    measured: float | None
    date: str | None = None

    @property
    def is_met(self) -> bool | None:
        return None if self.measured is None else self.target.is_met_by(self.measured)


class _File(_Strict, frozen=True, kw_only=True):
    targets: tuple[Target, ...]


def load_targets(path: Path = DIRECTORY / "targets.toml") -> tuple[Target, ...]:
    """All targets in the order of the file. Raises msgspec.ValidationError."""
    return msgspec.toml.decode(path.read_bytes(), type=_File).targets


def judge(
    targets: Iterable[Target], engines: Iterable[Result], measures: Iterable[MeasuredResult]
) -> list[Verdict]:
    """What the results say about each target. A failed engine or case has no value."""
    engines, measures = list(engines), list(measures)
    known = dict(_engine_values(engines)) | dict(_figure_values(measures))
    dates = {result.definition: result.date for result in engines}
    dates |= {result.measure: result.date for result in measures}
    verdicts = []
    for target in targets:
        measured = known.get(target.value)
        if target.divided_by is not None:
            divisor = known.get(target.divided_by)
            measured = measured / divisor if measured is not None and divisor else None
        date = None if measured is None else dates[target.value.result]
        verdicts.append(Verdict(target=target, measured=measured, date=date))
    return verdicts


def kept_verdicts() -> list[Verdict]:
    """What the newest kept results say about each target."""
    return judge(load_targets(), results.newest(), figures.newest())


def _engine_values(results: Iterable[Result]) -> Iterator[tuple[Source, float]]:
    for result in results:
        for case in result.cases:
            for engine in case.engines:
                if not engine.failure:
                    source = Source(result=result.definition, case=case.case, engine=engine.engine)
                    yield source, engine.spread().median * 60 / 1e6


def _figure_values(results: Iterable[MeasuredResult]) -> Iterator[tuple[Source, float]]:
    for result in results:
        for case in result.cases:
            for figure in case.figures:
                source = Source(result=result.measure, case=case.case, figure=figure.name)
                yield source, figure.median


def with_goals(page: str, verdicts: Iterable[Verdict]) -> str:
    """Return the README of the benchmarks with this table of goals.

    Raises BadPageError if it has no place for it.
    """
    return with_part(page, "benchmarks/README.md", _BEGIN, _END, table(verdicts))


def table(verdicts: Iterable[Verdict]) -> str:
    """The verdicts as markdown; what is reached is bold."""
    heads = ("what", "goal", "measured", "result")
    return "\n".join([row(heads), row(["---"] * len(heads)), *map(_row, verdicts)]) + "\n"


def _row(verdict: Verdict) -> str:
    target, source = verdict.target, verdict.target.value
    cells = [target.text, target.bound]
    if verdict.measured is None:
        return row([*cells, "not measured", f"`{source.result}`"])
    measured = figures.number_text(verdict.measured)
    folder = "results" if source.figure is None else "results/measures"
    kept = f"[{source.result}]({folder}/{verdict.date}-{source.result}.md)"
    return row([*cells, f"**{measured}**" if verdict.is_met else measured, kept])
