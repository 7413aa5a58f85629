"""Reads that compiled code admits beside the same reads in Python: the same answers, states and
changes to the last byte, whatever happens to lists, partitions and keys in between.

The naive way is the matcher that takes no read for plain; Python holds all of its states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from engine import limits
from engine.clock import format_time
from engine.documents.codec import decode_suppression
from engine.documents.model import Entry
from engine.matching.decide import Decider
from engine.matching.matcher import Matcher
from engine.matching.outcome import Outcome
from engine.matching.suppression import Suppression, Unmatched
from engine.matching.suppression_key import LATE_MS
from engine.matching.suppression_writer import document_of
from engine.matching.written_states import SuppressionRecord
from engine.wire.record_batch import RawFetch
from tests.fakes.documents import NOW_MS, at, entry_json, policy_json
from tests.fakes.record_batches import LZ4, Sent, batch_bytes, raw_batch, raw_fetch
from tests.matching.test_plain_match import matchers, read
from tests.matching.test_ready_matches import entry_record

S: Final = 1000
_PARTITIONS: Final = range(3)
_PLATES: Final = ("ABC123", "XYZ789")


def _captured(offset_s: int) -> str:
    return format_time(NOW_MS - 500 + offset_s * S)


READS = st.builds(
    lambda plate, captured_s, arrived_ms, fields: read(
        plate=plate, captured_at=_captured(captured_s), **fields
    )._replace(key=plate.encode(), timestamp_ms=arrived_ms),
    st.sampled_from([*_PLATES, "ABC123", "ABC128"]),
    st.integers(0, 12).map(lambda tens: tens * 10) | st.integers(-900, 900),
    st.sampled_from(
        [NOW_MS, NOW_MS, NOW_MS + 5, NOW_MS + LATE_MS + 61 * S, NOW_MS - LATE_MS, -1, 2**62]
    ),
    st.fixed_dictionaries(
        {
            "camera": st.sampled_from(["C1", "C1", "C1", "C2", "C3"]),
            "source": st.sampled_from(["S1", "S1", "S2"]),
            "confidence": st.sampled_from([0.9, 0.9, 0.99, 0.5, 0.08, 0.009, 0.0001, None]),
            "vehicle": st.just(None),
        }
    ),
)

_MANY = st.builds(
    lambda count, step_s, camera: [
        read(
            plate="ABC123", captured_at=_captured(number * step_s), camera=camera, vehicle=None
        )._replace(timestamp_ms=NOW_MS)
        for number in range(count)
    ],
    st.integers(8, 40),
    st.sampled_from([-70, 30, 61, 70]),
    st.sampled_from(["C1", "C2"]),
)

STEPS = st.one_of(
    st.tuples(
        st.just("reads"),
        st.sampled_from([0, 0, 0, 1, 2]),
        st.lists(READS, min_size=1, max_size=12) | _MANY,
        st.integers(1, 4),
    ),
    st.tuples(st.just("again"), st.sampled_from([0, 0, 1]), st.integers(0, 30)),
    st.tuples(
        st.just("entry"),
        st.integers(0, 1),
        st.fixed_dictionaries(
            {"suppress_s": st.sampled_from([60, 60, 10, 0])},
            optional={
                "agency": st.sampled_from(["AG1", "AG2"]),
                "list_id": st.sampled_from(["L1", "Liste é"]),
                "authority": st.just({"kind": "warrant", "reference": 'W "1"'}),
                "confusables": st.booleans(),
            },
        ),
    ),
    st.tuples(st.just("entry"), st.integers(0, 1), st.none()),
    st.tuples(st.just("later"), st.sampled_from([1, 70, 2 * LATE_MS // S + 61, 3 * LATE_MS // S])),
    st.tuples(st.just("tidy"), st.sampled_from([1, 3, 1000])),
    st.tuples(st.just("audit")),
    st.tuples(st.just("revoke"), st.sets(st.sampled_from(_PARTITIONS), min_size=1), st.booleans()),
    st.tuples(st.just("back"), st.sampled_from(_PARTITIONS)),
    st.tuples(st.just("restore"), st.sampled_from(_PARTITIONS), st.sampled_from([0, 3, 10**6])),
    st.tuples(st.just("settle"), st.sampled_from(_PARTITIONS), st.integers(0, 60)),
    st.tuples(st.just("scrub")),
)


class Side:
    """A matcher and its suppression, and the changelog that came of it."""

    def __init__(self, matcher: Matcher, suppression: Suppression) -> None:
        self.matcher = matcher
        self.suppression = suppression
        self.topic: dict[tuple[int, bytes], bytes] = {}
        self.taken: list[Unmatched] = []

    def noted(self, changes: Sequence[SuppressionRecord]) -> Sequence[SuppressionRecord]:
        for partition, key, value in changes:
            if value is None:
                self.topic.pop((partition, key), None)
            else:
                self.topic[partition, key] = value
        return changes

    def states(self) -> list[Any]:
        """Everything that is held, in one order."""
        states = self.suppression.states
        held = sorted(
            (
                *(state.partition, state.key, repr(document_of(state))),
                *(state.touched_ms, state.handed, state.is_ending),
            )
            for state in states
        )
        return [held, len(self.suppression), states.kept, states.reported, states.changed_bytes]

    def listed(self, entry_id: str) -> Iterable[Entry]:
        return self.matcher.lists.index.listed(entry_id)


def listed(**fields: Any) -> list[dict[str, Any]]:
    return [
        entry_json(entry_id=f"E{n}", plate=plate, expires_at=at(90_000_000), **fields)
        for n, plate in enumerate(_PLATES)
    ]


def both_sides(suppress_s: int) -> Beside:
    """Both, with entries of this window."""
    made: list[Suppression] = []

    class Noted(Suppression):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tests.matching.test_plain_match.Suppression", Noted)
        both = matchers(
            listed(suppress_s=suppress_s), [policy_json(source="S1"), policy_json(source="S2")]
        )
    quick, slow = (Side(*each) for each in zip(both, made, strict=True))
    return Beside(quick, slow)


class Beside:
    """Both, and what is done to them; each method compares what comes of it and what they hold."""

    def __init__(self, quick: Side, slow: Side) -> None:
        self.quick = quick
        self.slow = slow
        self.now_ms = NOW_MS
        self.sent: dict[int, list[Sent]] = {each: [] for each in _PARTITIONS}
        self._control_offset = 100

    def same(self, call: Callable[[Side], Any]) -> Any:
        one, other = call(self.quick), call(self.slow)
        assert one == other
        assert self.quick.states() == self.slow.states()
        return one

    def is_ours(self, partition: int) -> bool:
        return partition not in self.quick.suppression.states.kept

    def process(self, partition: int, first: int) -> None:
        """Process the reads from an offset on."""
        while first < len(self.sent[partition]):
            data = batch_bytes(self.sent[partition][first:], codec=LZ4, base_offset=first)
            fetch = raw_fetch(raw_batch(data), partition=partition)

            def matched(side: Side, fetch: RawFetch = fetch) -> Outcome:
                outcome = side.matcher.process(fetch, self.now_ms)
                side.noted(outcome.suppression)
                return outcome

            outcome: Outcome = self.same(matched)
            if outcome.next_offset is None:
                return
            first = outcome.next_offset

    def reads(self, partition: int, some: list[Sent], times: int) -> None:
        for _ in range(times):  # compiled code decides those like earlier ones
            if self.is_ours(partition):
                first = len(self.sent[partition])
                self.sent[partition] += some
                self.process(partition, first)

    def warm_up(self) -> None:
        """Let compiled code decide the next reads."""
        some = [
            read(plate=plate, source=source, camera="W", vehicle=None)._replace(key=plate.encode())
            for plate in _PLATES
            for source in ("S1", "S2")
        ]
        self.reads(0, some, 3)

    def again(self, partition: int, back: int) -> None:
        if self.is_ours(partition):
            self.process(partition, max(0, len(self.sent[partition]) - back))

    def entry(self, number: int, fields: dict[str, Any] | None) -> None:
        self._control_offset += 1
        whole = {"plate": _PLATES[number], "expires_at": at(90_000_000), **(fields or {})}
        record = entry_record(self._control_offset, self.now_ms, entry_id=f"E{number}", **whole)
        if fields is None:
            record = record._replace(value=None)
        self.same(lambda side: len(side.matcher.lists.apply([record], self.now_ms).refused))

    def later(self, seconds: int) -> None:
        self.now_ms += seconds * S

    def tidy(self, most: int) -> None:
        def tidied(side: Side) -> Sequence[SuppressionRecord]:
            side.suppression.turn_to(self.now_ms)
            side.suppression.tidy(side.listed, most)
            return side.noted(side.suppression.take_changes())

        self.same(tidied)

    def audit(self) -> None:
        def audited(side: Side) -> Any:
            side.suppression.audited(side.taken)
            side.taken = side.suppression.take_unmatched()
            return side.taken, side.noted(side.suppression.take_changes())

        self.same(audited)

    def revoke(self, partitions: set[int], keeps: bool) -> None:
        keep = partitions if keeps else set[int]()
        self.same(lambda side: side.suppression.revoke(partitions, keep))

    def back(self, partition: int) -> None:
        ends = {partition: len(self.sent[partition])}
        self.same(lambda side: side.suppression.kept(ends))
        self.same(lambda side: side.suppression.take_back(partition))

    def restore(self, partition: int, end: int) -> None:
        def restored(side: Side) -> int:
            dropped = side.suppression.drop(partition)
            states = [
                (key, decode_suppression(value))
                for (of, key), value in sorted(side.topic.items())
                if of == partition
            ]
            side.suppression.turn_to(self.now_ms)
            side.suppression.restore(partition, states, end)
            return dropped

        self.same(restored)

    def settle(self, partition: int, offset: int) -> None:
        self.same(lambda side: side.suppression.settle(partition, offset))

    def scrub(self) -> None:
        self.same(lambda side: side.matcher.scrub())


@given(
    steps=st.lists(STEPS, min_size=1, max_size=14),
    suppress_s=st.sampled_from([60, 60, 60, 0]),
    keys=st.sampled_from([1000, 1000, 14]),
    outcome_bytes=st.sampled_from([2 * limits.MIB, 9_000]),
    matches=st.sampled_from([64, 4]),
)
def test_answers_and_states_are_the_same(
    steps: list[tuple[Any, ...]],
    suppress_s: int,
    keys: int,
    outcome_bytes: int,
    matches: int,
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(limits, "SUPPRESSION_KEYS", keys)
        patched.setattr(limits, "OUTCOME_BYTES", outcome_bytes)
        patched.setattr(limits, "SUPPRESSION_MATCHES", matches)
        patched.setattr(limits, "SUPPRESSION_MATCHES_MOST", 2 * matches)
        beside = both_sides(suppress_s)
        beside.warm_up()
        for what, *how in steps:
            getattr(beside, what)(*how)
        assert beside.quick.topic == beside.slow.topic
        states = beside.quick.suppression.states
        event(f"compiled code holds states: {states.table.compiled > 0}")


def test_compiled_code_admits_new_keys_matches_and_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it knows the entry and the source. Python decides a match that reports repeats."""
    beside = both_sides(60)
    quick, slow = beside.quick, beside.slow
    counted = 0
    admit = Suppression.admit

    def count(self: Suppression, *args: Any) -> int:
        nonlocal counted
        counted += self is quick.suppression
        return admit(self, *args)

    monkeypatch.setattr(Suppression, "admit", count)
    first = 0

    def sent(*captured_s: int, camera: str = "C1") -> Outcome:
        nonlocal first
        some = [
            read(plate="ABC123", captured_at=_captured(each), camera=camera, vehicle=None)
            for each in captured_s
        ]
        fetch = raw_fetch(raw_batch(batch_bytes(some, codec=LZ4, base_offset=first)))
        first += len(some)
        one, other = (side.matcher.process(fetch, NOW_MS) for side in (quick, slow))
        assert one == other
        return one

    for _ in range(3):
        sent(0)
    counted = 0
    outcome = sent(100, 30, 20, 200, 210, camera="C2")
    assert (len(outcome.matches), outcome.suppressed, counted) == (3, 2, 1)
    outcome = sent(300, 310, 20, camera="C3")
    assert (len(outcome.matches), outcome.suppressed, counted) == (2, 1, 2)
    assert quick.states() == slow.states()
    assert quick.suppression.states.table.compiled == 3


