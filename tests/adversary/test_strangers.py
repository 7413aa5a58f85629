"""Strangers: records that should not have been produced, among reads that must match."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.adversary.sides import Sides, count
from tests.fakes.documents import as_bytes, detection_json
from tests.fakes.record_batches import Sent, batch_bytes, raw_batch, raw_fetch
from tests.models.contract_records import ReadRecord


@pytest.fixture
def sides() -> Sides:
    made = Sides()
    made.policy("S1")
    made.entry(suppress_s=0)
    return made


def _without(name: str) -> bytes:
    return as_bytes({key: value for key, value in detection_json().items() if key != name})


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"ABC123"',
        b"\xff\xfe",
        b"[" * 5_000,
        b'{"read_id": "1", "plate": "ABC123"',
        as_bytes(detection_json(read_id="")),
        as_bytes(detection_json(read_id="x" * 65)),
        as_bytes(detection_json(read_id=7)),
        as_bytes(detection_json(captured_at="yesterday")),
        as_bytes(detection_json(captured_at="2026-02-30T00:00:00Z")),
        as_bytes(detection_json(source=["S1"])),
        *map(_without, ("read_id", "plate", "captured_at", "source", "camera")),
    ],
)
def test_a_bad_record_never_stops_the_stream(sides: Sides, value: bytes) -> None:
    """The contract: "A bad record never stops the stream: it is counted, pointed to on
    `lpr.rejects.v1`, and passed"; a reject says "where the bad record lies and why; never its
    payload"."""
    good = [as_bytes(detection_json(read_id=f"good-{number}")) for number in range(2)]
    sent = [Sent(b"ABC123", each) for each in (good[0], value, good[1])]
    fetch = raw_fetch(raw_batch(batch_bytes(sent)))
    outcome = sides.matcher.process(fetch, sides.now_ms)
    assert [found.match.read.read_id for found in outcome.matches] == ["good-0", "good-1"]
    assert [(reject.offset, reject.topic) for reject in outcome.rejects] == [(1, fetch.topic)]
    assert "ABC" not in str(outcome.rejects)


def test_a_key_that_names_another_plate_is_a_reject(sides: Sides) -> None:
    """The contract: "A key in normal form that disagrees with the value's plate is a reject,
    `key_mismatch`, wherever the value is opened: for every match candidate"."""
    sent = Sent(b"ABC123", as_bytes(detection_json(plate="XYZ999")))
    outcome = sides.matcher.process(raw_fetch(raw_batch(batch_bytes([sent]))), sides.now_ms)
    assert [reject.reason for reject in outcome.rejects] == ["key_mismatch"]
    assert not outcome.matches


@pytest.mark.parametrize("key", [None, b"", b"abc-123", b"\xff", b"ABC 123", b"A" * 17])
def test_a_key_that_is_missing_or_odd_loses_no_match(sides: Sides, key: bytes | None) -> None:
    """The contract: "A key that is missing or not in normal form is not an error: the worker takes
    the plate from the value"."""
    sent = Sent(key, as_bytes(detection_json()))
    outcome = sides.matcher.process(raw_fetch(raw_batch(batch_bytes([sent]))), sides.now_ms)
    assert len(outcome.matches) == 1
    assert not outcome.rejects


@pytest.mark.parametrize(
    "fields", [{"unknown": {"deep": [1]}}, {"schema": "v9"}, {"Plate": "XYZ999"}]
)
def test_unknown_fields_are_ignored_and_never_produced(
    sides: Sides, fields: dict[str, Any]
) -> None:
    """The contract: "Unknown fields are accepted and ignored on input, and never produced on
    output"."""
    offset_0 = ReadRecord(detection_json(**fields), 0, 0, sides.now_ms, sides.now_ms)
    assert len(sides.fetched([offset_0])) == 1
    sides.record("E1", {**sides.oracle.entries["E1"].entry, "unknown": 1})
    found = sides.fetched([offset_0._replace(offset=1)])
    assert "unknown" not in json.dumps([match.entry for match in found])


@pytest.mark.parametrize(
    "plate", ["abc-123", "A B C 1 2 3", "\uff21BC123", "\u0410\u0412\u0421123"]
)
def test_a_plate_in_any_spelling_matches(sides: Sides, plate: str) -> None:
    """The contract: "**plate** (as read)", compared by `normalize(plate)`; the last one is Cyrillic
    and reads A, B, C."""
    assert count(sides.read(plate=plate)) == 1
