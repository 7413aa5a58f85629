"""What compiled code decides beside the same reads decided in Python: the outcomes are the same to
the last byte, whatever changes in the lists between two fetches.

Compiled code decides reads like those before, so each test sends the same reads several times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.documents.codec import encode
from engine.matching.decide import Decider
from engine.matching.lists import ControlKind, ControlRecord, Lists, Phase
from engine.matching.matcher import Matcher
from engine.matching.outcome import Outcome
from engine.matching.plain_match import EntryParts, PlainMatches
from engine.matching.ready_matches import ReadyMatches
from engine.matching.suppression_table import StateTable
from tests.documents.test_read_scan import values as odd_values
from tests.fakes.documents import NOW_MS, as_bytes, at, entry_json, policy_json
from tests.fakes.record_batches import Sent
from tests.matching.test_plain_match import (
    ENTRIES,
    READS,
    RULES,
    fetch_of,
    matchers,
    matchers_with,
    read,
    same,
)

_PLATES: Final = ("ABC123", "XYZ789", "DEF456")
#: How often reads are sent until compiled code decides all that it can: the second one makes ready.
_TIMES: Final = 3


def of_plate(plate: str, **fields: Any) -> Sent:
    return read(plate=plate, **fields)._replace(key=plate.encode())


def entry_record(offset: int, now_ms: int, **fields: Any) -> ControlRecord:
    value = as_bytes(entry_json(**fields))
    return ControlRecord(ControlKind.ENTRY, 0, offset, now_ms, fields["entry_id"].encode(), value)


@pytest.fixture
def decided_in_python(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many reads Python decides: by all the rules, or whether they are repeats."""
    counts: Counter[str] = Counter()
    for name in ("match_plainly", "match_kept"):
        decide = getattr(Decider, name)

        def counted(*args: Any, name: str = name, decide: Any = decide) -> None:
            counts[name] += 1
            decide(*args)

        monkeypatch.setattr(Decider, name, counted)
    return counts


@pytest.mark.parametrize(
    ("before_agency", "in_python"), [("a", 3), ("a" * limits.AUDIT_FIELD_CHARACTERS, 9)]
)
def test_what_may_not_be_audited_is_left_to_python(
    before_agency: str, in_python: int, decided_in_python: Counter[str]
) -> None:
    """Sealing says then what is wrong with it; what compiled code writes is sealed unchecked."""
    matcher, _ = matchers([entry_json(plate="ABC123", suppress_s=0)], [policy_json(source="S1")])
    parts = PlainMatches.parts

    def audited(self: PlainMatches, *args: Any) -> EntryParts:
        found = parts(self, *args)
        front, agency, rest = found.audited.partition(b'"agency":"')
        longer = front + agency + before_agency.encode() + rest
        return msgspec.structs.replace(found, audited=longer)

    with mock.patch.object(PlainMatches, "parts", audited):
        for number in range(_TIMES):
            sent = [of_plate("ABC123", source="S1")] * 3
            assert len(matcher.process(fetch_of(*sent, first=3 * number), NOW_MS).matches) == 3
    assert decided_in_python["match_plainly"] == in_python


@given(
    entries=st.lists(ENTRIES, min_size=1, max_size=4),
    rules=st.lists(RULES, min_size=2, max_size=2),
    regions=st.sampled_from([None, ["US"]]),
    reads=st.lists(READS | odd_values(), min_size=1, max_size=8),
    sample_every=st.sampled_from([0, 3]),
)
def test_outcomes_are_the_same(
    entries: list[dict[str, Any]],
    rules: list[list[Any]],
    regions: list[str] | None,
    reads: list[dict[str, Any] | bytes],
    sample_every: int,
) -> None:
    both = matchers_with(entries, rules, regions, sample_every)
    sent = [Sent(b"ABC123", each) if isinstance(each, bytes) else read(**each) for each in reads]
    for number in range(_TIMES):
        fetch = fetch_of(*sent, *sent, first=number * 2 * len(sent))
        outcome = same(both, fetch, NOW_MS + number * 700)
        for found in outcome.matches:
            assert encode(found.match) == found.value


