"""An optional field that breaks its rule never costs a match: the read is matched without it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.documents.codec import decode_match, encode
from engine.documents.fields import DROPPABLE_FIELDS
from engine.documents.model import Check, Match
from engine.matching.outcome import Outcome
from tests.documents.test_model import VALUES
from tests.fakes.documents import NOW_MS, Json, as_bytes, detection_json
from tests.fakes.record_batches import Sent, batch_bytes, raw_batch, raw_fetch
from tests.matching.test_decide import matcher_of
from tests.matching.test_matcher import listed
from tests.models.contract_reads import kept
from tests.models.oracle import plain_plate

_ENTRIES = [
    listed(entry_id="E1"),
    listed(entry_id="E2", region="US-CA", vehicle={"color": "white"}),
    listed(entry_id="E3", area=[{"lat": 37.5, "lon": -122.5, "radius_m": 100}]),
    listed(entry_id="E4", plate="XYZ900"),
]
#: What producers send, and what is right, so that some of the fields narrow a match.
_GOOD: dict[str, list[Any]] = {
    "region": ["US-CA", "US-NV"],
    "confidence": [0.5],
    "alternates": [[{"plate": "XYZ-900", "confidence": 0.25}]],
    "location": [{"lat": 37.5, "lon": -122.5}, {"lat": 0, "lon": 0}],
    "heading": [90],
    "vehicle": [{"color": "white"}, {"color": "red", "make": "Ford"}],
    "images": [[{"kind": "plate", "uri": "https://images.example/1"}]],
}
_BAD: dict[str, list[Any]] = {
    "region": ["us-ca", ""],
    "confidence": [93.1],
    "alternates": [[{"plate": ""}, {"plate": "XYZ-900"}], [{"plate": "XYZ-900", "confidence": 25}]],
    "location": [{"lat": None, "lon": None}, {"lat": -122.5, "lon": 37.5}],
    "heading": [361],
    "vehicle": ["van", {"color": "red", "make": 7}],
    "images": ["a.jpg"],
}


def processed(document: Json) -> Outcome:
    """What comes of a read whose alternates are asked for."""
    key = plain_plate(document["plate"]).encode()
    sent = Sent(key, as_bytes(document), (("alternates", b"XYZ900"),))
    return matcher_of(*_ENTRIES).process(raw_fetch(raw_batch(batch_bytes([sent]))), NOW_MS)


def without_dropped(match: Match) -> Match:
    checks = tuple(each for each in match.verification.checks if each.check != "dropped")
    verification = msgspec.structs.replace(match.verification, checks=checks)
    return msgspec.structs.replace(match, verification=verification)


_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        name: st.sampled_from(_GOOD[name]) | st.sampled_from(_BAD[name]) | st.sampled_from(VALUES)
        for name in DROPPABLE_FIELDS
    },
)


@given(_FIELDS)
def test_a_broken_field_changes_nothing_of_the_matches_but_that_it_is_named(fields: Json) -> None:
    document = detection_json() | fields
    rest, broken = kept(document)
    outcome, plain = processed(document), processed(rest)
    matches = [found.match for found in outcome.matches]
    assert [without_dropped(each) for each in matches] == [found.match for found in plain.matches]
    assert (outcome.rejects, outcome.denied) == ([], plain.denied)
    assert outcome.dropped_fields == dict.fromkeys(broken, 1)
    assert plain.dropped_fields == {}
    for match in matches:
        named = [each.field for each in match.verification.checks if each.check == "dropped"]
        assert named == [name for name in DROPPABLE_FIELDS if name in broken]
        assert decode_match(encode(match)) == match


@pytest.mark.parametrize("name", DROPPABLE_FIELDS)
def test_the_match_is_made_and_names_the_field(name: str) -> None:
    for value in _BAD[name]:
        outcome = processed(detection_json(**{name: value}))
        match = next(each.match for each in outcome.matches if each.match.entry.entry_id == "E1")
        [check] = [each for each in match.verification.checks if each.check == "dropped"]
        assert (check.field, check.result) == (name, "unknown")
        assert f"$.{name}" in check.text


def test_a_read_with_every_fault_names_each_field_once() -> None:
    bad = {name: values[0] for name, values in _BAD.items()}
    [first, *_] = processed(detection_json(**bad)).matches
    checks = [each for each in first.match.verification.checks if each.check == "dropped"]
    assert [each.field for each in checks] == list(DROPPABLE_FIELDS)
    assert len(first.match.verification.checks) <= 16


def test_the_person_is_told_what_was_wrong() -> None:
    [first, *_] = processed(detection_json(confidence=93.1)).matches
    assert json.loads(encode(first.match.read)) == detection_json()
    assert first.match.verification.checks[-3] == Check(
        check="dropped",
        result="unknown",
        field="confidence",
        text="Part of the read was dropped because it broke a rule: "
        "$.confidence must be at most 1.",
    )


@pytest.mark.parametrize(
    "captured_at",
    [
        "2026-09-21T15:33:18+01:00",
        "2026-09-21t14:33:18z",
        "2026-09-21 14:33:18Z",
        "2026-09-21T14:33:18.1234567890123Z",
        "2026-09-21T14:32:60Z",
        "2026-09-21T14:33:18-00:00",
    ],
)
def test_any_time_of_rfc_3339_is_taken(captured_at: str) -> None:
    """Forms that people report: https://github.com/colinhacks/zod/issues/6296"""
    outcome = processed(detection_json(captured_at=captured_at))
    assert outcome.rejects == []
    assert {each.match.read.captured_at for each in outcome.matches} == {captured_at}


@pytest.mark.parametrize("captured_at", ["2026-09-21T14:33Z", "2026-09-21T14:33:18", 1_790_000_000])
def test_no_other_time_is_taken(captured_at: Any) -> None:
    [reject] = processed(detection_json(captured_at=captured_at)).rejects
    assert (reject.reason, reject.field) == ("schema", "$.captured_at")
