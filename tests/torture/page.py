"""The tables of deploy/guides/faults.md, from the kept results of campaigns.

`python -m tests.torture.page` writes them. The newest kept result of each delivery and each number
of brokers counts; keep one with `python -m tests.torture --json benchmarks/results/torture/FILE`,
where FILE begins with the date.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.readme import BadPageError, with_part
from tests.torture.report import seconds
from tests.torture.schedule import KINDS

_ROOT: Final = Path(__file__).resolve().parents[2]
KEPT: Final = _ROOT / "benchmarks" / "results" / "torture"
PAGE: Final = _ROOT / "deploy" / "guides" / "faults.md"
DELIVERIES: Final = ("at_least_once", "exactly_once")
_COLUMNS: Final = (
    "fault",
    "how often, at least once + exactly once",
    "lost",
    "doubled, at least once",
    "doubled, exactly once",
    "longest pause alone",
    "in a storm",
)

#: What `report.as_json` has kept of a campaign, and of a kind of fault in it.
Campaign = dict[str, Any]
Row = dict[str, Any]


def main() -> int:
    """Write the tables into the page."""
    PAGE.write_text(with_tables(PAGE.read_text()))
    return 0


def with_tables(page: str, kept: Path = KEPT) -> str:
    """Return the page with the tables of the kept results. Raises BadPageError."""
    for brokers in (3, 1):
        begin = f"<!-- Begin of the table, brokers: {brokers} -->\n"
        end = f"<!-- End of the table, brokers: {brokers} -->\n"
        page = with_part(page, PAGE.name, begin, end, table(*newest(brokers, kept)))
    return page


def newest(brokers: int, kept: Path = KEPT) -> list[Campaign]:
    """Return the newest kept campaign of each of DELIVERIES. Raises BadPageError if there is
    none."""
    found: dict[str, Campaign] = {}
    for path in sorted(kept.glob("*.json")):
        campaign = json.loads(path.read_text())
        if campaign.get("is_whole", True) and campaign["plan"].get("brokers", 1) == brokers:
            found[campaign["plan"]["delivery"]] = campaign
    for delivery in DELIVERIES:
        if delivery not in found:
            raise BadPageError(f"{kept} has no campaign with {delivery}, brokers: {brokers}")
    return [found[delivery] for delivery in DELIVERIES]


def table(at_least_once: Campaign, exactly_once: Campaign) -> str:
    """Return the table of both deliveries, a row for each kind of fault and one for all."""
    first, second = (
        {row["kind"]: row for row in campaign["faults"]}
        for campaign in (at_least_once, exactly_once)
    )
    none = {"times": 0, "lost": 0, "repeats": 0, "pause_alone_s": None, "pause_s": None}
    both = [(kind, first.get(kind, none), second.get(kind, none)) for kind in {**first, **second}]
    head = f"| {' | '.join(_COLUMNS)} |\n" + "|---" * len(_COLUMNS) + "|\n"
    rows = [
        f"| {KINDS[kind].does} | {_counts(one, other)} | {_longest('pause_alone_s', one, other)} "
        f"| {_longest('pause_s', one, other)} |\n"
        for kind, one, other in both
    ]
    every = [
        {name: sum(row[name] for row in found.values()) for name in ("times", "lost", "repeats")}
        for found in (first, second)
    ]
    last = _counts(*every).replace(" | ", "** | **")
    return head + "".join(rows) + f"| **all** | **{last}** | | |\n"


def _counts(one: Row, other: Row) -> str:
    """Return the cells of what is counted."""
    lost = one["lost"] + other["lost"]
    return f"{one['times']} + {other['times']} | {lost} | {one['repeats']} | {other['repeats']}"


def _longest(name: str, *rows: Row) -> str:
    return seconds(max((row[name] for row in rows if row[name] is not None), default=None))


if __name__ == "__main__":
    sys.exit(main())
