"""`deploy/CAPACITY.md`: its constants are those of the kept results, its examples those of its
formulas, and what deploy/ gives to a worker is what it says."""

from __future__ import annotations

import json
import math
import re
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from engine import limits
from engine.kafka.topics import DECLARED

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "deploy" / "CAPACITY.md").read_text("utf-8")
RESULTS: Final = ROOT / "benchmarks" / "results"
_DAY_S: Final = 86_400
_GB: Final = 1e9


def _rows(heading: str) -> list[list[str]]:
    """The rows of the table under a heading of the page, the one with the names first."""
    _, _, after = PAGE.partition(f"\n## {heading}\n")
    text, *_ = after.split("\n## ")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len(rows) > 2, heading
    return [rows[0], *rows[2:]]


def _number(cell: str) -> float:
    (found,) = re.findall(r"^[\d,.]+", cell)
    return float(str(found).rstrip(".").replace(",", ""))


CONSTANTS: Final = {row[0]: _number(row[1]) for row in _rows("Measured")[1:]}


def _figure(measure: str, case: str, name: str) -> float:
    """A figure of the newest kept result of a measure; its least favourable value."""
    path = max((RESULTS / "measures").glob(f"*-{measure}.json"))
    (found,) = [
        figure
        for each in json.loads(path.read_text())["cases"]
        if each["case"] == case
        for figure in each["figures"]
        if figure["name"] == name
    ]
    return float(max(found["values"]))


def _runs(definition: str, case: str) -> list[dict[str, Any]]:
    path = max(RESULTS.glob(f"*-{definition}.json"))
    (found,) = [
        engine["runs"]
        for each in json.loads(path.read_text())["cases"]
        if each["case"] == case
        for engine in each["engines"]
        if engine["engine"] == "hotlist"
    ]
    return list(found)


def _rate(case: str) -> float:
    """Millions of reads a minute, the median of the rounds."""
    rates: list[float] = [
        60e-6 * (run["reads"] - run["first_reads"]) / run["drain_s"]
        for run in _runs("misreads_beside", case)
    ]
    return statistics.median(rates)


def _peak_mib(definition: str, case: str) -> float:
    return max(float(run["peak_memory_bytes"]) for run in _runs(definition, case)) / 2**20


def _measured() -> dict[str, float]:
    beside = _peak_mib("misreads_beside", "look-alikes and partial plates")
    alone = _peak_mib("misreads_beside", "exact alone")
    cold = _figure("footprint", "a first start, nothing compiled", "resident")
    return {
        "a worker with an empty list": _figure("list_size", "1,000 entries, import", "resident"),
        "compiling, if nothing is compiled yet": cold - _figure("footprint", "a start", "resident"),
        "reads in flight, at full speed": _peak_mib("codec", "lz4")
        - _figure("list_size", "100,000 entries, import", "at its peak"),
        "an entry": _figure("list_size", "1,000,000 entries, single", "peak an entry"),
        "an entry that asks for more than its plate": (beside - alone) * 2**20 / 110_000,
        "reads a minute, exact entries": _rate("exact alone"),
        "reads a minute, 120,000 entries that ask for more": _rate("all of them"),
        "reads a minute, 2% of them listed": _rate("2% hits, folding"),
        "a read on the topic": _figure("footprint", "a read, lz4, batches of 16 KiB", "bytes"),
        "a match": _figure("footprint", "a match", "bytes"),
        "an audit record": _figure("footprint", "a match's audit record", "bytes"),
        "start, a million entries": _figure(
            "list_size", "1,000,000 entries, single", "start to ready"
        ),
        "first start, a million entries": _figure(
            "list_size", "1,000,000 entries, single", "first start to ready"
        ),
    }


def test_the_constants_are_those_of_the_results() -> None:
    measured = _measured()
    assert set(CONSTANTS) == set(measured)
    for name, value in measured.items():
        if name.startswith("reads a minute"):
            assert 0.9 * value <= CONSTANTS[name] <= value, f"{name}: {value:.1f}"
        else:
            # Rounded up, and not by much.
            assert value <= CONSTANTS[name] <= 1.1 * value + 1, f"{name}: {value:.1f}"


