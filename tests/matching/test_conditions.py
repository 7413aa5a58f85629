"""What an entry asks of a read beside its plate: each reason, their order, and distances."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.documents.model import Area, Location
from engine.index.eligibility import (
    DENIAL_REASONS,
    ENTRY_AREA,
    ENTRY_HOURS,
    ENTRY_REGION,
    ENTRY_VEHICLE,
    POLICY_DENIALS,
)
from engine.matching.conditions import (
    EARTH_RADIUS_M,
    area_in_words,
    circle_of,
    distance_m,
    narrowed_out,
    place_in_words,
)
from tests.fakes.documents import Json, detection, entry

FERRY = {"lat": 37.7955, "lon": -122.3937}
NEVER: Json = {
    "time_zone": "UTC",
    "windows": [{"days": ["mon"], "start": "00:00", "end": "00:01"}],
}
ALWAYS: Json = {
    "time_zone": "UTC",
    "windows": [
        {
            "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
            "start": "00:00",
            "end": "24:00",
        }
    ],
}


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
def test_by_region(listed: str | None, read: str | None, out: bool) -> None:
    found = narrowed_out(entry(region=listed), detection(region=read))
    assert found == (ENTRY_REGION if out else None)


@pytest.mark.parametrize(
    ("listed", "read", "out"),
    [
        (None, {"make": "Ford"}, False),
        ({"make": "Ford"}, None, False),
        ({"make": "Ford"}, {}, False),
        ({}, {"make": "Ford"}, False),
        ({"make": "Ford"}, {"color": "red"}, False),
        ({"make": "Ford", "color": "GRY"}, {"make": "FORD", "color": "grey"}, False),
        ({"make": "Ford", "color": "GRY"}, {"make": "FORD", "color": "red"}, True),
        ({"make": "Ford"}, {"make": "Chevy"}, True),
        ({"model": "Civic"}, {"model": "Accord"}, True),
        ({"type": "sedan"}, {"type": "bus"}, True),
        ({"type": "sedan"}, {"type": "car"}, False),
        ({"type": "sedan"}, {"type": "unknown"}, False),
    ],
)
def test_by_vehicle(listed: Json | None, read: Json | None, out: bool) -> None:
    found = narrowed_out(entry(vehicle=listed), detection(vehicle=read))
    assert found == (ENTRY_VEHICLE if out else None)


@pytest.mark.parametrize(
    ("circles", "place", "out"),
    [
        (None, FERRY, False),
        ([{**FERRY, "radius_m": 1}], None, False),
        ([{**FERRY, "radius_m": 1}], FERRY, False),
        ([{"lat": 0, "lon": 0, "radius_m": 1_000_000}], FERRY, True),
        # Any of the circles.
        ([{"lat": 0, "lon": 0, "radius_m": 1}, {**FERRY, "radius_m": 1}], FERRY, False),
    ],
)
def test_by_area(circles: list[Json] | None, place: Json | None, out: bool) -> None:
    found = narrowed_out(entry(area=circles), detection(location=place))
    assert found == (ENTRY_AREA if out else None)


@pytest.mark.parametrize(
    ("hours", "captured_at", "out"),
    [
        (None, "2026-11-22T12:00:00Z", False),
        (NEVER, "2026-11-22T12:00:00Z", True),
        (NEVER, "2026-11-23T00:00:59Z", False),
        (NEVER, "2026-11-23T00:01:00Z", True),
        (ALWAYS, "2026-11-22T12:00:00Z", False),
        # By the read's own time, whatever its engine's clock says.
        ({**NEVER, "time_zone": "Asia/Tokyo"}, "2026-11-22T15:00:30Z", False),
    ],
)
def test_by_hours(hours: Json | None, captured_at: str, out: bool) -> None:
    found = narrowed_out(entry(hours=hours), detection(captured_at=captured_at))
    assert found == (ENTRY_HOURS if out else None)


#: Each with the fields of an entry and of a read that bring it about.
_REASONS: list[tuple[str, Json, Json]] = [
    (ENTRY_REGION, {"region": "NL"}, {"region": "BE"}),
    (ENTRY_VEHICLE, {"vehicle": {"make": "Ford"}}, {"vehicle": {"make": "Fiat"}}),
    (ENTRY_AREA, {"area": [{"lat": 0, "lon": 0, "radius_m": 1}]}, {"location": FERRY}),
    (ENTRY_HOURS, {"hours": NEVER}, {"captured_at": "2026-11-22T12:00:00Z"}),
]


@given(st.sets(st.sampled_from(range(len(_REASONS)))))
def test_of_several_reasons_the_first_is_given(which: set[int]) -> None:
    listed: Json = {}
    read: Json = {}
    for number in sorted(which):
        listed |= _REASONS[number][1]
        read |= _REASONS[number][2]
    first = _REASONS[min(which)][0] if which else None
    assert narrowed_out(entry(**listed), detection(**read)) == first


def test_the_reasons_are_counted_and_are_no_fault_of_a_policy() -> None:
    reasons = {reason for reason, _, _ in _REASONS}
    assert reasons < set(DENIAL_REASONS)
    assert not reasons & set(POLICY_DENIALS)
    assert len(set(DENIAL_REASONS)) == len(DENIAL_REASONS)


# ---- distances

_LATITUDES = st.floats(-90, 90)
_LONGITUDES = st.floats(-180, 180)
_PLACES = st.builds(Location, lat=_LATITUDES, lon=_LONGITUDES)


def by_vectors_m(one: Any, other: Any) -> float:
    """The same distance by another way: the chord through the earth."""

    def vector(place: Any) -> tuple[float, float, float]:
        lat, lon = math.radians(place.lat), math.radians(place.lon)
        return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)

    chord = math.dist(vector(one), vector(other))
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, chord / 2))


@given(_PLACES, _PLACES)
def test_a_distance_is_the_same_by_another_way(one: Location, other: Location) -> None:
    found = distance_m(one, other)
    # Near the other side of the earth neither way holds more than a metre or so.
    assert found == pytest.approx(by_vectors_m(one, other), rel=1e-9, abs=1.0)
    assert found == distance_m(other, one)
    assert 0 <= found <= math.pi * EARTH_RADIUS_M


@pytest.mark.parametrize(
    ("one", "other", "expected_m"),
    [
        ((0, 0), (0, 0), 0),
        ((0, 0), (0, 180), math.pi * EARTH_RADIUS_M),
        ((90, 0), (-90, 0), math.pi * EARTH_RADIUS_M),
        ((90, -170), (90, 13), 0),  # a pole has every longitude
        ((0, 179.5), (0, -179.5), math.radians(1) * EARTH_RADIUS_M),  # over the date line
        ((0, 180), (0, -180), 0),
        ((89.5, 0), (89.5, 180), math.radians(1) * EARTH_RADIUS_M),  # over the pole
        ((51.5074, -0.1278), (48.8566, 2.3522), 343_556),  # London to Paris
        ((37.7955, -122.3937), (37.7956, -122.3937), 11.12),
    ],
)
def test_distances(one: tuple[float, float], other: tuple[float, float], expected_m: float) -> None:
    places = [Location(lat=lat, lon=lon) for lat, lon in (one, other)]
    assert distance_m(*places) == pytest.approx(expected_m, rel=1e-4, abs=1e-3)


@given(_PLACES, st.floats(0, 360), st.floats(1, 1_000_000), st.floats(0.001, 0.01))
def test_a_circle_holds_what_lies_within_its_radius(
    centre: Location, bearing: float, radius_m: float, part: float
) -> None:
    """In any direction from any centre, poles and date line included."""
    circle = (Area(lat=centre.lat, lon=centre.lon, radius_m=radius_m),)
    assert circle_of(circle, _away(centre, bearing, radius_m * (1 - part))) == circle[0]
    assert circle_of(circle, _away(centre, bearing, radius_m * (1 + part))) is None


def _away(start: Location, bearing: float, metres: float) -> Location:
    """The place at this distance in this direction (degrees clockwise from north)."""
    angle, course = metres / EARTH_RADIUS_M, math.radians(bearing)
    lat, lon = math.radians(start.lat), math.radians(start.lon)
    up = math.sin(lat) * math.cos(angle) + math.cos(lat) * math.sin(angle) * math.cos(course)
    ahead = math.cos(lat) * math.cos(angle) - math.sin(lat) * math.sin(angle) * math.cos(course)
    aside = math.sin(course) * math.sin(angle)
    # Not by the arc sine, which near the poles knows a place to a decimetre only.
    to_lat = math.atan2(up, math.hypot(ahead, aside))
    to_lon = lon + math.atan2(aside, ahead)
    degrees = (math.degrees(to_lon) + 180) % 360 - 180
    return Location(lat=math.degrees(to_lat), lon=degrees)


def test_in_words() -> None:
    near = Area(lat=37.7955, lon=-122.3937, radius_m=500)
    far = Area(lat=-0.5, lon=10, radius_m=1_000_000)
    assert place_in_words(near) == "37.79550 -122.39370"
    assert area_in_words((near, far), far) == "within 1000000 m of -0.50000 10.00000"
    assert area_in_words((near,), None) == "within 500 m of 37.79550 -122.39370"
    assert area_in_words((near, far, far), None) == (
        "within 500 m of 37.79550 -122.39370, or 2 more"
    )
