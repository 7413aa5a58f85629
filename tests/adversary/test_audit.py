"""Audit: every match and change is recorded, and no plate is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.matching.lists import ControlKind, ControlRecord
from engine.matching.match import audit_fields
from tests.adversary.sides import Sides
from tests.fakes.documents import as_bytes, detection_json, entry_json
from tests.fakes.record_batches import Sent, batch_bytes, raw_batch, raw_fetch


def _changed(sides: Sides, offset: int, key: str, value: bytes | None) -> tuple[str, str]:
    """Apply a record of the hot list topic; return its event, and its fields as JSON."""
    record = ControlRecord(ControlKind.ENTRY, 0, offset, sides.now_ms, key.encode(), value)
    [change] = sides.matcher.lists.apply([record], sides.now_ms).changes
    return change.event, json.dumps(change.fields)


def test_a_match_names_who_and_why_and_never_the_plate_or_the_place() -> None:
    """The contract: "for a match: match id, entry id, agency, purpose, authority, source, policy
    revision; never the plate or place of a read that did not match"."""
    sides = Sides()
    revision = sides.policy("S1")
    sides.entry(authority={"kind": "warrant", "reference": "W-7"})
    read = detection_json(camera="gate-7", location={"lat": 37.5, "lon": -122.25})
    fetch = raw_fetch(raw_batch(batch_bytes([Sent(b"ABC123", as_bytes(read))])))
    [found] = sides.matcher.process(fetch, sides.now_ms).matches
    fields = audit_fields(found.match)
    wanted = {
        "match_id": found.match.match_id,
        "entry_id": "E1",
        "agency": "AG1",
        "purpose": "stolen_vehicle",
        "authority": "warrant W-7",
        "source": "S1",
        "policy_revision": revision,
    }
    assert wanted.items() <= fields.items()
    written = json.dumps(fields)
    assert not [secret for secret in ("ABC", "gate-7", "37.5", "122.25") if secret in written]


def test_each_change_of_an_entry_is_an_event_of_its_own() -> None:
    """The contract: "event (`match`, `entry_added`, `entry_changed`, `entry_removed`,
    `entry_expired`, `entry_refused`, `policy_changed`)"."""
    sides = Sides()
    values = [
        as_bytes(entry_json()),
        as_bytes(entry_json(agency="AG2")),
        None,
        as_bytes(entry_json(purpose="curiosity")),
    ]
    events = [_changed(sides, number, "E1", value)[0] for number, value in enumerate(values)]
    assert events == ["entry_added", "entry_changed", "entry_removed", "entry_refused"]


@pytest.mark.parametrize(
    "bad",
    [
        {"plate": "QQ?"},
        {"plate": "qq1111"},
        {"plate": "QQ1111", "purpose": "curiosity"},
        {"plate": ["QQ"]},
        {"plate": "QQ1111", "distance": 3},
        {"plate": "QQ?111", "distance": 1},
    ],
)
def test_a_refused_entry_is_audited_without_its_plate(bad: dict[str, Any]) -> None:
    """The contract: "ignores, counts and audits a bad entry that someone produced by hand"."""
    sides = Sides()
    event, fields = _changed(sides, 0, "E1", as_bytes(entry_json(**bad)))
    assert event == "entry_refused"
    assert "qq" not in fields.lower()
