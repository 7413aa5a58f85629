"""The match document: its id, and what a person must compare."""

from __future__ import annotations

import json

import pytest
import xxhash
from hypothesis import example, given
from hypothesis import strategies as st

from engine.clock import parse_time
from engine.documents.codec import decode_match, encode
from engine.documents.model import Alternate, Match
from engine.matching.candidates import Found
from engine.matching.match import Basis, audit_fields, build_match, match_id
from engine.plates.likeness import Likeness, compare
from engine.plates.misreads import Misreads
from engine.plates.normal_form import normalize
from tests.fakes.documents import NOW_MS, Json, at, detection, entry
from tests.repository.schema_drift import read_schemas
from tests.repository.schemas import validator

EXACT = Likeness("exact")


def match_of(
    entry_fields: Json,
    read_fields: Json,
    likeness: Likeness = EXACT,
    alternate: Alternate | None = None,
) -> Match:
    found = Found(entry(**entry_fields), 17, likeness, "ABC123", alternate)
    read = detection(**read_fields)
    match = build_match(found, read, 0.875, 2, Basis(3, 40, NOW_MS, read.captured_ms))
    validator("match").validate(json.loads(encode(match)))
    assert decode_match(encode(match)) == match
    return match


@pytest.mark.parametrize(
    ("entry_id", "revision", "source", "read_id"),
    [
        ("E1", 0, "S1", "R1"),
        ("E1", 17, "S1", "R1"),
        ("é", 2**40, "ü", "R\x1f"),
        ("E1", 1, "7S1", "R1"),
        ("E1", 17, "S", "1R1"),
    ],
)
def test_the_formula_of_the_id(entry_id: str, revision: int, source: str, read_id: str) -> None:
    text = f"{entry_id}\x1f{revision}\x1f{source}\x1f{read_id}"
    expected = xxhash.xxh3_128(text.encode()).hexdigest()
    assert match_id(entry_id, revision, source, read_id) == expected


def test_two_sources_may_number_their_reads_alike() -> None:
    """A read id is unique within its source only."""
    one, other = match_of({}, {"source": "city-a"}), match_of({}, {"source": "city-b"})
    assert one.match_id != other.match_id


def test_an_id_that_others_can_compare_with() -> None:
    """Written down, so that a change of the formula cannot go unseen."""
    assert match_id("E1", 17, "S1", "R1") == "0766446245f7adbe91a3bb7458bfd56a"


@given(*2 * [st.tuples(st.text("E1\u00e9"), st.integers(0, 20), *2 * [st.text("S17\x1f\xff")])])
@example(("E", 1, "a", "b\x1fc"), ("E", 1, "a\x1fb", "c"))
@example(("E", 1, "a", "\x1fb\x1fc"), ("E", 1, "a\x1fb", "c"))
def test_the_parts_of_an_id_do_not_run_into_each_other(
    one: tuple[str, int, str, str], other: tuple[str, int, str, str]
) -> None:
    assert (match_id(*one) == match_id(*other)) is (one == other)


def test_a_match_says_all_that_it_rests_on() -> None:
    match = match_of(
        {"vehicle": {"make": "Ford"}, "instructions": "Call."}, {"confidence": 0.5, "region": "NL"}
    )
    assert match.match_id == match_id("E1", 17, "S1", "R1")
    assert match.matched_at == at(0)
    assert match.match_type == "exact"
    assert match.entry == entry(vehicle={"make": "Ford"}, instructions="Call.")
    assert match.entry_revision == 17
    assert match.read == detection(confidence=0.5, region="NL")
    assert (match.policy.source, match.policy.revision) == ("S1", 3)
    assert match.list_revision == 40
    assert (match.confidence, match.suppressed, match.alternate) == (0.875, 2, None)
    assert match.verification.required is True


def test_the_longest_texts_have_room() -> None:
    """Whatever the schemas let in on the one side, they let out on the other."""
    longest = dict.fromkeys(("make", "model", "color", "type"), "é" * 64)
    zone = "America/Argentina/ComodRivadavia"
    window = {"days": ["mon", "wed", "fri", "sun"], "start": "00:00", "end": "24:00"}
    circle = {"lat": -89.123456789, "lon": -179.123456789, "radius_m": 123456.123456789}
    listed = {
        "vehicle": longest,
        "region": "US-CAL",
        "area": [circle] * 64,
        "hours": {"time_zone": zone, "windows": [window] * 28},
    }
    other = dict.fromkeys(("make", "model", "color", "type"), "ö" * 64)
    place = {"lat": 89.123456789, "lon": 179.123456789}
    for read in ({}, {"vehicle": longest}, {"vehicle": other, "region": "NL", "location": place}):
        match_of(listed, {"plate": "é" * 64, **read}, EXACT, Alternate(plate="ö" * 64))


@pytest.mark.parametrize("example", read_schemas()["match.v1.json"]["examples"])
def test_the_schemas_examples_are_what_comes_out(example: Json) -> None:
    """Each is the match of its own read and entry; how sure it is says `confidence`."""
    match = decode_match(json.dumps(example))
    entry, text = match.entry, normalize((match.alternate or match.read).plate)
    likeness = compare(
        text,
        entry.plate,
        confusables=bool(entry.confusables),
        distance=entry.distance or 0,
        misreads=Misreads.load(),
    )
    assert likeness is not None
    again = build_match(
        Found(entry, match.entry_revision, likeness, text, match.alternate),
        match.read,
        match.confidence,
        match.suppressed,
        Basis(
            *(match.policy.revision, match.list_revision),
            *(parse_time(match.matched_at), match.read.captured_ms),
        ),
    )
    assert json.loads(encode(again)) == example


def test_what_the_audit_records_of_a_match() -> None:
    """For whom and by what right; of the read nothing but its source."""
    match = match_of(
        {"entry_id": "É-1", "authority": {"kind": "warrant", "reference": "W-7"}},
        {"location": {"lat": 52.1, "lon": 4.3}, "camera": "A13", "region": "NL"},
    )
    assert audit_fields(match) == {
        "match_id": match.match_id,
        "match_type": "exact",
        "entry_id": "É-1",
        "entry_revision": 17,
        "list_id": "L1",
        "list_revision": 40,
        "agency": "AG1",
        "purpose": "stolen_vehicle",
        "authority": "warrant W-7",
        "source": "S1",
        "policy_revision": 3,
        "suppressed": 2,
    }
