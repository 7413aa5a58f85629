"""The targets, as data (`targets.toml`), and whether results reach them.

A target compares the median of one figure, or of one divided by another, with a bound. A figure
that is not measured yet leaves its target open; it is never met by default.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from benchmarks.definitions import DIRECTORY
from benchmarks.measures.figures import MeasuredResult
from benchmarks.results import Result


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

    def is_met_by(self, value: float) -> bool:
        """Whether a value is within the bound."""
        if self.at_least is not None:
            return value >= self.at_least
        assert self.at_most is not None
        return value <= self.at_most


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A target and what was measured; None where nothing was."""

    target: Target
    measured: float | None

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
    known = dict(_engine_values(engines)) | dict(_figure_values(measures))
    verdicts = []
    for target in targets:
        measured = known.get(target.value)
        if target.divided_by is not None:
            divisor = known.get(target.divided_by)
            measured = measured / divisor if measured is not None and divisor else None
        verdicts.append(Verdict(target=target, measured=measured))
    return verdicts


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


def table(verdicts: Iterable[Verdict]) -> str:
    """The verdicts as markdown."""
    lines = ["| target | wanted | measured | |", "| --- | --- | --- | --- |"]
    words = {True: "met", False: "not met", None: "not measured"}
    for verdict in verdicts:
        target = verdict.target
        bound = (
            f"at least {target.at_least:g}"
            if target.at_least is not None
            else f"at most {target.at_most:g}"
        )
        measured = "" if verdict.measured is None else f"{verdict.measured:,.2f}"
        lines.append(
            f"| {target.text} | {bound} {target.unit} | {measured} | {words[verdict.is_met]} |"
        )
    return "\n".join(lines) + "\n"
