"""The state of one partition of the reads while it is assigned to this worker.

`Assignment.held(partition, Held)` returns it; it ends with the assignment.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from engine.delivery.partition_transactions import PartitionTransactions, Transacts


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
