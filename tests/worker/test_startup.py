"""What a worker waits for before it takes reads."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from engine import limits
from engine.worker.startup import enough_entries


async def test_reads_wait_until_so_many_entries_are_listed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A hot list topic that was made again is empty, and reads would pass without a match."""
    monkeypatch.setattr(limits, "RETRY_PAUSE_S", 0.01)
    lists: Any = SimpleNamespace(index=[])
    health: Any = SimpleNamespace(stage="joining the consumer group")
    with caplog.at_level(logging.WARNING):
        waiting = asyncio.create_task(enough_entries(2, lists, health))
        reason = "0 entries are listed, and --require-entries asks for 2"
        async with asyncio.timeout(30):
            while health.stage != reason:
                await asyncio.sleep(0)
            lists.index.append("one")
            while not health.stage.startswith("1 "):
                await asyncio.sleep(0)
            assert not waiting.done()
            lists.index.append("another")
            await waiting
    assert health.stage == "joining the consumer group"
    assert [each.getMessage() for each in caplog.records] == [f"no reads are taken yet: {reason}"]


async def test_none_is_required_by_default() -> None:
    health: Any = SimpleNamespace(stage="joining the consumer group")
    await enough_entries(0, SimpleNamespace(index=[]), health)  # type: ignore[arg-type]
    assert health.stage == "joining the consumer group"
