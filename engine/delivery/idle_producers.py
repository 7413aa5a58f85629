"""The transactional producers of revoked partitions, in case the partitions come back at once.

An eager rebalance revokes all partitions, and most of them come back. If a partition comes back in
the group's next generation, no other worker has owned it in between: its producer has the id still,
and goes on. After a generation in which this worker was not a member, or in which the partition was
another worker's, the id is claimed again. This saves time, and nothing depends on it: if another
worker has claimed the id in spite of that, the broker rejects the producer that goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import NamedTuple

from engine import limits
from engine.delivery.partition_transactions import Transacts
from engine.transport.assignment import Assignment


class _Idle(NamedTuple):
    """A producer that has nothing open, and the group's generation in which it was used last."""

    sink: Transacts
    generation: int


class IdleProducers:
    """See the module."""

    def __init__(self) -> None:
        self._idle: dict[int, _Idle] = {}
        self._stopping: set[asyncio.Task[None]] = set()

    def keep(self, partition: int, sink: Transacts, assignment: Assignment) -> None:
        """Keep a producer whose partition is revoked with this assignment, as long as a rebalance
        may take."""
        idle = self._idle[partition] = _Idle(sink, assignment.generation)
        loop = asyncio.get_running_loop()
        loop.call_later(limits.REBALANCE_S, self._stop_if_idle, partition, idle)

    def take(self, partition: int) -> Transacts | None:
        """Return the producer of a partition that has come back; None if there is none."""
        idle = self._idle.pop(partition, None)
        return None if idle is None else idle.sink

    def on_assigned(self, assignment: Assignment, partitions: Collection[int]) -> None:
        """Stop the producers of all partitions that may have had another owner since."""
        for partition, idle in [*self._idle.items()]:
            is_next = assignment.generation == idle.generation + 1
            if not is_next or partition not in partitions:
                self._stop(partition)

    async def stop(self) -> None:
        """Stop all of them."""
        for partition in [*self._idle]:
            self._stop(partition)
        await asyncio.gather(*self._stopping, return_exceptions=True)

    def _stop_if_idle(self, partition: int, idle: _Idle) -> None:
        if self._idle.get(partition) is idle:
            self._stop(partition)

    def _stop(self, partition: int) -> None:
        task = asyncio.create_task(self._idle.pop(partition).sink.stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)
