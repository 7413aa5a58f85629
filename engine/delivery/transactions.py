"""Delivery exactly once: what comes of a partition's reads, and its offset, in one transaction.

Every partition of the reads that this worker owns has a transactional id of its own
(`engine.delivery.transactional_producer`), taken anew whenever the partition comes. That fences
whoever had it before, and only then is it asked what the group has committed: this worker's
consumer asked before, and a transaction of the last owner may have been committed in between. What
lies below is cut from the fetches. So a read's matches, rejects, audit records and suppression
states count once, however often it is fetched and by whomever; a group's generation is of no help
there, for a worker that was stalled may not know yet that it is out of it.

A partition's transactions follow one after the other (`engine.delivery.partition_transactions`).
Offsets of fetches that came to nothing go by the same way, so that there is one order of all. The
chain in which the matches of a partition are audited is kept while the partition is elsewhere.

Whoever is fenced has lost the partition: what it was given is abandoned, and the group is asked to
share out anew. Any other failure ends the worker without a commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from engine import limits
from engine.delivery.audit_writer import Count, Event, Sealing
from engine.delivery.partition_transactions import BeginChain, PartitionTransactions, Transacts
from engine.delivery.pipeline import Abandoned, match_events, records_of
from engine.delivery.sink import Outgoing, acknowledgement
from engine.delivery.suppression_changelog import StateRecord, state_record
from engine.delivery.transactional_producer import Fenced
from engine.errors import BrokerError
from engine.kafka.topics import Topics
from engine.matching.matcher import Outcome
from engine.matching.suppression import SuppressionRecord
from engine.transport.consumer import Fetch

log = logging.getLogger(__name__)


class Tells(Protocol):
    """The part of `engine.delivery.transactional_producer.GroupOffsets` that is used here."""

    async def start(self) -> None: ...
    async def committed(self, partition: int) -> int | None: ...
    async def end(self, partition: int) -> int: ...
    async def stop(self) -> None: ...


class _Owned(NamedTuple):
    """A partition that is ours."""

    sink: Transacts
    transactions: PartitionTransactions
    task: asyncio.Task[None]


class Transactions:
    """The partitions of a worker. `failed` is told of what ends the worker; `rejoin` asks the group
    to share out anew, and is to be set before any partition comes. Offsets alone are committed
    `quiet_s` after a partition's last transaction, and not before."""

    rejoin: Callable[[], Awaitable[None]]

    def __init__(
        self,
        topics: Topics,
        group: str,
        make_sink: Callable[[int], Transacts],
        offsets: Tells,
        begin_chain: BeginChain,
        count: Count,
        failed: Callable[[BaseException], None],
        quiet_s: float = limits.COMMIT_INTERVAL_S / 2,
    ) -> None:
        self._quiet_s = quiet_s
        self._topics = topics
        self._group = group
        self._make_sink = make_sink
        self._offsets = offsets
        self._begin_chain = begin_chain
        self._count = count
        self._failed = failed
        self._owned: dict[int, _Owned] = {}
        self._claiming: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Future[None]] = set()
        self._asked_in = -1
        #: By partition, chains whose last record is known to be committed.
        self._chains: dict[int, Sealing] = {}
        #: By partition, what the fetches are cut at, and the last of them.
        self._floors: dict[int, int] = {}
        self._last: dict[int, Fetch] = {}
        self._epoch = 0

    async def start(self) -> None:
        """Connect. Raises BrokerError where the broker is not reached."""
        await self._offsets.start()

    async def stop(self) -> None:
        """Commit what is handed over; disconnect."""
        await self.given_up()
        await self._offsets.stop()

    async def claim(self, partitions: Iterable[int]) -> None:
        """Be the only one who commits for partitions, and know what is committed; of those that are
        ours already, all that was handed over is committed then.

        Raises BrokerError where that does not come about, and Abandoned where they are given up or
        lost meanwhile.
        """
        claims = [asyncio.create_task(self._claim(each, self._epoch)) for each in partitions]
        self._claiming.update(claims)
        for claim in claims:
            claim.add_done_callback(self._claiming.discard)
        for error in await asyncio.gather(*claims, return_exceptions=True):
            if error is not None:
                raise error

    async def cut(self, fetch: Fetch) -> bool:
        """Take from a fetch what is committed already; False where its partition is not ours."""
        partition = fetch.raw.partition
        last = self._last.get(partition)
        if fetch.follows != (None if last is None else last.next_offset):
            # The one between them has failed, or went by us: nothing behind it may be committed.
            self._refuse(partition)
            return False
        floor = self._floors.get(partition, 0)
        if fetch.raw.first_offset < floor:
            # Where the topic has been made anew, the offset is one of the old topic's.
            epoch, end = self._epoch, await self._offsets.end(partition)
            if epoch != self._epoch:
                return False
            if end < floor:
                self._floors.pop(partition)
                self._owned[partition].transactions.committed = None
            else:
                fetch.raw = fetch.raw.since(floor)
        owned = self._owned.get(partition)
        return owned is not None and owned.transactions.failure is None

    def pass_over(self, fetch: Fetch) -> None:
        """A fetch is through; where it came to nothing its offset comes with `commit`."""
        if fetch.raw.partition in self._owned:
            self._last[fetch.raw.partition] = fetch

    def hand_over(self, fetch: Fetch, outcome: Outcome) -> asyncio.Future[None]:
        """Hand over what came of a fetch; the future is as that of `PartitionTransactions.add`."""
        partition = fetch.raw.partition
        handed = self._hand_over(fetch, outcome, partition)
        self.pass_over(fetch)
        return handed

    def _hand_over(self, fetch: Fetch, outcome: Outcome, partition: int) -> asyncio.Future[None]:
        own = [change for change in outcome.suppression if change.partition == partition]
        if len(own) < len(outcome.suppression):
            # To make room, what is oldest is forgotten, of whatever partition it is.
            self.note({}, [one for one in outcome.suppression if one.partition != partition])
        return self._add(
            partition,
            records_of(self._topics, outcome),
            match_events(outcome),
            self._states(own),
            fetch.next_offset,
        )

    async def finish(self, outcome: Outcome, handed: asyncio.Future[None]) -> None:
        """Wait until what was handed over is committed."""
        await handed

    def note(
        self, events: Mapping[int, Sequence[Event]], changes: Sequence[SuppressionRecord]
    ) -> None:
        """Hand over events by partition, and changes of the suppression's state that go with them.

        Of partitions that are not ours any more nothing comes: their next owner finds it so.
        """
        by_partition: dict[int, list[SuppressionRecord]] = {each: [] for each in events}
        for change in changes:
            by_partition.setdefault(change.partition, []).append(change)
        for partition, of_partition in by_partition.items():
            self._add(partition, (), events.get(partition, ()), self._states(of_partition), None)

    async def commit(self, offsets: Mapping[int, int]) -> dict[int, int]:
        """Commit offsets by partition; how far they are committed then.

        A partition that has had a transaction just now is left for the next time: right behind
        another one, aiokafka lets a transaction that is of offsets alone take a tenth of a second,
        and matches that come meanwhile wait for it; they bring the offset along, too.
        """
        taken: dict[int, int] = {}
        handed: dict[int, asyncio.Future[None]] = {}
        now_s = asyncio.get_running_loop().time()
        for partition, offset in offsets.items():
            owned = self._owned.get(partition)
            if owned is None:
                continue
            if now_s - owned.transactions.ended_s >= self._quiet_s:
                handed[partition] = owned.transactions.add(next_offset=offset)
            elif owned.transactions.committed is not None:
                taken[partition] = min(offset, owned.transactions.committed)
        if handed:
            await asyncio.wait(handed.values())
        for partition, committed in handed.items():
            if committed.exception() is None:
                taken[partition] = offsets[partition]
        return taken

    async def given_up(self) -> None:
        """All partitions go, perhaps to come back; what is handed over is committed first."""
        self._epoch += 1
        self._floors.clear()
        self._last.clear()
        if self._claiming:
            # One that is made yet would fence whoever is next.
            _, late = await asyncio.wait({*self._claiming}, timeout=limits.SHUTDOWN_S)
            for claim in late:
                claim.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        owned, self._owned = self._owned, {}
        await asyncio.gather(*(self._give_up(*each) for each in owned.items()))

    async def _claim(self, partition: int, epoch: int) -> None:
        owned = self._owned.get(partition)
        if owned is not None:
            await owned.transactions.flushed()
            committed = owned.transactions.committed = await self._offsets.committed(partition)
        else:
            sink = self._make_sink(partition)
            try:
                await sink.start()
                committed = await self._offsets.committed(partition)
            except BaseException:
                await sink.stop()
                raise
            if epoch != self._epoch:
                await sink.stop()
                raise Abandoned
            transactions = PartitionTransactions(
                sink,
                self._begin_chain,
                self._count,
                committed,
                self._chains.pop(partition, None),
            )
            task = asyncio.create_task(transactions.run())
            self._owned[partition] = _Owned(sink, transactions, task)
            task.add_done_callback(lambda task: self._on_done(partition, epoch, task))
        if committed is not None and epoch == self._epoch:
            self._floors[partition] = committed

    async def _give_up(self, partition: int, owned: _Owned) -> None:
        owned.transactions.close()
        await asyncio.wait({owned.task}, timeout=limits.SHUTDOWN_S)
        owned.task.cancel()
        await asyncio.gather(owned.task, return_exceptions=True)
        if owned.transactions.sealing is not None:
            self._chains[partition] = owned.transactions.sealing
        await owned.sink.stop()

    def _add(
        self,
        partition: int,
        records: Sequence[Outgoing],
        events: Sequence[Event],
        states: Sequence[StateRecord],
        next_offset: int | None,
    ) -> asyncio.Future[None]:
        owned = self._owned.get(partition)
        if owned is None:
            gone = acknowledgement()
            gone.set_exception(Abandoned())
            return gone
        return owned.transactions.add(records, events, states, next_offset)

    def _refuse(self, partition: int) -> None:
        """Take nothing more of a partition; what is handed over is committed."""
        owned = self._owned.get(partition)
        if owned is not None and owned.transactions.failure is None:
            owned.transactions.failure = Abandoned()
            self._ask_to_share_out()

    def _states(self, changes: Iterable[SuppressionRecord]) -> list[StateRecord]:
        return [state_record(self._topics, self._group, change) for change in changes]

    def _on_done(self, partition: int, epoch: int, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if not isinstance(error, Fenced):
            if error is not None:
                self._failed(error)
            return
        if epoch != self._epoch:
            return
        log.warning("partition %d is another worker's now, or was; the group shares out", partition)
        self._ask_to_share_out()
        loop = asyncio.get_running_loop()
        loop.call_later(limits.FENCED_S, self._still_fenced, epoch, str(error))

    def _ask_to_share_out(self) -> None:
        if self._asked_in == self._epoch:
            return  # since the partitions came
        self._asked_in = self._epoch
        asking = asyncio.ensure_future(self.rejoin())
        self._asking.add(asking)
        asking.add_done_callback(self._on_asked)

    def _on_asked(self, asking: asyncio.Future[None]) -> None:
        self._asking.discard(asking)
        if not asking.cancelled() and (error := asking.exception()) is not None:
            log.warning("the group was not asked to share out: %s", type(error).__name__)

    def _still_fenced(self, epoch: int, transactional_id: str) -> None:
        if epoch == self._epoch:
            self._failed(
                BrokerError(
                    "somebody else uses it, and the consumer group knows of nobody",
                    where=f"transactional id {transactional_id}",
                    hint="give each deployment a --group (HOTLIST_GROUP) of its own",
                )
            )
