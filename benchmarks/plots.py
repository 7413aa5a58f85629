"""The plots of a result, as PNG and SVG beside it.

The same result gives the same files, so that a plot changes only when its figures do.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.results import KEPT, CaseResult, Result

#: Told apart in print and by the colour-blind (after Okabe and Ito).
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_BAR = 0.8
#: Rates that differ more than this are drawn on a logarithmic axis.
_WIDE = 30


def draw(result: Result, directory: Path = KEPT / "plots") -> list[Path]:
    """Draw throughput by engine, one bar a case; the files written.

    Bars are medians, whiskers the least and the most of all rounds. Engines without a figure
    are left out.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "benchmarks", "font.size": 9}):
        figure = _throughput(result)
        files = [directory / f"{result.definition}-throughput.{kind}" for kind in ("png", "svg")]
        for file in files:
            metadata = {"Date": None} if file.suffix == ".svg" else {"Software": None}
            figure.savefig(file, dpi=150, metadata=metadata)
    return files


#: More names in a row would not fit the width.
_LEGEND_COLUMNS = 3


def _is_wide(result: Result) -> bool:
    """Return whether the rates differ so much that bars from zero would hide the small ones."""
    rates = [
        engine.spread().median
        for case in result.cases
        for engine in case.engines
        if not engine.failure
    ]
    return max(rates) > _WIDE * min(rates)


def _throughput(result: Result) -> Figure:
    titles = _titles(result)
    figure = Figure(figsize=(8, 1.2 + 0.28 * len(titles) * len(result.cases)), layout="constrained")
    axes = figure.subplots()
    height = _BAR / len(result.cases)
    for number, case in enumerate(result.cases):
        offset = (number - (len(result.cases) - 1) / 2) * height
        _bars(axes, case, titles, offset, height, _COLOURS[number % len(_COLOURS)])
    is_wide = _is_wide(result)
    if is_wide:
        axes.set_xscale("log")
        plain_numbers(axes.xaxis)
    axes.set_yticks(range(len(titles)), titles)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    scale = "logarithmic; " if is_wide else ""
    axes.set_xlabel(f"million reads a minute ({scale}whiskers: least and most)")
    machine = result.machine
    axes.set_title(f"{result.title}\n{result.date}, {machine.cpu}, {machine.cores} cores")
    if len(result.cases) > 1:
        columns = min(len(result.cases), _LEGEND_COLUMNS)
        figure.legend(loc="outside lower center", ncols=columns, frameon=False)
    return figure


def plain_numbers(axis: Axis) -> None:
    """Label a logarithmic axis at 1, 2, 5, 10 and so on, without powers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _titles(result: Result) -> list[str]:
    """The engines that have a figure anywhere, the fastest of the first case on top."""
    rates: dict[str, float] = {}
    for case in result.cases:
        for engine in case.engines:
            if not engine.failure:
                rates.setdefault(engine.title, engine.spread().median)
    return sorted(rates, key=lambda title: -rates[title])


def _bars(
    axes: Axes,
    case: CaseResult,
    titles: list[str],
    offset: float,
    height: float,
    colour: str,
) -> None:
    measured = [engine for engine in case.engines if not engine.failure]
    spreads = [engine.spread() for engine in measured]
    medians = [_per_minute(spread.median) for spread in spreads]
    bars = axes.barh(
        [titles.index(engine.title) + offset for engine in measured],
        medians,
        height=height,
        color=colour,
        label=case.case,
        xerr=[
            [_per_minute(spread.median - spread.least) for spread in spreads],
            [_per_minute(spread.most - spread.median) for spread in spreads],
        ],
        error_kw={"elinewidth": 0.8},
    )
    axes.bar_label(bars, [f"{value:,.3g}" for value in medians], padding=4)


def _per_minute(reads_per_s: float) -> float:
    """In millions."""
    return reads_per_s * 60 / 1e6
