"""What a measure gave: a dated JSON file and a table, the engines' results aside.

A figure holds one value a round. Cases are rows and figures columns, in the order given.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import msgspec

from benchmarks import results

KEPT = results.KEPT / "measures"
PASSING = results.PASSING / "measures"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity with its unit, in all rounds. `name` is what targets refer to."""

    name: str
    unit: str
    values: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


class MeasuredCase(msgspec.Struct, frozen=True, kw_only=True):
    """One case. `curves` are lines to plot, as points; `failure` says why there is no figure."""

    case: str
    about: str = ""
    figures: list[Figure] = []
    curves: dict[str, list[tuple[float, float]]] = {}
    failure: str | None = None

    def figure(self, name: str) -> Figure | None:
        """A figure by its name."""
        return next((figure for figure in self.figures if figure.name == name), None)


class MeasuredResult(results.Circumstances, frozen=True, kw_only=True):
    """A whole run of one measure."""

    measure: str
    cases: list[MeasuredCase]

    @property
    def failures(self) -> list[str]:
        """One line for each case without figures."""
        return [f"{case.case}: {case.failure}" for case in self.cases if case.failure]


def save(result: MeasuredResult) -> Path:
    """Write a result, its table beside it, and return the file."""
    directory = PASSING if result.quick else KEPT
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{result.date}-{result.measure}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    path.with_suffix(".md").write_text(table(result))
    return path


def newest(directory: Path = KEPT) -> list[MeasuredResult]:
    """The newest kept result of each measure, in order of its name."""
    by_measure = {}
    for path in sorted(directory.glob("*.json")):
        result = msgspec.json.decode(path.read_bytes(), type=MeasuredResult)
        by_measure[result.measure] = result
    return [by_measure[name] for name in sorted(by_measure)]


def table(result: MeasuredResult) -> str:
    """The result as markdown."""
    about = [f"{case.case}: {case.about}" for case in result.cases if case.about]
    paragraphs = [*result.paragraphs(), *about, "\n".join(_rows(result.cases))]
    return "\n\n".join(paragraphs) + "\n"


def _rows(cases: list[MeasuredCase]) -> list[str]:
    columns: dict[str, str] = {}
    for case in cases:
        columns.update({figure.name: f"{figure.name}, {figure.unit}" for figure in case.figures})
    lines = [results.row(["case", *columns.values()]), results.row(["---"] * (1 + len(columns)))]
    for case in cases:
        if case.failure:
            lines.append(results.row([case.case, f"FAILED: {case.failure.splitlines()[0]}"]))
            continue
        found = (case.figure(name) for name in columns)
        lines.append(
            results.row([case.case, *("" if one is None else _cell(one) for one in found)])
        )
    return lines


def _cell(figure: Figure) -> str:
    text = number_text(figure.median)
    if len(figure.values) > 1:
        text += f" ({number_text(min(figure.values))} to {number_text(max(figure.values))})"
    return text


def number_text(value: float) -> str:
    """Return a number with the digits that people read of it."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:,.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"
