"""The control state beside a dict of each key's last record."""

from __future__ import annotations

import gc
import itertools
import re
from collections import Counter
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine import limits
from engine.audit.changes import NO_RECORD, Change
from engine.documents.admission import Purposes
from engine.matching.lists import ControlKind, ControlRecord, Lists, Phase
from engine.matching.outcome import Applied
from engine.plates.normal_form import normalize
from tests.fakes.documents import DAY_MS, NOW_MS, as_bytes, at, entry_json, policy_json

_PURPOSES = Purposes.load()
_KEYS = (b"E1", b"E2", b"E3", "\ufffd".encode(), b"\xff", b"", None)
_SOURCES = (b"S1", b"S2", "\ufffd".encode(), b"\xff", None)
_PLATES = ("ABC123", "XYZ789")
_PHASES = st.sampled_from(Phase)

#: What is wrong with an entry's value, and the reason under which it is counted.
BAD_ENTRIES: list[tuple[bytes, str]] = [
    (b"", "invalid_json"),
    (b"{", "invalid_json"),
    (b"[" * 100_000, "invalid_json"),
    (b"\xff", "invalid_json"),
    (b"null", "schema"),
    (b"[]", "schema"),
    (as_bytes(entry_json(agency=None)), "schema"),
    (as_bytes(entry_json(plate=5)), "schema"),
    (as_bytes(entry_json(entry_id="E1\x1f")), "schema"),
    (as_bytes(entry_json(purpose="curiosity")), "purpose"),
    (as_bytes(entry_json(plate="ab-123")), "plate"),
    (as_bytes(entry_json(plate="AB?")), "plate"),
    (as_bytes(entry_json(expires_at=at(400 * 86_400_000))), "expires_at"),
    (as_bytes(entry_json(created_at=at(0), expires_at=at(0))), "expires_at"),
    (as_bytes(entry_json(created_at=at(DAY_MS), expires_at=at(2 * DAY_MS))), "created_at"),
    (
        as_bytes(entry_json(created_at="2899-01-01T00:00:00Z", expires_at="2899-12-01T00:00:00Z")),
        "created_at",
    ),
    (as_bytes(entry_json(starts_at=at(200 * 86_400_000))), "starts_at"),
]

BAD_POLICIES: list[tuple[bytes, str]] = [
    (b"{", "invalid_json"),
    (b"3", "schema"),
    (as_bytes(policy_json(rules="*")), "schema"),
    (as_bytes(policy_json(source=None)), "schema"),
]


def text(key: bytes | None) -> str | None:
    """The id that a key names."""
    try:
        return (key or b"").decode()
    except UnicodeDecodeError:
        return None


class Held(NamedTuple):
    """An entry that a record has put: its document, the record's offset and the entry's end."""

    document: dict[str, Any]
    offset: int
    ends_ms: int


class Said(NamedTuple):
    """What a record says of its key: an entry or a policy, nothing, or what refuses it."""

    document: dict[str, Any] | None = None
    ends_ms: int = 0
    refused: str | None = None


