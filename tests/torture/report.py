"""The table of a campaign: fault, how often, lost, doubled, longest pause.

The pause of a fault is the longest time that a read of a listed plate waited for its match (from
the beginning of its sending to the first record of a match of it that a consumer saw), among the
reads sent from a second before the fault began until a second after it ended. In a storm that is
what all the faults of the time cost together; `alone` is of the round that has them one at a
time. A match seen again, or lost, counts for the fault that began last before it was.
"""

from __future__ import annotations

import os
import platform
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tests.torture.campaign import Done, Result
from tests.torture.schedule import KINDS
from tests.torture.workers import END_S

#: The round that has its faults one at a time.
ALONE = "one at a time"


@dataclass(slots=True)
class Row:
    """A kind of fault."""

    kind: str
    what: str
    times: int
    lost: int
    repeats: int
    pause_alone_s: float | None
    pause_s: float | None


def rows(result: Result) -> list[Row]:
    """One for each kind that was done."""
    evidence = result.evidence
    sent_s_of = evidence[0].read_sent_s
    # A read that was told on the original and on a copy has waited until the first of them.
    seen_s_of: dict[str, float] = {}
    for each in evidence:
        for name, matches in each.matches_of.items():
            first_s = min(seen_s for match in matches for seen_s in match.seen_s)
            seen_s_of.setdefault(name, first_s)
    waits = sorted(
        (sent_s, seen_s - sent_s)
        for name, seen_s in seen_s_of.items()
        if (sent_s := sent_s_of.get(name)) is not None
    )
    done = sorted((each for each in result.done if each.had_effect), key=lambda each: each.began_s)
    repeated = (
        at
        for each in evidence
        for match in each.matches.values()
        if match.read not in result.findings.sent_twice
        for at in match.seen_s[1:]
    )
    repeats = _blamed(done, repeated)
    lost = _blamed(done, (sent_s_of[name] for name in result.findings.lost_reads))
    made = []
    for kind, of_kind in KINDS.items():
        own = [each for each in done if each.fault.kind == kind]
        if not own:
            continue
        made.append(
            Row(
                kind,
                of_kind.does,
                len(own),
                lost[kind],
                repeats[kind],
                _longest(waits, (each for each in own if each.round_name == ALONE)),
                _longest(waits, (each for each in own if each.round_name != ALONE)),
            )
        )
    return made


def _blamed(done: list[Done], times_s: Iterable[float]) -> Counter[str]:
    """How many of these times come after the beginning of a fault of each kind, and before that
    of the next."""
    begins = [each.began_s for each in done]
    found: Counter[str] = Counter()
    for at_s in times_s:
        number = bisect_right(begins, at_s)
        found[done[number - 1].fault.kind if number else "none"] += 1
    return found


def _longest(waits: list[tuple[float, float]], own: Iterable[Done]) -> float | None:
    longest = None
    for each in own:
        first = bisect_left(waits, (each.began_s - 1, 0.0))
        behind = bisect_right(waits, (each.ended_s + 1, 0.0))
        for _, wait_s in waits[first:behind]:
            longest = wait_s if longest is None else max(longest, wait_s)
    return longest


def table(result: Result) -> str:
    """The table in Markdown."""
    found = rows(result)
    lines = [
        "| fault | times | lost | doubled | longest pause alone | in a storm |",
        "|---|---|---|---|---|---|",
        *(
            f"| {row.what} | {row.times} | {row.lost} | {row.repeats} "
            f"| {seconds(row.pause_alone_s)} | {seconds(row.pause_s)} |"
            for row in found
        ),
    ]
    times = sum(row.times for row in found)
    findings = result.findings
    lines.append(
        f"| **all** | **{times}** | **{len(findings.lost_reads)}** | **{findings.repeats}** | | |"
    )
    return "\n".join(lines)


def summary(result: Result) -> Iterator[str]:
    """What else there is to say, a line each."""
    plan, findings = result.plan, result.findings
    yield (
        f"{plan.delivery}, seed {plan.seed}: {findings.reads:,} reads, "
        f"{findings.matches:,} different matches, in {result.took_s:.0f} s"
    )
    yield (
        f"lists: {_counted(result.changes)}; {findings.churn_reads:,} reads of what changed, "
        f"{findings.churn_certain:,} of them could come to one thing only"
    )
    yield (
        f"oldest revision that matched: {findings.oldest_revision_s:.1f} s out of force; "
        f"{findings.second_ids} reads matched by two revisions; "
        f"{findings.folded:,} reads to be folded, {findings.unfolded} of them matched all the same"
    )
    yield f"full disk: {result.disk}; sessions of {plan.session_s:g} s; audit: {result.audit}"
    yield (
        f"copies of the topics: {len(result.evidence) - 1}; reads that matched on the original and "
        f"on a copy: {findings.told_again}"
    )
    yield f"reads that the campaign's own producer sent twice: {len(findings.sent_twice)}"
    yield f"workers that SIGTERM did not end in {END_S:g} s: {result.forced_ends}"
    for error, count in result.errors.most_common():
        yield f"started again {count} times after: {error}"


def as_json(result: Result) -> dict[str, Any]:
    """Everything of it that is worth keeping."""
    findings = asdict(result.findings)
    for names in ("lost_reads", "sent_twice"):
        findings[names] = sorted(findings[names])
    return {
        "plan": asdict(result.plan),
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "disk": result.disk,
        "faults": [asdict(row) for row in rows(result)],
        "changes": result.changes,
        "started_again": dict(result.errors),
        "forced_ends": result.forced_ends,
        "audit": result.audit,
        "findings": findings,
        "took_s": round(result.took_s, 1),
        "is_whole": result.is_whole,
    }


def seconds(value: float | None) -> str:
    """Return a duration in seconds, empty if there is none."""
    return "" if value is None else f"{value:.1f} s"


def _counted(counts: Mapping[str, int]) -> str:
    words = {
        "plain": "single changes",
        "commit": "transactions",
        "abort": "aborted",
        "leave": "left open and fenced off",
    }
    return ", ".join(f"{count:,} {words[how]}" for how, count in counts.items())
