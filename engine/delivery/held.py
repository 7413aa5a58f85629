"""The state of one partition of the reads while it is assigned to this worker.

`Assignment.held(partition, Held)` returns it; it ends with the assignment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.audit.chain import Event
from engine.delivery.partition_transactions import PartitionTransactions, Transacts
from engine.delivery.records import Outgoing
from engine.delivery.send_queue import Abandoned, acknowledgement
from engine.delivery.suppression_changelog import StateRecord
from engine.transport.assignment import Assignment


class Claim(NamedTuple):
    """A transactional id that this worker has claimed, and its transactions."""

    sink: Transacts
    transactions: PartitionTransactions
    task: asyncio.Task[None]


@dataclass(slots=True)
class Held:
    """See the module.

    `is_restored`: the suppression's state is held. `next_offset`: the one after the last read that
    was taken. `settled`: the offset below which reads do not come again. With delivery exactly once
    only: `claim`, `floor`, at which fetches are cut, and `handed_to`, the end of the last fetch.
    """

    is_restored: bool = False
    next_offset: int | None = None
    settled: int | None = None
    claim: Claim | None = None
    floor: int = 0
    handed_to: int | None = None

    def add(
        self,
        records: Sequence[Outgoing],
        events: Sequence[Event],
        states: Sequence[StateRecord],
        next_offset: int | None,
        *,
        has_next: bool = False,
    ) -> asyncio.Future[None]:
        """Add to the partition's transactions; without a claim the future fails with Abandoned."""
        if self.claim is None:
            gone = acknowledgement()
            gone.set_exception(Abandoned())
            return gone
        return self.claim.transactions.add(records, events, states, next_offset, has_next=has_next)

    def refuse(self, assignment: Assignment, partition: int) -> None:
        """Take nothing more of the partition; what was handed over is still committed."""
        if self.claim is not None and self.claim.transactions.failure is None:
            self.claim.transactions.refuse()
            assignment.ask_to_reassign(partition)
