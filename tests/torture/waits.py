"""Waits with a bound: each says what it waited for, so that no campaign hangs without a word."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

#: What a client's start, its end or one request may take.
CLIENT_S = 30.0

_Result = TypeVar("_Result")


class StuckError(Exception):
    """Something in the campaign itself, and not in a worker, took longer than it ever may."""


@asynccontextmanager
async def within(seconds: float, what: str) -> AsyncIterator[None]:
    """Bound what is waited for in the block; raises StuckError, which says what."""
    scope = asyncio.timeout(seconds)
    try:
        async with scope:
            yield
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise StuckError(f"not within {seconds:g} s: {what}") from error


async def bounded(awaited: Awaitable[_Result], seconds: float, what: str) -> _Result:
    """Wait for something for so long; raises StuckError, which says what."""
    async with within(seconds, what):
        return await awaited


async def has_come(event: asyncio.Event, seconds: float) -> bool:
    """Whether an event comes within a time."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def cancelled(task: asyncio.Task[None], what: str) -> None:
    """Cancel a task and wait for its end; what ended it before is raised."""
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=CLIENT_S)
    if not done:
        raise StuckError(f"not within {CLIENT_S:g} s: the end of {what}")
    with contextlib.suppress(asyncio.CancelledError):
        task.result()
