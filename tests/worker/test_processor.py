"""`engine.worker.processor`: what a fetch waits for before it is matched, and what it does not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from engine import limits
from engine.clock import parse_time
from engine.control.gate import Gate
from engine.control.list_updater import ListUpdater
from engine.documents.purposes import Purposes
from engine.kafka.raw_fetcher import parse
from engine.matching.lists import ControlKind, ControlRecord, Lists, Phase
from engine.matching.matcher import Matcher
from engine.matching.outcome import Outcome
from engine.matching.suppression import Suppression
from engine.observability.log_format import kind
from engine.observability.stall_monitor import Watching
from engine.transport.fetch import Fetch
from engine.transport.runtime import MatcherThread, Runtime
from engine.wire.record_batch import RawBatch, RawFetch, Record
from engine.worker.processor import Processor, Waits
from tests.fakes.assignments import an_assignment
from tests.fakes.control_rows import in_rows
from tests.fakes.documents import NOW_MS, as_bytes, detection_json, entry_json, policy_json
from tests.fakes.event_loop import settle
from tests.fakes.record_batches import LZ4, Sent, batch_bytes, raw_batch
from tests.fakes.runtime import runtime_of
from tests.models.real_matcher import ODD_HEADERS


async def _is_prepared(fetch: Fetch) -> bool:
    return True


def _processor(
    runtime: Runtime,
    gate: Gate,
    matcher: Any,
    prepare: Callable[[Fetch], Awaitable[bool]],
    watching: Watching | None = None,
) -> Processor:
    """A processor without schemas and traces, whose partitions' states `prepare` restores."""
    schemas: Any = None
    suppressing: Any = SimpleNamespace(prepare=prepare)
    watching = watching or Watching("reads", runtime.metrics)
    return Processor(runtime, matcher, Waits(gate, schemas), suppressing, watching, None)


def _fetch() -> Fetch:
    batch = raw_batch(batch_bytes([Sent(b"K", b"{}")]))
    return Fetch(RawFetch("reads", 0, (batch,)), 1, an_assignment())


async def test_no_read_is_matched_if_the_gate_closes_while_the_state_is_restored() -> None:
    """The lists may be incomplete then, and a match would be missed."""
    runtime = runtime_of([])
    gate, is_restored, matched = Gate(""), asyncio.Event(), []
    gate.open()

    async def prepare(fetch: Fetch) -> bool:
        await is_restored.wait()
        return True

    def process(raw: RawFetch, now_ms: int, *_: object) -> Outcome:
        matched.append(gate.is_open)
        return Outcome(at_ms=NOW_MS)

    processor = _processor(runtime, gate, SimpleNamespace(process=process), prepare)
    processing = asyncio.create_task(processor.process(_fetch(), None))
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


async def test_a_producers_fault_is_one_kind_of_warning_that_says_what_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The status page shows faults without the values of their messages: it said "some reads …"."""
    runtime = runtime_of([])
    gate = Gate("")
    gate.open()

    def process(raw: RawFetch, now_ms: int, *_: object) -> Outcome:
        return Outcome(at_ms=NOW_MS, producer_faults=Counter(quoted=1))

    processor = _processor(runtime, gate, SimpleNamespace(process=process), _is_prepared)
    await processor.process(_fetch(), None)
    (warning,) = caplog.records
    assert kind(warning) == (
        "some reads are JSON inside a JSON string; serialize once: the serializer must not quote "
        "the JSON"
    )


class _Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at_ms = NOW_MS

    def now_ms(self) -> int:
        return self.at_ms


async def test_a_change_of_the_lists_takes_effect_on_the_rest_of_a_fetch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes while the first group of batches is matched, and counts for the groups after it. So
    each match names the lists and the time of its own group."""
    monkeypatch.setattr(limits, "SCAN_BYTES", 1)  # each batch is a group
    clock, loop = _Clock(), asyncio.get_running_loop()
    runtime = runtime_of([], clock)
    watching = Watching("reads", runtime.metrics)
    thread = MatcherThread(watching)
    runtime = replace(runtime, matcher_thread=thread)
    lists, gate = Lists(Purposes.load()), Gate("")
    gate.open()

    def of(kind: ControlKind, offset: int, key: str, document: Any) -> ControlRecord:
        value = None if document is None else as_bytes(document)
        return ControlRecord(kind, 0, offset, NOW_MS, key.encode(), value)

    entry = entry_json(suppress_s=0)
    lists.apply(
        [
            of(ControlKind.POLICY, 0, "S1", policy_json()),
            of(ControlKind.ENTRY, 0, "OLD", entry | {"entry_id": "OLD"}),
        ],
        NOW_MS,
    )
    changes: Any = SimpleNamespace(room=settle, offer=lambda *_: None)
    updater = ListUpdater(runtime, lists, changes, gate)
    applying: list[asyncio.Task[None]] = []

    async def change() -> None:
        clock.at_ms += 40
        for record in (
            of(ControlKind.ENTRY, 1, "NEW", entry | {"entry_id": "NEW"}),
            of(ControlKind.ENTRY, 2, "OLD", None),
        ):
            [records] = in_rows([record])
            applying.append(asyncio.create_task(updater.apply(records, Phase.FOLLOWING)))
        await settle()
        await settle()  # both wait for the thread

    def parsed(batch: RawBatch) -> Iterator[Record]:
        """The first batch's records, during whose processing the changes come."""
        asyncio.run_coroutine_threadsafe(change(), loop).result(60)
        return parse(batch)

    batches = [
        raw_batch(
            batch_bytes(
                [Sent(b"ABC123", as_bytes(detection_json(read_id=f"R{number}")), headers)],
                base_offset=number,
                codec=LZ4,
            )
        )
        for number, headers in enumerate((ODD_HEADERS, (), ()))
    ]
    matcher = Matcher(lists, 0, parsed, Suppression())
    processor = _processor(runtime, gate, matcher, _is_prepared, watching)
    fetch = Fetch(RawFetch("reads", 0, tuple(batches)), 3, an_assignment())
    outcome = await processor.process(fetch, None)
    await asyncio.gather(*applying)
    thread.close()
    matcher.close()
    assert outcome is not None
    assert outcome.reads == 3
    matches = [found.match for found in outcome.matches]
    assert [
        (each.read.read_id, each.entry.entry_id, each.list_revision, parse_time(each.matched_at))
        for each in matches
    ] == [
        ("R0", "OLD", 1, NOW_MS),
        ("R1", "NEW", 3, NOW_MS + 40),
        ("R2", "NEW", 3, NOW_MS + 40),
    ]
    assert outcome.at_ms == NOW_MS + 40
