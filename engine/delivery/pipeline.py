"""From fetches to deliveries: through the heart one by one, delivered beside it.

A fetch is done when its matches, the audit's record of each of them, its rejects and what it
changed in the suppression's state are all acknowledged by the broker, and only then may its
offset be committed. A match waits for its audit record. A bounded number of fetches is in delivery
while the next are matched. A fetch that fails is abandoned: it is read again by whoever gets its
partition next, and repeats what got through of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

from engine import limits
from engine.delivery.sink import Outgoing, match_record, reject_record
from engine.documents.fields import AuditEvent
from engine.kafka.topics import Topics
from engine.matching.match import audit_fields
from engine.matching.matcher import Outcome
from engine.matching.suppression import SuppressionRecord
from engine.transport.consumer import Fetch

log = logging.getLogger(__name__)

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
    """The part of `engine.delivery.sink.Sink` that is used here."""

    async def deliver(self, records: list[Outgoing]) -> None: ...


#: Hands events to the audit; the future is done when they are acknowledged.
Append = Callable[[Sequence[MatchEvent]], "asyncio.Future[None]"]


#: Hands changes of the suppression's state to its changelog, as `Append` does events.
Note = Callable[[Sequence[SuppressionRecord]], "asyncio.Future[None]"]


class Abandoned(Exception):
    """The partition is given up, or is somebody else's: whoever has it next does the work again."""


class Delivery(Protocol):
    """How what came of fetches gets to the broker. Told of fetches in their order."""

    def pass_over(self, fetch: Fetch) -> None:
        """A fetch came to nothing that is delivered."""

    def hand_over(self, fetch: Fetch, outcome: Outcome) -> asyncio.Future[None]:
        """Note what has to stand in the order of the fetches; waits for nothing."""

    async def finish(self, outcome: Outcome, handed: asyncio.Future[None]) -> None:
        """Deliver it; returns when all of it is acknowledged. Raises Abandoned, or what failed."""


class AtLeastOnce:
    """Each thing by its own way to the broker, the matches when their audit is there.

    Otherwise a crash could leave a match that is on no chain: where its entry has changed before
    the read is processed again, that comes to another match.
    """

    def __init__(self, topics: Topics, sink: Delivers, append: Append, note: Note) -> None:
        self._topics = topics
        self._sink = sink
        self._append = append
        self._note = note

    def pass_over(self, fetch: Fetch) -> None:
        """Nothing to do: the fetch is done."""

    def hand_over(self, fetch: Fetch, outcome: Outcome) -> asyncio.Future[None]:
        """What is noted later of the same keys must come to stand behind it."""
        return self._note(outcome.suppression)

    async def finish(self, outcome: Outcome, handed: asyncio.Future[None]) -> None:
        """Whatever fails, the audit's records are sent: they are sealed into the chain, and say no
        more than that the engine found a match."""
        await self._append(match_events(outcome))
        await self._sink.deliver(records_of(self._topics, outcome))
        await handed


