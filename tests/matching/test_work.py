"""How much Python a read costs, counted in instructions of the interpreter.

Unlike seconds these counts are the same on every machine and in every run, so a slower way through
the matcher is seen at once. They say nothing about compiled code: that is for the benchmarks.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Final

import pytest

from engine import limits
from engine.audit.chain import Chain
from engine.delivery.records import match_events, match_record
from engine.kafka.topics import Topics
from engine.matching.matcher import Matcher
from engine.matching.outcome import Outcome
from tests.fakes.documents import NOW_MS, as_bytes, at, detection_json, entry_json, policy_json
from tests.fakes.record_batches import LZ4, Sent, batch_bytes, raw_batch, raw_fetch
from tests.matching.test_matcher import matcher_of

#: Instructions of CPython 3.11 for one read of a listed plate, by what becomes of it, and for one
#: match on its way out. Where they change on purpose, put the new ones here and say why in the
#: commit.
_COSTS: Final = {
    "exact, in Python": 756,
    "denied, in Python": 374,
    "exact": 0,
    "with a vehicle": 0,
    "kept": 0,
    "suppressed": 0,
    "suppressed again": 0,
    "look-alike": 1550,
    "denied": 0,
    "record": 109,
    "audit": 132,
}
_TOLERANCE: Final = 0.02

_VEHICLE: Final = {"make": "Toyota", "model": "Corolla", "color": "red", "type": "sedan"}
LISTED: Final = [f"ABC{number:04}" for number in range(200)]


def instructions(call: Callable[[], object]) -> int:
    """The number of the interpreter's instructions in a call, without those of the garbage
    collector's callbacks, which come at any time."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    gc.disable()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


def a_matcher(**fields: Any) -> Matcher:
    """A matcher with 200 entries, and a policy for the source S1 alone."""
    entries = [
        (plate, entry_json(entry_id=plate, plate=plate, **({"suppress_s": 0} | fields)))
        for plate in LISTED
    ]
    return matcher_of(entries, [("S1", policy_json())])


def reads(plates: list[str], **fields: Any) -> list[Sent]:
    """Reads of plates at one camera, each with an id of its own."""
    return [
        Sent(
            key=plate.encode(),
            value=as_bytes(detection_json(read_id=f"R{number:05}", plate=plate, **fields)),
        )
        for number, plate in enumerate(plates)
    ]


def matched(matcher: Matcher, sent: list[Sent]) -> Outcome:
    """What becomes of one batch."""
    return matcher.process(raw_fetch(raw_batch(batch_bytes(sent, codec=LZ4))), NOW_MS)


def work_of(matcher: Matcher, sent: list[Sent]) -> int:
    """The instructions of one batch, once everything is compiled and remembered."""
    fetch = raw_fetch(raw_batch(batch_bytes(sent, codec=LZ4)))
    for _ in range(4):  # scales of confidence, and what is ready, come after the first fetch
        matcher.process(fetch, NOW_MS)
    counts = [instructions(lambda: matcher.process(fetch, NOW_MS)) for _ in range(2)]
    assert counts[0] == counts[1], "a count that differs by itself proves nothing"
    return counts[0]


def cost_of(matcher: Matcher, plates: list[str], **fields: Any) -> float:
    """The instructions that one more read costs."""
    few, many = reads(plates[:20], **fields), reads(plates[:120], **fields)
    return (work_of(matcher, many) - work_of(matcher, few)) / 100


def kept_cost_of(matcher: Matcher, step_ms: int, **fields: Any) -> float:
    """The instructions that one more read costs whose match is kept in mind, if reads of all plates
    come every `step_ms`."""
    counts: list[int] = []
    first = 0
    for number in range(10):
        count = 120 if number % 2 else 20
        sent = reads(LISTED[:count], captured_at=at(number * step_ms - 500), **fields)
        fetch = raw_fetch(raw_batch(batch_bytes(sent, codec=LZ4, base_offset=first)))
        first += count
        counts.append(instructions(partial(matcher.process, fetch, NOW_MS)))
    few, many = set(counts[6::2]), set(counts[7::2])
    assert len(few) == len(many) == 1, "a count that differs by itself proves nothing"
    return (many.pop() - few.pop()) / 100


def test_reads_that_match_nothing_cost_no_python() -> None:
    matcher = a_matcher()
    others = [f"XYZ{number:04}" for number in range(10_000)]
    assert work_of(matcher, reads(others)) == work_of(matcher, reads(others[:100]))


def _costs() -> dict[str, float]:
    outcome = matched(a_matcher(), reads(LISTED[:100]))
    assert len(outcome.matches) == 100
    alike = [plate.replace("B", "8") for plate in LISTED]
    topics, chain = Topics("lpr."), Chain("c")

    def record() -> None:
        for found in outcome.matches:
            match_record(topics.matches, found)

    def audit() -> None:
        for value in chain.seal_each(match_events(outcome)):
            assert value

    for call in (record, audit):
        call()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(limits, "ROWS_FEWEST", 1000)
        in_python = {
            "exact, in Python": cost_of(a_matcher(), LISTED),
            "denied, in Python": cost_of(a_matcher(), LISTED, source="S2"),
        }
    return in_python | {
        "exact": cost_of(a_matcher(), LISTED),
        "with a vehicle": cost_of(a_matcher(vehicle=_VEHICLE), LISTED, vehicle=_VEHICLE),
        "kept": kept_cost_of(a_matcher(suppress_s=300), 400_000),
        "suppressed": kept_cost_of(a_matcher(suppress_s=300), 1),
        "suppressed again": cost_of(a_matcher(suppress_s=300), LISTED),
        "look-alike": cost_of(a_matcher(confusables=True), alike),
        "denied": cost_of(a_matcher(), LISTED, source="S2"),
        "record": instructions(record) / 100,
        "audit": instructions(audit) / 100,
    }


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="another Python has other instructions")
def test_a_match_costs_as_much_python_as_it_did() -> None:
    costs = {name: round(cost) for name, cost in _costs().items()}
    off = {
        name: f"{cost}, not {_COSTS[name]}"
        for name, cost in costs.items()
        if abs(cost - _COSTS[name]) > _TOLERANCE * _COSTS[name]
    }
    assert off == {}, "the Python work of a match has changed; if on purpose, change _COSTS"
