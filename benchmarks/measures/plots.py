"""The plots of a measure, as PNG and SVG beside its result.

Curves of delays, each figure of `list_size` and `workers` over the cases, and how right stated
confidences are. The same result
gives the same files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.measures.figures import KEPT, MeasuredCase, MeasuredResult

_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")
#: Figures over the cases: measure, figure, file name, title of the y axis.
_BY_CASE = (
    ("list_size", "drained", "throughput", "million reads a minute"),
    ("list_size", "memory an entry", "memory", "resident bytes an entry"),
    ("list_size", "start to ready", "start", "seconds from start to ready"),
    ("workers", "drained", "throughput", "million reads a minute"),
)


def draw(result: MeasuredResult, directory: Path = KEPT / "plots") -> list[Path]:
    """Draw what a result has to show; the files written. Cases that failed are left out."""
    cases = [case for case in result.cases if not case.failure]
    files = []
    if result.measure == "calibration":
        return _save(directory, "calibration-reliability", result.title, _reliability(cases))
    for case in cases:
        if case.curves:
            name = f"{result.measure}-{re.sub(r'[^a-z0-9]+', '-', case.case.lower())}"
            title = result.title if case.case in result.title else f"{result.title}\n{case.case}"
            files += _save(directory, name, title, _curves(case))
    for measure, figure, name, unit in _BY_CASE:
        shown = [case for case in cases if case.figure(figure) is not None]
        if measure == result.measure and shown:
            files += _save(
                directory, f"{measure}-{name}", result.title, _by_case(shown, figure, unit)
            )
    return files


def _save(directory: Path, name: str, title: str, paint: Callable[[Axes], None]) -> list[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    files = [directory / f"{name}.{kind}" for kind in ("png", "svg")]
    with mpl.rc_context({"svg.hashsalt": "benchmarks", "font.size": 9}):
        drawing = Drawing(figsize=(7, 4), layout="constrained")
        axes = drawing.subplots()
        paint(axes)
        axes.set_title(title)
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
        for file in files:
            metadata = {"Date": None} if file.suffix == ".svg" else {"Software": None}
            drawing.savefig(file, dpi=150, metadata=metadata)
    return files


def _curves(case: MeasuredCase) -> Callable[[Axes], None]:
    def paint(axes: Axes) -> None:
        for colour, (name, points) in zip(_COLOURS, case.curves.items(), strict=False):
            shares, delays = zip(*points, strict=True)
            axes.plot(shares, delays, label=name, color=colour)
        axes.set_yscale("log")
        _plain_numbers(axes.yaxis)
        axes.set_xlabel("percentile")
        axes.set_ylabel("milliseconds (logarithmic)")
        axes.legend(frameon=False)

    return paint


def _reliability(cases: list[MeasuredCase]) -> Callable[[Axes], None]:
    """How many are right of those that state so much, for the first cases: the readers."""

    def paint(axes: Axes) -> None:
        axes.plot((0, 1), (0, 1), color="grey", linestyle=":", label="as stated")
        shown = [case for case in cases if case.curves]
        for colour, case in zip(_COLOURS, shown, strict=False):
            stated, right = zip(*case.curves["right"], strict=True)
            axes.plot(stated, right, label=case.case, color=colour, marker="o", markersize=3)
        axes.set_xlabel("confidence that the matches state (mean of a bin)")
        axes.set_ylabel("share of them that is right")
        axes.legend(frameon=False)

    return paint


def _by_case(cases: list[MeasuredCase], name: str, unit: str) -> Callable[[Axes], None]:
    def paint(axes: Axes) -> None:
        places = range(len(cases))
        figures = [figure for case in cases if (figure := case.figure(name)) is not None]
        medians = [figure.median for figure in figures]
        below = [figure.median - min(figure.values) for figure in figures]
        above = [max(figure.values) - figure.median for figure in figures]
        bars = axes.bar(places, medians, 0.6, yerr=(below, above), capsize=3, color=_COLOURS[0])
        axes.bar_label(bars, fmt="%.3g", padding=2)
        axes.set_xticks(places, [case.case.replace(", ", "\n") for case in cases])
        axes.set_ylabel(f"{unit} (whiskers: least and most)")
        axes.margins(y=0.15)

    return paint


def _plain_numbers(axis: Axis) -> None:
    """Label a logarithmic axis at 1, 2, 5, 10 and so on, without powers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
