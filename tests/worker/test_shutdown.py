"""The end of a worker: every step has its turn, and none holds the others up for long."""

from __future__ import annotations

import asyncio
import logging

import pytest

from engine import limits
from engine.worker.shutdown import Shutdown


async def test_a_step_is_waited_for() -> None:
    done = []

    async def step() -> None:
        await asyncio.sleep(0.01)
        done.append(True)

    await Shutdown().step("it", step)
    assert done


async def test_what_a_step_raises_is_raised() -> None:
    async def step() -> None:
        raise ValueError("it")

    with pytest.raises(ValueError, match="it"):
        await Shutdown().step("it", step)


async def test_a_step_that_is_cancelled_from_within_is_done() -> None:
    """As aiokafka's stop is, when it awaits a task of its own that it has cancelled."""

    async def step() -> None:
        raise asyncio.CancelledError

    await Shutdown().step("it", step)


async def test_all_steps_together_have_their_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that hangs is given up and said; those after it have a little time all the same."""
    monkeypatch.setattr(limits, "END_S", 0.02)
    monkeypatch.setattr(limits, "END_STEP_S", 0.01)
    cancelled, done = [], []

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def is_quick() -> None:
        done.append(True)

    end = Shutdown()
    with caplog.at_level(logging.WARNING, "engine.worker.shutdown"):
        await end.step("the first", hangs)
        await end.step("the second", hangs)
        await end.step("the third", is_quick)
    await asyncio.sleep(0)
    assert (len(cancelled), len(done)) == (2, 1)
    assert [record.getMessage() for record in caplog.records] == [
        "stopping: gave up waiting for the first",
        "stopping: gave up waiting for the second",
    ]
