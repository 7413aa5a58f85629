"""`engine.worker.processor`: what a fetch waits for before it is matched."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from engine.control.gate import Gate
from engine.matching.outcome import Outcome
from engine.observability.stall_monitor import Watching
from engine.transport.fetch import Fetch
from engine.wire.record_batch import RawFetch
from engine.worker.processor import Processor, Waits
from tests.fakes.assignments import an_assignment
from tests.fakes.documents import NOW_MS
from tests.fakes.event_loop import settle
from tests.fakes.record_batches import Sent, batch_bytes, raw_batch
from tests.fakes.runtime import runtime_of


async def test_no_read_is_matched_if_the_gate_closes_while_the_state_is_restored() -> None:
    """The lists may be incomplete then, and a match would be missed."""
    runtime = runtime_of([])
    gate, is_restored, matched = Gate(""), asyncio.Event(), []
    gate.open()

    async def prepare(fetch: Fetch) -> bool:
        await is_restored.wait()
        return True

    def process(raw: RawFetch, now_ms: int, hand_over: object) -> Outcome:
        matched.append(gate.is_open)
        return Outcome(at_ms=NOW_MS)

    schemas: Any = None
    matcher: Any = SimpleNamespace(process=process)
    suppressing: Any = SimpleNamespace(prepare=prepare)
    watching = Watching("reads", runtime.metrics)
    processor = Processor(runtime, matcher, Waits(gate, schemas), suppressing, watching, None)
    batch = raw_batch(batch_bytes([Sent(b"K", b"{}")]))
    fetch = Fetch(RawFetch("reads", 0, (batch,)), 1, an_assignment())
    processing = asyncio.create_task(processor.process(fetch, None))
    await asyncio.sleep(0)
    gate.close("the control topics were recreated")
    is_restored.set()
    await settle()
    assert not matched
    gate.open()
    assert await processing is not None
    assert matched == [True]
    shown = runtime.metrics.registry
    assert shown.get_sample_value("hotlist_fetch_processing_seconds_count") == 1
