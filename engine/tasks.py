"""Background tasks that belong together: the first failure of one ends them all.

A `Supervisor` is told to `stop`, or of a failure by `fail`; whichever comes first counts. It is
used from one event loop, and can be made before that runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class StoppedError(Exception):
    """The end came before what was waited for."""


class Supervisor:
    """See the module."""

    def __init__(self) -> None:
        self._has_ended = asyncio.Event()
        self._failure: BaseException | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it was stopped, or something has failed."""
        return self._has_ended.is_set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something in the background; its failure is everyone's. Whoever starts it cancels
        it, or sees to it that it ends."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._on_done)
        return task

    @contextlib.asynccontextmanager
    async def running(self, work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
        """As `start`, for as long as the context lasts."""
        task = self.start(work)
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def stop(self) -> None:
        """End in order."""
        self._has_ended.set()

    def fail(self, error: BaseException) -> None:
        """End because of an error, unless the end has come already."""
        if not self._has_ended.is_set():
            self._failure = error
            self._has_ended.set()

    async def ended(self) -> None:
        """Wait for the end. Raises what failed."""
        await self._has_ended.wait()
        if self._failure is not None:
            raise self._failure

    async def unless_ended(self, awaited: Awaitable[T]) -> T:
        """Wait for something; at the end it is cancelled. Raises StoppedError then, or what
        failed."""
        waiting = asyncio.ensure_future(awaited)
        if await self.comes_in_time(waiting):
            return waiting.result()
        await self.ended()
        raise StoppedError

    async def comes_in_time(self, waiting: asyncio.Future[Any]) -> bool:
        """Wait for something; False if the end came first, and it is cancelled."""
        ending = asyncio.ensure_future(self._has_ended.wait())
        try:
            await asyncio.wait({waiting, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
        if waiting.done():
            return True
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return False

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)
