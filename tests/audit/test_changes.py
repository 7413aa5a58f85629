"""What a change says to the audit: exactly which fields, and never a plate."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.audit import changes
from engine.audit.changes import Change, ControlKind, ControlRecord
from engine.documents.admission import Purposes, check_entry
from engine.documents.codec import decode_entry
from engine.documents.model import Entry
from engine.errors import DocumentError, RuleError
from tests.fakes.documents import NOW_MS, as_bytes, at, entry, entry_json, policy
from tests.repository.schemas import validator

_LATER_MS = NOW_MS + 500
_STAMPED: dict[str, str | int] = {"stamped_at": at(0)}
_OF_ENTRY: dict[str, str | int] = {
    "entry_id": "E1",
    "list_id": "L1",
    "agency": "AG1",
    "purpose": "stolen_vehicle",
    "authority": "case 2026-1",
    "requested_by": "officer.one",
    "expires_at": at(86_400_000),
}


def record(key: bytes | None, operator: str | None = None, **fields: Any) -> ControlRecord:
    kind = fields.get("kind", ControlKind.ENTRY)
    return ControlRecord(kind, 2, 41, NOW_MS, key, b"", operator)


def check(change: Change, event: str, fields: dict[str, str | int]) -> None:
    """A change of the record above; the audit's schema takes its fields."""
    assert change == Change(change.kind, 2, 41, event, _LATER_MS, fields)  # type: ignore[arg-type]
    check_schema(change)


def check_schema(change: Change) -> None:
    audit: dict[str, Any] = {
        "chain": "c",
        "sequence": 0,
        "recorded_at": at(0),
        "event": change.event,
        "fields": change.fields,
        "previous_hash": "0" * 64,
        "hash": "0" * 64,
    }
    validator("audit").validate(audit)
    assert "ABC123" not in str(change.fields)


@pytest.mark.parametrize(
    ("replaced", "is_extended", "event", "more"),
    [
        (None, False, "entry_added", {}),
        (entry(), False, "entry_changed", {}),
        (entry(), True, "entry_changed", {"extended": 1}),
        (entry(list_id="L0"), False, "entry_changed", {"former_list_id": "L0"}),
        (
            entry(list_id="L0", agency="AG0"),
            False,
            "entry_changed",
            {"former_list_id": "L0", "former_agency": "AG0"},
        ),
    ],
)
def test_an_entry_that_is_put(
    replaced: Entry | None, is_extended: bool, event: str, more: dict[str, str | int]
) -> None:
    change = changes.entry_put(
        record(b"E1", "chief"), entry(), _LATER_MS, replaced=replaced, is_extended=is_extended
    )
    check(change, event, {**_OF_ENTRY, **more, "revision": 41, **_STAMPED, "operator": "chief"})


def test_nobody_is_named_where_the_record_names_nobody() -> None:
    change = changes.entry_put(record(b"E1"), entry(), NOW_MS, replaced=None, is_extended=False)
    assert "operator" not in change.fields


def test_a_removal() -> None:
    known = changes.entry_removed(record(b"E1", "chief"), entry(), _LATER_MS)
    check(known, "entry_removed", {**_OF_ENTRY, "revision": 41, **_STAMPED, "operator": "chief"})
    unknown = changes.entry_removed(record(b"E1"), None, _LATER_MS)
    check(unknown, "entry_removed", {"entry_id": "E1", "revision": 41, **_STAMPED})


@pytest.mark.parametrize("stamped_ms", [-1, 1 << 62, 253_402_300_800_000])
def test_a_time_that_cannot_be_written_is_left_out(stamped_ms: int) -> None:
    """The records of the policies have the time that their producer gave."""
    here = record(b"S1", kind=ControlKind.POLICY)._replace(timestamp_ms=stamped_ms)
    check(
        changes.policy_removed(here, None, _LATER_MS),
        "policy_changed",
        {"source": "S1", "removed": 1, "revision": 41},
    )


def test_an_end_by_the_clock() -> None:
    change = changes.entry_expired(entry(), 7)
    fields: dict[str, str | int] = {**_OF_ENTRY, "revision": 7}
    ends_ms = NOW_MS + 86_400_000
    assert change == Change(ControlKind.ENTRY, 0, -1, "entry_expired", ends_ms, fields)
    check_schema(change)


