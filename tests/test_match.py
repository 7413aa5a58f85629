"""The match document: its id, its checks, and an entry's narrowing."""

from __future__ import annotations

from typing import Any

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from engine.documents import Check, Match, decode_match, encode
from engine.match import audit_fields, build_match, checks, match_id, narrowed_out
from tests.documents_for_tests import DAY_MS, NOW_MS, at, detection, entry


def match_of(entry_fields: dict[str, Any], read_fields: dict[str, Any]) -> Match:
    return build_match(entry(**entry_fields), 17, detection(**read_fields), "ABC123", 3, 40, NOW_MS)


def check_of(name: str, entry_fields: dict[str, Any], read_fields: dict[str, Any]) -> Check:
    found = checks(entry(**entry_fields), detection(**read_fields), "ABC123", NOW_MS)
    [check] = [check for check in found if check.check == name]
    return check


@pytest.mark.parametrize(
    ("entry_id", "revision", "read_id"),
    [("E1", 0, "R1"), ("E1", 17, "R1"), ("é", 2**40, "R\x1f"), ("E1", 1, "7R1"), ("E1", 17, "R")],
)
def test_the_formula_of_the_id(entry_id: str, revision: int, read_id: str) -> None:
    text = f"{entry_id}\x1f{revision}\x1f{read_id}"
    assert match_id(entry_id, revision, read_id) == xxhash.xxh3_128(text.encode()).hexdigest()


def test_an_id_that_others_can_compare_with() -> None:
    """Written down, so that a change of the formula cannot go unseen."""
    assert match_id("E1", 17, "R1") == "5cb4edd607d5f290ac1ee94f2c55903a"


@given(
    st.tuples(st.text("E1\u00e9"), st.integers(0, 20), st.text("R17\x1f")),
    st.tuples(st.text("E1\u00e9"), st.integers(0, 20), st.text("R17\x1f")),
)
def test_the_parts_of_an_id_do_not_run_into_each_other(
    one: tuple[str, int, str], other: tuple[str, int, str]
) -> None:
    assert (match_id(*one) == match_id(*other)) is (one == other)


@pytest.mark.parametrize(
    ("listed", "read", "out"),
    [
        (None, None, False),
        (None, "US-CA", False),
        ("US-CA", None, False),
        ("US-CA", "US-CA", False),
        ("US-CA", "US-NV", True),
        ("US-CA", "US", False),
        ("US", "US-CA", False),
        ("US", "CA", True),
        ("NL", "NL", False),
        ("NL", "BE", True),
        ("US-CA", "US-C", True),
        ("US-C", "US-CA", True),
    ],
)
def test_narrowing_by_region(listed: str | None, read: str | None, out: bool) -> None:
    assert narrowed_out(entry(region=listed), detection(region=read)) is out


def test_a_match_says_all_that_it_rests_on() -> None:
    match = match_of(
        {"vehicle": {"make": "Ford"}, "instructions": "Call."}, {"confidence": 0.5, "region": "NL"}
    )
    assert match.match_id == match_id("E1", 17, "R1")
    assert match.matched_at == at(0)
    assert match.match_type == "exact"
    assert match.entry == entry(vehicle={"make": "Ford"}, instructions="Call.")
    assert match.entry_revision == 17
    assert match.read == detection(confidence=0.5, region="NL")
    assert (match.policy.source, match.policy.revision) == ("S1", 3)
    assert match.list_revision == 40
    assert match.suppressed == 0
    assert match.verification.required is True
    assert decode_match(encode(match)) == match


def test_what_a_person_compares() -> None:
    names = [check.check for check in match_of({}, {}).verification.checks]
    assert names == ["plate", "region", "vehicle", "entry_age", "read_age"]
    assert all(check.text.endswith(".") for check in match_of({}, {}).verification.checks)


def test_the_plates_are_shown_as_read_and_as_listed() -> None:
    check = check_of("plate", {}, {"plate": "abc-123"})
    assert (check.read, check.listed) == ("abc-123", "ABC123")
    assert (check.result, check.positions) == ("same", ())


@pytest.mark.parametrize(
    ("read_plate", "listed", "positions"),
    [
        ("ABC123", "ABC123", ()),
        ("ABC123", "ABD124", (2, 5)),
        ("ABC12", "ABC123", (5,)),
        ("ABC123", "A?C123", (1,)),
    ],
)
def test_the_positions_that_differ(
    read_plate: str, listed: str, positions: tuple[int, ...]
) -> None:
    [check, *_] = checks(entry(plate=listed), detection(), read_plate, NOW_MS)
    assert check.positions == positions
    assert check.result == ("differs" if positions else "same")


@pytest.mark.parametrize(
    ("listed", "read", "result"),
    [
        (None, None, "unknown"),
        ("US-CA", None, "unknown"),
        (None, "US-CA", "unknown"),
        ("US-CA", "US-CA", "same"),
        ("US-CA", "US-NV", "differs"),
    ],
)
def test_the_regions(listed: str | None, read: str | None, result: str) -> None:
    check = check_of("region", {"region": listed}, {"region": read})
    assert (check.result, check.read, check.listed) == (result, read, listed)


@pytest.mark.parametrize(
    ("listed", "read", "result"),
    [
        (None, None, "unknown"),
        ({"make": "Ford"}, None, "unknown"),
        (None, {"make": "Ford"}, "unknown"),
        ({}, {}, "unknown"),
        ({"make": "Ford"}, {"color": "red"}, "unknown"),
        ({"make": "Ford"}, {"make": "FORD", "color": "red"}, "same"),
        ({"make": "Ford", "color": "blue"}, {"make": "ford", "color": "red"}, "differs"),
        ({"type": "car"}, {"type": "van"}, "differs"),
        ({"model": "Golf"}, {"model": "Golf"}, "same"),
    ],
)
def test_the_vehicles(
    listed: dict[str, str] | None, read: dict[str, str] | None, result: str
) -> None:
    assert check_of("vehicle", {"vehicle": listed}, {"vehicle": read}).result == result


def test_vehicles_are_described() -> None:
    full = {"make": "Ford", "model": "Transit", "color": "white", "type": "van"}
    check = check_of("vehicle", {"vehicle": {}}, {"vehicle": full})
    assert (check.read, check.listed) == ("Ford Transit white van", None)
    longest = dict.fromkeys(("make", "model", "color", "type"), "é" * 64)
    match = match_of({"vehicle": longest}, {"vehicle": longest})
    assert decode_match(encode(match)) == match


@pytest.mark.parametrize(
    ("created_ms", "captured_ms", "entry_age_s", "read_age_s"),
    [(-DAY_MS, -1_500, 86_400, 1), (-999, -1_000, 0, 1), (5_000, 5_000, 0, 0)],
)
def test_ages(created_ms: int, captured_ms: int, entry_age_s: int, read_age_s: int) -> None:
    fields = {"created_at": at(created_ms)}, {"captured_at": at(captured_ms)}
    for name, age_s in (("entry_age", entry_age_s), ("read_age", read_age_s)):
        check = check_of(name, *fields)
        assert (check.age_s, check.result) == (age_s, "unknown")


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
    }