#: What happens between two fetches: to the lists, or only time.
_CHANGES = st.one_of(
    st.builds(
        lambda number, fields: ("entry", number, fields),
        st.integers(0, 2),
        ENTRIES,
    ),
    st.builds(lambda number: ("removed", number, None), st.integers(0, 2)),
    st.builds(lambda rules: ("policy", 0, rules), RULES),
    st.just(("no policy", 0, None)),
    st.builds(lambda number, fields: ("staged", number, fields), st.integers(0, 2), ENTRIES),
    st.just(("commit", 0, None)),
    st.just(("later", 0, None)),
    st.just(("dropped", 0, None)),
    st.just(("scrubbed", 0, None)),
)


@given(changes=st.lists(_CHANGES, min_size=1, max_size=6), suppress_s=st.sampled_from([0, 60]))
def test_a_change_between_two_fetches_counts_at_once(
    changes: list[tuple[str, int, Any]], suppress_s: int
) -> None:
    entries = [
        entry_json(entry_id=f"E{n}", plate=plate, suppress_s=suppress_s, expires_at=at(9_000_000))
        for n, plate in enumerate(_PLATES[:2])
    ]
    both = matchers(entries, [policy_json(source="S1")])
    sent = [of_plate(plate, source=source) for plate in _PLATES for source in ("S1", "S2")]
    now_ms, offset, reads = NOW_MS, 100, 0

    def matched() -> None:
        nonlocal reads
        for _ in range(_TIMES):
            same(both, fetch_of(*sent, first=reads), now_ms)
            reads += len(sent)

    matched()
    for what, number, fields in changes:
        offset += 1
        for matcher in both:
            lists, entry_id = matcher.lists, f"E{number}"
            if what in ("entry", "staged"):
                record = entry_record(offset, now_ms, **{"entry_id": entry_id, **fields})
                phase = Phase.STAGED if what == "staged" else Phase.FOLLOWING
                lists.apply([record], now_ms, phase)
            elif what == "removed":
                key = entry_id.encode()
                lists.apply(
                    [ControlRecord(ControlKind.ENTRY, 0, offset, now_ms, key, None)], now_ms
                )
            elif what in ("policy", "no policy"):
                policy = policy_json(source="S1", rules=fields)
                value = as_bytes(policy) if what == "policy" else None
                lists.apply(
                    [ControlRecord(ControlKind.POLICY, 0, offset, now_ms, b"S1", value)], now_ms
                )
            elif what == "commit":
                lists.commit()
            elif what == "dropped":
                lists.advance(now_ms)
            elif what == "scrubbed":
                matcher.scrub()
        now_ms += 3_600_001 if what == "later" else 1
        matched()


@pytest.fixture
def plainly_and_slowly() -> tuple[Matcher, Matcher]:
    entries = [
        entry_json(entry_id="E0", plate="ABC123", suppress_s=0, vehicle={"color": "red"}),
        entry_json(entry_id="E1", plate="XYZ789", suppress_s=60),
        entry_json(entry_id="E2", plate="DEF456", suppress_s=0, purpose="missing_person"),
    ]
    rules = [{"agencies": "*", "purposes": ["stolen_vehicle"]}]
    return matchers(entries, [policy_json(source="S1", rules=rules)])


@pytest.fixture
def ready_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Matcher], ReadyMatches]:
    """What is ready in a matcher that is made later."""
    made: dict[int, ReadyMatches] = {}

    class Noted(ReadyMatches):
        def __init__(self, lists: Lists, states: StateTable) -> None:
            super().__init__(lists, states)
            made[id(lists)] = self

    monkeypatch.setattr("engine.matching.matcher.ReadyMatches", Noted)
    return lambda matcher: made[id(matcher.lists)]


def some_reads() -> list[Sent]:
    """Reads that match, are repeats, are denied by the policy or its absence, or excluded."""
    return [
        of_plate(plate, read_id=f"R{number}", source=source, vehicle={"color": color})
        for number, (plate, source, color) in enumerate(
            (plate, source, color)
            for plate in _PLATES
            for source in ("S1", "S2")
            for color in ("red", "blue")
        )
    ]


def make_ready(matcher: Matcher) -> None:
    """Let compiled code decide `some_reads`."""
    sent = some_reads()
    for number in range(_TIMES):
        matcher.process(fetch_of(*sent, first=number * len(sent)), NOW_MS)


def test_python_decides_no_read_like_those_before(
    plainly_and_slowly: tuple[Matcher, Matcher], decided_in_python: Counter[str]
) -> None:
    sent = some_reads()
    outcomes = [
        same(plainly_and_slowly, fetch_of(*sent, first=n * len(sent))) for n in range(_TIMES)
    ]
    assert [len(each.matches) for each in outcomes] == [2, 1, 1]
    assert outcomes[-1].suppressed == 2
    reasons = {"no_policy": 6, "not_allowed": 2, "entry_vehicle": 1}
    assert outcomes[-1].denied == reasons
    decided_in_python.clear()
    same(plainly_and_slowly, fetch_of(*sent, first=_TIMES * len(sent)))
    assert decided_in_python == {}


