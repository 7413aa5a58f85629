"""Where each assigned partition is read from, so that no read is skipped.

After every assignment a partition is read from the offset that the group has committed, or from
the start of its log if nothing is committed. `PositionedFetcher` looks the offsets up, seeks, and
only then fetches. aiokafka's own `seek_to_committed` seeks nowhere without a committed offset, and
Faust calls it at times of its own; neither is relied upon.

A fetch moves the position behind what it brought. `FetchIntake` hands on what was fetched. While a
rebalance goes on it throws that away; then the next fetch begins at the committed offsets again.
It takes no fetch that leaves reads out, except for those that retention has removed.

Knows neither Faust nor aiokafka: `Source` and `Taker` are what is asked of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from engine.transport.offsets import Missing, OffsetBook

P = TypeVar("P", bound=Hashable)


class Source(Protocol[P]):
    """The part of a group's consumer that is used here. An assignment is any object that is
    another one after each rebalance."""

    async def wait_for_assignment(self, timeout_s: float) -> Any:
        """The current assignment; None if there is none within `timeout_s`."""

    def assignment(self) -> Any:
        """The current assignment; None if there is none, or a rebalance has begun."""

    def generation(self) -> int:
        """The consumer group's generation."""

    def may_fetch(self) -> bool:
        """False while the application takes nothing, because of a rebalance or its end."""

    async def committed(self, assignment: Any) -> Mapping[P, int | None] | None:
        """The committed offset of each partition of an assignment, None if it has none. None
        instead of all if the assignment has ended before the group answered."""

    def seek(self, starts: Mapping[P, int | None]) -> None:
        """Set the position of partitions: to an offset, or to the start of the log (None)."""

    async def fetched(self, timeout_s: float) -> Mapping[P, Sequence[Any]]:
        """What has been fetched; the positions are behind it from then on. Empty if nothing
        comes within `timeout_s`."""


class Fetched(NamedTuple, Generic[P]):
    """What one fetch brought. `starts` says where the partitions begin if this is the first
    fetch from there (an offset, or None for the start of the log), else it is None."""

    generation: int
    starts: Mapping[P, int | None] | None
    records: Mapping[P, Sequence[Any]]


class PositionedFetcher(Generic[P]):
    """Fetches from where the group has to go on, and never from elsewhere."""

    def __init__(self, source: Source[P]) -> None:
        self._source = source
        self._started: Any = None
        self._generation = -1
        self._one_at_a_time = asyncio.Lock()

    async def fetch(self, timeout_s: float, *, restart: bool) -> Fetched[P] | None:
        """What was fetched; None if nothing can be said of the current assignment yet.

        `restart` begins again at the committed offsets. Raises what the source raises.
        """
        async with self._one_at_a_time:
            if restart:
                self._started = None
            source = self._source
            assignment = await source.wait_for_assignment(timeout_s)
            if assignment is None or not source.may_fetch():
                return None
            starts = None
            if assignment is not self._started:
                self._started = None
                starts = await source.committed(assignment)
                if starts is None or source.assignment() is not assignment:
                    return None
                source.seek(starts)
                self._generation = source.generation()
            # Until all of it is known to belong to this assignment, nothing has been started.
            self._started = None
            records = await source.fetched(timeout_s)
            if source.assignment() is not assignment:
                return None
            self._started = assignment
            return Fetched(self._generation, starts, records)


class Taker(Protocol[P]):
    """Who takes what was fetched, and answers for the rest of the worker."""

    async def fetch(self, timeout_s: float, *, restart: bool) -> Fetched[P] | None:
        """As `PositionedFetcher.fetch`."""

    def may_take(self, generation: int) -> bool:
        """Whether what was fetched in this generation may be taken now."""

    def begin(self, partition: P, start: int | None) -> None:
        """A partition is read from `start` on; None for the start of its log."""

    def covered_from(self, record: Any) -> int | None:
        """The first offset for which a fetch accounts; None if the record is none of the reads."""

    async def log_start(self, partition: P) -> int | None:
        """The first offset that is kept now; None if the broker does not say it."""

    def reads_expired(self, partition: P, missing: Missing) -> None:
        """Retention has removed reads before they were read."""

    def reads_skipped(self, partition: P, missing: Missing) -> None:
        """Reads were left out that are still on the topic: the worker must end."""


class FetchIntake(Generic[P]):
    """Hands on what is fetched, one after the other, and leaves nothing out."""

    def __init__(self, book: OffsetBook[P], taker: Taker[P]) -> None:
        self._book = book
        self._taker = taker
        #: Something of the last fetch was thrown away, or may have been.
        self._must_restart = False
        #: The positions are behind what is fetched and not handed on yet.
        self.is_handing_on = False

    async def take(self, timeout_s: float) -> AsyncIterator[tuple[P, Any]]:
        """What the next fetch brings, by partition; may end after a part of it."""
        taker = self._taker
        # Until all of it is handed on: a cancelled task and a closed iterator throw away, too.
        restart, self._must_restart = self._must_restart, True
        self.is_handing_on = restart
        fetched = await taker.fetch(timeout_s, restart=restart)
        if fetched is not None:
            self.is_handing_on = True
            if not taker.may_take(fetched.generation):
                return
            for partition, start in (fetched.starts or {}).items():
                taker.begin(partition, start)
            for partition, records in fetched.records.items():
                for record in records:
                    if not taker.may_take(fetched.generation):
                        return
                    if not await self._leaves_nothing_out(partition, record):
                        return
                    yield partition, record
        self._must_restart = self.is_handing_on = False

    async def _leaves_nothing_out(self, partition: P, record: Any) -> bool:
        """Whether a fetch may be taken. If not, the worker ends, or all is fetched again."""
        covered_from = self._taker.covered_from(record)
        if covered_from is None:
            return True
        missing = self._book.missing(partition, covered_from)
        if missing is None:
            return True
        log_start = await self._taker.log_start(partition)
        if log_start is None:
            return False
        if log_start < covered_from:
            self._taker.reads_skipped(partition, missing)
            return False
        if not missing.is_before_log:
            self._taker.reads_expired(partition, missing)
        self._book.skip(partition, covered_from)
        return True
