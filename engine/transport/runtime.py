"""What every part of a worker needs.

That is the cluster, the clock, the metrics, the background tasks and the thread that matches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from queue import PriorityQueue
from typing import Protocol, TypeVar

from engine.clock import Clock
from engine.kafka.cluster import Cluster
from engine.observability.metrics import Metrics
from engine.observability.stall_monitor import Watching
from engine.tasks import Supervisor

T = TypeVar("T")

#: What goes first on the matcher thread has the lower rank.
_CHANGE, _SHORT, _FETCH = range(3)


class Calls(Protocol):
    """Calls functions on the matcher thread, one after the other."""

    async def change(self, function: Callable[[], T]) -> T: ...
    async def call(self, function: Callable[[], T]) -> T: ...
    async def match(self, function: Callable[[], T]) -> T: ...
    def apply_changes(self, before: Callable[[], None]) -> bool: ...


class MatcherThread:
    """The only thread that uses the lists and the suppression state.

    A fetch may take long to match, and another one may wait behind it. Everything else is short and
    goes before the fetches that wait. A change of the lists does not wait for the end of the fetch
    that is being matched either: it takes effect on the rest of it.
    """

    def __init__(self, watching: Watching) -> None:
        self._watching = watching
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="matcher")
        self._waiting: PriorityQueue[tuple[int, int, Callable[[], None]]] = PriorityQueue()
        self._numbers = count()

    async def change(self, function: Callable[[], T]) -> T:
        """Call a short function that changes the lists; return or raise its result.

        A fetch may be half matched, so it may change neither the suppression state nor the
        matcher's buffers.
        """
        return await self._run(_CHANGE, function)

    async def call(self, function: Callable[[], T]) -> T:
        """Call a short function between two fetches, before those that wait; return or raise its
        result."""
        return await self._run(_SHORT, function)

    async def match(self, function: Callable[[], T]) -> T:
        """Call a function that matches a fetch, when its turn comes; return or raise its result."""
        return await self._run(_FETCH, function)

    def apply_changes(self, before: Callable[[], None]) -> bool:
        """Make the changes of the lists that wait, on the thread, and return whether there were
        any; call `before` first if so. What matches a fetch calls it between two groups of
        batches."""
        is_changed = False
        while (waiting := self._waiting.queue) and waiting[0][0] == _CHANGE:
            if not is_changed:
                before()
            self._run_first()
            is_changed = True
        return is_changed

    def close(self) -> None:
        """Wait for the calls so far, and end the thread."""
        self._executor.shutdown()

    async def _run(self, rank: int, function: Callable[[], T]) -> T:
        answer: Future[T] = Future()

        def run() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                with self._watching.in_matcher():
                    answer.set_result(function())
            except BaseException as error:  # noqa: BLE001 - the caller's, as executors do
                answer.set_exception(error)

        self._waiting.put((rank, next(self._numbers), run))
        self._executor.submit(self._run_first)
        return await asyncio.wrap_future(answer)

    def _run_first(self) -> None:
        """Run the first of those that wait. The executor calls this once for each of them, and
        finds none if `apply_changes` was before it."""
        if not self._waiting.empty():
            _, _, run = self._waiting.get_nowait()
            run()


@dataclass(frozen=True, slots=True)
class Runtime:
    """See the module."""

    cluster: Cluster
    clock: Clock
    metrics: Metrics
    tasks: Supervisor
    matcher_thread: Calls
