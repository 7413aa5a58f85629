"""The transactions of one partition of the reads, one after the other.

Each takes everything that waits, in its order, and commits the offset after it. An offset that the
group already has is never committed again, so the group's offset never goes back. While the
partition has many reads left, a transaction waits for what comes of a further fetch, because most
of what it costs is the same whatever it holds.

The matches of the partition are audited in a chain of their own, which begins with the first of
them. If the outcome of a transaction stays unknown (the worker is fenced, or the last response is
lost), the chain is never continued.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple, Protocol

from engine import limits
from engine.audit.chain import Event
from engine.delivery.audit_writer import BeginChain, Count, Sealing, tell
from engine.delivery.known_changelog import Appended, KnownChangelog
from engine.delivery.records import Outgoing
from engine.delivery.send_queue import Abandoned, SendQueue
from engine.delivery.suppression_changelog import StateRecord
from engine.in_parts import InParts, parts_of


class Transacts(Protocol):
    """The part of `engine.delivery.transactional_producer.TransactionalSink` that is used here."""

    async def start(self) -> None: ...
    async def transact(
        self, records: Sequence[Outgoing], states: Sequence[StateRecord], next_offset: int | None
    ) -> Appended | None: ...
    async def stop(self) -> None: ...


class Tells(Protocol):
    """The part of `transactional_producer.GroupOffsets` that `transactions` uses."""

    async def start(self) -> None: ...
    async def committed(self, partition: int) -> int | None: ...
    async def end(self, partition: int) -> int: ...
    async def stop(self) -> None: ...


class Chains(Protocol):
    """The part of `engine.delivery.audit_chains.AuditChains` that `transactions` uses."""

    def expect(self) -> None: ...
    async def begin(self) -> Sealing: ...


class _Handed(NamedTuple):
    """What counts together."""

    records: Sequence[Outgoing]
    events: Sequence[Event]
    states: Sequence[StateRecord]
    next_offset: int | None
    has_next: bool


class PartitionTransactions:
    """The transactions of one partition while it is ours. Only while `run` runs are there any.

    `committed` is the offset that the group has, None where it has none; `sealing` the chain that
    the audit of the matches goes on with, None where one is to be begun; `ended_s` when the last
    transaction ended, by the event loop's clock.
    """

    def __init__(
        self,
        sink: Transacts,
        begin_chain: BeginChain,
        count: Count,
        known: KnownChangelog,
        committed: int | None = None,
        sealing: Sealing | None = None,
    ) -> None:
        self.committed = committed
        self.sealing = sealing
        self.ended_s = -math.inf
        self._sink = sink
        self._begin_chain = begin_chain
        self._count = count
        self._known = known
        self._queue: SendQueue[_Handed] = SendQueue()

    @property
    def failure(self) -> Exception | None:
        """Why nothing is taken any more; None while there is no reason."""
        return self._queue.failure

    def refuse(self) -> None:
        """Take nothing more; what is handed over is committed."""
        self._queue.failure = Abandoned()

    def add(
        self,
        records: Sequence[Outgoing] = (),
        events: Sequence[Event] = (),
        states: Sequence[StateRecord] = (),
        next_offset: int | None = None,
        *,
        has_next: bool = False,
    ) -> asyncio.Future[None]:
        """Hand over what belongs together; the future is done when it is committed.

        `has_next` if more comes soon, which may be committed with it.

        It fails with Abandoned if the partition is lost or revoked before, and else with what
        ended `run`.
        """
        return self._queue.add(_Handed(records, events, states, next_offset, has_next))

    async def flushed(self) -> None:
        """Wait until all that was handed over is committed. Raises what `add` tells of."""
        await self._queue.flushed()

    async def run(self) -> None:
        """Commit what is handed over, until `close`. Raises Fenced, or BrokerError."""
        try:
            await self._queue.run(self._transact, limits.TRANSACTIONAL_ID_S, self._keep_id)
        finally:
            # Nothing can be handed over any more.
            self._queue.reject(self._queue.failure or Abandoned())

    def close(self) -> None:
        """End `run` once everything handed over is committed."""
        self._queue.close()

    async def _keep_id(self) -> None:
        # The broker drops an id that has not been used for some days.
        if self.committed is not None:
            await self._sink.transact((), (), self.committed)

    async def _transact(self) -> None:
        if self._queue.failure is None:
            await self._queue.gather(
                limits.TRANSACTION_FETCHES, limits.TRANSACTION_GATHER_S, attrgetter("has_next")
            )
        taken = self._queue.take_all()
        records: list[Sequence[Outgoing]] = [
            part for one in taken for part in parts_of(one.records)
        ]
        events = InParts(part for one in taken for part in parts_of(one.events))
        # The latest state of each key is all that counts.
        states = {state.key: state for one in taken for state in one.states}
        next_offset = max((one.next_offset or 0 for one in taken), default=0)
        is_further = next_offset > (self.committed or 0)
        if events and self.sealing is None:
            self.sealing = await self._begin_chain()
        sealing, self.sealing = self.sealing, None
        if sealing is not None:
            records += sealing.every(events).parts
        if any(records) or states or is_further:
            appended = await self._sink.transact(
                InParts(records), [*states.values()], next_offset if is_further else None
            )
            if appended is not None:
                self._known.appended(appended, by=next(iter(states.values())).source)
            self._known.acknowledged(state.source for one in taken for state in one.states)
        if sealing is not None:
            sealing.acknowledged()
        self.sealing = sealing
        self.ended_s = asyncio.get_running_loop().time()
        if is_further:
            self.committed = next_offset
        if events:
            tell(self._count, events)
        self._queue.acknowledge()
