"""What a worker waits for before it takes reads."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from engine import limits
from engine.audit.pending_changes import Listed
from engine.config import Settings
from engine.kafka.topics import Topics
from engine.worker.startup import enough_entries, introduce, report_lists


def test_the_limits_have_units_that_people_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Below a MiB it was "0 MiB a fetch of a partition"."""
    monkeypatch.setattr(limits, "FETCH_PARTITION_BYTES", 512 * limits.KIB)
    with caplog.at_level(logging.INFO):
        introduce(Settings(), Topics("lpr."), 9108)
    line = caplog.messages[1]
    expected = "limits: 64 KiB a read, 512 KiB a fetch of a partition, 64 MiB a batch unpacked, "
    assert line.startswith(expected)


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


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (None, Listed(0, 0), []),
        (Listed(1000, 2), Listed(500, 1), []),
        (Listed(0, 0), Listed(0, 0), []),
        (
            Listed(1_000_000, 12),
            Listed(499_999, 12),
            ["499,999 entries are listed, and 1,000,000 were when a worker last audited the lists"],
        ),
        (
            Listed(3, 12),
            Listed(1, 0),
            [
                "1 entries are listed, and 3 were when a worker last audited the lists",
                "0 policies are set, and 12 were when a worker last audited the lists",
            ],
        ),
    ],
)
def test_lists_that_have_shrunk_by_half_since_the_last_worker_are_reported(
    before: Listed | None, now: Listed, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    index, eligibility = ["an entry"] * 3, SimpleNamespace(policy_count=2)
    lists: Any = SimpleNamespace(index=index, eligibility=eligibility, refused_count=0, loaded=now)
    with caplog.at_level(logging.WARNING):
        report_lists(lists, before, 1.5)
    assert [each.getMessage().partition(";")[0] for each in caplog.records] == said