class ControlTopics(RuleBasedStateMachine):
    """Records of both topics, good, bad and null, at once or staged and committed, in steps of
    any size, while time goes on; beside dicts of each key's last record."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = Lists(_PURPOSES)
        self.now_ms = NOW_MS
        self.next_offset = {kind: {0: 0, 1: 0} for kind in ControlKind}
        self.records: list[tuple[ControlRecord, Said]] = []
        #: What reads see, and what they would see after a commit.
        self.entries: dict[str, Held] = {}
        self.after_commit: dict[str, Held] = {}
        self.revision = self.revision_after_commit = 0
        #: Expired, with no successor, and not told yet.
        self.expired: dict[str, Held] = {}
        self.policies: dict[str, tuple[dict[str, Any], int]] = {}
        self.refused_keys: set[bytes] = set()
        self.received: dict[int, int] = {}
        self.loading = True

    @initialize(to=st.integers(0, 8), until_ms=st.integers(-5_000, 5_000))
    def known_to_the_audit(self, to: int, until_ms: int) -> None:
        """What workers before this one have told the audit."""
        self.lists.audited_to = {(ControlKind.ENTRY, 0): to, (ControlKind.POLICY, 1): to}
        self.audited_to = dict(self.lists.audited_to)
        self.lists.expired_until_ms = NOW_MS + until_ms

    def append(self, kind: ControlKind, key: bytes | None, value: bytes | None, said: Said) -> None:
        partition = len(key or b"") % 2
        offset = self.next_offset[kind][partition]
        self.next_offset[kind][partition] = offset + 1
        record = ControlRecord(kind, partition, offset, self.now_ms, key, value, "op")
        self.records.append((record, said))

    @rule(kind=st.sampled_from(ControlKind), partition=st.integers(0, 1), gap=st.integers(1, 3))
    def leave_a_gap(self, kind: ControlKind, partition: int, gap: int) -> None:
        """As compaction and transactions do."""
        self.next_offset[kind][partition] += gap

    @rule(
        key=st.sampled_from(_KEYS[:4]),
        plate=st.sampled_from(_PLATES),
        ends_ms=st.integers(-5_000, 200_000),
    )
    def put_entry(self, key: bytes, plate: str, ends_ms: int) -> None:
        document = entry_json(entry_id=key.decode(), plate=plate, expires_at=at(ends_ms))
        said = Said(document, NOW_MS + ends_ms)
        self.append(ControlKind.ENTRY, key, as_bytes(document), said)

    @rule(key=st.sampled_from(_KEYS), bad=st.sampled_from(BAD_ENTRIES))
    def put_bad_entry(self, key: bytes | None, bad: tuple[bytes, str]) -> None:
        value, reason = bad
        self.append(ControlKind.ENTRY, key, value, Said(refused=reason))

    @rule(key=st.sampled_from(_KEYS), named=st.sampled_from(["E1", "E9", "\ufffd"]))
    def put_entry_under_another_key(self, key: bytes | None, named: str) -> None:
        if named.encode() != key:
            value = as_bytes(entry_json(entry_id=named))
            self.append(ControlKind.ENTRY, key, value, Said(refused="key_mismatch"))

    @rule(key=st.sampled_from(_KEYS))
    def remove_entry(self, key: bytes | None) -> None:
        self.append(ControlKind.ENTRY, key, None, Said())

    @rule(key=st.sampled_from(_SOURCES[:3]), open_to_all=st.booleans())
    def put_policy(self, key: bytes, open_to_all: bool) -> None:
        rules = [{"agencies": "*", "purposes": "*"}] if open_to_all else []
        document = policy_json(source=key.decode(), rules=rules)
        self.append(ControlKind.POLICY, key, as_bytes(document), Said(document))

    @rule(key=st.sampled_from(_SOURCES), bad=st.sampled_from([*BAD_POLICIES, (None, None)]))
    def put_bad_policy(self, key: bytes | None, bad: tuple[bytes | None, str | None]) -> None:
        value, reason = bad
        self.append(ControlKind.POLICY, key, value, Said(refused=reason))

    @rule(key=st.sampled_from(_SOURCES), named=st.sampled_from(["S1", "S9"]))
    def put_policy_under_another_key(self, key: bytes | None, named: str) -> None:
        if named.encode() != key:
            value = as_bytes(policy_json(source=named))
            self.append(ControlKind.POLICY, key, value, Said(refused="key_mismatch"))

    @rule(
        step_ms=st.integers(0, 70_000), cuts=st.lists(st.integers(0, 20), max_size=2), phase=_PHASES
    )
    def apply(self, step_ms: int, cuts: list[int], phase: Phase) -> None:
        """Apply what has come, in one step or several."""
        self.turn(step_ms)
        begins = [0, *sorted(cuts), len(self.records)]
        for begin, end in itertools.pairwise(begins):
            part = self.records[begin:end]
            told, counted = self.applied_to_model(part, staged=phase is Phase.STAGED)
            applied = self.applied([record for record, _ in part], phase)
            assert [in_short(change) for change in applied.changes] == told
            counts = Counter(changed=applied.changed, removed=applied.removed)
            counts.update({f"refused {reason}": n for reason, n in applied.refused.items()})
            assert +counts == counted
        self.records.clear()
        self.loading = phase is Phase.LOADING

    def applied(self, records: list[ControlRecord], phase: Phase) -> Applied:
        return self.lists.apply(records, self.now_ms, phase)

    @rule()
    def commit(self) -> None:
        self.lists.commit()
        self.loading = False
        self.commit_model()

    @rule(step_ms=st.integers(0, 70_000))
    def advance(self, step_ms: int) -> None:
        self.turn(step_ms)
        told = self.lists.advance(self.now_ms)
        while self.lists.has_ended:
            told += self.lists.advance(self.now_ms)
        if self.loading:
            assert told == []
            return
        assert sorted(in_short(change) for change in told) == sorted(
            ("entry_expired", held.offset, held.ends_ms) for held in self.expired.values()
        )
        self.expired.clear()
        assert self.lists.expired_until_ms >= self.now_ms

    @rule(step_ms=st.integers(0, 70_000))
    def turn_to(self, step_ms: int) -> None:
        self.turn(step_ms)
        self.lists.turn_to(self.now_ms)

    def turn(self, step_ms: int) -> None:
        self.now_ms += step_ms
        for key, held in list(self.after_commit.items()):
            if held.ends_ms <= self.now_ms:
                self.expired[key] = self.after_commit.pop(key)
        self.entries = {k: held for k, held in self.entries.items() if held.ends_ms > self.now_ms}

    def commit_model(self) -> None:
        self.entries = dict(self.after_commit)
        self.revision = self.revision_after_commit

    def applied_to_model(
        self, part: list[tuple[ControlRecord, Said]], *, staged: bool
    ) -> tuple[list[tuple[Any, ...]], Counter[str]]:
        """The changes to be told, and the counts by what the records came to."""
        told: list[tuple[Any, ...]] = []
        counted: Counter[str] = Counter()
        for record, said in part:
            known = record.offset < self.audited_to.get((record.kind, record.partition), 0)
            if said.refused is not None:
                counted[f"refused {said.refused}"] += 1
            else:
                counted["removed" if said.document is None else "changed"] += 1
            if record.kind is ControlKind.POLICY:
                events = self.policy_applied(record, said)
            else:
                events = self.entry_applied(record, said, known=known)
            told += [event for event in events if not known or event[0] == "entry_expired"]
        received = sum(self.received.values())
        self.revision_after_commit = received
        if not staged:
            self.commit_model()
        return told, counted

    def policy_applied(self, record: ControlRecord, said: Said) -> list[tuple[Any, ...]]:
        if said.document is None:
            self.policies.pop(text(record.key) or "", None)
        else:
            self.policies[said.document["source"]] = (said.document, record.offset)
        return [("policy_changed", record.offset, self.now_ms)]

    def entry_applied(
        self, record: ControlRecord, said: Said, *, known: bool
    ) -> list[tuple[Any, ...]]:
        self.received[record.partition] = record.offset + 1
        key, entry_id = record.key or b"", text(record.key) or ""
        events: list[tuple[Any, ...]] = []
        held = self.after_commit.pop(entry_id, None)
        expired = self.expired.pop(entry_id, None)
        if expired is not None and record.timestamp_ms < expired.ends_ms:
            held = expired
        elif expired is not None:
            events.append(("entry_expired", expired.offset, expired.ends_ms))
        self.refused_keys.discard(key)
        if said.refused is not None:
            self.refused_keys.add(key)
            return [*events, ("entry_refused", record.offset, self.now_ms)]
        if said.document is None:
            return [*events, ("entry_removed", record.offset, self.now_ms)]
        new = Held(said.document, record.offset, said.ends_ms)
        if said.ends_ms > self.now_ms:
            self.after_commit[entry_id] = new
        elif not known or said.ends_ms > self.lists.expired_until_ms:
            self.expired[entry_id] = new
        event = "entry_added" if held is None else "entry_changed"
        return [*events, (event, record.offset, self.now_ms)]

    @invariant()
    def agree(self) -> None:
        index = self.lists.index
        found = {
            each.entry_id: (each.plate, each.expires_at, index.revision(slot))
            for plate in _PLATES
            for slot, each in index.slots_of(plate)
        }
        assert found == {
            entry_id: (held.document["plate"], held.document["expires_at"], held.offset)
            for entry_id, held in self.entries.items()
        }
        assert len(index) == len(self.entries)
        eligibility = self.lists.eligibility
        assert eligibility.policy_count == len(self.policies)
        for source, (document, offset) in self.policies.items():
            assert eligibility.revision_of(source) == offset
            allowed = len(self.entries) if document["rules"] else 0
            assert len(eligibility.eligible(source)) == allowed
        assert self.lists.refused_count == len(self.refused_keys)
        assert self.lists.list_revision == self.revision


def in_short(change: Change) -> tuple[str, int, int]:
    """A change's event, revision and time, after a look at the rest."""
    revision = change.fields["revision"]
    assert isinstance(revision, int)
    if change.event == "entry_expired":
        assert change.offset == NO_RECORD
        assert (change.kind, change.partition) == (ControlKind.ENTRY, 0)
        assert "operator" not in change.fields
    else:
        assert change.offset == revision
        assert change.fields["operator"] == "op"
    assert "plate" not in change.fields
    assert not any(plate in str(change.fields) for plate in (*_PLATES, "AB123", "ab-123", "AB?"))
    return change.event, revision, change.at_ms


