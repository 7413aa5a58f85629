"""At-least-once delivery: matches are sent after their audit records are acknowledged.

Otherwise a crash could leave a match that is on no chain: if its entry has changed before the read
is processed again, that comes to another match. The group's consumer commits the offsets of fetches
that are done. After a crash some of it comes twice, and ids tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from engine import limits
from engine.audit.chain import Event
from engine.delivery.known_changelog import KnownChangelog
from engine.delivery.port import Keys
from engine.delivery.records import Outgoing, match_events, records_of
from engine.delivery.suppression_changelog import DeliversStates, SuppressionLog
from engine.matching.outcome import Outcome
from engine.transport.assignment import Assignment
from engine.transport.batch_topics import ByGroup, commit_by_group
from engine.transport.fetch import Fetch
from engine.transport.runtime import Runtime

#: Hands events to the audit; the future is done when they are acknowledged.
Append = Callable[[Sequence[Event]], "asyncio.Future[None]"]


class DeliversMatches(DeliversStates, Protocol):
    """The part of `engine.delivery.sink.Sink` that is used here."""

    async def deliver(self, records: Sequence[Outgoing]) -> None: ...


class AtLeastOnce:
    """See the module."""

    takes_parts = True

    def __init__(self, runtime: Runtime, sink: DeliversMatches, append: Append) -> None:
        self._topics = runtime.cluster.topics
        self._tasks = runtime.tasks
        self._sink = sink
        self._append = append
        self.known = KnownChangelog()
        self.changelog = SuppressionLog(runtime.cluster, sink, self.known)
        self._writing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to write the changelog."""
        self._writing.add(self._tasks.start(self.changelog.run()))

    async def stop(self) -> None:
        """Write what is handed over to the changelog."""
        self.changelog.close()
        if self._writing:
            await asyncio.wait(self._writing, timeout=limits.SHUTDOWN_S)
        for task in self._writing:
            task.cancel()
        await asyncio.gather(*self._writing, return_exceptions=True)

    def on_assigned(self, assignment: Assignment, partitions: Collection[int]) -> None:
        """Do nothing: nothing is held of partitions."""

    async def claim(self, assignment: Assignment, partitions: Collection[int]) -> Collection[int]:
        """Wait until the changelog has everything handed over. Other workers may write to it."""
        await self.changelog.flushed()
        return partitions

    async def cut(self, fetch: Fetch) -> bool:
        """Cut nothing: reads that were delivered already are delivered again."""
        return True

    def pass_over(self, fetch: Fetch) -> None:
        """Do nothing: the fetch is done."""

    def hand_over(self, fetch: Fetch, outcome: Outcome) -> asyncio.Future[None]:
        """Add the states now, so that later states of the same keys follow them."""
        return self.changelog.append(outcome.suppression)

    async def finish(self, outcome: Outcome, handed: asyncio.Future[None]) -> None:
        """Deliver the matches after their audit records.

        If the matches fail, the audit records stay: they are sealed into the chain, and say only
        that the engine found a match.
        """
        await self._append(match_events(outcome))
        await self._sink.deliver(records_of(self._topics, outcome))
        await handed

    async def note(self, keys: Keys) -> None:
        """Evict counts from the topic once they are audited. After a crash in between they are
        audited twice, with the same entry, partition and offset."""
        tidied = await keys.tidy()
        self.changelog.append(tidied.changes)
        if tidied.taken:
            await self._append([event for some in tidied.events.values() for event in some])
            self.changelog.append(await keys.evict(tidied.taken))

    async def commit(self, offsets: Mapping[int, int], by_group: ByGroup) -> Mapping[int, int]:
        """Commit by the group's consumer."""
        return await commit_by_group(offsets, by_group)

    async def on_revoked(self, assignment: Assignment, partitions: Collection[int]) -> None:
        """Wait until the changelog has everything handed over."""
        await self.changelog.flushed()
