"""`engine.tasks`: what is awaited while a supervisor may end."""

from __future__ import annotations

import asyncio

import pytest

from engine.tasks import StoppedError, Supervisor
from tests.fakes.event_loop import tasks_made


async def _answer() -> str:
    return "answer"


async def _nothing() -> str:
    await asyncio.Event().wait()
    return "too late"


async def test_what_has_nothing_to_wait_for_takes_no_further_task() -> None:
    waiting = asyncio.ensure_future(_answer())
    with tasks_made() as made:
        assert await Supervisor().comes_in_time(waiting)
    assert waiting.result() == "answer"
    assert not made


async def test_what_does_not_come_in_time_is_cancelled() -> None:
    tasks, waiting = Supervisor(), asyncio.ensure_future(_nothing())
    coming = asyncio.create_task(tasks.comes_in_time(waiting))
    await asyncio.sleep(0)
    tasks.stop()
    assert not await coming
    assert waiting.cancelled()


async def test_a_supervisor_that_has_ended_waits_for_nothing() -> None:
    tasks = Supervisor()
    tasks.stop()
    with pytest.raises(StoppedError):
        await tasks.unless_ended(_nothing())
    assert await tasks.unless_ended(_answer()) == "answer"
