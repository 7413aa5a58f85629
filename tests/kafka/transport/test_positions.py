"""A worker begins where the group has committed nothing at the beginning, whatever is shared out
meanwhile: some of the trials that `tests.kafka.position_trials` makes many of."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.kafka.position_trials import (
    DELIVERIES,
    KINDS,
    Lost,
    Outcome,
    Plan,
    Read,
    judged,
    summary,
    trials,
)

SEED = 20261127
#: Of each kind and delivery; with both deliveries at once.
TRIALS = 1


@pytest.mark.parametrize("kind", KINDS)
async def test_no_read_is_passed_over(real_kafka: str, tmp_path: Path, kind: str) -> None:
    plans = [
        Plan(kind, delivery, SEED, number) for delivery in DELIVERIES for number in range(TRIALS)
    ]
    outcomes = await trials(real_kafka, plans, tmp_path, at_once=len(DELIVERIES))
    said = "\n".join(f"{plan}: {outcome}" for plan, outcome in outcomes.items())
    assert all(outcome.is_good for outcome in outcomes.values()), said
    # It must have had something to find.
    assert all(outcome.expected > 500 for outcome in outcomes.values()), said


# ---- the judge finds what is planted


READS = [
    Read(partition, offset, f"{partition}-{offset}") for partition in (0, 1) for offset in (2, 5)
]
ALL = Counter(read.match_id for read in READS)
ENDS = {0: 6, 1: 6}


def test_a_good_trial() -> None:
    outcome = judged(READS, ALL, ENDS, ENDS, is_exactly_once=True)
    assert outcome.is_good
    assert (outcome.reads, outcome.expected) == (12, 4)


def test_it_finds_what_is_lost() -> None:
    found = ALL - Counter(["1-2", "1-5"])
    outcome = judged(READS, found, ENDS, ENDS, is_exactly_once=False)
    assert outcome.lost == {1: Lost(2, 2, 5)}
    assert list(outcome.problems()) == ["partition 1: 2 lost, from offset 2 to 5"]


def test_it_tells_what_is_not_read_from_what_is_lost() -> None:
    found = ALL - Counter(["1-2", "1-5"])
    for committed in ({0: 6}, {0: 6, 1: 2}):
        outcome = judged(READS, found, committed, ENDS, is_exactly_once=False)
        assert outcome.lost == {}
        assert outcome.unread == {1: (committed.get(1, 0), 6)}
        assert not outcome.is_good


def test_it_finds_what_is_doubled_where_none_may_be() -> None:
    found = ALL + Counter(["0-5"])
    assert judged(READS, found, ENDS, ENDS, is_exactly_once=False).is_good
    outcome = judged(READS, found, ENDS, ENDS, is_exactly_once=True)
    assert outcome.doubled == 1
    assert "1 doubled" in summary([outcome, Outcome()])
