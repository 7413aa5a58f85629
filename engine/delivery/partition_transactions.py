"""The transactions of one partition of the reads, one after the other.

Each takes all that waits, in its order, and commits the offset after the last of it; an offset that
the group has already is never committed again, so none goes back.

The audit of the partition's matches is a chain of its own, begun with the first of them. While a
transaction is under way the chain belongs to nobody: where its outcome stays unknown (the worker is
fenced, or the last answer is lost), the chain is never written again.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from engine import limits
from engine.delivery.audit_writer import Count, Event, Sealing, tell
from engine.delivery.pipeline import Abandoned
from engine.delivery.sink import Outgoing, acknowledgement, all_kept, fail_all, keep_all
from engine.delivery.suppression_changelog import StateRecord
from engine.delivery.transactional_producer import Fenced

#: Begins a chain of audit records that nobody else writes.
BeginChain = Callable[[], Awaitable[Sealing]]


class Transacts(Protocol):
    """The part of `engine.delivery.transactional_producer.TransactionalSink` that is used here."""

    async def start(self) -> None: ...
    async def transact(
        self, records: Sequence[Outgoing], states: Sequence[StateRecord], next_offset: int | None
    ) -> None: ...
    async def stop(self) -> None: ...


class _Handed(NamedTuple):
    """What counts together, and what tells that it does."""

    records: Sequence[Outgoing]
    events: Sequence[Event]
    states: Sequence[StateRecord]
    next_offset: int | None
    committed: asyncio.Future[None]


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
        committed: int | None = None,
        sealing: Sealing | None = None,
    ) -> None:
        self.committed = committed
        self.sealing = sealing
        self.ended_s = -math.inf
        self.failure: Exception | None = None
        self._sink = sink
        self._begin_chain = begin_chain
        self._count = count
        self._waiting: deque[_Handed] = deque()
        self._under_way: list[_Handed] = []
        self._wake = asyncio.Event()
        self._is_closing = False

    def add(
        self,
        records: Sequence[Outgoing] = (),
        events: Sequence[Event] = (),
        states: Sequence[StateRecord] = (),
        next_offset: int | None = None,
    ) -> asyncio.Future[None]:
        """Hand over what belongs together; the future is done when it is committed.

        It fails with Abandoned where the partition is lost or given up before, and else with what
        ended `run`.
        """
        committed = acknowledgement()
        if self.failure is not None:
            committed.set_exception(self.failure)
        else:
            self._waiting.append(_Handed(records, events, states, next_offset, committed))
            self._wake.set()
        return committed

    async def flushed(self) -> None:
        """Wait until all that was handed over is committed. Raises what `add` tells of."""
        await all_kept(self._promises())

    async def run(self) -> None:
        """Commit what is handed over, until `close`. Raises Fenced, or BrokerError."""
        try:
            while True:
                if self._waiting:
                    await self._transact()
                elif self._is_closing:
                    self._fail(Abandoned())  # nothing can be handed over any more
                    return
                else:
                    await self._wait()
        except (Fenced, asyncio.CancelledError):
            self._fail(Abandoned())
            raise
        except Exception as error:
            self._fail(error)
            raise

    def close(self) -> None:
        """End `run` once everything handed over is committed."""
        self._is_closing = True
        self._wake.set()

    async def _wait(self) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(limits.TRANSACTIONAL_ID_S):
                await self._wake.wait()
        except TimeoutError:
            # The broker forgets an id of which it has not heard for some days.
            if self.committed is not None:
                await self._sink.transact((), (), self.committed)

    async def _transact(self) -> None:
        taken = self._under_way = [*self._waiting]
        self._waiting.clear()
        records = [record for one in taken for record in one.records]
        events = [event for one in taken for event in one.events]
        # The latest state of each key is all that counts.
        states = {state.key: state for one in taken for state in one.states}
        next_offset = max((one.next_offset or 0 for one in taken), default=0)
        is_further = next_offset > (self.committed or 0)
        if events and self.sealing is None:
            self.sealing = await self._begin_chain()
        sealing, self.sealing = self.sealing, None
        if sealing is not None:
            records += [sealing.record(event) for event in events]
        if records or states or is_further:
            await self._sink.transact(
                records, [*states.values()], next_offset if is_further else None
            )
        self.sealing = sealing
        self.ended_s = asyncio.get_running_loop().time()
        if is_further:
            self.committed = next_offset
        if events:
            tell(self._count, events)
        keep_all(one.committed for one in taken)
        self._under_way = []

    def _promises(self) -> list[asyncio.Future[None]]:
        return [one.committed for one in (*self._under_way, *self._waiting)]

    def _fail(self, error: Exception) -> None:
        self.failure = error
        fail_all(self._promises(), error)
        self._under_way = []
        self._waiting.clear()
