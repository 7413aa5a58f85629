"""An explanation's verdict beside what the worker does, and the words of each condition."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.documents.admission import Purposes
from engine.documents.codec import decode_detection
from engine.documents.model import Detection, Location, Vehicle
from engine.index.eligibility import (
    ENTRY_AREA,
    ENTRY_HOURS,
    ENTRY_REGION,
    ENTRY_VEHICLE,
    NO_POLICY,
    NOT_ALLOWED,
    NOT_STARTED,
    POLICY_REGION,
)
from engine.matching.conditions import narrowed_out
from engine.matching.explain import (
    EXPIRED,
    NOT_LISTED,
    REFUSED,
    DescribedRead,
    Explanation,
    LastEntry,
    explain,
)
from engine.matching.lists import ControlKind, ControlRecord, Lists
from tests.fakes.documents import (
    DAY_MS,
    NOW_MS,
    Json,
    as_bytes,
    at,
    detection_json,
    entry_json,
    policy_json,
)

_PURPOSES = Purposes.load()
_AGENCIES = st.sampled_from(["AG1", "AG2"])
_CODES = st.sampled_from(["stolen_vehicle", "missing_person"])
_REGION = st.sampled_from([None, "US", "US-CA", "US-NV", "NL"])
_TIMES_MS = st.sampled_from([-DAY_MS, -1, 0, 1, DAY_MS])


_VEHICLES = st.sampled_from(
    [None, {"color": "GRY"}, {"color": "red"}, {"make": "Ford", "color": "grey"}, {}]
)
_PLACES = st.sampled_from([None, {"lat": 52, "lon": 4}, {"lat": -33.5, "lon": 18}])
_AREA = [{"lat": 1, "lon": 1, "radius_m": 5}, {"lat": 52, "lon": 4, "radius_m": 500}]
_HOURS: Json = {
    "time_zone": "America/Los_Angeles",
    "windows": [{"days": ["mon", "tue"], "start": "08:00", "end": "18:00"}],
}
_CAPTURED = st.sampled_from(["2026-11-23T18:00:00Z", "2026-11-23T08:00:00Z"])
_READS = st.fixed_dictionaries(
    {"region": _REGION, "vehicle": _VEHICLES, "location": _PLACES, "captured_at": _CAPTURED}
).map(lambda fields: decode_detection(as_bytes(detection_json(**fields))))


def _entry_value(fields: Json) -> bytes:
    return as_bytes(entry_json(**fields))


_ENTRY_VALUES = (
    st.fixed_dictionaries(
        {},
        optional={
            "agency": _AGENCIES,
            "purpose": _CODES | st.just("no_such_purpose"),
            "region": _REGION,
            "vehicle": _VEHICLES,
            "area": st.sampled_from([None, _AREA]),
            "hours": st.sampled_from([None, _HOURS, {**_HOURS, "time_zone": "Mars/Olympus"}]),
            "plate": st.sampled_from(["ABC123", "abc", "A??"]),
            "created_at": st.sampled_from([at(-2 * DAY_MS), at(300_000), at(300_001)]),
            "expires_at": _TIMES_MS.map(at),
            "starts_at": _TIMES_MS.map(at),
            "entry_id": st.sampled_from(["E1", "E1", "E2"]),
        },
    ).map(_entry_value)
    | st.sampled_from([b"", b"{}", b"\xff"])
    | st.none()
)
_RULES = st.lists(
    st.fixed_dictionaries(
        {
            "agencies": st.just("*") | st.lists(_AGENCIES, max_size=2),
            "purposes": st.just("*") | st.lists(_CODES, max_size=2),
        }
    ),
    max_size=3,
)
_POLICY_VALUES = (
    st.builds(
        lambda rules, regions, source: as_bytes(
            policy_json(rules=rules, regions=regions, source=source)
        ),
        _RULES,
        st.sampled_from([None, None, ["US"], ["NL", "US-CA"]]),
        st.sampled_from(["S1", "S1", "S1", "S2"]),
    )
    | st.sampled_from([b"", b"{}"])
    | st.none()
)


def said(read: Detection) -> DescribedRead:
    return DescribedRead(read.captured_ms, read.region, read.vehicle, read.location)


def worker_says(entry: bytes | None, policy: bytes | None, read: Detection) -> str | None:
    """What the worker does with a read: the reason for which it denies, `not held` or None."""
    lists = Lists(_PURPOSES)
    for kind, key, value in (
        (ControlKind.POLICY, b"S1", policy),
        (ControlKind.ENTRY, b"E1", entry),
    ):
        lists.apply([ControlRecord(kind, 0, 7, NOW_MS, key, value, None)], NOW_MS)
    lists.advance(NOW_MS)
    held = list(lists.index.slots_of("ABC123"))
    if not held:
        return "not held"
    ((slot, listed),) = held
    return lists.eligibility.denial(slot, "S1", read.region) or narrowed_out(listed, read)


@given(entry=_ENTRY_VALUES, policy=_POLICY_VALUES, read=_READS)
def test_the_verdict_is_the_workers(
    entry: bytes | None, policy: bytes | None, read: Detection
) -> None:
    last = None if entry is None else LastEntry(entry, NOW_MS)
    found = explain(("E1", last), ("S1", policy), said(read), _PURPOSES, NOW_MS)
    denial = found.denial
    if denial in (NOT_LISTED, REFUSED, EXPIRED):
        denial = "not held"
    assert denial == worker_says(entry, policy, read)
    assert found.may_match is (denial is None)
    if found.may_match:
        assert found.rule is not None
    # Of what follows from nothing, nothing is said.
    assert all(each.found or each.holds is None for each in found.conditions)


def explained(
    entry: Json | None = None,
    policy: Json | None = None,
    region: str | None = None,
    read: DescribedRead | None = None,
    **fields: Any,
) -> Explanation:
    value = as_bytes(entry_json(**fields) if entry is None else entry)
    return explain(
        ("E1", LastEntry(value, NOW_MS)),
        ("S1", as_bytes(policy_json() if policy is None else policy)),
        DescribedRead(NOW_MS, region) if read is None else read,
        _PURPOSES,
        NOW_MS,
    )


def answers(found: Explanation) -> dict[str, tuple[bool | None, str]]:
    return {each.denial: (each.holds, each.found) for each in found.conditions}


def test_what_is_said_where_all_holds() -> None:
    rules = [
        {"agencies": ["AG9"], "purposes": "*"},
        {"agencies": ["AG1", "AG2"], "purposes": ["stolen_vehicle"]},
        {"agencies": "*", "purposes": "*"},
    ]
    found = explained(policy=policy_json(rules=rules, regions=["US"]), region="US-CA")
    assert found.rule == 2
    assert answers(found) == {
        NOT_LISTED: (True, "list L1, agency AG1, for stolen_vehicle"),
        REFUSED: (True, "case 2026-1"),
        EXPIRED: (True, f"expires at {at(DAY_MS)}"),
        NOT_STARTED: (True, "from the beginning"),
        NO_POLICY: (True, f"set by admin.one at {at(-DAY_MS)}"),
        NOT_ALLOWED: (True, "rule 2 of 3: agencies AG1 AG2, purposes stolen_vehicle"),
        POLICY_REGION: (True, "only US; the read says US-CA"),
        ENTRY_REGION: (True, "any; the read says US-CA"),
        ENTRY_VEHICLE: (True, "any; the read says nothing"),
        ENTRY_AREA: (True, "anywhere; the read says nothing"),
        ENTRY_HOURS: (True, "at any time"),
    }


def test_what_is_said_of_an_entry_that_narrows() -> None:
    narrow = entry_json(
        vehicle={"make": "Ford", "color": "GRY"},
        area=[{"lat": 1, "lon": 1, "radius_m": 5}, {"lat": 52, "lon": 4, "radius_m": 500}],
        hours=_HOURS,
    )
    monday_ms = decode_detection(
        as_bytes(detection_json(captured_at="2026-11-23T18:00:00Z"))
    ).captured_ms
    inside = DescribedRead(
        monday_ms, None, Vehicle(make="FORD", color="grey"), Location(lat=52.001, lon=4)
    )
    assert answers(explained(narrow, read=inside)) == answers(explained()) | {
        ENTRY_VEHICLE: (True, "Ford GRY; the read says FORD grey"),
        ENTRY_AREA: (True, "within 500 m of 52.00000 4.00000; the read says 52.00100 4.00000"),
        ENTRY_HOURS: (
            True,
            "mon,tue 08:00-18:00 America/Los_Angeles; the read is of mon 10:00 there",
        ),
    }
    outside = DescribedRead(
        monday_ms + DAY_MS * 2, None, Vehicle(make="Fiat", color="red"), Location(lat=0, lon=4)
    )
    assert answers(explained(narrow, read=outside)) == answers(explained(narrow)) | {
        ENTRY_VEHICLE: (False, "Ford GRY; the read says Fiat red, another make and color"),
        ENTRY_AREA: (
            False,
            "within 5 m of 1.00000 1.00000, or 1 more; the read says 0.00000 4.00000",
        ),
        ENTRY_HOURS: (
            False,
            "mon,tue 08:00-18:00 America/Los_Angeles; the read is of wed 10:00 there",
        ),
    }
    assert explained(narrow, read=outside).denial == ENTRY_VEHICLE
    silent = answers(explained(narrow, read=DescribedRead(monday_ms)))
    assert silent[ENTRY_VEHICLE] == (True, "Ford GRY; the read says nothing")
    assert silent[ENTRY_AREA] == (
        True,
        "within 5 m of 1.00000 1.00000, or 1 more; the read says nothing",
    )


@pytest.mark.parametrize(
    ("found", "denial", "said"),
    [
        (explained(plate="AB"), REFUSED, "plate 'AB': must have at least"),
        (explained(entry=entry_json(entry_id="E2")), REFUSED, "key_mismatch"),
        (
            explained(created_at=at(300_001), expires_at=at(DAY_MS)),
            REFUSED,
            "created_at '2026-09-21T14:18:20.001Z': must be at most 5 minutes after",
        ),
        (explained(expires_at=at(0)), EXPIRED, f"expires at {at(0)}"),
        (explained(starts_at=at(1)), NOT_STARTED, f"starts at {at(1)}"),
        (
            explained(policy=policy_json(rules=[{"agencies": "*", "purposes": []}])),
            NOT_ALLOWED,
            "none of 1 allows AG1 for stolen_vehicle",
        ),
        (
            explained(policy=policy_json(regions=["NL", "US-CA"])),
            POLICY_REGION,
            "only NL US-CA; the read says nothing",
        ),
        (explained(region="NL", entry=entry_json(region="US")), ENTRY_REGION, "US; the read says"),
        (
            explained(policy=policy_json(source="S2")),
            NO_POLICY,
            "its last record is none: key_mismatch",
        ),
    ],
)
def test_what_is_said_of_the_first_that_does_not_hold(
    found: Explanation, denial: str, said: str
) -> None:
    assert found.denial == denial
    holds, text = answers(found)[denial]
    assert holds is False
    assert text.startswith(said)


def test_nothing_there_at_all() -> None:
    found = explain(("E1", None), ("S1", None), DescribedRead(NOW_MS), _PURPOSES, NOW_MS)
    assert [(each.holds, each.found) for each in found.conditions] == [
        (False, "no record of it"),
        *[(None, "")] * 3,
        (False, "none: by default nothing matches"),
        *[(None, "")] * 6,
    ]
    assert (found.rule, found.denial) == (None, NOT_LISTED)


def test_the_plate_is_not_shown() -> None:
    assert "ABC123" not in repr(explained())
