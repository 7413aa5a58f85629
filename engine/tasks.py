"""Background tasks that belong together: the first failure ends all of them.

A `Supervisor` ends by `stop` or by `fail`; the first call counts. It belongs to one event loop, and
can be made before that runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class StoppedError(Exception):
    """The supervisor ended before the awaited result came."""


class Supervisor:
    """The owner of a group of background tasks; see the module."""

    def __init__(self) -> None:
        self._has_ended = asyncio.Event()
        self._failure: BaseException | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it was stopped, or a task has failed."""
        return self._has_ended.is_set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task in the background; its failure ends the supervisor.

        The caller cancels the task, or makes sure that it ends.
        """
        task = asyncio.create_task(work)
        task.add_done_callback(self._on_done)
        return task

    @contextlib.asynccontextmanager
    async def running(self, work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
        """Run a task in the background until the context ends, as `start` does."""
        task = self.start(work)
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def stop(self) -> None:
        """End without an error."""
        self._has_ended.set()

    def fail(self, error: BaseException) -> None:
        """End because of an error, unless it has ended already."""
        if not self._has_ended.is_set():
            self._failure = error
            self._has_ended.set()

    async def ended(self) -> None:
        """Wait for the end. Raises the error that caused it, if there is one."""
        await self._has_ended.wait()
        if self._failure is not None:
            raise self._failure

    async def unless_ended(self, awaited: Awaitable[T]) -> T:
        """Wait for a result; if the supervisor ends first, cancel it.

        Raises then StoppedError, or the error that ended the supervisor.
        """
        waiting = asyncio.ensure_future(awaited)
        if await self.comes_in_time(waiting):
            return waiting.result()
        await self.ended()
        raise StoppedError

    async def comes_in_time(self, waiting: asyncio.Future[Any]) -> bool:
        """Wait for a result. If the supervisor ends first, cancel it and return False."""
        await asyncio.sleep(0)
        if waiting.done():  # what has nothing to wait for is spared two tasks
            return True
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


def retrieve(done: asyncio.Future[Any]) -> None:
    """Count the exception of a future as retrieved, because no one may be awaiting it."""
    if not done.cancelled():
        done.exception()
