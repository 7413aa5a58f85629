"""From fetches to deliveries: fetches are matched one by one, and delivered meanwhile.

The fetches of a partition are processed in their order, each when the one before is handed on. A
fetch of another partition may be processed meanwhile, so that the matcher need not wait until the
event loop has handled the last outcome.

A fetch is done when its matches, the audit's record of each of them, its rejects and what it
changed in the suppression's state are all acknowledged by the broker, and only then may its offset
be committed. A match waits for its audit record. A bounded number of fetches is in delivery while
the next are matched. A fetch that fails is abandoned: the next owner of its partition reads it
again, and repeats what was already delivered of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from engine import limits
from engine.delivery.port import Delivery
from engine.delivery.send_queue import Abandoned
from engine.matching.outcome import Outcome
from engine.transport.fetch import Fetch

log = logging.getLogger(__name__)

#: Begins to deliver part of the outcome of a fetch that is still being processed; returns when
#: there is room for more. Raises Abandoned if there never will be.
DeliverSome = Callable[[Fetch, Outcome], Awaitable[None]]
#: Matches a fetch; None if the worker ends first. If parts of the outcome may count before the
#: rest, they can be delivered early.
Process = Callable[[Fetch, DeliverSome | None], Awaitable[Outcome | None]]
#: Called with each delivered outcome, and the seconds that its delivery took.
Delivered = Callable[[Outcome, float], None]


class Pipeline:
    """See the module. `failed` receives the error that ends the worker."""

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
        #: By partition, the fetches that are being processed.
        self._processing: dict[int, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(limits.FETCHES_IN_DELIVERY)
        self._deliveries: set[asyncio.Task[None]] = set()
        #: Deliveries of parts of a fetch that is still being processed.
        self._early: dict[Fetch, list[asyncio.Task[None]]] = {}
        self._waiting_for_room: asyncio.Future[Any] | None = None
        self._has_failed = False
        self._is_closing = False

    async def take(self, fetch: Fetch) -> None:
        """Begin to process a fetch when its turn comes; return then.

        It is abandoned instead if its partition is drained by then, and after a failure.
        """
        processing, partition = self._processing, fetch.raw.partition
        while partition in processing or len(processing) >= limits.FETCHES_IN_PROCESS:
            await asyncio.wait(processing.values(), return_when=asyncio.FIRST_COMPLETED)
        if self._has_failed or not fetch.assignment.may_begin(partition):
            fetch.abandon()
            return
        fetch.begin()
        task = processing[partition] = asyncio.create_task(self._process_all(fetch))
        task.add_done_callback(lambda _: processing.pop(partition))

    async def _process_all(self, fetch: Fetch) -> None:
        """Process a fetch, in parts if its outcome is large, and hand on what comes of it."""
        rest: Fetch | None = fetch
        while rest is not None:
            rest = await self._process_some(rest)

    async def _process_some(self, fetch: Fetch) -> Fetch | None:
        """Process a fetch, or as much of it as fits in one outcome; return the rest of it."""
        try:
            deliver_some = self.deliver_some if self._delivery.takes_parts else None
            outcome = await self._process(fetch, deliver_some)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends the worker
            log.error("a fetch cannot be processed: %s", error, extra=log_context(fetch))
            self._fail(error)
            _abandon(fetch)
            return None
        if outcome is None:
            self._early.pop(fetch, None)
            _abandon(fetch)
            return None
        rest = None if outcome.next_offset is None else fetch.cut(outcome.next_offset)
        await self._hand_on(fetch, outcome)
        return rest

    async def _hand_on(self, fetch: Fetch, outcome: Outcome) -> None:
        """Begin to deliver the outcome of a fetch, as soon as there is room."""
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
        """The number of fetches, or parts of them, that are not fully acknowledged yet."""
        return len(self._deliveries)

    async def deliver_some(self, fetch: Fetch, outcome: Outcome) -> None:
        """Deliver part of a fetch's outcome; see `DeliverSome`."""
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
        """Wait for what is being processed, and for the deliveries in flight."""
        self._is_closing = True
        if self._waiting_for_room is not None:
            self._waiting_for_room.cancel()
        while in_work := [*self._processing.values(), *self._deliveries]:
            await asyncio.gather(*in_work, return_exceptions=True)

    async def _deliver(self, fetch: Fetch, outcome: Outcome, handed: asyncio.Future[None]) -> None:
        started_s = time.perf_counter()
        try:
            await self._delivery.finish(outcome, handed)
            for early in self._early.pop(fetch, ()):
                await asyncio.shield(early)
        except Abandoned:
            _abandon(fetch)
            return
        except Exception as error:
            log.error("what a fetch came to is not delivered: %s", error, extra=log_context(fetch))
            _abandon(fetch)
            raise
        fetch.done()
        self._delivered(outcome, time.perf_counter() - started_s)

    def _on_delivered(self, delivery: asyncio.Task[None]) -> None:
        self._deliveries.discard(delivery)
        self._room.release()
        error = None if delivery.cancelled() else delivery.exception()
        if error is not None and not isinstance(error, Abandoned):
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._has_failed = True
        self._failed(error)


def _abandon(fetch: Fetch) -> None:
    """Abandon a fetch, and begin none behind it: no offset of theirs would be committed, and so
    their matches would come twice."""
    fetch.assignment.drain([fetch.raw.partition])
    fetch.abandon()


def log_context(fetch: Fetch, reads: int | None = None) -> dict[str, object]:
    """Return the origin of a fetch for a log line, as far as it is still known."""
    raw = fetch.raw
    return {
        "topic": raw.topic,
        "partition": raw.partition,
        "offset": raw.first_offset if raw.batches else None,
        "end_offset": fetch.next_offset,
        "generation": fetch.assignment.generation,
        "reads": reads,
    }
