"""A consumer group's member as aiokafka is one: positions that move behind what was fetched.

`GroupConsumer` stands in the place of aiokafka's consumer and of Faust at once, for
`engine.transport.positions`. What a fetch brought counts as read, whatever becomes of it
afterwards; an assignment begins where the group has committed, or at the start of the log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from engine.transport.fetch import FetchedBatches
from engine.transport.offsets import Missing, OffsetBook, SkippedReadsError
from engine.transport.positions import Fetched, FetchIntake, PositionedFetcher
from engine.wire.record_batch import RawBatch, RawFetch
from tests.fakes.record_batches import TOPIC


class Assignment:
    """The partitions of one generation, and where each is fetched from; None where that has not
    been found out yet."""

    def __init__(self, partitions: Iterable[int]) -> None:
        self.positions: dict[int, int | None] = dict.fromkeys(partitions)


class GroupConsumer:
    """One member. `log` holds the batches of each partition, whose first one begins where the log
    does; `committed_of` says what the group has committed. `choose` picks the partition that is
    fetched next, and how many batches of it."""

    def __init__(
        self,
        log: Mapping[int, Sequence[RawBatch]],
        committed_of: Callable[[int], int | None],
        choose: Callable[[Sequence[int]], tuple[int, int]],
    ) -> None:
        self._log = log
        self._committed_of = committed_of
        self._choose = choose
        self._assignment = Assignment(())
        self._added: dict[int, int | None] = {}
        self._owned: dict[int, object] = {}
        self._generation = 0
        self.book: OffsetBook[int] = OffsetBook()
        self.fetcher: PositionedFetcher[int] = PositionedFetcher(self)
        self.intake: FetchIntake[int] = FetchIntake(self.book, self)
        #: A rebalance has begun, of which the consumer's thread does not know yet.
        self.is_suspended = False
        self.expired = 0
        self.skipped: list[SkippedReadsError] = []

    def assign(self, partitions: Iterable[int], generation: int) -> None:
        """Begin a generation with these partitions."""
        self._assignment = Assignment(partitions)
        self._added.clear()
        self._owned = {partition: object() for partition in self._assignment.positions}
        self._generation = generation
        for partition in self.book.partitions():
            self.book.drop(partition)

    def add(self, partitions: Iterable[int]) -> None:
        """Take over partitions besides those that are assigned."""
        starts = {partition: self._committed_of(partition) for partition in partitions}
        self._assignment.positions.update(dict.fromkeys(starts))
        self.seek(starts)
        self._added |= starts
        self._owned |= {partition: object() for partition in starts}

    def remove(self, partitions: Iterable[int]) -> None:
        """Partitions are revoked, and the others go on."""
        for partition in partitions:
            del self._assignment.positions[partition], self._owned[partition]
            self._added.pop(partition, None)
            self.book.drop(partition)

    def partitions(self) -> list[int]:
        """Those that are assigned."""
        return sorted(self._assignment.positions)

    def open_partitions(self) -> list[int]:
        """Those that are assigned and have something left to be fetched."""
        return [each for each in self.partitions() if self._position(each) < self._end(each)]

    def _position(self, partition: int) -> int:
        position = self._assignment.positions[partition]
        if position is None:
            committed = self._committed_of(partition)
            return self._start(partition) if committed is None else committed
        return position

    def _start(self, partition: int) -> int:
        return self._log[partition][0].base_offset

    def _end(self, partition: int) -> int:
        return self._log[partition][-1].next_offset

    # What `PositionedFetcher` asks for.

    async def wait_for_assignment(self, timeout_s: float) -> Assignment | None:
        return self._assignment

    def assignment(self) -> Assignment | None:
        return self._assignment

    def generation(self) -> int:
        return self._generation

    def may_fetch(self) -> bool:
        return True

    async def committed(self, assignment: Assignment) -> dict[int, int | None]:
        return {each: self._committed_of(each) for each in assignment.positions}

    def added(self) -> dict[int, int | None]:
        added, self._added = self._added, {}
        return added

    def seek(self, starts: Mapping[int, int | None]) -> None:
        for partition, offset in starts.items():
            if partition not in self._assignment.positions:
                continue
            self._assignment.positions[partition] = (
                self._start(partition) if offset is None else offset
            )

    async def fetched(self, timeout_s: float) -> dict[int, list[FetchedBatches]]:
        some = self.open_partitions()
        if not some:
            return {}
        partition, count = self._choose(some)
        position = self._position(partition)
        if position < self._start(partition):
            position = self._start(partition)  # out of range: the start of what is kept
        log = self._log[partition]
        first = bisect_right(log, position, key=lambda batch: batch.next_offset)
        batches = [
            replace(batch, from_offset=max(position, batch.base_offset))
            for batch in log[first : first + count]
        ]
        batches[0] = replace(batches[0], from_offset=position, covered_from=position)
        self._assignment.positions[partition] = batches[-1].next_offset
        raw = RawFetch(TOPIC, partition, tuple(batches))
        return {partition: [FetchedBatches(raw, self._end(partition))]}

    # What `FetchIntake` asks for.

    async def fetch(self, timeout_s: float, *, restart: bool) -> Fetched[int] | None:
        return await self.fetcher.fetch(timeout_s, restart=restart)

    def may_take(self, generation: int) -> bool:
        return generation == self._generation and not self.is_suspended

    def assignment_of(self, partition: int) -> object | None:
        return self._owned.get(partition)

    def begin(self, partition: int, start: int | None) -> None:
        self.book.begin(partition, start)

    def covered_from(self, record: FetchedBatches) -> int:
        return record.raw.covered_from

    async def log_start(self, partition: int) -> int:
        return self._start(partition)

    def reads_expired(self, partition: int, missing: Missing) -> None:
        self.expired += missing.next_offset - missing.first

    def reads_skipped(self, partition: int, missing: Missing) -> None:
        self.skipped.append(SkippedReadsError(missing, where=f"{partition}"))
