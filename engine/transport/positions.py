"""The offset from which each assigned partition is read, so that no read is skipped.

When it is assigned, a partition is read from the offset that the group has committed, or from
the start of its log if nothing is committed. After an assignment of all partitions,
`PositionedFetcher` looks the offsets up, seeks, and only then fetches. Partitions that are added to
an assignment come with their offsets (`Source.added`). aiokafka's own `seek_to_committed` does not
seek without a committed offset, and Faust calls it at times of its own; this module uses neither.

A fetch moves the position past its records. `FetchIntake` passes them on. While all partitions are
revoked it drops them, and the next fetch begins at the committed offsets again. It accepts no fetch
that skips reads, except for those that retention has removed.

It uses neither Faust nor aiokafka: `Source` and `Taker` are the interfaces to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from engine.transport.offsets import Missing, OffsetBook

P = TypeVar("P", bound=Hashable)


class Source(Protocol[P]):
    """The part of a group's consumer that is used here. An assignment is any object that is
    another one after all partitions were revoked."""

    async def wait_for_assignment(self, timeout_s: float) -> Any:
        """The current assignment; None if there is none within `timeout_s`."""

    def assignment(self) -> Any:
        """The current assignment; None if there is none, or a rebalance has begun."""

    def generation(self) -> int:
        """The consumer group's generation in which the assignment began."""

    def may_fetch(self) -> bool:
        """False while the application takes nothing, because of a rebalance or a shutdown."""

    async def committed(self, assignment: Any) -> Mapping[P, int | None] | None:
        """The committed offset of each partition of an assignment, None if it has none. None
        instead of all if the assignment has ended before the group answered."""

    def added(self) -> Mapping[P, int | None]:
        """Where partitions begin that were added to the assignment since the last call. They have
        that position."""

    def seek(self, starts: Mapping[P, int | None]) -> None:
        """Set the position of partitions: to an offset, or to the start of the log (None)."""

    async def fetched(self, timeout_s: float) -> Mapping[P, Sequence[Any]]:
        """Return fetched records, and move the positions past them. Empty if nothing comes within
        `timeout_s`."""


class Fetched(NamedTuple, Generic[P]):
    """The records of one fetch. `starts` has the offset at which each partition begins that has
    begun since the fetch before (None for the start of the log)."""

    generation: int
    starts: Mapping[P, int | None]
    records: Mapping[P, Sequence[Any]]


class PositionedFetcher(Generic[P]):
    """Fetches from the offsets at which the group must continue, and from no others."""

    def __init__(self, source: Source[P]) -> None:
        self._source = source
        self._started: Any = None
        self._generation = -1
        self._one_at_a_time = asyncio.Lock()

    async def fetch(self, timeout_s: float, *, restart: bool) -> Fetched[P] | None:
        """Return a fetch; None if the current assignment is not known yet.

        `restart` begins again at the committed offsets. Raises what the source raises.
        """
        async with self._one_at_a_time:
            if restart:
                self._started = None
            source = self._source
            assignment = await source.wait_for_assignment(timeout_s)
            if assignment is None or not source.may_fetch():
                return None
            starts: Mapping[P, int | None] = {}
            if assignment is not self._started:
                self._started = None
                committed = await source.committed(assignment)
                if committed is None or source.assignment() is not assignment:
                    return None
                starts = committed
                source.seek(starts)
                self._generation = source.generation()
            # Nothing has started until all of it is known to belong to this assignment.
            self._started = None
            records = await source.fetched(timeout_s)
            if source.assignment() is not assignment:
                return None
            self._started = assignment
            return Fetched(self._generation, {**source.added(), **starts}, records)


class Taker(Protocol[P]):
    """The receiver of fetches, and the connection to the rest of the worker."""

    async def fetch(self, timeout_s: float, *, restart: bool) -> Fetched[P] | None:
        """Return a fetch; see `PositionedFetcher.fetch`."""

    def may_take(self, generation: int) -> bool:
        """Return whether fetches of this generation may be taken now."""

    def assignment_of(self, partition: P) -> Any:
        """Return the assignment of a partition; None if its fetches may not be taken now. It is
        another object when the partition was revoked and has come back."""

    def begin(self, partition: P, start: int | None) -> None:
        """Begin a partition at `start`; None for the start of its log."""

    def covered_from(self, record: Any) -> int | None:
        """Return the first offset that a fetch accounts for; None for a record of another topic."""

    async def log_start(self, partition: P) -> int | None:
        """Return the first offset that is kept now; None if the broker does not answer."""

    def reads_expired(self, partition: P, missing: Missing) -> None:
        """Report that retention has removed reads before they were read."""

    def reads_skipped(self, partition: P, missing: Missing) -> None:
        """Report that reads were skipped that are still on the topic: the worker must end."""


class FetchIntake(Generic[P]):
    """Passes fetches on, one after the other, without a gap."""

    def __init__(self, book: OffsetBook[P], taker: Taker[P]) -> None:
        self._book = book
        self._taker = taker
        #: Whether a part of the last fetch was dropped, or may have been.
        self._must_restart = False
        #: Whether the positions are past records that are not passed on yet.
        self.is_handing_on = False

    async def take(self, timeout_s: float) -> AsyncIterator[tuple[P, Any]]:
        """Yield the records of the next fetch, by partition; may end after a part of it."""
        taker = self._taker
        # Until all of it is passed on: a cancelled task or a closed iterator drops the rest, too.
        restart, self._must_restart = self._must_restart, True
        self.is_handing_on = restart
        fetched = await taker.fetch(timeout_s, restart=restart)
        if fetched is not None:
            self.is_handing_on = True
            if not taker.may_take(fetched.generation):
                return
            for partition, start in fetched.starts.items():
                if taker.assignment_of(partition) is not None:
                    taker.begin(partition, start)
            assignments = {each: taker.assignment_of(each) for each in fetched.records}
            for partition, records in fetched.records.items():
                for record in records:
                    if not taker.may_take(fetched.generation):
                        return
                    if not self._is_still(partition, assignments[partition]):
                        break
                    if not await self._leaves_nothing_out(partition, record):
                        return
                    if not self._is_still(partition, assignments[partition]):
                        break
                    yield partition, record
        self._must_restart = self.is_handing_on = False

    def _is_still(self, partition: P, assignment: Any) -> bool:
        """Return whether a partition is ours as it was when its records came."""
        return assignment is not None and self._taker.assignment_of(partition) is assignment

    async def _leaves_nothing_out(self, partition: P, record: Any) -> bool:
        """Return whether a fetch may be taken. If not, the worker ends, or fetches again."""
        covered_from = self._taker.covered_from(record)
        if covered_from is None:
            return True
        missing = self._book.missing(partition, covered_from)
        if missing is None:
            return True
        assignment = self._taker.assignment_of(partition)
        log_start = await self._taker.log_start(partition)
        if not self._is_still(partition, assignment):
            return True
        if log_start is None:
            return False
        if log_start < covered_from:
            self._taker.reads_skipped(partition, missing)
            return False
        if not missing.is_before_log:
            self._taker.reads_expired(partition, missing)
        self._book.skip(partition, covered_from)
        return True
