"""What every part of a worker needs.

That is the cluster, the clock, the metrics, the background tasks and the thread that matches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from engine.clock import Clock
from engine.kafka.cluster import Cluster
from engine.observability.metrics import Metrics
from engine.observability.stall_monitor import Watching
from engine.tasks import Supervisor

T = TypeVar("T")


class Calls(Protocol):
    """Calls functions on the matcher thread, one after the other."""

    async def call(self, function: Callable[[], T]) -> T: ...


class MatcherThread:
    """The only thread that uses the lists and the suppression state."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="matcher")

    async def call(self, function: Callable[[], T]) -> T:
        """Call a function on the thread when its turn comes; return or raise its result."""

        def watched() -> T:
            with self._watching.in_matcher():
                return function()

        return await asyncio.get_running_loop().run_in_executor(self._executor, watched)

    def close(self) -> None:
        """Wait for the calls so far, and end the thread."""
        self._executor.shutdown()


@dataclass(frozen=True, slots=True)
class Runtime:
    """See the module."""

    cluster: Cluster
    clock: Clock
    metrics: Metrics
    tasks: Supervisor
    matcher_thread: Calls