class Pipeline:
    """See the module. `failed` is told of what ends the worker."""

    def __init__(
        self,
        process: Process,
        delivery: Delivery,
        delivered: Delivered,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._process = process
        self._delivery = delivery
        self._delivered = delivered
        self._failed = failed
        self._room = asyncio.Semaphore(limits.FETCHES_IN_DELIVERY)
        self._deliveries: set[asyncio.Task[None]] = set()
        #: Deliveries of what came of a fetch before all of it was processed.
        self._early: dict[Fetch, list[asyncio.Task[None]]] = {}
        self._waiting_for_room: asyncio.Future[Any] | None = None
        self._is_closing = False

    async def take(self, fetch: Fetch) -> None:
        """Process a fetch, in parts where it comes to much; returns when the next may be taken."""
        rest: Fetch | None = fetch
        while rest is not None:
            rest = await self._take(rest)

    async def _take(self, fetch: Fetch) -> Fetch | None:
        """Process a fetch, or as much of it as goes into one outcome; what is left of it."""
        try:
            outcome = await self._process(fetch)
        except Exception as error:
            log.error("a fetch cannot be processed: %s", error, extra=whereabouts(fetch))
            self._failed(error)
            fetch.abandon()
            raise
        if outcome is None:
            self._early.pop(fetch, None)
            fetch.abandon()
            return None
        rest = None if outcome.next_offset is None else fetch.cut(outcome.next_offset)
        await self._hand_on(fetch, outcome)
        return rest

    async def _hand_on(self, fetch: Fetch, outcome: Outcome) -> None:
        """Begin to deliver what came of a fetch, as soon as there is room."""
        something = outcome.matches or outcome.rejects or outcome.suppressed or outcome.suppression
        if not something and fetch not in self._early:
            self._delivery.pass_over(fetch)
            fetch.done()
            return
        handed = self._delivery.hand_over(fetch, outcome)
        await self._room.acquire()
        delivery = asyncio.create_task(self._deliver(fetch, outcome, handed))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._on_delivered)

    @property
    def in_delivery(self) -> int:
        """Fetches, or parts of them, of which not all is acknowledged yet."""
        return len(self._deliveries)

    async def deliver_some(self, fetch: Fetch, outcome: Outcome) -> None:
        """Begin to deliver some of what comes of a fetch that is still being processed; returns
        when there is room for more. Raises Abandoned where it never will be."""
        if self._is_closing:
            raise Abandoned
        handed = self._delivery.hand_over(fetch, outcome)
        self._waiting_for_room = asyncio.ensure_future(self._room.acquire())
        await self._waiting_for_room
        delivery = asyncio.create_task(self._deliver_early(outcome, handed))
        self._early.setdefault(fetch, []).append(delivery)
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._on_delivered)

    async def _deliver_early(self, outcome: Outcome, handed: asyncio.Future[None]) -> None:
        started_s = time.perf_counter()
        await self._delivery.finish(outcome, handed)
        self._delivered(outcome, time.perf_counter() - started_s)

    async def close(self) -> None:
        """Wait for what is in delivery."""
        self._is_closing = True
        if self._waiting_for_room is not None:
            self._waiting_for_room.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)

    async def _deliver(self, fetch: Fetch, outcome: Outcome, handed: asyncio.Future[None]) -> None:
        started_s = time.perf_counter()
        try:
            await self._delivery.finish(outcome, handed)
            for early in self._early.pop(fetch, ()):
                await asyncio.shield(early)
        except Abandoned:
            fetch.abandon()
            return
        except Exception as error:
            log.error("what a fetch came to is not delivered: %s", error, extra=whereabouts(fetch))
            fetch.abandon()
            raise
        fetch.done()
        self._delivered(outcome, time.perf_counter() - started_s)

    def _on_delivered(self, delivery: asyncio.Task[None]) -> None:
        self._deliveries.discard(delivery)
        self._room.release()
        error = None if delivery.cancelled() else delivery.exception()
        if error is not None and not isinstance(error, Abandoned):
            self._failed(error)


def whereabouts(fetch: Fetch, reads: int | None = None) -> dict[str, object]:
    """Where a fetch comes from, for a line in the log: as far as it is still known."""
    raw = fetch.raw
    return {
        "topic": raw.topic,
        "partition": raw.partition,
        "offset": raw.first_offset if raw.batches else None,
        "end_offset": fetch.next_offset,
        "generation": fetch.generation,
        "reads": reads,
    }


def records_of(topics: Topics, outcome: Outcome) -> list[Outgoing]:
    """The records of an outcome's matches and rejects."""
    return [match_record(topics, found.match, found.trace) for found in outcome.matches] + [
        reject_record(topics, reject) for reject in outcome.rejects
    ]


def match_events(outcome: Outcome) -> list[MatchEvent]:
    """What the audit records of an outcome's matches."""
    at_ms = outcome.at_ms
    return [MatchEvent("match", at_ms, audit_fields(found.match)) for found in outcome.matches]
