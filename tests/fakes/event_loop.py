"""The event loop, as far as tests drive it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


async def settle() -> None:
    """Let tasks go on as far as they can without an answer from outside."""
    for _ in range(50):
        await asyncio.sleep(0)


@contextmanager
def tasks_made() -> Iterator[list[Any]]:
    """Note the coroutines of which tasks are made meanwhile."""
    loop = asyncio.get_running_loop()
    made: list[Any] = []

    def make(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(coro)
        return asyncio.Task(coro, loop=loop, **options)

    loop.set_task_factory(make)
    try:
        yield made
    finally:
        loop.set_task_factory(None)
