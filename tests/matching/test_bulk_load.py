"""A load in bulk beside the same records one by one."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine import limits
from engine.audit.added_entries import AddedEntries
from engine.audit.changes import Change
from engine.documents.admission import Purposes
from engine.index import intern_table
from engine.index.eligibility import Eligibility
from engine.matching import bulk_load
from engine.matching.lists import ControlKind, ControlRecord, Lists, Phase
from engine.matching.outcome import Applied
from tests.fakes.control_rows import in_rows
from tests.fakes.documents import DAY_MS, NOW_MS, as_bytes, at, entry_json, policy_json
from tests.matching.test_lists import BAD_ENTRIES, ControlTopics

_PURPOSES = Purposes.load()


@pytest.fixture(autouse=True)
def in_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a single record."""
    monkeypatch.setattr(bulk_load, "LEAST_RECORDS", 1)


def opened(applied: Applied) -> list[Change]:
    """All changes, each as the audit gets it."""
    changes: list[Change] = []
    for each in applied.for_audit:
        changes += each.changes(len(each)) if isinstance(each, AddedEntries) else [each]
    return changes


class LoadedInRows(ControlTopics):
    """The same machine, with what is loaded given in rows."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        self.patches.setattr(bulk_load, "LEAST_RECORDS", 1)

    def applied(self, records: list[ControlRecord], phase: Phase) -> Applied:
        if phase is not Phase.LOADING or not records:
            return super().applied(records, phase)
        whole = Applied()
        for _, run in groupby(records, lambda record: (record.kind, record.partition)):
            for rows in in_rows(list(run)):
                part = self.lists.apply(rows, self.now_ms, phase)
                whole.changed += part.changed
                whole.removed += part.removed
                whole.refused += part.refused
                whole.changes += opened(part)
        return whole

    def teardown(self) -> None:
        self.patches.undo()


TestLoadedInRows = LoadedInRows.TestCase

_NAMES = st.sampled_from(
    ["L1", "L2", "Polizei M\u00fcnchen", "\u8b66\u5bdf", "a" * 128, "a" * 129, "", 'q"', "\x7f"]
)
_TIMES = st.one_of(
    st.integers(-4 * DAY_MS, 4 * DAY_MS).map(at),
    st.sampled_from([at(-DAY_MS), at(DAY_MS), at(0)]),
    st.sampled_from(
        [
            *("2026-09-21T00:00:00Z", "2026-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"),
            *("2026-09-21T00:00:00.5Z", "2026-09-21T00:00:00+00:00", "1969-12-31T23:59:59.999Z"),
            *("1899-12-31T00:00:00Z", "1900-03-01T00:00:00Z", "2999-12-31T23:59:59.999Z"),
            *("2026-09-21T24:00:00Z", "2026-09-21T00:60:00Z", "2026-13-01T00:00:00Z", "now"),
            *("2026-09-21t00:00:00z", "2100-02-29T00:00:00Z", "2000-02-29T00:00:00.000Z"),
        ]
    ),
)
_VEHICLES: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "make": st.sampled_from(["VW", "\u0160koda", "m" * 65, None, 5, 'a"']),
        "model": st.sampled_from(["Golf", None]),
        "odd": st.sampled_from(["x", None, [], {}]),
    },
)
#: What a field may be given besides what `entry_json` gives it, right and wrong.
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "list_id": _NAMES,
    "agency": _NAMES,
    "requested_by": _NAMES,
    "purpose": st.sampled_from(["stolen_vehicle", "missing_person", "curiosity", ""]),
    "plate": st.sampled_from(
        ["ABC123", "ABCD", "ABC", "AB?123", "A?C?", "abc123", "A" * 17, "\u00dcB123"]
    ),
    "authority": st.sampled_from(
        [
            {"kind": "warrant", "reference": "R"},
            {"reference": "R", "kind": "case"},
            {"kind": "hunch", "reference": "R"},
            {"kind": "case", "reference": ""},
            {"kind": "case", "reference": "r" * 129},
            {"kind": "case", "reference": "\u00fc"},
            {"kind": "case"},
            {"kind": "case", "reference": "R", "more": 1},
            {},
            None,
            "case",
        ]
    ),
    "created_at": _TIMES,
    "expires_at": _TIMES,
    "starts_at": _TIMES | st.none(),
    "region": st.sampled_from(["US-CA", "NL", "nl", "", None, 5]),
    "vehicle": _VEHICLES | st.sampled_from([None, [], "car"]),
    "instructions": st.sampled_from(
        ["Call 5.", "", "\u00fc" * 2000, "\u00fc" * 2001, "a\nb", None]
    ),
    "confusables": st.sampled_from([True, False, None, 1, "true"]),
    "distance": st.sampled_from([0, 1, 2, -1, 1.0, None, True]),
    "priority": st.sampled_from([0, 1, 5, 6, 1.5, None, 10**30]),
    "suppress_s": st.sampled_from([0, 1, 127, 128, 255, 256, 65_535, 65_536, 86_400, 86_401]),
    "area": st.sampled_from([None, [], [{"lat": 1, "lon": 1, "radius_m": 5}]]),
    "hours": st.sampled_from([None, {}]),
    "unknown": st.sampled_from([None, 1, {"a": [1]}]),
    "entry_id": st.sampled_from(["other", "E" * 64, "E" * 65, "\u00fc", ""]),
}


@st.composite
def _values(draw: st.DrawFn, entry_id: str) -> bytes | None:
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.none() | st.sampled_from([bad for bad, _ in BAD_ENTRIES if len(bad) < 999]))
    document: dict[str, Any] = entry_json(entry_id=entry_id)
    if kind > 2:
        for name in draw(st.lists(st.sampled_from(sorted(_FIELDS)), max_size=4, unique=True)):
            document[name] = draw(_FIELDS[name])
    if draw(st.booleans()):
        document = dict(draw(st.permutations(list(document.items()))))
    value = json.dumps(
        document,
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")])),
    ).encode()
    if kind == 9:  # damaged
        place, length = draw(st.integers(0, len(value))), draw(st.integers(0, 3))
        value = value[:place] + draw(st.binary(max_size=3)) + value[place + length :]
    return value


@st.composite
def _topics(draw: st.DrawFn) -> list[ControlRecord]:
    records, offset = [], 0
    for _ in range(draw(st.integers(1, 12))):
        offset += draw(st.sampled_from([1, 1, 1, 5]))
        entry_id = draw(st.sampled_from(["E1", "E2", "E3", *(f"F{n}" for n in range(20))]))
        value = draw(_values(entry_id))
        key = draw(st.sampled_from([entry_id.encode()] * 9 + [None, b"\xff"]))
        sent_ms = NOW_MS + draw(st.sampled_from([0, 0, -DAY_MS, -3 * DAY_MS]))
        operator = draw(st.sampled_from([None, "ann"]))
        records.append(ControlRecord(ControlKind.ENTRY, 0, offset, sent_ms, key, value, operator))
    return records


@given(
    records=_topics(),
    most=st.integers(1, 12),
    audited_to=st.integers(0, 30),
    until_ms=st.integers(-2 * DAY_MS, DAY_MS),
    shared=st.sampled_from([0, 2, 1 << 13]),
)
@example(records=[], most=1, audited_to=0, until_ms=0, shared=0)
def test_in_bulk_as_one_by_one(
    records: list[ControlRecord], most: int, audited_to: int, until_ms: int, shared: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intern_table, "SHARED_VALUES", shared)
        one_by_one, in_bulk = [Lists(_PURPOSES), Lists(_PURPOSES)]
        for lists in (one_by_one, in_bulk):
            lists.audited_to = {(ControlKind.ENTRY, 0): audited_to}
            lists.expired_until_ms = NOW_MS + until_ms
            policy = as_bytes(policy_json())
            lists.apply([ControlRecord(ControlKind.POLICY, 0, 0, NOW_MS, b"S1", policy)], NOW_MS)
        for number, rows in enumerate(in_rows(records, most) if records else ()):
            # The operator of a change that is reported already is not read.
            told = one_by_one.apply(list(rows), NOW_MS + number, Phase.LOADING)
            also = in_bulk.apply(rows, NOW_MS + number, Phase.LOADING)
            assert (also.changed, also.removed, also.extended, also.refused) == (
                told.changed, told.removed, told.extended, told.refused
            )  # fmt: skip
            assert in_order(opened(also)) == in_order(told.changes)
        now_ms = NOW_MS + 100
        for end_ms in (now_ms, now_ms + DAY_MS, now_ms + 10 * DAY_MS):
            for lists in (one_by_one, in_bulk):
                lists.commit()
            assert held(in_bulk, end_ms) == held(one_by_one, end_ms)
            assert in_order(in_bulk.advance(end_ms)) == in_order(one_by_one.advance(end_ms))


def in_order(changes: list[Change]) -> list[Change]:
    """As they are recorded: those of records by their offsets."""
    return sorted(changes, key=lambda each: (each.offset, each.at_ms, str(each.fields)))


def held(lists: Lists, now_ms: int) -> Any:
    """All that the lists say: the entries, who may match on them now, and what they are like."""
    lists.turn_to(now_ms)
    index, eligibility = lists.index, lists.eligibility
    slots = sorted(
        (index.revision(slot), slot) for pair in eligibility.pairs.values() for slot in pair
    )
    entries = [
        (revision, index.entry(slot), slot in eligibility.active) for revision, slot in slots
    ]
    revisions = {slot: revision for revision, slot in slots}
    alike = {
        (plate, region): sorted(
            (revisions[slot], str(likeness))
            for slot, _, likeness in index.candidates(plate, region)
        )
        for plate in ("ABC123", "A8C123", "ABX123", "ABCX", "AXCX", "ABC12")
        for region in (None, "NL")
    }
    pairs = {
        pair: sorted(revisions[each] for each in slots) for pair, slots in by_pair(eligibility)
    }
    eligible = sorted(revisions[slot] for slot in eligibility.eligible("S1"))
    found = [index.find(entry.entry_id) for _, entry, _ in entries]
    counts = len(index), lists.refused_count, lists.list_revision, lists.has_ended
    return entries, alike, pairs, eligible, found, counts


def by_pair(eligibility: Eligibility) -> list[tuple[Any, Any]]:
    return [(pair, slots) for pair, slots in eligibility.pairs.items()]


def test_what_expired_before_is_reported_before_what_follows() -> None:
    """An entry that ended while no worker ran, and was put again since."""
    lists = Lists(_PURPOSES)
    lists.audited_to = {(ControlKind.ENTRY, 0): 1}
    lists.expired_until_ms = NOW_MS - DAY_MS
    ended = as_bytes(entry_json(expires_at=at(-5)))
    again = as_bytes(entry_json(expires_at=at(DAY_MS)))
    first = ControlRecord(ControlKind.ENTRY, 0, 0, NOW_MS - 10, b"E1", ended)
    second = ControlRecord(ControlKind.ENTRY, 0, 9, NOW_MS - 5, b"E1", again)
    events = []
    for record in (first, second):
        [rows] = in_rows([record])
        events += opened(lists.apply(rows, NOW_MS, Phase.LOADING))
    assert [change.event for change in events] == ["entry_expired", "entry_added"]
    lists.commit()
    assert lists.advance(NOW_MS) == []


def test_an_expiry_that_a_record_finds_comes_before_it() -> None:
    """And after what was listed before, whichever of it was taken in bulk."""
    records = [
        ControlRecord(
            *(ControlKind.ENTRY, 0, number, NOW_MS, key),
            as_bytes(entry_json(entry_id=key.decode(), expires_at=at(ends_ms))),
        )
        for number, (key, ends_ms) in enumerate(
            [(b"E1", 0), (b"E2", DAY_MS), (b"E1", 0), (b"E3", DAY_MS)]
        )
    ]
    lists = Lists(_PURPOSES)
    [rows] = in_rows(records)
    found = opened(lists.apply(rows, NOW_MS, Phase.LOADING))
    assert [(change.event, change.fields["entry_id"]) for change in found] == [
        ("entry_added", "E1"),
        ("entry_added", "E2"),
        ("entry_expired", "E1"),
        ("entry_added", "E1"),
        ("entry_added", "E3"),
    ]


def test_plain_entries_are_taken_in_bulk() -> None:
    """All that a program writes without a fault, in any order of fields, with any optional one but
    areas and hours."""
    optional: dict[str, Any] = {
        "vehicle": {"make": "VW", "model": None},
        "region": "NL",
        "instructions": "H\u00f6chste Vorsicht",
        "starts_at": at(5),
        "confusables": True,
        "priority": 1,
        "suppress_s": 86_400,
    }
    documents = [
        entry_json(entry_id="E1"),
        entry_json(entry_id="E2", **optional),
        dict(reversed(entry_json(entry_id="E3", distance=1).items())),
        entry_json(entry_id="E4", plate="ABCD?", created_at="2026-09-01T00:00:00Z"),
    ]
    records = [
        ControlRecord(
            *(ControlKind.ENTRY, 0, offset, NOW_MS, document["entry_id"].encode()),
            json.dumps(document, ensure_ascii=False).encode(),
        )
        for offset, document in enumerate(documents)
    ]
    lists = Lists(_PURPOSES)
    [rows] = in_rows(records)
    applied = lists.apply(rows, NOW_MS, Phase.LOADING)
    assert applied.changes == []
    assert [change.offset for change in opened(applied)] == [0, 1, 2, 3]
    assert len(lists.index) == 4


def test_each_entry_keeps_its_own_times() -> None:
    """However many share one of them."""
    lists = Lists(_PURPOSES)
    count = limits.CONTROL_RECORDS_A_STEP
    records = [
        ControlRecord(
            *(ControlKind.ENTRY, 0, number, NOW_MS, b"E%d" % number),
            as_bytes(entry_json(entry_id=f"E{number}", expires_at=at(DAY_MS + number))),
        )
        for number in range(count)
    ]
    for rows in in_rows(records):
        lists.apply(rows, NOW_MS, Phase.LOADING)
    assert len(lists.index) == count
    taken = [lists.index.find(f"E{number}") for number in range(count)]
    assert [found[0].expires_at for found in taken if found] == [
        at(DAY_MS + number) for number in range(count)
    ]