TestControlTopics = ControlTopics.TestCase


def record(key: bytes | None, value: bytes | None, offset: int = 0) -> ControlRecord:
    return ControlRecord(ControlKind.ENTRY, 0, offset, NOW_MS, key, value)


@pytest.mark.parametrize(("value", "reason"), BAD_ENTRIES)
def test_a_bad_entry_is_counted_and_removes(value: bytes, reason: str) -> None:
    lists = Lists(_PURPOSES)
    lists.apply([record(b"E1", as_bytes(entry_json()))], NOW_MS)
    assert len(lists.index) == 1
    applied = lists.apply([record(b"E1", value, 1)], NOW_MS)
    assert applied.refused == {reason: 1}
    assert (applied.changed, applied.removed) == (0, 0)
    assert len(lists.index) == 0
    assert lists.refused_count == 1
    lists.apply([record(b"E1", as_bytes(entry_json()), 2)], NOW_MS)
    assert lists.refused_count == 0


def test_an_entry_of_version_01_is_listed_by_the_normal_form_of_today() -> None:
    """That version kept digits of other scripts; an upgrade must not end its entries."""
    lists = Lists(_PURPOSES)
    applied = lists.apply([record(b"E1", as_bytes(entry_json(plate="أبج١٢٣٤")))], NOW_MS)
    assert (applied.changed, applied.refused) == (1, {})
    found = [entry for _, entry in lists.index.slots_of(normalize("أ ب ج ١٢٣٤"))]
    assert [(entry.entry_id, entry.plate) for entry in found] == [("E1", "أبج1234")]