@pytest.mark.parametrize("limit_bytes", range(1_000, 26_000, 997))
def test_an_outcome_is_cut_at_the_same_read(
    plainly_and_slowly: tuple[Matcher, Matcher],
    monkeypatch: pytest.MonkeyPatch,
    limit_bytes: int,
) -> None:
    sent = some_reads() * 2
    for number in range(_TIMES):
        same(plainly_and_slowly, fetch_of(*sent, first=number * len(sent)))
    monkeypatch.setattr(limits, "OUTCOME_BYTES", limit_bytes)
    first = _TIMES * len(sent)
    while first < (_TIMES + 1) * len(sent):
        outcome = same(
            plainly_and_slowly, fetch_of(*sent[first - _TIMES * len(sent) :], first=first)
        )
        if outcome.next_offset is None:
            break
        first = outcome.next_offset


@pytest.mark.parametrize(
    ("limit", "most"),
    [
        ("READY_ENTRIES", 1),
        ("READY_SOURCES", 1),
        ("READY_TERMS", 1),
        ("READY_PAIRS", 1),
        ("READY_COMPARISONS", 1),
        ("READY_READS_BYTES", 8),
        ("READY_BYTES", 70_000),
        ("READY_S", 0),
    ],
)
def test_what_has_no_room_is_decided_in_python(
    monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    monkeypatch.setattr(limits, limit, most)
    if limit == "READY_S":
        monkeypatch.setattr(limits, "READY_ENTRIES", 1)
    entries = [
        entry_json(entry_id=f"E{n}", plate=plate, suppress_s=0, agency=f"AG{n}")
        for n, plate in enumerate(_PLATES)
    ]
    both = matchers(entries, [policy_json(source="S1"), policy_json(source="S3")])
    sent = [
        of_plate(plate, source=source, vehicle={"color": color})
        for plate in _PLATES
        for source in ("S1", "S2", "S3", "S4")
        for color in ("red", "blue")
    ]
    for number in range(2 * _TIMES):
        outcome = same(both, fetch_of(*sent, first=number * len(sent)))
        assert len(outcome.matches) == len(sent) // 2


def test_what_is_read_is_wiped(
    ready_of: Callable[[Matcher], ReadyMatches], plainly_and_slowly: tuple[Matcher, Matcher]
) -> None:
    matcher, _ = plainly_and_slowly
    ready = ready_of(matcher)
    make_ready(matcher)
    parts = ready._of_reads

    def buffers() -> list[Any]:
        rows = parts.compared.rows, parts.sources.rows
        texts = ready._ids, ready._hashed, ready._out, parts.texts
        return [ready._decided, *texts, *rows]

    ready._sums.fill(1)  # only what is hashed of a long text
    assert all(each.any() for each in buffers())
    matcher.scrub()
    assert not any(each.any() for each in (*buffers(), ready._sums))
    assert [parts.known_compared, parts.known_sources] == [set(), set()]


def test_nothing_of_an_entry_outlives_a_change(
    ready_of: Callable[[Matcher], ReadyMatches], plainly_and_slowly: tuple[Matcher, Matcher]
) -> None:
    matcher, _ = plainly_and_slowly
    ready = ready_of(matcher)
    make_ready(matcher)
    assert b"ABC123" in ready._listed.texts.tobytes()
    removed = ControlRecord(ControlKind.ENTRY, 0, 50, NOW_MS, b"E0", None)
    matcher.lists.apply([removed], NOW_MS)
    matcher.process(fetch_of(some_reads()[0], first=99), NOW_MS)
    assert not ready._listed.texts.any()
    assert [ready._entries, ready._opened, ready._names] == [{}, [], []]


def test_a_longer_text_than_is_hashed_is_pythons() -> None:
    listed = [entry_json(entry_id="E" * 64, suppress_s=0)]
    source = "S" * 128
    both = matchers(listed, [policy_json(source=source)])
    for number in range(_TIMES):
        outcome: Outcome = same(both, fetch_of(read(source=source, read_id="R" * 64), first=number))
        assert len(outcome.matches) == 1
