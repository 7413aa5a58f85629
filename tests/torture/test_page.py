"""`tests.torture.page`: the page has the tables of the kept campaigns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.readme import BadPageError
from tests.torture.page import KEPT, PAGE, newest, table, with_tables
from tests.torture.schedule import KINDS


def a_campaign(delivery: str, brokers: int, **times: int) -> dict[str, Any]:
    """As it is kept; the number says how often a kind of fault was done."""
    faults = [
        {
            "kind": kind,
            "times": count,
            "lost": 0,
            "repeats": 2 * count if delivery == "at_least_once" else 0,
            "pause_alone_s": None,
            "pause_s": float(count),
        }
        for kind, count in times.items()
    ]
    return {"plan": {"delivery": delivery, "brokers": brokers}, "faults": faults}


def test_the_page_has_the_newest_campaigns() -> None:
    page = PAGE.read_text()
    assert with_tables(page) == page, "run: python -m tests.torture.page"
    for brokers in (3, 1):
        for campaign in newest(brokers):
            assert campaign["findings"]["problems"] == []


def test_a_table_has_both_deliveries_of_each_fault() -> None:
    once = a_campaign("at_least_once", 3, kill=3, cut=1)
    kind = "transaction_coordinator_kill"
    exactly = a_campaign("exactly_once", 3, cut=4, grow=2, **{kind: 1})
    assert table(once, exactly).splitlines()[2:] == [
        "| a worker gets SIGKILL and is restarted | 3 + 0 | 0 | 6 | 0 |  | 3.0 s |",
        "| a worker's connections are closed, new ones refused | 1 + 4 | 0 | 2 | 0 |  | 4.0 s |",
        "| partitions are added to the reads | 0 + 2 | 0 | 0 | 0 |  | 2.0 s |",
        f"| {KINDS[kind].does} | 0 + 1 | 0 | 0 | 0 |  | 1.0 s |",
        "| **all** | **4 + 7** | **0** | **8** | **0** | | |",
    ]


def test_a_campaign_that_is_not_kept_and_a_page_without_a_place(tmp_path: Path) -> None:
    with pytest.raises(BadPageError, match=r"lacks the line <!-- Begin of the table, brokers: 3"):
        with_tables("# Faults\n")
    kept = a_campaign("at_least_once", 3, kill=3)
    (tmp_path / "2026-01-02-once.json").write_text(json.dumps(kept))
    with pytest.raises(BadPageError, match="no campaign with exactly_once, brokers: 3"):
        newest(3, tmp_path)
    for day, times in (("01", 4), ("03", 5)):
        kept = a_campaign("exactly_once", 3, kill=times)
        (tmp_path / f"2026-01-{day}-exactly.json").write_text(json.dumps(kept))
    assert [each["faults"][0]["times"] for each in newest(3, tmp_path)] == [3, 5]
    ended_early = {**a_campaign("exactly_once", 3, kill=1), "is_whole": False}
    (tmp_path / "2026-01-04-exactly.json").write_text(json.dumps(ended_early))
    assert [each["faults"][0]["times"] for each in newest(3, tmp_path)] == [3, 5]
    assert KEPT.is_dir()