def test_the_same_state_from_all_records_and_from_what_compaction_leaves() -> None:
    good, other = as_bytes(entry_json()), as_bytes(entry_json(entry_id="E2"))
    every = [
        record(b"E1", good, 0),
        record(b"E2", other, 1),
        record(b"E1", b"bad", 2),
        record(b"E1", good, 3),
        record(b"E2", None, 4),
    ]
    states = []
    for records in (every, [every[3], every[4]], [every[3]]):
        lists = Lists(_PURPOSES)
        lists.apply(records, NOW_MS)
        slots = list(lists.index.slots_of("ABC123"))
        states.append([(each, lists.index.revision(slot)) for slot, each in slots])
    assert states[0] == states[1] == states[2]
    assert len(states[0]) == 1


AHEAD_MS = limits.CREATED_AHEAD_MS


@given(
    sent=st.lists(
        st.tuples(
            st.sampled_from(["E1", "E2"]),
            st.integers(0, 3 * AHEAD_MS),
            st.sampled_from([-AHEAD_MS, 0, AHEAD_MS - 1, AHEAD_MS, AHEAD_MS + 1, 2 * AHEAD_MS]),
        ),
        min_size=1,
        max_size=8,
    ),
    data=st.data(),
)
def test_when_an_entry_was_sent_decides_whether_it_came_from_the_future(
    sent: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    """In every worker, whenever it starts, and whatever compaction has left by then: an entry that
    was refused when it came stays refused after its `created_at` has passed."""
    every, expected = [], {}
    for offset, (entry_id, sent_ms, ahead_ms) in enumerate(sent):
        created, ends = at(sent_ms + ahead_ms), at(100 * DAY_MS)
        each = put(offset, NOW_MS + sent_ms, entry_id=entry_id, created_at=created, expires_at=ends)
        every.append(each)
        expected[entry_id] = offset if ahead_ms <= AHEAD_MS else None
    left = [each for each in every if is_last(each, every) or data.draw(st.booleans())]
    begin_ms = NOW_MS + data.draw(st.integers(0, 10 * DAY_MS))
    steps = data.draw(st.integers(1, len(left)))
    lists = Lists(_PURPOSES)
    for at_place in range(0, len(left), steps):
        phase = data.draw(_PHASES)
        lists.apply(left[at_place : at_place + steps], begin_ms, phase)
    lists.commit()
    held = {
        each.entry_id: lists.index.revision(slot) for slot, each in lists.index.slots_of("ABC123")
    }
    assert held == {key: offset for key, offset in expected.items() if offset is not None}
    assert lists.refused_count == list(expected.values()).count(None)


def is_last(record: ControlRecord, records: list[ControlRecord]) -> bool:
    return [each.offset for each in records if each.key == record.key][-1] == record.offset


def test_a_record_without_a_timestamp_proves_no_creation() -> None:
    lists = Lists(_PURPOSES)
    applied = lists.apply([put(0, -1)], NOW_MS)
    assert applied.refused == {"created_at": 1}
    [change] = applied.changes
    assert change.event == "entry_refused"
    assert (
        change.fields["rule"]
        == "must be at most 5 minutes after the time at which the entry is sent"
    )


def test_within_one_step_a_later_record_counts() -> None:
    lists = Lists(_PURPOSES)
    first, then = (as_bytes(entry_json(plate=plate)) for plate in ("FIRST1", "THEN1"))
    lists.apply([record(b"E1", first, 0), record(b"E1", then, 1)], NOW_MS)
    assert list(lists.index.slots_of("FIRST1")) == []
    assert len(list(lists.index.slots_of("THEN1"))) == 1
    lists.apply([record(b"E1", first, 2), record(b"E1", None, 3)], NOW_MS)
    assert len(lists.index) == 0


def put(offset: int, made_ms: int = NOW_MS, **fields: Any) -> ControlRecord:
    document = entry_json(**fields)
    key = document["entry_id"].encode()
    return ControlRecord(ControlKind.ENTRY, 0, offset, made_ms, key, as_bytes(document))


def events(changes: list[Change]) -> list[tuple[str, int]]:
    return [in_short(change)[:2] for change in without_operator(changes)]


def without_operator(changes: list[Change]) -> list[Change]:
    return [
        change
        if change.event == "entry_expired"
        else change._replace(fields={**change.fields, "operator": "op"})
        for change in changes
    ]


def test_below_what_is_audited_there_is_nothing_to_tell() -> None:
    lists = Lists(_PURPOSES)
    lists.audited_to = {(ControlKind.ENTRY, 0): 2}
    applied = lists.apply([put(0), put(1), put(2, priority=1)], NOW_MS, Phase.LOADING)
    assert events(applied.changes) == [("entry_changed", 2)]
    assert applied.changed == 3


def test_what_is_read_anew_is_not_told_again() -> None:
    lists = Lists(_PURPOSES)
    records = [put(0), put(1, entry_id="E2", expires_at=at(-1)), record(b"E1", None, 2)]
    told = lists.apply(records, NOW_MS, Phase.LOADING).changes
    lists.commit()
    told += lists.advance(NOW_MS)
    names = ["entry_added", "entry_added", "entry_removed", "entry_expired"]
    assert [change.event for change in told] == names
    more = [*records, put(3)]
    again = lists.apply(more, NOW_MS + 1, Phase.LOADING).changes
    lists.commit()
    again += lists.advance(NOW_MS + 1)
    assert events(again) == [("entry_added", 3)]
    assert len(lists.index) == 1


def test_what_expired_while_no_worker_ran_is_told_at_the_end_of_the_load() -> None:
    """Once, at its own time; not what was told before, nor what was changed before its end."""
    lists = Lists(_PURPOSES)
    lists.audited_to = {(ControlKind.ENTRY, 0): 100}
    lists.expired_until_ms = NOW_MS - 10_000
    ends = {
        "told before": -10_000,
        "just after": -9_999,
        "now": 0,
        "in the load": 2,
        "not yet": 5,
        "extended": -5_000,
        "removed": -5_000,
        "put again": -5_000,
    }
    records = [
        put(n, entry_id=name, expires_at=at(ms)) for n, (name, ms) in enumerate(ends.items())
    ]
    lists.apply(records, NOW_MS, Phase.LOADING)
    before_ms, after_ms = NOW_MS - 5_001, NOW_MS - 5_000
    later = [
        put(10, before_ms, entry_id="extended"),
        ControlRecord(ControlKind.ENTRY, 0, 11, before_ms, b"removed", None),
        put(12, after_ms, entry_id="put again"),
    ]
    assert events(lists.apply(later, NOW_MS + 1, Phase.LOADING).changes) == [("entry_expired", 7)]
    assert lists.advance(NOW_MS + 3) == []
    assert not lists.has_ended
    assert lists.expired_until_ms == NOW_MS - 10_000
    lists.commit()
    told = lists.advance(NOW_MS + 4)
    assert [(change.fields["entry_id"], change.at_ms - NOW_MS) for change in told] == [
        ("just after", -9_999),
        ("now", 0),
        ("in the load", 2),
    ]
    assert lists.expired_until_ms == NOW_MS + 4
    assert lists.advance(NOW_MS + 4) == []
    assert len(lists.index) == 3


def test_an_entry_that_comes_too_late_is_told_with_its_end() -> None:
    lists = Lists(_PURPOSES)
    applied = lists.apply([put(0), put(1, expires_at=at(-1))], NOW_MS)
    assert events(applied.changes) == [("entry_added", 0), ("entry_changed", 1)]
    assert len(lists.index) == 0
    assert events(lists.advance(NOW_MS)) == [("entry_expired", 1)]


def test_an_extension_without_a_new_authority_counts_and_is_told() -> None:
    lists = Lists(_PURPOSES)
    first = put(0, created_at=at(0), expires_at=at(DAY_MS))
    longer = put(1, NOW_MS + DAY_MS, created_at=at(DAY_MS), expires_at=at(365 * DAY_MS + 1))
    allowed = put(
        2,
        NOW_MS + DAY_MS,
        created_at=at(DAY_MS),
        expires_at=at(366 * DAY_MS),
        authority={"kind": "case", "reference": "2026-2"},
    )
    applied = lists.apply([first, longer, allowed], NOW_MS)
    assert [change.fields.get("extended") for change in applied.changes] == [None, 1, None]
    assert applied.extended == 1
    assert len(lists.index) == 1


@pytest.mark.parametrize("phase", Phase)
def test_an_entry_that_changes_its_owner_names_the_former_one(phase: Phase) -> None:
    """However the change was made: a worker sees only the record."""
    lists = Lists(_PURPOSES)
    records = [put(0, list_id="L0", agency="AG0"), put(1), put(2, priority=1)]
    applied = lists.apply(records, NOW_MS, phase)
    former = [
        {name: text for name, text in change.fields.items() if name.startswith("former_")}
        for change in applied.changes
    ]
    assert former == [{}, {"former_list_id": "L0", "former_agency": "AG0"}, {}]


def test_expiries_come_in_pieces() -> None:
    lists = Lists(_PURPOSES)
    count = 2 * limits.SLOTS_A_DROP + 1
    lists.apply([put(n, entry_id=f"E{n}", expires_at=at(1)) for n in range(count)], NOW_MS)
    lists.turn_to(NOW_MS + 1)
    assert len(lists.index) == 0
    sizes = []
    while lists.has_ended:
        assert lists.expired_until_ms == 0, "not all are told"
        sizes.append(len(lists.advance(NOW_MS + 1)))
    assert sizes == [limits.SLOTS_A_DROP, limits.SLOTS_A_DROP, 1]
    assert lists.expired_until_ms == NOW_MS + 1


@pytest.mark.parametrize(
    "staged_then", [[], ["commit"], ["expire"], ["expire", "commit"], ["commit", "expire"]]
)
@pytest.mark.parametrize("ending", ["tombstone", "refused", "replaced", "too late", "by the clock"])
def test_nothing_of_an_entry_outlives_it(ending: str, staged_then: list[str]) -> None:
    """However it ends, at once or staged: nothing that can be reached from the lists has any of
    its fields."""
    marked: dict[str, Any] = {
        "list_id": "SECRET-list",
        "plate": "SECRET1",
        "agency": "SECRET-agency",
        "authority": {"kind": "warrant", "reference": "SECRET-reference"},
        "requested_by": "SECRET-officer",
        "instructions": "SECRET-instructions",
        "vehicle": {"make": "SECRET-make"},
        "region": "NL",
    }
    lists = Lists(_PURPOSES)
    source = as_bytes(policy_json())
    lists.apply([ControlRecord(ControlKind.POLICY, 0, 0, NOW_MS, b"S1", source)], NOW_MS)
    phase = Phase.STAGED if staged_then else Phase.FOLLOWING
    lists.apply([put(0, **marked)], NOW_MS)
    if staged_then:  # a second one, which nobody has seen when it ends
        lists.apply([put(1, entry_id="E2", **marked)], NOW_MS, phase)
    last: dict[str, list[ControlRecord]] = {
        "tombstone": [record(key, None, 2) for key in (b"E1", b"E2")],
        "refused": [record(key, b"{}", 2) for key in (b"E1", b"E2")],
        "replaced": [put(2), put(3, entry_id="E2")],
        "too late": [put(2, expires_at=at(-1)), put(3, entry_id="E2", expires_at=at(-1))],
        "by the clock": [],
    }
    assert reachable_secrets(lists) >= {"SECRET-list", "SECRET-make"}
    now_ms = NOW_MS
    lists.apply(last[ending], now_ms, phase)
    for step in staged_then:
        if step == "commit":
            lists.commit()
        else:
            now_ms = NOW_MS + DAY_MS
            lists.turn_to(now_ms)
    if ending == "by the clock":
        now_ms = NOW_MS + DAY_MS
    if staged_then == [] or "commit" in staged_then or now_ms > NOW_MS:
        lists.advance(now_ms)
        while lists.has_ended:
            lists.advance(now_ms)
        assert reachable_secrets(lists) == set()


def reachable_secrets(root: object) -> set[str]:
    """All texts with a mark in them, in objects that can be reached."""
    found: set[str] = set()
    seen: set[int] = set()
    waiting: list[Any] = [root]
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, type | ModuleType | FunctionType):
            continue
        seen.add(id(each))
        if isinstance(each, bytes):
            each = each.decode("latin-1")
        if isinstance(each, str):
            found |= set(re.findall(r"SECRET[-a-z0-9]*", each))
        elif isinstance(each, msgspec.Struct):  # the garbage collector passes them by
            waiting += [getattr(each, name) for name in each.__struct_fields__]
        else:
            waiting += gc.get_referents(each)
    return found
