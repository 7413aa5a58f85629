"""`engine.transport.runtime`: what runs on the matcher thread, and in which order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial

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

    async def answers(self, *calls: Coroutine[None, None, str]) -> list[str]:
        """The answers of calls that all wait before the thread goes on."""
        waiting = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(0)
        self.go.set()
        return await asyncio.gather(*waiting)

    def wait(self) -> None:
        self.ran.append("first fetch")
        assert self.go.wait(60)

    def wait_between_two_groups(self) -> None:
        self.wait()
        assert self.thread.apply_changes(lambda: self.ran.append("stopped"))
        self.ran.append("its second group")
        assert not self.thread.apply_changes(lambda: self.ran.append("stopped again"))


@asynccontextmanager
async def held_up(fetch: Callable[[Here], None] = Here.wait) -> AsyncIterator[Here]:
    here = Here()
    first = asyncio.create_task(here.thread.match(partial(fetch, here)))
    async with asyncio.timeout(60):
        while not here.ran:
            await asyncio.sleep(0.001)
        yield here
        here.go.set()
        await first
    here.thread.close()


async def test_a_short_call_goes_before_the_fetches_that_wait() -> None:
    async with held_up() as here:
        answers = await here.answers(
            here.thread.match(here.note("second fetch")),
            here.thread.match(here.note("third fetch")),
            here.thread.call(here.note("call")),
            here.thread.call(here.note("another call")),
            here.thread.change(here.note("change")),
        )
    assert answers == ["second fetch", "third fetch", "call", "another call", "change"]
    assert here.ran == [
        *("first fetch", "change", "call", "another call", "second fetch", "third fetch"),
    ]


async def test_only_a_change_of_the_lists_goes_between_two_groups_of_a_fetch() -> None:
    """The other calls use what belongs to the fetch until it is matched: the suppression state
    that it changes, and the buffers."""
    async with held_up(Here.wait_between_two_groups) as here:
        await here.answers(
            here.thread.call(here.note("call")),
            here.thread.change(here.note("change")),
            here.thread.change(here.note("another change")),
        )
    assert here.ran == [
        *("first fetch", "stopped", "change", "another change", "its second group", "call"),
    ]


@pytest.mark.parametrize("way", ["change", "call", "match"])
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
    for call in (thread.change, thread.call, thread.match):
        with pytest.raises(ValueError, match="of no use"):
            await call(fail)
    thread.close()
