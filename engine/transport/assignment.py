"""Assignments of partitions of the reads, each partition from "assigned" to "revoked".

An assignment has the partitions that were assigned to this worker together. They are revoked
together in an eager rebalance, and one by one in a cooperative one. The assignment holds whatever
belongs to a partition only while this worker owns it. A partition that comes back gets a new
assignment, which starts empty. Each fetch carries the assignment under which it was fetched, and
only that decides whether the fetch is still ours.

Belongs to the event loop of the Faust app.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

log = logging.getLogger(__name__)

H = TypeVar("H")


class Assignment:
    """See the module. `generation` is the group's; `reassign` asks the group to assign a
    partition again. `on_ready` is called after each `set_ready`."""

    def __init__(
        self,
        generation: int,
        reassign: Callable[[int], Awaitable[None]],
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.generation = generation
        #: The partitions whose reads may be fetched. Replaced whole, because the consumer thread
        #: reads it too.
        self.ready: frozenset[int] = frozenset()
        self._reassign = reassign
        self._on_ready = on_ready
        self._has_ended = False
        self._draining: set[int] = set()
        self._ended: set[int] = set()
        self._held: dict[type, dict[int, Any]] = {}
        self._asking: dict[int, asyncio.Future[None]] = {}

    def owns(self, partition: int) -> bool:
        """Return whether a partition of it is still assigned to this worker."""
        return not self._has_ended and partition not in self._ended

    def may_begin(self, partition: int) -> bool:
        """Return whether fetches of a partition may still begin."""
        return self.owns(partition) and partition not in self._draining

    def drain(self, partitions: Iterable[int]) -> None:
        """Begin no more fetches of partitions: they are revoked when those in flight are done."""
        self._draining.update(partitions)
        self.ready -= self._draining

    def end(self, partitions: Iterable[int] | None = None) -> None:
        """Mark partitions as revoked, or all of them. Their state stays until its owner drops
        it."""
        if partitions is None:
            self._has_ended = True
            self.ready = frozenset()
        else:
            self._ended.update(partitions)
            self.ready -= self._ended

    def set_ready(self, partition: int) -> None:
        """Let the reads of a partition be fetched. Until then they stay with the broker, so that
        they hold up no other partition's."""
        if self.may_begin(partition):
            self.ready |= {partition}
            self._on_ready()

    def held(self, partition: int, kind: type[H]) -> H:
        """Return the state of this kind for a partition; create it on first use."""
        by_partition: dict[int, H] = self._held.setdefault(kind, {})
        if partition not in by_partition:
            by_partition[partition] = kind()
        return by_partition[partition]

    def all_held(self, kind: type[H]) -> Mapping[int, H]:
        """Return all state of this kind, by partition."""
        return self._held.get(kind, {})

    def ask_to_reassign(self, partition: int) -> None:
        """Ask the group, once, to assign a partition again, perhaps to this worker."""
        if partition not in self._asking:
            asking = self._asking[partition] = asyncio.ensure_future(self._reassign(partition))
            asking.add_done_callback(_on_asked)


class Assignments:
    """The assignments of a worker between two revocations of all that it has, by partition.

    `generation` is that of the group in which they began.
    """

    def __init__(self, generation: int) -> None:
        self.generation = generation
        #: Replaced whole, because the consumer thread reads it too.
        self._of: Mapping[int, Assignment] = {}

    def of(self, partition: int) -> Assignment | None:
        """Return the assignment of a partition; None if this worker does not own it."""
        return self._of.get(partition)

    def partitions(self) -> frozenset[int]:
        """The partitions that this worker owns, those that are draining included."""
        return frozenset(self._of)

    def ready(self) -> frozenset[int]:
        """The partitions whose reads may be fetched; for any thread."""
        return frozenset(part for part, assignment in self._of.items() if part in assignment.ready)

    def add(self, assignment: Assignment, partitions: Iterable[int]) -> None:
        """Note what an assignment has."""
        self._of = {**self._of, **dict.fromkeys(partitions, assignment)}

    def drain(self, partitions: Iterable[int]) -> None:
        """Begin no more fetches of partitions."""
        for assignment, of_it in self._by_assignment(partitions).items():
            assignment.drain(of_it)

    def lose(self) -> None:
        """Let nothing of any partition be matched or delivered any more; `end` follows."""
        for assignment in {*self._of.values()}:
            assignment.end()

    def end(self, partitions: Iterable[int]) -> Mapping[Assignment, Sequence[int]]:
        """Mark partitions as revoked; return which, by assignment. What was revoked before is
        left out."""
        ended = self._by_assignment(partitions)
        gone = {partition for of_it in ended.values() for partition in of_it}
        self._of = {part: one for part, one in self._of.items() if part not in gone}
        for assignment, of_it in ended.items():
            assignment.end(of_it)
        return ended

    def _by_assignment(self, partitions: Iterable[int]) -> dict[Assignment, list[int]]:
        found: dict[Assignment, list[int]] = {}
        for partition in partitions:
            if (assignment := self._of.get(partition)) is not None:
                found.setdefault(assignment, []).append(partition)
        return found


def no_assignment() -> Assignment:
    """Return an assignment that has ended, for a worker that has not been assigned anything."""

    async def reassign(partition: int) -> None: ...

    nothing = Assignment(-1, reassign)
    nothing.end()
    return nothing


def _on_asked(asking: asyncio.Future[None]) -> None:
    if not asking.cancelled() and (error := asking.exception()) is not None:
        log.warning("the group was not asked to rebalance: %s", type(error).__name__)
