"""Delivery exactly once: what comes of a partition's reads, and its offset, in one transaction.

Every partition of the reads that this worker owns has a transactional id of its own
(`engine.delivery.transactional_producer`), which it claims when the partition comes to it
(`engine.delivery.idle_producers`). That fences the former owner. Only then does the worker ask what
the group has committed, because its consumer asked earlier and the former owner may have committed
a transaction in between. Reads below that offset are cut from the fetches. So a read's matches,
rejects, audit records and suppression states count once, however often and by whichever worker it
is fetched. The group's generation does not help here: a stalled worker may not know yet that it has
left the group. So a transaction also counts while the group rebalances.

A partition's transactions follow one after the other (`engine.delivery.partition_transactions`).
Offsets of fetches that came to nothing go by the same way, so that there is one order of all. The
chain in which the matches of a partition are audited is kept while the partition is elsewhere. One
that has none is expected to begin a chain soon.

A worker that is fenced has lost the partition: it abandons what was handed over, and asks the group
to rebalance. Any other failure ends the worker without a commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

from engine import limits
from engine.audit.chain import Event
from engine.delivery.audit_writer import Count, Sealing
from engine.delivery.fencing import Fencing
from engine.delivery.held import Claim, Held
from engine.delivery.idle_producers import IdleProducers
from engine.delivery.known_changelog import KnownChangelog
from engine.delivery.partition_transactions import Chains, PartitionTransactions, Tells, Transacts
from engine.delivery.port import Keys
from engine.delivery.records import match_events, records_of
from engine.delivery.send_queue import Abandoned
from engine.delivery.suppression_changelog import StateRecord, state_records
from engine.matching.outcome import Outcome
from engine.matching.written_states import SuppressionRecord
from engine.transport.assignment import Assignment
from engine.transport.batch_topics import ByGroup
from engine.transport.fetch import Fetch
from engine.transport.runtime import Runtime

log = logging.getLogger(__name__)


class Transactions:
    """The partitions of a worker. Offsets alone are committed `quiet_s` after a partition's last
    transaction, and not before."""

    takes_parts = False

    def __init__(
        self,
        runtime: Runtime,
        make_sink: Callable[[int], Transacts],
        offsets: Tells,
        chains: Chains,
        count: Count,
        quiet_s: float = limits.COMMIT_INTERVAL_S / 2,
    ) -> None:
        self._quiet_s = quiet_s
        self._cluster = runtime.cluster
        self._make_sink = make_sink
        self._offsets = offsets
        self._new_chains = chains
        self._count = count
        self.known = KnownChangelog()
        #: By partition, the assignment in which it was claimed last.
        self._assignments: dict[int, Assignment] = {}
        self._claiming: dict[asyncio.Task[None], tuple[Assignment, int]] = {}
        self._idle = IdleProducers()
        self._fencing = Fencing(runtime.tasks)
        #: By partition, chains whose last record is known to be committed.
        self._chains: dict[int, Sealing] = {}

    async def start(self) -> None:
        """Connect. Raises BrokerError if the broker is not reached."""
        await self._offsets.start()

    async def stop(self) -> None:
        """Commit what is handed over; disconnect."""
        for assignment in {*self._assignments.values()}:
            assignment.end()
            await self.on_revoked(assignment, assignment.all_held(Held).keys())
        await self._idle.stop()
        await self._offsets.stop()

    def on_assigned(self, assignment: Assignment, partitions: Collection[int]) -> None:
        """Stop the producers of partitions that may have had another owner since."""
        self._idle.on_assigned(assignment, partitions)

    async def claim(self, assignment: Assignment, partitions: Collection[int]) -> Collection[int]:
        """Be the only one who commits for partitions, and know what is committed; of those that are
        ours already, all that was handed over is committed then.

        Returns them without those that are revoked or lost meanwhile: the others stay. Raises
        BrokerError.
        """
        claims = {
            asyncio.create_task(self._claim(assignment, each)): (assignment, each)
            for each in partitions
        }
        self._assignments |= {partition: assignment for _, partition in claims.values()}
        self._claiming |= claims
        for claim in claims:
            claim.add_done_callback(self._claiming.pop)
        errors = await asyncio.gather(*claims, return_exceptions=True)
        for error in errors:
            # A claim is cancelled if its partition is revoked.
            if error is not None and not isinstance(error, Abandoned | asyncio.CancelledError):
                raise error
        return [
            part for (_, part), error in zip(claims.values(), errors, strict=True) if error is None
        ]

    async def cut(self, fetch: Fetch) -> bool:
        """Take from a fetch what is committed already; False if its partition is not ours."""
        assignment, held = fetch.assignment, _held(fetch)
        if not fetch.is_ours:
            return False
        if fetch.follows != held.handed_to:
            # The one between them has failed, or went by us: nothing behind it may be committed.
            held.refuse(assignment, fetch.raw.partition)
            return False
        if fetch.raw.first_offset < held.floor:
            await self._cut_at_floor(fetch, held)
        return held.claim is not None and held.claim.transactions.failure is None

    def pass_over(self, fetch: Fetch) -> None:
        """A fetch is through; if it came to nothing its offset comes with `commit`."""
        held = _held(fetch)
        if held.claim is not None:
            held.handed_to = fetch.next_offset

    def hand_over(self, fetch: Fetch, outcome: Outcome) -> asyncio.Future[None]:
        """Hand over what came of a fetch; the future is as that of `PartitionTransactions.add`."""
        partition = fetch.raw.partition
        own = [change for change in outcome.suppression if change.partition == partition]
        if len(own) < len(outcome.suppression):
            # To make room, the oldest keys are evicted, whatever their partition.
            others = [one for one in outcome.suppression if one.partition != partition]
            self._add_states({}, others)
        handed = _held(fetch).add(
            records_of(self._cluster.topics, outcome),
            match_events(outcome),
            self._states(own),
            fetch.next_offset,
            has_next=fetch.lag >= limits.BACKLOG_READS,
        )
        self.pass_over(fetch)
        return handed

    async def finish(self, outcome: Outcome, handed: asyncio.Future[None]) -> None:
        """Wait until what was handed over is committed."""
        await handed

    async def note(self, keys: Keys) -> None:
        """Audit and evict a count in one transaction."""
        tidied = await keys.tidy_and_evict()
        self._add_states(tidied.events, tidied.changes)

    async def commit(self, offsets: Mapping[int, int], by_group: ByGroup) -> Mapping[int, int]:
        """Commit offsets by transactions; the group's consumer would put them back.

        A partition that has had a transaction just now is left for the next time: right behind
        another one, aiokafka lets a transaction that is of offsets alone take a tenth of a second,
        and matches that come meanwhile wait for it; they bring the offset along, too.
        """
        taken: dict[int, int] = {}
        handed: dict[int, asyncio.Future[None]] = {}
        now_s = asyncio.get_running_loop().time()
        for partition, offset in offsets.items():
            claim = self._held_of(partition).claim
            if claim is None:
                continue
            if now_s - claim.transactions.ended_s >= self._quiet_s:
                handed[partition] = claim.transactions.add(next_offset=offset)
            elif claim.transactions.committed is not None:
                taken[partition] = min(offset, claim.transactions.committed)
        if handed:
            await asyncio.wait(handed.values())
        for partition, committed in handed.items():
            if committed.exception() is None:
                taken[partition] = offsets[partition]
        return taken

    async def on_revoked(self, assignment: Assignment, partitions: Collection[int]) -> None:
        """Commit what is handed over, and let go of the transactional ids."""
        revoked = {(assignment, partition) for partition in partitions}
        if claiming := {claim for claim, what in self._claiming.items() if what in revoked}:
            # A producer that is made only now would fence the next owner.
            _, late = await asyncio.wait(claiming, timeout=limits.SHUTDOWN_S)
            for claim in late:
                claim.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        held = assignment.all_held(Held)
        await asyncio.gather(
            *(self._let_go(assignment, each, held[each]) for each in partitions if each in held)
        )
        self._assignments = {
            each: of for each, of in self._assignments.items() if (of, each) not in revoked
        }

    async def _cut_at_floor(self, fetch: Fetch, held: Held) -> None:
        # If the topic was recreated, the offset belongs to the old topic.
        end = await self._offsets.end(fetch.raw.partition)
        if held.claim is None:
            return  # revoked meanwhile
        if end < held.floor:
            held.floor = 0
            held.claim.transactions.committed = None
        else:
            fetch.skip_to(held.floor)

    async def _claim(self, assignment: Assignment, partition: int) -> None:
        held = assignment.held(partition, Held)
        if held.claim is not None:
            transactions = held.claim.transactions
            await transactions.flushed()
            committed = transactions.committed = await self._offsets.committed(partition)
        else:
            if partition not in self._chains:
                self._new_chains.expect()
            idle = self._idle.take(partition)
            sink = idle or self._make_sink(partition)
            try:
                if idle is None:
                    await sink.start()
                committed = await self._offsets.committed(partition)
            except BaseException:
                await sink.stop()
                raise
            if not assignment.owns(partition):
                await sink.stop()
                raise Abandoned
            transactions = PartitionTransactions(
                sink,
                self._new_chains.begin,
                self._count,
                self.known,
                committed,
                self._chains.pop(partition, None),
            )
            task = asyncio.create_task(transactions.run())
            held.claim = Claim(sink, transactions, task)
            task.add_done_callback(partial(self._fencing.on_done, assignment, partition))
        if committed is not None:
            held.floor = committed

    async def _let_go(self, assignment: Assignment, partition: int, held: Held) -> None:
        claim, held.claim = held.claim, None
        if claim is None:
            return
        is_sound = claim.transactions.failure is None
        claim.transactions.close()
        await asyncio.wait({claim.task}, timeout=limits.SHUTDOWN_S)
        is_sound = not claim.task.cancel() and is_sound
        [error] = await asyncio.gather(claim.task, return_exceptions=True)
        if claim.transactions.sealing is not None:
            self._chains[partition] = claim.transactions.sealing
        if is_sound and error is None:
            self._idle.keep(partition, claim.sink, assignment)
        else:
            await claim.sink.stop()

    def _held_of(self, partition: int) -> Held:
        """What is held of a partition; nothing if it is not ours any more."""
        assignment = self._assignments.get(partition)
        return Held() if assignment is None else assignment.held(partition, Held)

    def _add_states(
        self,
        events: Mapping[int, Sequence[Event]],
        changes: Sequence[SuppressionRecord],
    ) -> None:
        """Hand over events by partition, and changes of the suppression's state that go with them.

        Of partitions that are not ours any more nothing comes: their next owner finds it so.
        """
        by_partition: dict[int, list[SuppressionRecord]] = {each: [] for each in events}
        for change in changes:
            by_partition.setdefault(change.partition, []).append(change)
        for partition, of_partition in by_partition.items():
            held = self._held_of(partition)
            held.add((), events.get(partition, ()), self._states(of_partition), None)

    def _states(self, changes: Iterable[SuppressionRecord]) -> list[StateRecord]:
        return state_records(self._cluster, changes)


def _held(fetch: Fetch) -> Held:
    return fetch.assignment.held(fetch.raw.partition, Held)
