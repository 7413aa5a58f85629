"""The suppression state of a worker, restored when partitions are assigned to it.

When a partition is assigned, and before its first read is matched, its state is restored from the
changelog (`engine.delivery.suppression_reader`), which is read to its end. When a partition is
revoked, what is handed over is acknowledged first. It may come back soon, or at once after an eager
rebalance. So its state is kept for SUPPRESSION_KEPT_S, and only what was written to the changelog
meanwhile is read. A state is kept only if the broker has each change that it has
reported. If there is any doubt what is missing, all of it is read. Partitions that come back are
restored first. Offsets below the last ones seen mean that the group was rewound or the topic
recreated; the state is then read from the beginning.

Some keys are checked in turn every second (`engine.delivery.suppression_keys`). Only the matcher
thread touches the state.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice

from engine import limits
from engine.delivery.held import Held
from engine.delivery.port import Delivery
from engine.delivery.suppression_changelog import key_in
from engine.delivery.suppression_keys import CheckedKeys, ListsInUse
from engine.delivery.suppression_reader import Left, SuppressionReader
from engine.documents.codec import decode_suppression
from engine.documents.model import SuppressionState
from engine.errors import DocumentError
from engine.matching.suppression import Suppression
from engine.transport.assignment import Assignment
from engine.transport.fetch import Fetch
from engine.transport.runtime import Runtime

log = logging.getLogger(__name__)


class Suppressing:
    """See the module."""

    def __init__(
        self,
        runtime: Runtime,
        state: Suppression,
        partitions_of: Callable[[str], Awaitable[int]],
        lists: ListsInUse,
        delivery: Delivery,
    ) -> None:
        self._runtime = runtime
        self._state = state
        self._partitions_of = partitions_of
        self._delivery = delivery
        self._topic = runtime.cluster.topics.suppression
        self._on_matcher_thread = runtime.matcher_thread.call
        self._keys = CheckedKeys(runtime, state, lists)
        self._reader = SuppressionReader(runtime.cluster)
        #: One after the other: claims, and restores of what is claimed.
        self._claiming = asyncio.Lock()
        self._restoring = asyncio.Lock()
        #: When partitions were revoked whose states may be kept still.
        self._kept: dict[int, float] = {}
        #: The tasks that check keys, and that restore the states of assigned partitions.
        self._looking: set[asyncio.Task[None]] = set()
        self._fetching: dict[asyncio.Task[None], tuple[Assignment, Sequence[int]]] = {}

    async def start(self) -> None:
        """Connect. Raises BrokerError if the broker cannot be reached."""
        await self._reader.start()
        self._looking.add(self._runtime.tasks.start(self._look()))

    async def prepare(self, fetch: Fetch) -> bool:
        """Restore the state of a fetch's partition before its reads are matched.

        Returns False if the partition is not ours any more.
        """
        assignment, partition = fetch.assignment, fetch.raw.partition
        first_offset = fetch.raw.first_offset
        held = assignment.held(partition, Held)
        expected = held.next_offset
        if expected is not None and first_offset < expected:
            held.is_restored = False
        if not held.is_restored:
            await self._restore(assignment, (partition,))
        is_claimed = await self._delivery.cut(fetch)
        if not fetch.is_ours or not is_claimed:
            return False
        held.next_offset = fetch.next_offset
        settled = first_offset if expected is None else fetch.committed
        if settled is not None and settled != held.settled:
            held.settled = settled
            await self._on_matcher_thread(partial(self._state.settle, partition, settled))
        return True

    def stopped_at(self, fetch: Fetch, offset: int) -> None:
        """Record that a fetch was matched up to an offset only; its rest comes next."""
        fetch.assignment.held(fetch.raw.partition, Held).next_offset = offset

    def on_assigned(self, assignment: Assignment, partitions: Iterable[int]) -> None:
        """Begin to restore the states of newly assigned partitions, whether or not reads come."""
        partitions = sorted(partitions)
        self._delivery.on_assigned(assignment, partitions)
        task = self._runtime.tasks.start(self._restore(assignment, partitions))
        self._fetching[task] = assignment, partitions
        task.add_done_callback(self._fetching.pop)

    async def on_revoked(self, assignment: Assignment, partitions: Iterable[int]) -> None:
        """Deliver what is in flight of partitions that have ended, and keep what is certain of
        their states in case they come back."""
        partitions = [*partitions]
        self._runtime.metrics.drop_partitions(partitions)
        for task, (of, assigned) in self._fetching.items():
            if not any(of.owns(partition) for partition in assigned):
                task.cancel()
        held = assignment.all_held(Held)
        restored = [each for each in partitions if each in held and held[each].is_restored]
        reported = await self._on_matcher_thread(partial(self._state.revoke, partitions, restored))
        await self._delivery.on_revoked(assignment, partitions)
        known, now_s = self._delivery.known, time.monotonic()
        self._kept.update(dict.fromkeys(reported, now_s))
        await self._drop_kept(
            partition
            for partition, count in reported.items()
            if not known.is_whole(partition, count)
        )

    async def stop(self) -> None:
        """Stop checking keys, and disconnect."""
        tasks = [*self._fetching, *self._looking]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._reader.stop()

    async def _restore(self, assignment: Assignment, partitions: Iterable[int]) -> None:
        """Restore the states of partitions, unless they are restored already or revoked.

        Those that come back are claimed and restored first. Others are claimed while that reads.
        """
        by_kept: dict[bool, list[int]] = {True: [], False: []}
        for partition in partitions:
            by_kept[partition in self._kept].append(partition)
        await asyncio.gather(
            *(self._restore_together(assignment, some) for some in by_kept.values() if some)
        )

    async def _restore_together(self, assignment: Assignment, partitions: Sequence[int]) -> None:
        async with self._claiming:
            started_s = time.monotonic()
            missing = _missing(assignment, partitions)
            claimed = await self._delivery.claim(assignment, missing) if missing else ()
        async with self._restoring:
            for is_kept in (True, False):
                missing = [
                    each
                    for each in _missing(assignment, claimed)
                    if not is_kept or each in self._kept
                ]
                if missing:
                    await self._restore_some(assignment, missing, started_s, is_kept=is_kept)

    async def _restore_some(
        self, assignment: Assignment, partitions: Sequence[int], started_s: float, *, is_kept: bool
    ) -> None:
        """Restore the states of partitions from all of the changelog, or from what was written to
        it while they were kept, as far as that is certain."""
        left = await self._left(partitions, is_kept=is_kept)
        # The reads of a partition are fetched as soon as it is taken over: few keys first, so that
        # they need not wait for many.
        for partition, of_partition in sorted(left.items(), key=_keys_of):
            await self._take_over(assignment, partition, of_partition, is_kept=is_kept)
        took_s = time.monotonic() - started_s
        self._runtime.metrics.suppression_restore_s.observe(took_s)
        if keys := sum(len(each.written) for each in left.values()):
            how = "keys have changed, restored" if is_kept else "keys restored"
            log.info("%d partitions: %d %s in %.1f s", len(left), keys, how, took_s)

    async def _left(self, partitions: Sequence[int], *, is_kept: bool) -> dict[int, Left]:
        """Read what partitions have left. Of kept ones, those that cannot be used are left out."""
        known = {
            partition: of_partition
            for partition in (partitions if is_kept else ())
            if (of_partition := self._delivery.known.of(partition)) is not None
        }
        if is_kept:
            partitions = [*known]
        before, count = self._reader.records_read, await self._partitions_of(self._topic)
        left = await self._reader.states_of(partitions, count, known)
        self._runtime.metrics.suppression_records_read.inc(self._reader.records_read - before)
        if not is_kept:
            return left
        ends = {partition: each.end_offset for partition, each in left.items()}
        usable = await self._on_matcher_thread(partial(self._usable, ends))
        return {partition: left[partition] for partition in usable}

    async def _take_over(
        self, assignment: Assignment, partition: int, left: Left, *, is_kept: bool
    ) -> None:
        """Take over what a partition has left. Start nothing for a revoked partition, because its
        state is dropped only once."""
        written, reported, unsound = iter(left.written.items()), None, 0
        if not is_kept and assignment.owns(partition):
            reported = await self._on_matcher_thread(partial(self._begin, partition))
        while assignment.owns(partition) and (some := [*islice(written, limits.RESTORED_A_STEP)]):
            step = partial(self._restore_step, partition, some, left.end_offset)
            unsound += await self._on_matcher_thread(step)
        if unsound:
            log.warning(
                "%d records are no states, and ignored", unsound, extra={"topic": self._topic}
            )
        if not assignment.owns(partition):
            return
        if is_kept and not await self._on_matcher_thread(partial(self._state.take_back, partition)):
            return  # it was dropped meanwhile, to make room or because it took too long
        if assignment.owns(partition):
            self._kept.pop(partition, None)
            self._delivery.known.restored(partition, left.known, reported)
            assignment.held(partition, Held).is_restored = True
            assignment.set_ready(partition)

    def _begin(self, partition: int) -> int:
        self._state.turn_to(self._runtime.clock.now_ms())
        return self._state.drop(partition)

    def _usable(self, ends: Mapping[int, int]) -> set[int]:
        self._state.turn_to(self._runtime.clock.now_ms())
        return self._state.kept(ends)

    async def _drop_kept(self, partitions: Iterable[int]) -> None:
        """Drop what is kept of partitions."""
        gone = [partition for partition in partitions if self._kept.pop(partition, None)]
        for partition in gone:
            self._delivery.known.drop(partition)
        if gone:
            await self._on_matcher_thread(partial(self._state.drop_kept, gone))

    def _restore_step(
        self, partition: int, written: Sequence[tuple[bytes, bytes | None]], end_offset: int
    ) -> int:
        """Restore some states of a partition; return how many records are none."""
        states: list[tuple[bytes, SuppressionState | None]] = []
        for named, value in written:
            with contextlib.suppress(DocumentError):
                state = None if value is None else decode_suppression(value)
                if (key := key_in(named)) is not None:
                    states.append((key, state))
        self._state.restore(partition, states, end_offset)
        return len(written) - len(states)

    async def _look(self) -> None:
        """Check some keys every EXPIRY_INTERVAL_S, and drop what is kept for too long, until
        cancelled."""
        while True:
            await asyncio.sleep(limits.EXPIRY_INTERVAL_S)
            until_s = time.monotonic() - limits.SUPPRESSION_KEPT_S
            await self._drop_kept([each for each, at_s in self._kept.items() if at_s < until_s])
            if self._keys.lists.are_whole:
                await self._delivery.note(self._keys)


def _missing(assignment: Assignment, partitions: Iterable[int]) -> list[int]:
    """Return the partitions that are owned and not restored."""
    return [
        each
        for each in partitions
        if assignment.owns(each) and not assignment.held(each, Held).is_restored
    ]


def _keys_of(item: tuple[int, Left]) -> int:
    return len(item[1].written)
