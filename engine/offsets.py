"""Which offset of a partition may be committed.

A fetch covers a range of offsets, is delivered once to the stream and is done once its matches
and rejects are acknowledged by the broker. Fetches of one partition may become done in any
order; the offset to commit is the one after the longest run of done fetches from the first.

Pure book-keeping: no clock, no I/O, no thread. Gaps between fetches (compaction, aborted
transactions, control batches) need no mention, because a range begins where the last one ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)


class Delivery(Generic[P]):
    """A fetch on its way through the engine; the handle by which it becomes done."""

    __slots__ = ("begun", "done", "next_offset", "partition")

    def __init__(self, partition: P, next_offset: int) -> None:
        self.partition = partition
        self.next_offset = next_offset
        #: Somebody works on it; for the owner to set, and without a meaning here.
        self.begun = False
        self.done = False


class OffsetBook(Generic[P]):
    """The deliveries in flight and the positions that follow from them, by partition.

    A partition that is revoked is forgotten with `drop`; a delivery from before that may still
    become done and then changes nothing. So it is where a fetch begins below the end of the one
    before: somebody sought back, and what was delivered from there on will come again.
    """

    def __init__(self) -> None:
        self._in_flight: dict[P, deque[Delivery[P]]] = {}
        self._expected: dict[P, int] = {}
        self._position: dict[P, int] = {}
        self._committed: dict[P, int] = {}

    def deliver(self, partition: P, first_offset: int, next_offset: int) -> Delivery[P]:
        """Note the fetch of [`first_offset`, `next_offset`) as delivered to the stream."""
        if first_offset < self._expected.get(partition, first_offset):
            self.drop(partition)
        self._expected[partition] = next_offset
        delivery = Delivery(partition, next_offset)
        self._in_flight.setdefault(partition, deque()).append(delivery)
        return delivery

    def cut(self, delivery: Delivery[P], at: int) -> Delivery[P]:
        """Make a fetch two: `delivery` is what lies below an offset from here on, and what is
        returned the rest. Each becomes done by itself."""
        rest = Delivery(delivery.partition, delivery.next_offset)
        rest.begun = delivery.begun
        delivery.next_offset = at
        waiting = self._in_flight.get(delivery.partition, deque())
        for place, other in enumerate(waiting):
            if other is delivery:  # else the partition was dropped
                waiting.insert(place + 1, rest)
                break
        return rest

    def finish(self, delivery: Delivery[P]) -> None:
        """Note a delivery as done. Twice is the same as once."""
        delivery.done = True
        waiting = self._in_flight.get(delivery.partition)
        while waiting and waiting[0].done:
            self._position[delivery.partition] = waiting.popleft().next_offset

    def expected(self, partition: P) -> int | None:
        """Where the last delivered fetch of a partition ends; None where there was none."""
        return self._expected.get(partition)

    def oldest(self, partition: P) -> Delivery[P] | None:
        """The first delivery of a partition that is not done; None where all are."""
        waiting = self._in_flight.get(partition)
        return waiting[0] if waiting else None

    def done_to(self, partition: P) -> int | None:
        """The offset below which all is done; None where nothing has been yet."""
        return self._position.get(partition)

    def to_commit(self, partition: P) -> int | None:
        """The offset to commit for a partition: None where nothing has become done since."""
        position = self._position.get(partition)
        return None if position == self._committed.get(partition) else position

    def committed(self, partition: P, offset: int) -> None:
        """Note that the broker has taken an offset."""
        if partition in self._position:
            self._committed[partition] = offset

    def committed_to(self, partition: P) -> int | None:
        """The offset that the broker has taken last; None where it has taken none yet."""
        return self._committed.get(partition)

    def drop(self, partition: P) -> None:
        """Forget a partition that this worker no longer owns."""
        self._in_flight.pop(partition, None)
        self._expected.pop(partition, None)
        self._position.pop(partition, None)
        self._committed.pop(partition, None)

    def partitions(self) -> tuple[P, ...]:
        """Partitions with a position."""
        return tuple(self._position)

    def in_flight(self) -> int:
        """Deliveries that are not done, in all partitions."""
        return sum(len(waiting) for waiting in self._in_flight.values())
