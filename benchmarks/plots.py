"""The plots of a result, as PNG and SVG beside it.

The same result gives the same files, so that a plot changes only when its figures do.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.definitions import load_engines
from benchmarks.results import KEPT, CaseResult, EngineResult, Result

#: Told apart in print and by the colour-blind (after Okabe and Ito).
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_BAR = 0.8
#: What only reads is a ceiling, and no engine.
_CEILING = {"hatch": "///", "alpha": 0.5}


def draw(result: Result, directory: Path = KEPT / "plots") -> list[Path]:
    """Draw throughput by engine, one bar a case, or by hit rate; the files written.

    Bars are medians, whiskers the least and the most of all rounds. Engines without a figure
    are left out, and what only reads is hatched.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "benchmarks", "font.size": 9}):
        figure = _by_hit_rate(result) if result.definition == "hit_rate" else _throughput(result)
        files = [directory / f"{result.definition}-throughput.{kind}" for kind in ("png", "svg")]
        for file in files:
            metadata = {"Date": None} if file.suffix == ".svg" else {"Software": None}
            figure.savefig(file, dpi=150, metadata=metadata)
    return files


#: More names in a row would not fit the width.
_LEGEND_COLUMNS = 3


def _throughput(result: Result) -> Figure:
    titles = _titles(result)
    figure = Figure(figsize=(8, 1.2 + 0.28 * len(titles) * len(result.cases)), layout="constrained")
    axes = figure.subplots()
    height = _BAR / len(result.cases)
    for number, case in enumerate(result.cases):
        offset = (number - (len(result.cases) - 1) / 2) * height
        _bars(axes, case, titles, offset, height, _COLOURS[number % len(_COLOURS)])
    axes.set_yticks(range(len(titles)), titles)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.set_xlabel("million reads a minute (whiskers: least and most; hatched: no matching)")
    axes.set_title(_heading(result))
    if len(result.cases) > 1:
        columns = min(len(result.cases), _LEGEND_COLUMNS)
        figure.legend(loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _by_hit_rate(result: Result) -> Figure:
    """One group of bars for each hit rate, one bar in it for each engine, from zero."""
    titles = _titles(result)
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    width = _BAR / len(titles)
    for number, title in enumerate(titles):
        places, found = [], []
        for place, case in enumerate(result.cases):
            for engine in case.engines:
                if engine.title == title and not engine.failure:
                    places.append(place + (number - (len(titles) - 1) / 2) * width)
                    found.append(engine)
        bars = axes.bar(
            places,
            _medians(found),
            width=width,
            color=_COLOURS[number % len(_COLOURS)],
            label=title,
            yerr=_whiskers(found),
            error_kw={"elinewidth": 0.8},
        )
        axes.bar_label(bars, _labels(found), padding=3, fontsize=7)
    axes.set_xticks(range(len(result.cases)), [_name_of(case) for case in result.cases])
    axes.set_xlabel("reads of listed plates; about half of them match")
    axes.set_ylabel("million reads a minute\n(whiskers: least and most)")
    axes.margins(y=0.12)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.set_title(_heading(result))
    axes.legend(frameon=False)
    return figure


def _heading(result: Result) -> str:
    machine = result.machine
    return f"{result.title}\n{result.date}, {machine.cpu}, {machine.cores} cores"


def _name_of(case: CaseResult) -> str:
    """The case in the words of the pages."""
    return case.case.replace("% hits", "% listed").replace("folding", "with suppression")


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
    bars = axes.barh(
        [titles.index(engine.title) + offset for engine in measured],
        _medians(measured),
        height=height,
        color=colour,
        label=_name_of(case),
        xerr=_whiskers(measured),
        error_kw={"elinewidth": 0.8},
    )
    ceilings = {name for name, engine in load_engines().items() if not engine.matches}
    for bar, engine in zip(bars, measured, strict=True):
        if engine.engine in ceilings:
            bar.set(**_CEILING)
    axes.bar_label(bars, _labels(measured), padding=4)


def _medians(engines: list[EngineResult]) -> list[float]:
    """In million reads a minute, as all of these."""
    return [_per_minute(engine.spread().median) for engine in engines]


def _labels(engines: list[EngineResult]) -> list[str]:
    return [f"{value:,.3g}" for value in _medians(engines)]


def _whiskers(engines: list[EngineResult]) -> list[list[float]]:
    """How far the least and the most of all rounds are from the median."""
    spreads = [engine.spread() for engine in engines]
    return [
        [_per_minute(spread.median - spread.least) for spread in spreads],
        [_per_minute(spread.most - spread.median) for spread in spreads],
    ]


def _per_minute(reads_per_s: float) -> float:
    """In millions."""
    return reads_per_s * 60 / 1e6