@pytest.mark.parametrize(
    ("key", "named"),
    [
        (b"E9", {"entry_id": "E9"}),
        (b"", {}),
        (None, {}),
        (b"\xff", {}),
        (b"x" * 1000, {"entry_id": "x" * 128}),
        ("☎".encode() * 200, {"entry_id": "☎" * 128}),
    ],
)
def test_a_refused_entry_that_cannot_be_read(
    key: bytes | None, named: dict[str, str | int]
) -> None:
    error = DocumentError("schema", field="$.agency", rule="must be there")
    change = changes.entry_refused(record(key, "op"), error, None, None, _LATER_MS)
    check(
        change,
        "entry_refused",
        {
            **named,
            "field": "$.agency",
            "rule": "must be there",
            "revision": 41,
            **_STAMPED,
            "operator": "op",
        },
    )


def test_a_refused_entry_under_another_key() -> None:
    """It is the key's entry that is gone by it."""
    error = DocumentError("key_mismatch")
    change = changes.entry_refused(record(b"E9"), error, entry(), 12, _LATER_MS)
    check(
        change,
        "entry_refused",
        {
            "entry_id": "E9",
            "field": "$",
            "rule": "key_mismatch",
            "ended_revision": 12,
            "revision": 41,
            **_STAMPED,
        },
    )


@pytest.mark.parametrize(
    ("fields", "field", "rule"),
    [
        ({"plate": "abc-123"}, "plate", "must be in normal form"),
        ({"plate": "AB?"}, "plate", "must have at least 4 known characters for stolen_vehicle"),
        ({"plate": "abc123?"}, "plate", "must be in normal form: capital letters and digits"),
        (
            {"created_at": at(0), "expires_at": at(0)},
            "expires_at",
            f"must be after created_at, {at(0)}",
        ),
    ],
)
def test_a_refused_entry_by_the_rules(fields: dict[str, Any], field: str, rule: str) -> None:
    bad: Entry = decode_entry(as_bytes(entry_json(**fields)))
    with pytest.raises(RuleError) as refusal:
        check_entry(bad, Purposes.load())
    change = changes.entry_refused(record(b"E1"), refusal.value, bad, None, _LATER_MS)
    of_entry = {**_OF_ENTRY, "expires_at": bad.expires_at}
    check(
        change,
        "entry_refused",
        {**of_entry, "field": field, "rule": rule, "revision": 41, **_STAMPED},
    )


def test_a_long_rule_is_cut() -> None:
    error = RuleError("purpose", "x", "is not in the purposes file, which has " + "a, " * 2000)
    change = changes.entry_refused(record(b"E1"), error, entry(), None, _LATER_MS)
    assert len(str(change.fields["rule"])) == 2000
    check_schema(change)


def test_a_policy() -> None:
    here = record(b"S1", "chief", kind=ControlKind.POLICY)
    rules = [{"agencies": ["AG1"], "purposes": "*"}]
    change = changes.policy_set(here, policy(rules=rules, regions=["NL"]), _LATER_MS)
    wanted: dict[str, str | int] = {
        "source": "S1",
        "updated_by": "admin.one",
        "rules": '[{"agencies":["AG1"],"purposes":"*"}]',
        "regions": '["NL"]',
        "revision": 41,
        **_STAMPED,
        "operator": "chief",
    }
    check(change, "policy_changed", wanted)
    assert json.loads(str(change.fields["rules"])) == rules
    long = policy(rules=[{"agencies": [f"AGENCY{n}" for n in range(500)], "purposes": "*"}])
    cut = changes.policy_set(here, long, _LATER_MS)
    assert len(str(cut.fields["rules"])) == 2000
    assert "regions" not in cut.fields
    check_schema(cut)


def test_a_policy_that_is_gone() -> None:
    here = record(b"S1", kind=ControlKind.POLICY)
    removed = changes.policy_removed(here, None, _LATER_MS)
    check(removed, "policy_changed", {"source": "S1", "removed": 1, "revision": 41, **_STAMPED})
    error = DocumentError("invalid_json", rule="must be JSON in UTF-8")
    refused = changes.policy_removed(here, error, _LATER_MS)
    wanted: dict[str, str | int] = {
        "source": "S1",
        "refused": "invalid_json",
        "field": "$",
        "rule": "must be JSON in UTF-8",
        "revision": 41,
        **_STAMPED,
    }
    check(refused, "policy_changed", wanted)
