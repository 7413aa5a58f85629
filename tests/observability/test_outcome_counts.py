"""Matches and denials of the last hour, and what a newcomer must do next."""

from __future__ import annotations

import pytest

from engine.observability.metrics import Metrics
from engine.observability.outcome_counts import OutcomeHour, Outcomes, next_step


def test_the_last_hour_and_all_before_it() -> None:
    metrics = Metrics()
    hour = OutcomeHour(metrics)
    for minute in range(121):
        hour.sample()
        metrics.matches.labels("exact", "stolen_vehicle").inc()
        if minute == 0:
            metrics.matches.labels("partial", "permit").inc(5)
            metrics.denied.labels("no_policy").inc(3)
    metrics.denied.labels("not_allowed").inc(2)
    matches, denied = hour.counts()
    assert matches == {"exact": (121, 61), "partial": (5, 0)}
    assert denied == {"no_policy": (3, 0), "not_allowed": (2, 2)}


def test_purposes_are_added_up_and_zeros_left_out() -> None:
    metrics = Metrics()
    metrics.matches.labels("exact", "stolen_vehicle").inc(2)
    metrics.matches.labels("exact", "permit").inc(3)
    metrics.denied.labels("no_policy").inc(0)
    assert OutcomeHour(metrics).counts() == ({"exact": (5, 5)}, {})


@pytest.mark.parametrize(
    ("policies", "entries", "reads", "outcomes", "said"),
    [
        (0, 0, 0, Outcomes({}, {}), "Next: hotlist policies set FILE"),
        (1, 0, 0, Outcomes({}, {}), "Next: hotlist entries import FILE"),
        (1, 1, 0, Outcomes({}, {}), "Next: hotlist ingest VENDOR"),
        (1, 1, 9, Outcomes({}, {}), "To check the deployment: hotlist doctor"),
        (1, 1, 9, Outcomes({}, {"no_policy": 2, "not_started": 1}), "because of no_policy. Next: "),
        (1, 1, 9, Outcomes({"exact": 1}, {}), ""),
    ],
)
def test_what_to_do_until_the_first_match(
    policies: int, entries: int, reads: int, outcomes: Outcomes, said: str
) -> None:
    step = next_step(policies, entries, reads, outcomes)
    assert said in step
    assert bool(step) is bool(said)
