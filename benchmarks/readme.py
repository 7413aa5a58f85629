"""README's figures: those of one kept run, and what has changed in the engine since.

`python -m benchmarks readme` measures the main job with the engines that README names, keeps the
result and writes README's table from it. With `--check` it measures nothing: it fails if README has
another table than the newest kept result gives, and names the files of the hot path that differ
from those that were measured.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.definitions import DIRECTORY, Definition, load_definitions
from benchmarks.results import KEPT, EngineResult, Result, load, row

NAME: Final = "readme"
README: Final = DIRECTORY.parent / "README.md"
ENGINES: Final = ("hotlist", "hotlist_two", "flink", "kafka_streams", "consumer_performance")

_BEGIN: Final = "<!-- These figures are written by `make bench-readme`. -->\n"
_END: Final = "<!-- End of these figures. -->\n"
#: What a read and its match pass through.
_HOT_PATH: Final = (
    "audit/chain.py",
    "audit/record_fields.py",
    "delivery/*.py",
    "documents/*.py",
    "index/*.py",
    "kafka/fast_compression.py",
    "kafka/raw_fetcher.py",
    "matching/*.py",
    "plates/*.py",
    "transport/*.py",
    "wire/*.py",
    "worker/processor.py",
)


class BadPageError(Exception):
    """A page has no place for the figures, or other figures than the kept result."""


def definition(rounds: int | None = None) -> Definition:
    """The main job, with README's engines."""
    main_job = load_definitions()["main_job"].narrowed(ENGINES, rounds)
    return msgspec.structs.replace(main_job, name=NAME)


def newest(directory: Path = KEPT) -> Result | None:
    """The newest kept result, None if there is none."""
    path = max(directory.glob(f"*-{NAME}.json"), default=None)
    return None if path is None else load(path)


def hot_path(root: Path = DIRECTORY.parent / "engine") -> dict[str, str]:
    """By file of the hot path, a digest of its content."""
    files = sorted(path for pattern in _HOT_PATH for path in root.glob(pattern))
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in files
    }


def changed_since(result: Result, now: dict[str, str]) -> list[str]:
    """Return the files of the hot path that differ from those that were measured."""
    names = sorted(result.hot_path.keys() | now.keys())
    return [name for name in names if result.hot_path.get(name) != now.get(name)]


def with_figures(page: str, result: Result) -> str:
    """Return README with this result's table. Raises BadPageError if it has no place for it."""
    return with_part(page, README.name, _BEGIN, _END, _figures(result))


def with_part(page: str, name: str, begin: str, end: str, part: str) -> str:
    """Return the page of this name with a part between two lines.

    Raises BadPageError if it lacks one of them.
    """
    before, begins, rest = page.partition(begin)
    _, ends, after = rest.partition(end)
    if not begins or not ends:
        raise BadPageError(f"{name} lacks the line {(end if begins else begin).strip()}")
    return before + begin + part + end + after


def check(page: str, result: Result) -> None:
    """Raise BadPageError unless README has this result's table."""
    if with_figures(page, result) != page:
        raise BadPageError(
            f"README.md has other figures than benchmarks/results/{result.date}-{NAME}.json; "
            "run: make bench-readme"
        )


def _figures(result: Result) -> str:
    """The table, and what it was measured on."""
    by_engine: dict[str, list[EngineResult]] = {}
    for case in result.cases:
        for engine in case.engines:
            by_engine.setdefault(engine.engine, []).append(engine)
    heads = [" ", *(case.case.replace(" hits", " listed") for case in result.cases)]
    rows = [row(heads), row(["---"] * len(heads))]
    in_order = sorted(by_engine, key=ENGINES.index)
    rows += [row(_cells(by_engine[name])) for name in in_order]
    machine = result.machine
    kept = f"benchmarks/results/{result.date}-{NAME}.md"
    rounds = "one round" if result.rounds == 1 else f"medians of {result.rounds} rounds"
    about = (
        f"Measured on {result.date} on {machine.cpu}, {machine.cores} cores;\n"
        f"{rounds}, [all figures]({kept})."
    )
    return "\n".join(rows) + f"\n\n{about}\n"


def _cells(of_engine: list[EngineResult]) -> list[str]:
    rates = [f"{each.spread().median * 60 / 1e6:,.0f}" for each in of_engine]
    cells = [of_engine[0].title, *rates]
    if of_engine[0].engine.startswith("hotlist"):
        return [f"**{cell}**" for cell in cells]
    if of_engine[0].engine == "consumer_performance":
        return [f"*{cell}*" for cell in cells]
    return cells
