"""From fetches to deliveries: through the heart one by one, delivered beside it.

A fetch is done when its matches, the audit's record of each of them, its rejects and what it
changed in the suppression's state are all acknowledged by the broker, and only then may its
offset be committed. None of them waits for another. A bounded number of
fetches is in delivery while the next are matched. A fetch that fails is abandoned: it is read
again by whoever gets its partition next, and repeats what got through of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from engine import limits
from engine.fields import AuditEvent
from engine.heart import Outcome
from engine.match import audit_fields
from engine.sink import Outgoing, match_record, reject_record
from engine.suppress import SuppressionRecord
from engine.topics import Topics
from engine.transport import Fetch

#: Matches a fetch; None where the worker ends before it may.
Process = Callable[[Fetch], Awaitable[Outcome | None]]
#: Told of what is delivered, and how long that took, in seconds.
Delivered = Callable[[Outcome, float], None]


class MatchEvent(NamedTuple):
    """What the audit records of a match."""

    event: AuditEvent
    at_ms: int
    fields: dict[str, str | int]


class Delivers(Protocol):
    """The part of `engine.sink.Sink` that is used here."""

    async def deliver(self, records: list[Outgoing]) -> None: ...


#: Hands events to the audit; the future is done when they are acknowledged.
Append = Callable[[Sequence[MatchEvent]], "asyncio.Future[None]"]


#: Hands changes of the suppression's state to its changelog, as `Append` does events.
Note = Callable[[Sequence[SuppressionRecord]], "asyncio.Future[None]"]


class Pipeline:
    """See the module. `failed` is told of what ends the worker."""

    def __init__(
        self,
        topics: Topics,
        process: Process,
        sink: Delivers,
        append: Append,
        note: Note,
        delivered: Delivered,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._topics = topics
        self._process = process
        self._sink = sink
        self._append = append
        self._note = note
        self._delivered = delivered
        self._failed = failed
        self._room = asyncio.Semaphore(limits.FETCHES_IN_DELIVERY)
        self._deliveries: set[asyncio.Task[None]] = set()

    async def take(self, fetch: Fetch) -> None:
        """Process a fetch; returns when the next may be taken."""
        try:
            outcome = await self._process(fetch)
        except Exception as error:
            self._failed(error)
            fetch.abandon()
            raise
        if outcome is None:
            fetch.abandon()
            return
        if not (outcome.matches or outcome.rejects or outcome.suppressed or outcome.suppression):
            fetch.done()
            return
        # At once: what is noted later of the same keys must come to stand behind it.
        noted = self._note(outcome.suppression)
        await self._room.acquire()
        delivery = asyncio.create_task(self._deliver(fetch, outcome, noted))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._on_delivered)

    async def close(self) -> None:
        """Wait for what is in delivery."""
        await asyncio.gather(*self._deliveries, return_exceptions=True)

    async def _deliver(self, fetch: Fetch, outcome: Outcome, noted: asyncio.Future[None]) -> None:
        started_s = time.perf_counter()
        try:
            # All are under way at once. Whatever fails, the audit's records are sent: they
            # are sealed into the chain, and say no more than that the engine found a match.
            audited = self._append(_events(outcome))
            await self._sink.deliver(self._records(outcome))
            await audited
            await noted
        except Exception:
            fetch.abandon()
            raise
        fetch.done()
        self._delivered(outcome, time.perf_counter() - started_s)

    def _records(self, outcome: Outcome) -> list[Outgoing]:
        return [match_record(self._topics, found.match) for found in outcome.matches] + [
            reject_record(self._topics, reject) for reject in outcome.rejects
        ]

    def _on_delivered(self, delivery: asyncio.Task[None]) -> None:
        self._deliveries.discard(delivery)
        self._room.release()
        if not delivery.cancelled() and (error := delivery.exception()) is not None:
            self._failed(error)


def _events(outcome: Outcome) -> list[MatchEvent]:
    at_ms = outcome.at_ms
    return [MatchEvent("match", at_ms, audit_fields(found.match)) for found in outcome.matches]