@dataclass(frozen=True)
class Needs:
    """What a deployment needs, by the page's formulas."""

    peak: float  # reads a minute, millions
    daily: float  # reads a day, millions
    exact: int
    more: int

    #: Of what was measured, a third is planned with.
    ROOM = 3
    #: Real reads compress less than made-up ones.
    LESS_ALIKE = 2
    REPLICAS = 3
    #: One read in so many makes a match.
    MATCHES = 1 / 6_000

    @property
    def workers(self) -> int:
        which = "120,000 entries that ask for more" if self.more else "exact entries"
        return 1 + math.ceil(self.ROOM * self.peak / CONSTANTS[f"reads a minute, {which}"])

    @property
    def partitions(self) -> int:
        return 12 * math.ceil(max(4 * self.workers, self.in_mb_a_s / 10) / 12)

    @property
    def matches_a_day(self) -> float:
        return 1e6 * self.daily * self.MATCHES

    @property
    def memory_mib(self) -> float:
        entries = CONSTANTS["an entry"] * self.exact
        entries += CONSTANTS["an entry that asks for more than its plate"] * self.more
        remembered = min(limits.SUPPRESSION_KEYS, self.matches_a_day / 12 / (self.workers - 1))
        return (
            CONSTANTS["a worker with an empty list"]
            + CONSTANTS["compiling, if nothing is compiled yet"]
            + CONSTANTS["reads in flight, at full speed"]
            + (entries + 512 * remembered) / 2**20
        )

    @property
    def requested_mib(self) -> int:
        return 256 * math.ceil(self.memory_mib / 256)

    @property
    def read_bytes(self) -> float:
        return self.LESS_ALIKE * CONSTANTS["a read on the topic"]

    @property
    def in_mb_a_s(self) -> float:
        return self.peak * self.read_bytes / 60

    @property
    def reads_gb(self) -> float:
        kept_minutes = 70
        return 1e6 * self.peak * kept_minutes * self.read_bytes * self.REPLICAS / _GB

    @property
    def matches_gb(self) -> float:
        size = self.LESS_ALIKE * CONSTANTS["a match"]
        return 31 * self.matches_a_day * size * self.REPLICAS / _GB

    @property
    def audit_gb_a_year(self) -> float:
        size = self.LESS_ALIKE * CONSTANTS["an audit record"]
        return 365 * self.matches_a_day * size * self.REPLICAS / _GB

    def cells(self) -> list[str]:
        """The cells of the page's row, after the name."""
        return [
            _written(self.peak),
            _written(self.daily),
            _written(self.exact),
            _written(self.more),
            str(self.workers),
            str(self.partitions),
            f"{self.requested_mib:,}",
            f"{2 * self.requested_mib:,}",
            f"{self.in_mb_a_s:,.0f}",
            f"{self.reads_gb:,.0f}",
            f"{self.matches_gb:,.0f}",
            f"{self.audit_gb_a_year:,.0f}",
        ]


def _written(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,}"


EXAMPLES: Final = {
    "a town": Needs(0.05, 30, 5_000, 500),
    "a city": Needs(1, 600, 100_000, 10_000),
    "a state": Needs(10, 6_000, 1_000_000, 100_000),
    "a nation": Needs(100, 60_000, 10_000_000, 120_000),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_worked_as_the_formulas_say(name: str) -> None:
    (row,) = [row for row in _rows("Examples")[1:] if row[0] == name]
    assert row == [name, *EXAMPLES[name].cells()]


def test_every_example_is_held() -> None:
    assert [row[0] for row in _rows("Examples")[1:]] == list(EXAMPLES)


def test_what_the_topics_keep_is_what_the_formulas_count_with() -> None:
    kept = {declared.name: declared.settings for declared in DECLARED}
    segments = {"detections": (70, 60), "matches": (31, _DAY_S)}
    for name, (periods, period_s) in segments.items():
        settings = kept[name]
        kept_ms = int(settings["retention.ms"]) + int(settings["segment.ms"])
        assert kept_ms == 1000 * periods * period_s
    assert kept["audit"]["retention.ms"] == "-1"


#: For what deploy/ is set up as it comes: a million entries, and as many matches remembered as
#: there may be.
_SHIPPED: Final = Needs(10, 40_000, 1_000_000, 0)


def test_what_is_given_to_a_worker_is_enough() -> None:
    base = yaml.safe_load((ROOT / "deploy/kubernetes/base/deployment.yaml").read_text("utf-8"))
    resources = base["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources["requests"]["memory"] == f"{_SHIPPED.requested_mib}Mi"
    assert resources["limits"]["memory"] == f"{2 * _SHIPPED.requested_mib}Mi"
    unit = (ROOT / "deploy/systemd/hotlist-worker.service").read_text("utf-8")
    assert f"\nMemoryMax={2 * _SHIPPED.requested_mib}M\n" in unit


def test_the_autoscaler_adds_a_worker_for_a_minute_of_work() -> None:
    path = ROOT / "deploy/kubernetes/components/autoscaling/scaledobject.yaml"
    scaled, _ = yaml.safe_load_all(path.read_text("utf-8"))
    rate = CONSTANTS["reads a minute, 120,000 entries that ask for more"] / Needs.ROOM
    assert int(scaled["spec"]["triggers"][0]["metadata"]["lagThreshold"]) == 1e6 * rate