def test_a_key_with_many_matches_is_pythons() -> None:
    beside = both_sides(60)
    quick, slow = beside.quick, beside.slow
    for number in range(20):
        fetch = raw_fetch(
            raw_batch(
                batch_bytes(
                    [read(plate="ABC123", captured_at=_captured(100 * number), vehicle=None)],
                    codec=LZ4,
                    base_offset=number,
                )
            )
        )
        one, other = (side.matcher.process(fetch, NOW_MS) for side in (quick, slow))
        assert one == other
    assert quick.states() == slow.states()
    assert quick.suppression.states.table.compiled == 0


def test_names_that_no_state_has_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "READY_ENTRIES", 4)
    beside = both_sides(60)
    quick, slow = beside.quick, beside.slow
    names = quick.suppression.states.table.names
    for number in range(12):
        for side in (quick, slow):
            fields = {"entry_id": "E0", "plate": "ABC123", "list_id": f"L{number}"}
            record = entry_record(200 + number, NOW_MS, expires_at=at(90_000_000), **fields)
            side.matcher.lists.apply([record], NOW_MS)
        for again in range(3):
            some = [read(plate="ABC123", captured_at=_captured(0), camera="C1", vehicle=None)]
            first = 3 * number + again
            fetch = raw_fetch(raw_batch(batch_bytes(some, codec=LZ4, base_offset=first)))
            one, other = (side.matcher.process(fetch, NOW_MS) for side in (quick, slow))
            assert one == other
        for side in (quick, slow):
            side.suppression.tidy(side.listed)
            side.suppression.take_changes()
    assert 1 <= len(names) <= 8
    assert quick.states() == slow.states()


def test_every_read_is_decided_by_python_if_there_may_be_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SUPPRESSION_KEYS", 3)
    beside = both_sides(60)
    quick, slow = beside.quick, beside.slow
    kept = 0
    match_kept = Decider.match_kept

    def count(*args: Any) -> None:
        nonlocal kept
        kept += 1
        match_kept(*args)

    monkeypatch.setattr(Decider, "match_kept", count)
    for number in range(6):
        some = [
            read(plate="ABC123", captured_at=_captured(0), camera=f"C{number}{n}", vehicle=None)
            for n in range(4)
        ]
        fetch = raw_fetch(raw_batch(batch_bytes(some, codec=LZ4, base_offset=4 * number)))
        one, other = (side.matcher.process(fetch, NOW_MS) for side in (quick, slow))
        assert one == other
        assert quick.states() == slow.states()
    assert kept == 4 * 5
