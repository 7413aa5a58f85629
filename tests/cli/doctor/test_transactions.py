"""What the doctor makes of partitions that open transactions hold back."""

from __future__ import annotations

import pytest

from engine import limits
from engine.cli.doctor.transactions import judge_transactions
from engine.kafka.open_transactions import OpenTransaction
from engine.observability.held_back import HeldBack

NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("started_ms", "state"),
    [
        (NOW_MS - 1000, "warning"),
        (NOW_MS - int(1000 * limits.STUCK_S) - 1, "problem"),
        (None, "warning"),  # the brokers do not tell it
    ],
)
def test_the_older_it_is_the_worse(started_ms: int | None, state: str) -> None:
    holder = OpenTransaction(4711, 3, NOW_MS - 1000, "feed", started_ms)
    [found] = judge_transactions({("t", 1): HeldBack(3, 1200, 0.0, (holder,))}, NOW_MS)
    assert (found.check, found.state) == ("transactions", state)
    assert found.what.startswith(
        "t/1: 1,200 records wait from offset 3 on: an open transaction of producer 4711 (feed)"
    )
    assert "--topic t --partition 1 --start-offset 3" in found.todo


def test_brokers_that_name_no_producer() -> None:
    [found] = judge_transactions({("t", 1): HeldBack(3, 1, 0.0, ())}, NOW_MS)
    assert found.state == "warning"
    assert "a producer that the brokers do not name" in found.what


def test_none() -> None:
    assert [each.state for each in judge_transactions({}, NOW_MS)] == ["ok"]
