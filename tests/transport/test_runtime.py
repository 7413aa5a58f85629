"""`engine.transport.runtime`: what runs on the matcher thread, and in which order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from engine.observability.metrics import Metrics
from engine.observability.stall_monitor import Watching
from engine.transport.runtime import MatcherThread


class Here:
    """A matcher thread that is held up until `go`, and what ran on it."""

    def __init__(self) -> None:
        self.thread = MatcherThread(Watching("reads", Metrics()))
        self.go = threading.Event()
        self.ran: list[str] = []

    def note(self, what: str) -> Callable[[], str]:
        def run() -> str:
            self.ran.append(what)
            return what

        return run

    def wait(self) -> None:
        self.ran.append("first fetch")
        assert self.go.wait(60)


@asynccontextmanager
async def held_up() -> AsyncIterator[Here]:
    here = Here()
    first = asyncio.create_task(here.thread.match(here.wait))
    async with asyncio.timeout(60):
        while not here.ran:
            await asyncio.sleep(0.001)
        yield here
        here.go.set()
        await first
    here.thread.close()


async def test_a_change_of_the_lists_goes_before_the_fetches_that_wait() -> None:
    async with held_up() as here:
        calls = [
            asyncio.create_task(call)
            for call in (
                here.thread.match(here.note("second fetch")),
                here.thread.match(here.note("third fetch")),
                here.thread.call(here.note("change")),
                here.thread.call(here.note("another change")),
            )
        ]
        await asyncio.sleep(0)
        here.go.set()
        answers = await asyncio.gather(*calls)
    assert answers == ["second fetch", "third fetch", "change", "another change"]
    assert here.ran == ["first fetch", "change", "another change", "second fetch", "third fetch"]


@pytest.mark.parametrize("way", ["call", "match"])
async def test_what_is_cancelled_while_it_waits_does_not_run(way: str) -> None:
    async with held_up() as here:
        call = asyncio.create_task(getattr(here.thread, way)(here.note("cancelled")))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert here.ran == ["first fetch"]


async def test_a_failure_is_the_callers() -> None:
    def fail() -> None:
        raise ValueError("of no use")

    thread = MatcherThread(Watching("reads", Metrics()))
    for call in (thread.call, thread.match):
        with pytest.raises(ValueError, match="of no use"):
            await call(fail)
    thread.close()
