"""The partitions that a worker owns, assigned all together or one by one, drained and revoked.

Belongs to the event loop of the Faust app.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Set
from typing import Protocol

from faust.types import TP

from engine.transport.assignment import Assignment, Assignments
from engine.transport.batch_topics import BatchTopics


class Keeper(Protocol):
    """The consumer, as far as single partitions are concerned."""

    def route(self, partitions: Set[TP]) -> None:
        """Let messages of partitions reach their agent."""

    async def drain(self, partitions: Set[TP]) -> None:
        """Wait, for a bounded time, until what has begun of partitions is done; commit it."""

    def drop(self, partitions: Iterable[TP]) -> None:
        """Drop the offsets of partitions."""

    async def reassign(self, partition: int) -> None:
        """Ask the group to assign a partition of the reads again."""

    def on_ready(self) -> None:
        """Partitions are ready that were not."""

    def failed(self, error: BaseException) -> None:
        """End the worker."""


class Holdings:
    """See the module. `assignments` are those since all partitions were revoked last."""

    def __init__(self, topics: BatchTopics, keeper: Keeper) -> None:
        self._topics = topics
        self._keeper = keeper
        self._generation = -1
        self._removing: set[asyncio.Task[None]] = set()
        self.assignments = Assignments(-1)

    def begin(self, partitions: Set[TP], generation: int) -> None:
        """Take over partitions after all were revoked."""
        self.assignments.end(self.assignments.partitions())
        self.assignments = Assignments(generation)
        self._add(partitions, generation)

    async def add(self, partitions: Set[TP], generation: int) -> None:
        """Take over partitions besides those that are owned."""
        with self._failing():
            self._add(partitions, generation)
            self._keeper.route(partitions)

    async def remove(self, partitions: Set[TP], generation: int) -> None:
        """Drain, commit and revoke partitions, while the others go on. A caller that is cancelled
        does not stop it."""
        self._generation = generation
        self.assignments.drain(self._reads_in(partitions))
        removing = asyncio.create_task(self._remove(partitions))
        self._removing.add(removing)
        removing.add_done_callback(self._removing.discard)
        await asyncio.shield(removing)

    async def lose(self) -> None:
        """Do nothing more for any partition, because they may be another worker's."""
        self.assignments.lose()

    async def revoke_all(self, partitions: Set[TP]) -> None:
        """Revoke everything, after what has begun is done."""
        await asyncio.gather(*self._removing)
        with self._failing():
            await self._revoke(self.assignments.partitions())
        self._keeper.drop(partitions)

    def _add(self, partitions: Set[TP], generation: int) -> None:
        self._generation = generation
        assignment = Assignment(generation, self._keeper.reassign, self._keeper.on_ready)
        self._keeper.drop(partitions)  # what was still on its way when they were revoked
        reads = self._reads_in(partitions)
        self.assignments.add(assignment, reads)
        self._topics.on_assigned(assignment, reads)

    async def _remove(self, partitions: Set[TP]) -> None:
        with self._failing():
            await self._keeper.drain(partitions)
            await self._revoke(self._reads_in(partitions))
            self._keeper.drop(partitions)

    async def _revoke(self, partitions: Iterable[int]) -> None:
        for assignment, of_it in self.assignments.end(partitions).items():
            # No other worker has had them in this generation.
            assignment.generation = self._generation
            await self._topics.on_revoked(assignment, of_it)

    def _reads_in(self, partitions: Iterable[TP]) -> list[int]:
        return [tp.partition for tp in partitions if tp.topic in self._topics.names]

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """End the worker on an error: aiokafka only logs it."""
        try:
            yield
        except Exception as error:
            self._keeper.failed(error)
            raise
