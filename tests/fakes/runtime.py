"""What the parts of a worker are given, without a worker: no broker, no thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from engine.clock import Clock, SystemClock
from engine.kafka.cluster import Cluster
from engine.kafka.topics import Topics
from engine.observability.metrics import Metrics
from engine.tasks import Supervisor
from engine.transport.runtime import Runtime

T = TypeVar("T")

#: A cluster at which nothing listens.
CLUSTER = Cluster("localhost:1", Topics("lpr."), "group")


class Failures(Supervisor):
    """Notes what fails, and ends nothing."""

    def __init__(self, failures: list[BaseException]) -> None:
        super().__init__()
        self._failures = failures

    def fail(self, error: BaseException) -> None:
        self._failures.append(error)


class InTurn:
    """Calls functions in the event loop, when other tasks have had their turn."""

    async def call(self, function: Callable[[], T]) -> T:
        await asyncio.sleep(0)
        return function()

    change = match = call

    def apply_changes(self, before: Callable[[], None]) -> bool:
        """None wait: no other task has its turn meanwhile."""
        return False


def runtime_of(failures: list[BaseException], clock: Clock | None = None) -> Runtime:
    """A runtime of `CLUSTER`; failures go into the list."""
    return Runtime(CLUSTER, clock or SystemClock(), Metrics(), Failures(failures), InTurn())
