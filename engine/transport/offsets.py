"""Which offset of a partition may be committed.

A fetch covers a range of offsets, is delivered once to the stream and is done once its matches
and rejects are acknowledged by the broker. Fetches of one partition may become done in any
order; the offset to commit is the one after the longest run of done fetches from the first.

The book also checks that no read is skipped. The caller sets where each partition must begin. The
book rejects a fetch that leaves a gap after that offset or after the fetch before it. Compaction,
aborted transactions and control batches leave no such gap, because a fetch has the first offset
that it accounts for (`covered_from`). Reads that retention has removed do leave one; the caller
asks the broker about them and calls `skip`.

Pure book-keeping: no clock, no I/O, no thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

from engine.errors import HotlistError

P = TypeVar("P", bound=Hashable)


class InFlight(Generic[P]):
    """A fetch in flight through the engine; its handle to mark it as done."""

    __slots__ = ("begun", "done", "next_offset", "partition")

    def __init__(self, partition: P, next_offset: int) -> None:
        self.partition = partition
        self.next_offset = next_offset
        #: Whether it is being processed; the owner sets it, and this module ignores it.
        self.begun = False
        self.done = False


class Missing(NamedTuple):
    """Offsets [`first`, `next_offset`) that no fetch accounts for.

    `is_before_log` is true if nothing is committed and they may be before the start of the log.
    """

    first: int
    next_offset: int
    is_before_log: bool


class SkippedReadsError(HotlistError):
    """The error for a fetch that skips reads which may still be on the topic."""

    def __init__(self, missing: Missing, *, where: str) -> None:
        super().__init__(
            f"reads from offset {missing.first} to {missing.next_offset - 1} were not fetched",
            where=where,
            hint="they are not committed; start the worker again, and report this as a fault of it",
        )


class OffsetBook(Generic[P]):
    """The deliveries in flight and the positions that follow from them, by partition.

    `begin` starts a partition that is assigned, and `drop` ends one that is revoked. A delivery
    from before may still become done, and then changes nothing. The same holds if a fetch begins
    below the end of the one before: the topic was recreated or truncated, and its records will come
    again.
    """

    def __init__(self) -> None:
        self._start: dict[P, int | None] = {}
        self._in_flight: dict[P, deque[InFlight[P]]] = {}
        self._expected: dict[P, int] = {}
        self._position: dict[P, int] = {}
        self._committed: dict[P, int] = {}

    def begin(self, partition: P, start: int | None) -> None:
        """Begin a partition at the offset `start`; None for the start of its log."""
        self.drop(partition)
        self._start[partition] = start

    def start(self, partition: P) -> int | None:
        """Return where a partition begins; None for the start of its log or if it has not begun."""
        return self._start.get(partition)

    def missing(self, partition: P, covered_from: int) -> Missing | None:
        """Return the gap before a fetch that accounts for the log from `covered_from` on."""
        expected = self._expected.get(partition)
        if expected is None and partition in self._start:
            expected = self._start[partition]
            if expected is None:
                return Missing(0, covered_from, True) if covered_from else None
        if expected is None or covered_from > expected:
            return Missing(expected or 0, covered_from, False)
        return None

    def skip(self, partition: P, to: int) -> None:
        """Note that everything below an offset is gone from the topic."""
        if partition in self._expected:
            self._expected[partition] = max(to, self._expected[partition])
        else:
            self._start[partition] = to

    def deliver(
        self, partition: P, first_offset: int, next_offset: int, covered_from: int | None = None
    ) -> InFlight[P]:
        """Note the fetch of [`first_offset`, `next_offset`) as delivered to the stream.

        `covered_from` is the first offset that it accounts for; None means `first_offset`. Raises
        SkippedReadsError, and notes nothing, if reads before that are missing.
        """
        missing = self.missing(partition, first_offset if covered_from is None else covered_from)
        if missing is not None:
            raise SkippedReadsError(missing, where=str(partition))
        if first_offset < self._expected.get(partition, first_offset):
            self.begin(partition, first_offset)
        self._expected[partition] = next_offset
        delivery = InFlight(partition, next_offset)
        self._in_flight.setdefault(partition, deque()).append(delivery)
        return delivery

    def cut(self, delivery: InFlight[P], at: int) -> InFlight[P]:
        """Split a fetch at an offset: `delivery` keeps the part below it, and the rest is returned.

        Each becomes done by itself.
        """
        rest = InFlight(delivery.partition, delivery.next_offset)
        rest.begun = delivery.begun
        delivery.next_offset = at
        waiting = self._in_flight.get(delivery.partition, deque())
        for place, other in enumerate(waiting):
            if other is delivery:  # else the partition was dropped
                waiting.insert(place + 1, rest)
                break
        return rest

    def finish(self, delivery: InFlight[P]) -> None:
        """Note a delivery as done. Further calls have no effect."""
        delivery.done = True
        waiting = self._in_flight.get(delivery.partition)
        while waiting and waiting[0].done:
            self._position[delivery.partition] = waiting.popleft().next_offset

    def expected(self, partition: P) -> int | None:
        """Return the end of the last delivered fetch of a partition; None if there was none."""
        return self._expected.get(partition)

    def oldest(self, partition: P) -> InFlight[P] | None:
        """Return the first delivery of a partition that is not done; None if all are."""
        waiting = self._in_flight.get(partition)
        return waiting[0] if waiting else None

    def done_to(self, partition: P) -> int | None:
        """Return the offset below which everything is done; None if nothing is done yet."""
        return self._position.get(partition)

    def to_commit(self, partition: P) -> int | None:
        """Return the offset to commit for a partition; None if nothing has become done since."""
        position = self._position.get(partition)
        return None if position == self._committed.get(partition) else position

    def committed(self, partition: P, offset: int) -> None:
        """Note that an offset was committed."""
        if partition in self._position:
            self._committed[partition] = offset

    def committed_to(self, partition: P) -> int | None:
        """Return the last committed offset; None if none is committed yet."""
        return self._committed.get(partition)

    def drop(self, partition: P) -> None:
        """Drop a partition that this worker no longer owns."""
        self._start.pop(partition, None)
        self._in_flight.pop(partition, None)
        self._expected.pop(partition, None)
        self._position.pop(partition, None)
        self._committed.pop(partition, None)

    def partitions(self) -> tuple[P, ...]:
        """The partitions with a position."""
        return tuple(self._position)

    def in_flight(self) -> int:
        """The number of deliveries that are not done, in all partitions."""
        return sum(len(waiting) for waiting in self._in_flight.values())
