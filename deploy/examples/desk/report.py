"""How often matches were right: what people decided, beside what the engine said.

    python report.py [--bootstrap localhost:9092] [--prefix lpr.] [--by kind] [--json]

`--by kind` (the default) groups the decisions by match type and confidence, `--by list` and
`--by agency` by the entry's list or agency. `right` is the share of confirmed matches among those
that people confirmed or rejected, and `95%` the interval in which the true share lies with that
certainty (Wilson's). `said` is the mean of the engine's confidence in the same matches. If it lies
outside the interval, the confidence is not calibrated for these cameras. The first decision on a
match counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from records import connection, decision_of, passed

#: The upper ends of the groups of confidence.
BANDS = (0.5, 0.8, 0.9, 0.95, 1.0)


def band(confidence: float) -> str:
    """The group of a confidence, such as `0.80-0.90`."""
    low = 0.0
    for high in BANDS:
        if confidence < high or high == BANDS[-1]:
            return f"{low:.2f}-{high:.2f}"
        low = high
    raise AssertionError("the last group has no end")


def group_of(decision: dict[str, Any], by: str) -> tuple[str, ...]:
    """What a decision is grouped by."""
    if by == "kind":
        return decision["match_type"], band(decision["confidence"])
    return (decision["list_id" if by == "list" else "agency"],)


def report(decisions: Iterable[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    """One row for each group, in order."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    seen: set[str] = set()
    for decision in decisions:
        if decision["match_id"] not in seen:
            seen.add(decision["match_id"])
            groups[group_of(decision, by)].append(decision)
    return [_row(group, groups[group]) for group in sorted(groups)]


def interval(right: int, of: int) -> tuple[float, float]:
    """Where the true share lies in 95 of 100 cases, if `right` of so many were (Wilson)."""
    z = 1.96
    middle = (right + z * z / 2) / (of + z * z)
    half = z * math.sqrt(right * (of - right) / of + z * z / 4) / (of + z * z)
    return max(0.0, middle - half), min(1.0, middle + half)


def _row(group: tuple[str, ...], decisions: list[dict[str, Any]]) -> dict[str, Any]:
    counts = {"confirmed": 0, "rejected": 0, "cannot_tell": 0}
    said = []
    for decision in decisions:
        counts[decision["decision"]] += 1
        if decision["decision"] != "cannot_tell":
            said.append(decision["confidence"])
    return {
        "group": " ".join(group),
        "decided": len(decisions),
        **counts,
        "right": counts["confirmed"] / len(said) if said else None,
        "95%": interval(counts["confirmed"], len(said)) if said else None,
        "said": sum(said) / len(said) if said else None,
    }


async def read(bootstrap: str, topic: str) -> list[dict[str, Any]] | None:
    """All decisions, those of a match in their order; None if there is no such topic.

    The topic is looked for among all: a broker may create one that is asked for by its name.
    """
    admin = AIOKafkaAdminClient(**connection(bootstrap))
    await admin.start()
    try:
        if topic not in await admin.list_topics():
            return None
    finally:
        await admin.close()
    consumer = AIOKafkaConsumer(
        topic,
        **connection(bootstrap),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    decisions = []
    async with consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(part) < end for part, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    try:
                        decisions.append(decision_of(record.value))
                    except ValueError as error:
                        passed(record, "decision", error)
    return decisions


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return "-".join(_cell(each) for each in value)
    return f"{value:.2f}" if isinstance(value, float) else str(value)


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bootstrap", default="localhost:9092")
    parser.add_argument("--prefix", default="lpr.", help="what the topics' names begin with")
    parser.add_argument("--by", choices=("kind", "list", "agency"), default="kind")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    topic = f"{options.prefix}decisions.v1"
    try:
        decisions = await read(options.bootstrap, topic)
    except (KafkaError, OSError, ValueError) as error:
        sys.exit(f"the decisions cannot be read: {error}")
    if decisions is None:
        sys.exit(f"there is no {topic}: no desk has run with this --prefix")
    rows = report(decisions, options.by)
    if options.as_json:
        print(json.dumps(rows, indent=1))
        return
    if not rows:
        print("nobody has decided anything yet")
        return
    table = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


if __name__ == "__main__":
    asyncio.run(main())
