"""The one way by which what comes of fetches gets to Kafka, and counts there.

`Delivery` is the port. Behind it lie both modes: `engine.delivery.at_least_once` and
`engine.delivery.transactions`. Nothing else asks which of them it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from engine.delivery.audit_writer import Event
from engine.matching.outcome import Outcome
from engine.matching.suppression import Unmatched
from engine.matching.suppression_states import SuppressionRecord
from engine.transport.assignment import Assignment
from engine.transport.consumer import ByGroup, Fetch


class Tidied(NamedTuple):
    """What came of looking at some keys: counts that no match will carry, as they are and as events
    by partition, and what changed in the state."""

    taken: Sequence[Unmatched]
    events: Mapping[int, Sequence[Event]]
    changes: Sequence[SuppressionRecord]


class Keys(Protocol):
    """The suppression's keys; some are checked every second."""

    async def tidy(self) -> Tidied:
        """Check some keys. Audit the counts that it takes before you evict them."""

    async def evict(self, taken: Sequence[Unmatched]) -> Sequence[SuppressionRecord]:
        """Evict audited counts; return what changed."""

    async def tidy_and_evict(self) -> Tidied:
        """Do both at once, if neither can count without the other."""


class Delivery(Protocol):
    """How what came of fetches gets to the broker. Is given the fetches in their order."""

    #: Whether some of what comes of a fetch may count before the rest of it.
    takes_parts: bool

    async def start(self) -> None:
        """Connect. Raises BrokerError if the broker is not reached."""

    async def stop(self) -> None:
        """Deliver what is handed over; disconnect."""

    async def claim(self, assignment: Assignment, partitions: Iterable[int]) -> None:
        """Make sure that what was handed over of partitions is delivered, and that no other worker
        delivers anything of them. Raises BrokerError, or Abandoned if they are lost meanwhile."""

    async def cut(self, fetch: Fetch) -> bool:
        """Take from a fetch what counts already; False if its partition is not ours."""

    def pass_over(self, fetch: Fetch) -> None:
        """A fetch came to nothing that is delivered."""

    def hand_over(self, fetch: Fetch, outcome: Outcome) -> asyncio.Future[None]:
        """Note what has to stand in the order of the fetches; waits for nothing."""

    async def finish(self, outcome: Outcome, handed: asyncio.Future[None]) -> None:
        """Deliver it; returns when all of it is acknowledged. Raises Abandoned, or what failed."""

    async def note(self, assignment: Assignment, keys: Keys) -> None:
        """Check some keys; audit the counts that no match will carry, and evict them."""

    async def commit(
        self, assignment: Assignment, offsets: Mapping[int, int], by_group: ByGroup
    ) -> Mapping[int, int]:
        """Commit offsets by partition, by the group's consumer or in another way; how far they are
        committed then."""

    async def on_revoked(self, assignment: Assignment) -> None:
        """Deliver what is handed over of an assignment that has ended, and let go of it."""
