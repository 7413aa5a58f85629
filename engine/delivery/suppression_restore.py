"""The suppression state of a worker, restored when partitions are assigned to it.

When a partition is assigned, and before its first read is matched, its state is restored from the
changelog (`engine.delivery.suppression_changelog`), which is read to its end. In a rebalance all
partitions are revoked: no state is held any more, and what is handed over is acknowledged first.
Offsets below the last ones seen mean that the group was rewound or the topic recreated; the state
is then restored again.

Some keys are checked in turn every second. A key is evicted when it is old. If its entry has ended
or lists something else, its count of suppressed reads is audited (`suppressed`) and only then
evicted from the topic; its matches stay there until they are old. Only the matcher thread touches
the state.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple, Protocol

from engine import limits
from engine.delivery.audit_writer import Event
from engine.delivery.held import Held
from engine.delivery.port import Delivery, Tidied
from engine.delivery.send_queue import Abandoned
from engine.delivery.suppression_changelog import SuppressionReader, Written, key_in
from engine.documents.codec import decode_suppression
from engine.documents.fields import AuditEvent
from engine.documents.model import Entry, SuppressionState
from engine.errors import DocumentError
from engine.matching.suppression import Suppression, Unmatched
from engine.matching.suppression_states import SuppressionRecord
from engine.transport.assignment import Assignment, no_assignment
from engine.transport.fetch import Fetch
from engine.transport.runtime import Runtime

log = logging.getLogger(__name__)


class SuppressedEvent(NamedTuple):
    """What the audit records of suppressed reads that no match will carry."""

    event: AuditEvent
    at_ms: int
    fields: dict[str, str | int]


class ListsInUse(Protocol):
    """The part of the lists that is used here."""

    @property
    def are_whole(self) -> bool:
        """Whether they are complete now."""

    def listed(self, entry_id: str) -> Iterable[Entry]:
        """The entries with an id, also one that a transaction stages; on the matcher thread."""


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
        self._keys = _Keys(runtime, state, lists)
        self._reader = SuppressionReader(runtime.cluster)
        self._assignment = no_assignment()
        self._restoring = asyncio.Lock()
        #: The tasks that check keys, and that restore the states of the last assignment.
        self._looking: set[asyncio.Task[None]] = set()
        self._fetching: set[asyncio.Task[None]] = set()

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
        if not assignment.is_ours or not is_claimed:
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
        self._assignment = assignment
        for task in self._fetching:
            task.cancel()
        self._fetching = {self._runtime.tasks.start(self._restore(assignment, sorted(partitions)))}

    async def on_revoked(self, assignment: Assignment) -> None:
        """Drop the state of an assignment that has ended, and deliver what is in flight."""
        self._runtime.metrics.drop_partitions()
        await self._on_matcher_thread(self._state.clear)
        await self._delivery.on_revoked(assignment)

    async def stop(self) -> None:
        """Stop checking keys, and disconnect."""
        tasks = [*self._fetching, *self._looking]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._reader.stop()

    async def _restore(self, assignment: Assignment, partitions: Iterable[int]) -> None:
        """Restore the states of partitions, unless they are restored already or revoked."""
        async with self._restoring:
            missing = [each for each in partitions if not assignment.held(each, Held).is_restored]
            if not missing or not assignment.is_ours:
                return
            started_s = time.monotonic()
            try:
                await self._delivery.claim(assignment, missing)
            except Abandoned:
                return
            left = await self._reader.states_of(missing, await self._partitions_of(self._topic))
            for partition, (written, end_offset) in left.items():
                await self._take_over(assignment, partition, written, end_offset)
            took_s = time.monotonic() - started_s
            self._runtime.metrics.suppression_restore_s.observe(took_s)
            if keys := sum(len(written) for written, _ in left.values()):
                log.info("%d partitions: %d keys restored in %.1f s", len(left), keys, took_s)

    async def _take_over(
        self, assignment: Assignment, partition: int, written: Written, end_offset: int
    ) -> None:
        states = self._decoded(written)
        step: Callable[[], None] = partial(self._begin, partition)
        # Start nothing for a revoked assignment, because its state is cleared only once.
        while assignment.is_ours:
            await self._on_matcher_thread(step)
            some = list(islice(states, limits.RESTORED_A_STEP))
            if not some and assignment.is_ours:
                assignment.held(partition, Held).is_restored = True
                break
            step = partial(self._state.restore, partition, some, end_offset)

    def _begin(self, partition: int) -> None:
        self._state.turn_to(self._runtime.clock.now_ms())
        self._state.drop(partition)

    def _decoded(self, written: Written) -> Iterator[tuple[bytes, SuppressionState]]:
        unsound = 0
        for named, value in written.items():
            key = key_in(named)
            try:
                state = decode_suppression(value)
            except DocumentError:
                key = None
            if key is None:
                unsound += 1
            else:
                yield key, state
        if unsound:
            log.warning(
                "%d records are no states, and ignored", unsound, extra={"topic": self._topic}
            )

    async def _look(self) -> None:
        """Check some keys every EXPIRY_INTERVAL_S, until cancelled."""
        while True:
            await asyncio.sleep(limits.EXPIRY_INTERVAL_S)
            if self._keys.lists.are_whole:
                await self._delivery.note(self._assignment, self._keys)


class _Keys:
    """The keys of the state, checked and evicted on the matcher thread."""

    def __init__(self, runtime: Runtime, state: Suppression, lists: ListsInUse) -> None:
        self.lists = lists
        self._clock = runtime.clock
        self._on_matcher_thread = runtime.matcher_thread.call
        self._state = state

    async def tidy(self) -> Tidied:
        return await self._on_matcher_thread(self._tidy)

    async def evict(self, taken: Sequence[Unmatched]) -> Sequence[SuppressionRecord]:
        return await self._on_matcher_thread(partial(self._evict, taken))

    async def tidy_and_evict(self) -> Tidied:
        return await self._on_matcher_thread(self._tidy_and_evict)

    def _tidy(self) -> Tidied:
        now_ms = self._clock.now_ms()
        self._state.turn_to(now_ms)
        self._state.tidy(self.lists.listed)
        taken = self._state.take_unmatched()
        return Tidied(taken, _by_partition(taken, now_ms), self._state.take_changes())

    def _evict(self, taken: Sequence[Unmatched]) -> list[SuppressionRecord]:
        self._state.audited(taken)
        return self._state.take_changes()

    def _tidy_and_evict(self) -> Tidied:
        tidied = self._tidy()
        return tidied._replace(changes=[*tidied.changes, *self._evict(tidied.taken)])


def _by_partition(taken: Iterable[Unmatched], now_ms: int) -> dict[int, list[Event]]:
    events: dict[int, list[Event]] = {}
    for unmatched in taken:
        events.setdefault(unmatched.partition, []).append(_event(unmatched, now_ms))
    return events


def _event(unmatched: Unmatched, now_ms: int) -> SuppressedEvent:
    authority = unmatched.authority
    fields: dict[str, str | int] = {
        "entry_id": unmatched.entry_id,
        "list_id": unmatched.list_id,
        "agency": unmatched.agency,
        "purpose": unmatched.purpose,
        "authority": f"{authority.kind} {authority.reference}",
        "suppressed": unmatched.suppressed,
        "partition": unmatched.partition,
        "offset": unmatched.offset,
    }
    if unmatched.source is not None:  # a state of version 0.1 has none
        fields["source"] = unmatched.source
    return SuppressedEvent("suppressed", now_ms, fields)
