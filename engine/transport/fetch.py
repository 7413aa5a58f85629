"""One fetch of the reads of one partition, from the consumer thread until it is done.

A fetch may be cut: its first part is delivered while the rest is still processed. `FetchParts`
counts the parts that are neither done nor abandoned.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

from engine.transport.assignment import Assignment
from engine.transport.offsets import InFlight, OffsetBook
from engine.wire.record_batch import RawFetch

P = TypeVar("P", bound=Hashable)


class FetchedBatches(NamedTuple):
    """What one fetch brought for one partition, as the consumer thread hands it on."""

    raw: RawFetch
    log_end: int


class Fetch:
    """What one fetch brought for one partition, on its way through the engine.

    `raw` holds the batches, `log_end` the end of the partition's log at that time, open
    transactions included, `assignment` is the one that the fetch belongs to, and `committed` what
    the group had committed of the partition when the fetch was delivered, None if this worker has
    committed nothing. `next_offset` is the one after its last record, `follows` that of the fetch
    before it, None if there was none in this assignment.

    One owner at a time changes it, by its methods alone: the agent's coroutine while it is
    processed, then its delivery.
    """

    __slots__ = (
        "_abandoned",
        "_begun",
        "_cut",
        "_done",
        "assignment",
        "committed",
        "follows",
        "log_end",
        "next_offset",
        "raw",
    )

    def __init__(
        self,
        raw: RawFetch,
        log_end: int,
        assignment: Assignment,
        *,
        follows: int | None = None,
        committed: int | None = None,
    ) -> None:
        self.raw = raw
        self.log_end = log_end
        self.assignment = assignment
        self.next_offset = raw.last_offset + 1
        self.follows = follows
        self.committed = committed
        self._begun: Callable[[], None] | None = None
        self._done: Callable[[], None] | None = None
        self._abandoned: Callable[[], None] | None = None
        self._cut: Callable[[int, Fetch], None] | None = None

    def follow(
        self,
        *,
        begun: Callable[[], None] | None = None,
        done: Callable[[], None] | None = None,
        abandoned: Callable[[], None] | None = None,
        cut: Callable[[int, Fetch], None] | None = None,
    ) -> None:
        """Have these called when the fetch begins, is done, is abandoned, and is cut.

        `cut` gets the offset and the rest, which nothing follows yet. It may be called several
        times, and the others once each, only one of `done` and `abandoned`.
        """
        self._begun, self._done, self._abandoned, self._cut = begun, done, abandoned, cut

    @property
    def is_ours(self) -> bool:
        """Whether its partition is still assigned to this worker, as it was when it was fetched."""
        return self.assignment.owns(self.raw.partition)

    def begin(self) -> None:
        """Say that this worker works on the fetch from now on."""
        if self._begun is not None:
            self._begun()

    def release(self) -> None:
        """Let go of the batches: Faust holds on to an event until the next one comes."""
        self.raw = RawFetch(self.raw.topic, self.raw.partition, ())

    def skip_to(self, offset: int) -> None:
        """Leave out what lies below an offset, which is processed already."""
        self.raw = self.raw.since(offset)

    def cut(self, offset: int) -> Fetch:
        """Keep what lies below an offset, which is processed, and give the rest as a fetch of its
        own. Each is done or abandoned by itself."""
        rest = Fetch(
            *(self.raw.since(offset), self.log_end, self.assignment),
            follows=offset,
            committed=self.committed,
        )
        self.next_offset = offset
        self.release()
        if self._cut is not None:
            self._cut(offset, rest)
        return rest

    @property
    def lag(self) -> int:
        """Records of the partition that lay behind this fetch when it was made."""
        return max(0, self.log_end - self.next_offset)

    def done(self) -> None:
        """Say that all matches and rejects of this fetch are acknowledged by the broker.

        Call it in the event loop of the Faust app. Twice is the same as once, and so is to
        abandon it afterwards.
        """
        done = self._done
        self._drop_callbacks()
        if done is not None:
            done()

    def abandon(self) -> None:
        """Say that this worker will not finish the fetch, so that its end need not wait for it.

        No offset from here on is committed: the next owner of the partition reads it again.
        """
        abandoned = self._abandoned
        self._drop_callbacks()
        if abandoned is not None:
            abandoned()

    def _drop_callbacks(self) -> None:
        # They lead to the message, and that to the fetch: nothing would free it.
        self._begun = self._done = self._abandoned = self._cut = None


class FetchParts(Generic[P]):
    """The parts of a fetch that are neither done nor abandoned. Calls `on_closed` when the last
    one is."""

    def __init__(self, book: OffsetBook[P], on_closed: Callable[[], None]) -> None:
        self._book = book
        self._on_closed = on_closed
        self._open_count = 0

    def add(self, fetch: Fetch, delivery: InFlight[P]) -> None:
        """Add a fetch, or a part of one, so that it can become done, be abandoned and be cut."""
        self._open_count += 1

        def begun() -> None:
            delivery.begun = True

        def done() -> None:
            self._book.finish(delivery)
            self._close()

        def cut(offset: int, rest: Fetch) -> None:
            self.add(rest, self._book.cut(delivery, offset))

        fetch.follow(begun=begun, done=done, abandoned=self._close, cut=cut)

    def _close(self) -> None:
        self._open_count -= 1
        if not self._open_count:
            self._on_closed()
