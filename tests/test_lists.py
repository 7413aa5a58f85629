"""The control state beside a dict of each key's last record."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.lists import ControlKind, ControlRecord, Lists
from engine.rules import Purposes
from tests.documents_for_tests import NOW_MS, as_bytes, at, entry_json, policy_json

_PURPOSES = Purposes.load()
_KEYS = (b"E1", b"E2", b"E3", "\ufffd".encode(), b"\xff", b"", None)
_SOURCES = (b"S1", b"S2", "\ufffd".encode(), b"\xff", None)
_PLATES = ("ABC123", "XYZ789")

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


class ControlTopics(RuleBasedStateMachine):
    """Records of both topics, good, bad and null, in steps of any size, while time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = Lists(_PURPOSES)
        self.now_ms = NOW_MS
        self.next_offset = {kind: {0: 0, 1: 0} for kind in ControlKind}
        self.records: list[ControlRecord] = []
        #: What each key's last record says: entry and revision, with its end.
        self.entries: dict[str, tuple[dict[str, Any], int, int]] = {}
        self.policies: dict[str, tuple[dict[str, Any], int]] = {}
        self.refused_keys: set[bytes] = set()
        self.expected: Counter[str] = Counter()

    def append(self, kind: ControlKind, key: bytes | None, value: bytes | None, gap: int) -> int:
        partition = len(key or b"") % 2
        offset = self.next_offset[kind][partition] + gap
        self.next_offset[kind][partition] = offset + 1
        self.records.append(ControlRecord(kind, partition, offset, self.now_ms, key, value))
        return offset

    def forget_entry(self, key: bytes | None, refused: str | None) -> None:
        self.expected["removed" if refused is None else f"refused {refused}"] += 1
        (self.refused_keys.discard if refused is None else self.refused_keys.add)(key or b"")
        self.entries.pop(text(key) or "", None)

    @rule(
        key=st.sampled_from(_KEYS[:4]),
        plate=st.sampled_from(_PLATES),
        ends_ms=st.integers(-5_000, 200_000),
        gap=st.integers(0, 3),
    )
    def put_entry(self, key: bytes, plate: str, ends_ms: int, gap: int) -> None:
        document = entry_json(entry_id=key.decode(), plate=plate, expires_at=at(ends_ms))
        offset = self.append(ControlKind.ENTRY, key, as_bytes(document), gap)
        self.entries[key.decode()] = (document, offset, NOW_MS + ends_ms)
        self.refused_keys.discard(key)
        self.expected["changed"] += 1

    @rule(key=st.sampled_from(_KEYS), bad=st.sampled_from(BAD_ENTRIES), gap=st.integers(0, 3))
    def put_bad_entry(self, key: bytes | None, bad: tuple[bytes, str], gap: int) -> None:
        value, reason = bad
        self.append(ControlKind.ENTRY, key, value, gap)
        self.forget_entry(key, reason)

    @rule(key=st.sampled_from(_KEYS), named=st.sampled_from(["E1", "E9", "\ufffd"]))
    def put_entry_under_another_key(self, key: bytes | None, named: str) -> None:
        if named.encode() != key:
            value = as_bytes(entry_json(entry_id=named))
            self.append(ControlKind.ENTRY, key, value, 0)
            self.forget_entry(key, "key_mismatch")

    @rule(key=st.sampled_from(_KEYS), gap=st.integers(0, 3))
    def remove_entry(self, key: bytes | None, gap: int) -> None:
        self.append(ControlKind.ENTRY, key, None, gap)
        self.forget_entry(key, None)

    @rule(key=st.sampled_from(_SOURCES[:3]), gap=st.integers(0, 3), open_to_all=st.booleans())
    def put_policy(self, key: bytes, gap: int, open_to_all: bool) -> None:
        rules = [{"agencies": "*", "purposes": "*"}] if open_to_all else []
        document = policy_json(source=key.decode(), rules=rules)
        offset = self.append(ControlKind.POLICY, key, as_bytes(document), gap)
        self.policies[key.decode()] = (document, offset)
        self.expected["changed"] += 1

    @rule(key=st.sampled_from(_SOURCES), bad=st.sampled_from([*BAD_POLICIES, (None, "")]))
    def put_bad_policy(self, key: bytes | None, bad: tuple[bytes | None, str]) -> None:
        value, reason = bad
        self.append(ControlKind.POLICY, key, value, 0)
        self.expected["removed" if value is None else f"refused {reason}"] += 1
        self.policies.pop(text(key) or "", None)

    @rule(key=st.sampled_from(_SOURCES), named=st.sampled_from(["S1", "S9"]))
    def put_policy_under_another_key(self, key: bytes | None, named: str) -> None:
        if named.encode() != key:
            self.append(ControlKind.POLICY, key, as_bytes(policy_json(source=named)), 0)
            self.expected["refused key_mismatch"] += 1
            self.policies.pop(text(key) or "", None)

    @rule(step_ms=st.integers(0, 70_000), cuts=st.lists(st.integers(0, 20), max_size=2))
    def apply(self, step_ms: int, cuts: list[int]) -> None:
        """Apply what has come, in one step or several."""
        self.now_ms += step_ms
        applied: Counter[str] = Counter()
        begins = [0, *sorted(cuts), len(self.records)]
        for begin, end in itertools.pairwise(begins):
            step = self.lists.apply(self.records[begin:end], self.now_ms)
            applied.update(changed=step.changed, removed=step.removed)
            applied.update({f"refused {reason}": n for reason, n in step.refused.items()})
        assert +applied == self.expected
        self.records.clear()
        self.expected.clear()
        self.lists.advance(self.now_ms)
        self.entries = {
            entry_id: known for entry_id, known in self.entries.items() if known[2] > self.now_ms
        }
        self.agree()

    def agree(self) -> None:
        index = self.lists.index
        found = {
            each.entry_id: (each.plate, each.expires_at, index.revision(slot))
            for plate in _PLATES
            for slot, each in index.slots_of(plate)
        }
        assert found == {
            entry_id: (document["plate"], document["expires_at"], offset)
            for entry_id, (document, offset, _) in self.entries.items()
        }
        assert len(index) == len(self.entries)
        eligibility = self.lists.eligibility
        assert eligibility.policy_count == len(self.policies)
        for source, (document, offset) in self.policies.items():
            assert eligibility.revision_of(source) == offset
            allowed = len(self.entries) if document["rules"] else 0
            assert len(eligibility.eligible(source)) == allowed
        assert self.lists.refused_count == len(self.refused_keys)

    @invariant()
    def the_revision_counts_offsets_received(self) -> None:
        if not self.records:
            received = sum(self.next_offset[ControlKind.ENTRY].values())
            assert self.lists.list_revision == received


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


def test_within_one_step_a_later_record_counts() -> None:
    lists = Lists(_PURPOSES)
    first, then = (as_bytes(entry_json(plate=plate)) for plate in ("FIRST1", "THEN1"))
    lists.apply([record(b"E1", first, 0), record(b"E1", then, 1)], NOW_MS)
    assert list(lists.index.slots_of("FIRST1")) == []
    assert len(list(lists.index.slots_of("THEN1"))) == 1
    lists.apply([record(b"E1", first, 2), record(b"E1", None, 3)], NOW_MS)
    assert len(lists.index) == 0
