"""The port by which the outcomes of fetches are delivered to Kafka.

`Delivery` is the port. Both modes implement it: `engine.delivery.at_least_once` and
`engine.delivery.transactions`. No other code asks which mode is in use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from engine.audit.chain import Event
from engine.delivery.known_changelog import KnownChangelog
from engine.matching.outcome import Outcome
from engine.matching.suppression import Unmatched
from engine.matching.written_states import SuppressionRecord
from engine.transport.assignment import Assignment
from engine.transport.batch_topics import ByGroup
from engine.transport.fetch import Fetch


class Tidied(NamedTuple):
    """The result of checking some keys: counts that no match will carry, as they are and as events
    by partition, and the changes of the state."""

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
    """Delivers the outcomes of fetches to the broker. It receives the fetches in their order."""

    #: Whether part of a fetch's outcome may count before the rest of it.
    takes_parts: bool
    #: What is known of the changelog, by what was written to it.
    known: KnownChangelog

    async def start(self) -> None:
        """Connect. Raises BrokerError if the broker cannot be reached."""

    async def stop(self) -> None:
        """Deliver everything handed over, and disconnect."""

    def on_assigned(self, assignment: Assignment, partitions: Collection[int]) -> None:
        """Partitions are assigned; let go of what is held of others. They are claimed later."""

    async def claim(self, assignment: Assignment, partitions: Collection[int]) -> Collection[int]:
        """Claim partitions: everything handed over of them is delivered, and no other worker can
        deliver for them. Returns those that are not revoked or lost meanwhile. Raises
        BrokerError."""

    async def cut(self, fetch: Fetch) -> bool:
        """Cut the reads that count already from a fetch; False if its partition is not ours."""

    def pass_over(self, fetch: Fetch) -> None:
        """Record that a fetch has nothing to deliver."""

    def hand_over(self, fetch: Fetch, outcome: Outcome) -> asyncio.Future[None]:
        """Queue what must be written in the order of the fetches, without waiting."""

    async def finish(self, outcome: Outcome, handed: asyncio.Future[None]) -> None:
        """Deliver an outcome; return when all of it is acknowledged.

        Raises Abandoned, or the error of the delivery.
        """

    async def note(self, keys: Keys) -> None:
        """Check some keys; audit the counts that no match will carry, and evict them."""

    async def commit(self, offsets: Mapping[int, int], by_group: ByGroup) -> Mapping[int, int]:
        """Commit offsets by partition, by the group's consumer or in a transaction.

        Returns the committed offsets.
        """

    async def on_revoked(self, assignment: Assignment, partitions: Collection[int]) -> None:
        """Deliver what is handed over of partitions that have ended, and release them."""
