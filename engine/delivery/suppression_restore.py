"""The suppression's part of a worker: its state comes with the partitions and goes with them.

When a partition comes, and before the first read of it is matched, what its reads did before is
read from the changelog (`engine.delivery.suppression_changelog`) to its end. When the group shares
out anew, everything is given up: nothing is held any more, and what is handed over is acknowledged
first. Where reads come that lie before the last ones, somebody sought back, or the topic is another
one, and the state is read anew.

Beside that keys are looked at in turn, some every second: those whose entry has ended or that
are old are forgotten. What was folded of an entry that has ended is audited first (`suppressed`),
and only then forgotten on the topic; after a crash in between it is audited twice, and entry,
partition and offset tell. The state itself is touched on the heart's thread alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, Protocol

from engine import limits
from engine.clock import Clock
from engine.delivery.audit_writer import Event
from engine.delivery.pipeline import Abandoned
from engine.delivery.sink import Sink
from engine.delivery.suppression_changelog import SuppressionLog, SuppressionReader, Written, key_in
from engine.documents.codec import decode_suppression
from engine.documents.fields import AuditEvent
from engine.documents.model import SuppressionState
from engine.errors import DocumentError
from engine.kafka.security import Security
from engine.kafka.topics import Topics
from engine.matching.suppression import IsListed, Suppression, SuppressionRecord, Unmatched
from engine.observability.metrics import Metrics
from engine.transport.consumer import Fetch

log = logging.getLogger(__name__)

#: Calls a function on the heart's thread.
InHeartThread = Callable[[Callable[[], Any]], Awaitable[Any]]
#: Hands events to the audit; the future is done when they are acknowledged.
Append = Callable[[Sequence[Event]], "asyncio.Future[None]"]


class SuppressedEvent(NamedTuple):
    """What the audit records of reads that were folded and that no match will carry."""

    event: AuditEvent
    at_ms: int
    fields: dict[str, str | int]


class Transacts(Protocol):
    """The part of `engine.delivery.transactions.Transactions` that is used here."""

    async def claim(self, partitions: Iterable[int]) -> None: ...
    async def cut(self, fetch: Fetch) -> bool: ...
    def note(
        self, events: Mapping[int, Sequence[Event]], changes: Sequence[SuppressionRecord]
    ) -> None: ...
    async def given_up(self) -> None: ...


class Suppressing:
    """See the module. `lists_hold` says whether the lists are whole now, `is_listed`, on the
    heart's thread, whether they have an entry; `failed` is told of what ends the worker.
    `transactions` is there where delivery is exactly once."""

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        group: str,
        security: Security,
        state: Suppression,
        sink: Sink,
        append: Append,
        in_heart_thread: InHeartThread,
        lists_hold: Callable[[], bool],
        is_listed: IsListed,
        clock: Clock,
        metrics: Metrics,
        failed: Callable[[BaseException], None],
        transactions: Transacts | None = None,
    ) -> None:
        self._state = state
        self._transactions = transactions
        #: Goes up whenever all partitions are given up.
        self.epoch = 0
        self._topic = topics.suppression
        self._sink = sink
        self._append = append
        self._in_heart_thread = in_heart_thread
        self._lists_hold = lists_hold
        self._is_listed = is_listed
        self._clock = clock
        self._metrics = metrics
        self._failed = failed
        self._log = SuppressionLog(sink, topics, group)
        self._reader = SuppressionReader(bootstrap, topics, group, security)
        #: Partitions whose state is held, and the offset after the last read that was taken.
        self._restored: set[int] = set()
        self._next_offset: dict[int, int] = {}
        self._settled: dict[int, int] = {}
        self._restoring = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._fetching_state: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect. Raises BrokerError where the broker is not reached."""
        await self._reader.start()
        self._tasks = [asyncio.create_task(self._log.run()), asyncio.create_task(self._look())]
        for task in self._tasks:
            task.add_done_callback(self._on_done)

    def note(self, records: Sequence[SuppressionRecord]) -> asyncio.Future[None]:
        """As `SuppressionLog.append`."""
        return self._log.append(records)

    async def prepare(self, fetch: Fetch, epoch: int) -> bool:
        """Hold the state of a fetch's partition before its reads are matched; False where the
        partition was given up after `epoch`."""
        partition, first_offset = fetch.raw.partition, fetch.raw.first_offset
        expected = self._next_offset.get(partition)
        if expected is not None and first_offset < expected:
            self._restored.discard(partition)
        if partition not in self._restored:
            await self._restore((partition,), epoch)
        is_ours = self._transactions is None or await self._transactions.cut(fetch)
        if epoch != self.epoch or not is_ours:
            return False
        self._next_offset[partition] = fetch.next_offset
        settled = first_offset if expected is None else fetch.committed
        if settled is not None and settled != self._settled.get(partition):
            self._settled[partition] = settled
            await self._in_heart_thread(partial(self._state.settle, partition, settled))
        return True

    def stopped_at(self, partition: int, offset: int) -> None:
        """The last fetch of a partition was matched up to an offset only; its rest comes next."""
        self._next_offset[partition] = offset

    def taken_over(self, partitions: Iterable[int]) -> None:
        """These partitions are ours now: their states are read, whether or not reads come."""
        if self._fetching_state is not None:
            self._fetching_state.cancel()
        self._fetching_state = asyncio.create_task(self._restore(sorted(partitions), self.epoch))
        self._fetching_state.add_done_callback(self._on_done)

    async def given_up(self) -> None:
        """All partitions go, perhaps to come back; what is in flight of them is done."""
        self.epoch += 1
        self._restored.clear()
        self._next_offset.clear()
        self._settled.clear()
        self._metrics.forget_partitions()
        await self._in_heart_thread(self._state.clear)
        await self._log.flushed()
        if self._transactions is not None:
            await self._transactions.given_up()

    async def stop(self) -> None:
        """Send what is handed over; disconnect."""
        if self._fetching_state is not None:
            self._fetching_state.cancel()
            await asyncio.gather(self._fetching_state, return_exceptions=True)
        if self._tasks:
            writing, looking = self._tasks
            looking.cancel()
            self._log.close()
            await asyncio.wait({writing}, timeout=limits.SHUTDOWN_S)
            writing.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._reader.stop()

    async def _restore(self, partitions: Iterable[int], epoch: int) -> None:
        """Hold the states of partitions, unless they are held or were given up after `epoch`."""
        async with self._restoring:
            missing = [each for each in partitions if each not in self._restored]
            if not missing or epoch != self.epoch:
                return
            started_s = time.monotonic()
            await self._log.flushed()
            if self._transactions is not None:
                try:
                    await self._transactions.claim(missing)
                except Abandoned:
                    return
            left = await self._reader.states_of(
                missing, await self._sink.partitions_of(self._topic)
            )
            for partition, (written, end_offset) in left.items():
                await self._take_over(partition, written, end_offset, epoch)
            took_s = time.monotonic() - started_s
            self._metrics.suppression_restore_s.observe(took_s)
            if keys := sum(len(written) for written, _ in left.values()):
                log.info("%d partitions: %d keys restored in %.1f s", len(left), keys, took_s)

    async def _take_over(
        self, partition: int, written: Written, end_offset: int, epoch: int
    ) -> None:
        states = self._decoded(written)
        step: Callable[[], None] = partial(self._begin, partition)
        # Nothing of it may be begun once it is given up: that is cleared away only once.
        while epoch == self.epoch:
            await self._in_heart_thread(step)
            some = list(islice(states, limits.RESTORED_A_STEP))
            if not some and epoch == self.epoch:
                self._restored.add(partition)
                break
            step = partial(self._state.restore, partition, some, end_offset)

    def _begin(self, partition: int) -> None:
        self._state.turn_to(self._clock.now_ms())
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
        """Look at some keys again and again, until cancelled."""
        while True:
            await asyncio.sleep(limits.EXPIRY_INTERVAL_S)
            if not self._lists_hold():
                continue
            if self._transactions is None:
                await self._tell_and_forget()
            else:
                taken, changes = await self._in_heart_thread(self._tidy_and_forget)
                self._transactions.note(_by_partition(taken, self._clock.now_ms()), changes)

    async def _tell_and_forget(self) -> None:
        """Audit what no match will carry; only then is it forgotten on the topic."""
        taken, changes = await self._in_heart_thread(self._tidy)
        self._log.append(changes)
        if taken:
            now_ms = self._clock.now_ms()
            await self._append([_event(unmatched, now_ms) for unmatched in taken])
            self._log.append(await self._in_heart_thread(partial(self._audited, taken)))

    def _tidy(self) -> tuple[list[Unmatched], list[SuppressionRecord]]:
        self._state.turn_to(self._clock.now_ms())
        self._state.tidy(self._is_listed)
        return self._state.take_unmatched(), self._state.take_changes()

    def _tidy_and_forget(self) -> tuple[list[Unmatched], list[SuppressionRecord]]:
        """Both go into one transaction, so that neither can come without the other."""
        taken, changes = self._tidy()
        return taken, changes + self._audited(taken)

    def _audited(self, taken: list[Unmatched]) -> list[SuppressionRecord]:
        self._state.audited(taken)
        return self._state.take_changes()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)


def _by_partition(taken: Iterable[Unmatched], now_ms: int) -> dict[int, list[Event]]:
    events: dict[int, list[Event]] = {}
    for unmatched in taken:
        events.setdefault(unmatched.partition, []).append(_event(unmatched, now_ms))
    return events


def _event(unmatched: Unmatched, now_ms: int) -> SuppressedEvent:
    authority = unmatched.authority
    return SuppressedEvent(
        "suppressed",
        now_ms,
        {
            "entry_id": unmatched.entry_id,
            "list_id": unmatched.list_id,
            "agency": unmatched.agency,
            "purpose": unmatched.purpose,
            "authority": f"{authority.kind} {authority.reference}",
            "suppressed": unmatched.folded,
            "partition": unmatched.partition,
            "offset": unmatched.offset,
        },
    )
