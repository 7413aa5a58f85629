"""One fetch's way to its outcome: through the gate, its partition's state, and the matcher thread.

`engine.delivery.pipeline` delivers the outcome.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from typing import Final

from engine.control.gate import Gate
from engine.delivery.pipeline import DeliverSome, log_context
from engine.delivery.send_queue import Abandoned
from engine.delivery.suppression_restore import Suppressing
from engine.documents.producer_faults import DESCRIBED
from engine.matching.matcher import Matcher
from engine.matching.outcome import HandOver, Outcome
from engine.observability.log_format import Wording
from engine.observability.stall_monitor import Watching
from engine.observability.tracing import Tracing
from engine.transport.fetch import Fetch
from engine.transport.runtime import Runtime
from engine.worker.schemas import SchemaFetcher

log = logging.getLogger(__name__)

#: What producers get wrong, and what to do: the log and the status page tell these faults apart.
_WORDINGS: Final = {fault: tuple(map(Wording, said)) for fault, said in DESCRIBED.items()}


@dataclass(frozen=True, slots=True)
class Waits:
    """What reads wait for: the gate, and the schemas that they name."""

    gate: Gate
    schemas: SchemaFetcher


class Processor:
    """See the module. Counts reads and fetches that were processed, delivered or not."""

    def __init__(
        self,
        runtime: Runtime,
        matcher: Matcher,
        waits: Waits,
        suppressing: Suppressing,
        watching: Watching,
        tracing: Tracing | None,
    ) -> None:
        self._runtime = runtime
        self._matcher = matcher
        self._gate = waits.gate
        self._schemas = waits.schemas
        self._suppressing = suppressing
        self._watching = watching
        self._tracing = tracing
        self.fetches_processed = 0

    async def process(self, fetch: Fetch, deliver_some: DeliverSome | None) -> Outcome | None:
        """Wait for the gate, then match a fetch when its turn comes.

        Returns None if the worker ends before the gate opens, or the fetch's partition is revoked.
        """
        clock, metrics = self._runtime.clock, self._runtime.metrics
        if not await self._prepared(fetch) or not await self._passed_gate():
            return None
        if not fetch.raw.batches:
            return Outcome(at_ms=clock.now_ms())  # all of it is committed already
        hand_over = None if deliver_some is None else self._hand_over(fetch, deliver_some)
        while True:
            with self._watching.matching(fetch.raw.partition):
                try:
                    outcome = await self._runtime.matcher_thread.match(
                        partial(self._match, fetch, hand_over)
                    )
                except Abandoned:
                    return None
            missing = outcome.missing_schema
            if missing is None or outcome.next_offset != fetch.raw.first_offset:
                break  # what is processed already need not wait for the schema
            if not await self._schemas.fetch(missing, fetch) or not await self._passed_gate():
                return None
        if not fetch.is_ours:
            return None  # the next owner of the partition has its state too
        self.fetches_processed += 1
        metrics.count_fetch(outcome, fetch.raw.partition, fetch.lag)
        for fault in outcome.producer_faults:  # the log holds back what is too much of it
            log.warning("some reads %s; %s", *_WORDINGS[fault], extra=log_context(fetch))
        log.debug("a fetch is processed", extra=log_context(fetch, outcome.reads))
        if self._tracing is not None:
            self._tracing.enter(outcome)
        if outcome.next_offset is None:
            fetch.release()
        else:
            self._suppressing.stopped_at(fetch, outcome.next_offset)
        return outcome

    def count_delivered(self, outcome: Outcome, took_s: float) -> None:
        """Count an outcome that the broker has acknowledged."""
        now_ms = self._runtime.clock.now_ms()
        self._runtime.metrics.count_delivered(outcome, now_ms, took_s)
        if self._tracing is not None:
            self._tracing.delivered(outcome, now_ms)

    def _match(self, fetch: Fetch, hand_over: HandOver | None) -> Outcome:
        """Match a fetch, on the matcher thread. Raises Abandoned if its partition was revoked."""
        if not fetch.is_ours:
            raise Abandoned  # its state is kept as the changelog has it
        with self._runtime.metrics.fetch_s.time():
            now_ms = self._runtime.clock.now_ms()
            return self._matcher.process(fetch.raw, now_ms, hand_over, self._apply_changes)

    def _apply_changes(self, before: Callable[[], None]) -> int | None:
        is_changed = self._runtime.matcher_thread.apply_changes(before)
        return self._runtime.clock.now_ms() if is_changed else None

    def _hand_over(self, fetch: Fetch, deliver_some: DeliverSome) -> HandOver:
        """What takes some of what comes of a fetch, on the matcher thread."""
        loop = asyncio.get_running_loop()

        async def deliver(outcome: Outcome) -> None:
            if not fetch.is_ours:
                raise Abandoned
            await deliver_some(fetch, outcome)

        def hand_over(outcome: Outcome) -> None:
            if self._tracing is not None:
                self._tracing.enter(outcome)
            with self._watching.waiting():
                try:
                    asyncio.run_coroutine_threadsafe(deliver(outcome), loop).result()
                except CancelledError:
                    raise Abandoned from None

        return hand_over

    async def _prepared(self, fetch: Fetch) -> bool:
        """Restore the state of a fetch's partition; False if the worker ends meanwhile."""
        preparing = asyncio.ensure_future(self._suppressing.prepare(fetch))
        return await self._runtime.tasks.comes_in_time(preparing) and preparing.result()

    async def _passed_gate(self) -> bool:
        tasks = self._runtime.tasks
        while not self._gate.is_open and not tasks.has_ended:
            await tasks.comes_in_time(asyncio.ensure_future(self._gate.passed()))
        return self._gate.is_open
