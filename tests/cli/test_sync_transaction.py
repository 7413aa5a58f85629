"""`engine.cli.entries.sync_transaction`: for how long the transaction of a sync may be open."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engine import limits
from engine.cli.entries.sync_transaction import longest_s
from engine.config import Settings
from engine.kafka import transaction_time


@pytest.mark.parametrize(
    ("count", "allowed_s", "open_s", "said"),
    [
        (200, None, 120, ""),
        (1_000, 900, 500, "1,000 changes are sent in one transaction"),
        (
            9_000,
            900,
            900,
            (
                "warning: 9,000 changes may need a transaction of 1 h 15 min, and the brokers "
                "allow 15 min (transaction.max.timeout.ms); if it takes longer, run hotlist "
                "entries import with the file first"
            ),
        ),
    ],
)
async def test_many_changes_may_take_as_long_as_the_brokers_allow(
    count: int,
    allowed_s: float | None,
    open_s: float,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def allowed(cluster: object) -> float:
        assert allowed_s is not None, "a small sync asks nothing"
        return allowed_s

    monkeypatch.setattr(limits, "TRANSACTION_RECORDS_A_S", 2.0)
    monkeypatch.setattr(transaction_time, "allowed_s", allowed)
    found: Any = SimpleNamespace(count=count)
    assert await longest_s(Settings(), found) == open_s
    errors = capsys.readouterr().err
    assert errors.startswith(said) if said else not errors
