"""`engine.matching.verification`: what a person must compare before acting on a match."""

from __future__ import annotations

import pytest

from engine.documents.model import Alternate, Check, Match, Misreading
from engine.plates.likeness import Likeness, Misread
from tests.fakes.documents import DAY_MS, Json, at
from tests.matching.test_match import EXACT, match_of


def check_of(name: str, match: Match) -> Check:
    [check] = [check for check in match.verification.checks if check.check == name]
    return check


def test_what_a_person_compares() -> None:
    names = [check.check for check in match_of({}, {}).verification.checks]
    assert names == ["plate", "region", "vehicle", "entry_age", "read_age"]
    assert all(check.text.endswith(".") for check in match_of({}, {}).verification.checks)


_COMPARE = "Compare the plate in the picture with the listed one, character by character."


def test_the_plates_are_shown_as_read_and_as_listed() -> None:
    assert check_of("plate", match_of({}, {"plate": "abc-123"})) == Check(
        check="plate",
        result="same",
        read="abc-123",
        listed="ABC123",
        positions=(),
        text=_COMPARE,
    )


@pytest.mark.parametrize(
    ("likeness", "result", "positions", "look_alikes", "misread"),
    [
        (Likeness("confusable", (1, 4)), "differs", (1, 4), (1, 4), None),
        (
            Likeness("distance", (), Misread("substituted", 2)),
            "differs",
            (2,),
            (),
            Misreading(kind="substituted", position=2),
        ),
        (
            Likeness("distance", (0, 5), Misread("missing", 3)),
            "differs",
            (0, 3, 5),
            (0, 5),
            Misreading(kind="missing", position=3),
        ),
        (
            Likeness("distance", (), Misread("added", 6)),
            "differs",
            (6,),
            (),
            Misreading(kind="added", position=6),
        ),
        (Likeness("partial", (2,)), "differs", (2,), (2,), None),
        (Likeness("partial"), "unknown", (), (), None),
    ],
)
def test_where_the_plates_differ(
    likeness: Likeness,
    result: str,
    positions: tuple[int, ...],
    look_alikes: tuple[int, ...],
    misread: Misreading | None,
) -> None:
    match = match_of({"plate": "AB?123"}, {}, likeness)
    check = check_of("plate", match)
    assert match.match_type == likeness.match_type
    assert (check.result, check.positions) == (result, positions)
    assert (check.look_alikes, check.misread) == (look_alikes, misread)
    open_ = " Of the listed plate only some characters are known."
    assert check.text == _COMPARE + (open_ if likeness.match_type == "partial" else "")


@pytest.mark.parametrize(
    ("likeness", "result"), [(EXACT, "same"), (Likeness("confusable", (0,)), "differs")]
)
def test_a_match_by_an_alternate_says_so(likeness: Likeness, result: str) -> None:
    alternate = Alternate(plate="ABC-123", confidence=0.25)
    match = match_of({}, {"plate": "A8C-123"}, likeness, alternate)
    assert match.alternate == alternate
    check = check_of("plate", match)
    assert (check.result, check.read, check.listed) == (result, "ABC-123", "ABC123")
    assert check.text == f"{_COMPARE} This is an alternate: the read's own plate is A8C-123."


@pytest.mark.parametrize(
    ("listed", "read", "result"),
    [
        (None, None, "unknown"),
        ("US-CA", None, "unknown"),
        (None, "US-CA", "unknown"),
        ("US-CA", "US-CA", "same"),
        ("US-CA", "US-NV", "differs"),
        ("US-CA", "US", "unknown"),
        ("US", "US-CA", "unknown"),
    ],
)
def test_the_regions(listed: str | None, read: str | None, result: str) -> None:
    check = check_of("region", match_of({"region": listed}, {"region": read}))
    assert (check.result, check.read, check.listed) == (result, read, listed)
    more = ""
    if listed is not None and result == "unknown":
        more = " The read does not say it." if read is None else " One contains the other."
    assert check.text == (
        f"Compare the region of the plate in the picture with the region as listed.{more}"
    )


@pytest.mark.parametrize(
    ("listed", "read", "result", "more"),
    [
        (None, None, "unknown", ""),
        (None, {"make": "Ford"}, "unknown", ""),
        ({}, {}, "unknown", ""),
        ({"make": "Ford"}, None, "unknown", " The read does not say the make."),
        ({"make": "Ford"}, {"color": "red"}, "unknown", " The read does not say the make."),
        ({"make": "Ford"}, {"make": "FORD", "color": "red"}, "same", ""),
        ({"color": "GRY"}, {"color": "grey"}, "same", ""),
        (
            {"make": "Ford", "color": "blue"},
            {"make": "ford", "color": "red"},
            "differs",
            " They differ in color.",
        ),
        ({"type": "car"}, {"type": "bus"}, "differs", " They differ in type."),
        ({"model": "Golf"}, {"model": "Golf"}, "same", ""),
        (
            {"make": "CHEV", "model": "Malibu", "color": "GRY", "type": "4D"},
            {"make": "Chevy", "type": "car"},
            "same",
            (
                " The read does not say the model and color."
                " What the read says of the type leaves it open."
            ),
        ),
        (
            {"make": "CHEV", "model": "Malibu", "color": "GRY", "type": "4D"},
            None,
            "unknown",
            " The read does not say the make, model, color and type.",
        ),
    ],
)
def test_the_vehicles(listed: Json | None, read: Json | None, result: str, more: str) -> None:
    check = check_of("vehicle", match_of({"vehicle": listed}, {"vehicle": read}))
    assert check.result == result
    assert check.text == f"Compare the vehicle in the picture with the vehicle as listed.{more}"


def test_vehicles_are_described() -> None:
    full = {"make": "Ford", "model": "Transit", "color": "white", "type": "van"}
    check = check_of("vehicle", match_of({"vehicle": {}}, {"vehicle": full}))
    assert (check.read, check.listed) == ("Ford Transit white van", None)
    check = check_of("vehicle", match_of({"vehicle": full}, {"vehicle": {}}))
    assert (check.read, check.listed) == (None, "Ford Transit white van")


AREA = [{"lat": 52.0, "lon": 4.0, "radius_m": 100}, {"lat": 53.0, "lon": 5.0, "radius_m": 250.5}]
HOURS = {
    "time_zone": "America/Los_Angeles",
    "windows": [{"days": ["mon", "tue", "wed"], "start": "08:00", "end": "18:00"}],
}


def test_area_and_hours_are_compared_where_the_entry_has_them() -> None:
    names = {
        (with_area, with_hours): [
            check.check
            for check in match_of(
                {"area": AREA if with_area else None, "hours": HOURS if with_hours else None}, {}
            ).verification.checks
        ]
        for with_area in (False, True)
        for with_hours in (False, True)
    }
    first, last = ["plate", "region", "vehicle"], ["entry_age", "read_age"]
    assert names == {
        (False, False): first + last,
        (True, False): [*first, "area", *last],
        (False, True): [*first, "hours", *last],
        (True, True): [*first, "area", "hours", *last],
    }


@pytest.mark.parametrize(
    ("place", "result", "read", "listed", "more"),
    [
        (
            None,
            "unknown",
            None,
            "within 100 m of 52.00000 4.00000, or 1 more",
            " The read does not say where it was made.",
        ),
        (
            {"lat": 53.001, "lon": 5.0},
            "same",
            "53.00100 5.00000",
            "within 250.5 m of 53.00000 5.00000",
            "",
        ),
        (
            {"lat": 0, "lon": -0.5},
            "differs",
            "0.00000 -0.50000",
            "within 100 m of 52.00000 4.00000, or 1 more",
            "",
        ),
    ],
)
def test_the_area(
    place: Json | None, result: str, read: str | None, listed: str, more: str
) -> None:
    check = check_of("area", match_of({"area": AREA}, {"location": place}))
    assert (check.result, check.read, check.listed) == (result, read, listed)
    text = "Make sure that the camera stands in the area that the entry is for."
    assert check.text == text + more


@pytest.mark.parametrize(
    ("captured_at", "result", "read"),
    [
        ("2026-11-23T16:00:00Z", "same", "mon 08:00"),
        ("2026-11-24T02:00:00Z", "differs", "mon 18:00"),
    ],
)
def test_the_hours(captured_at: str, result: str, read: str) -> None:
    check = check_of("hours", match_of({"hours": HOURS}, {"captured_at": captured_at}))
    assert (check.result, check.read) == (result, read)
    assert check.listed == "mon-wed 08:00-18:00 America/Los_Angeles"
    assert check.text == (
        "Make sure that the camera's clock is right: the entry is for certain hours."
    )


@pytest.mark.parametrize(
    ("created_ms", "captured_ms", "entry_age_s", "read_age_s"),
    [(-DAY_MS, -1_500, 86_400, 1), (-999, -1_000, 0, 1), (5_000, 5_000, 0, 0)],
)
def test_ages(created_ms: int, captured_ms: int, entry_age_s: int, read_age_s: int) -> None:
    match = match_of({"created_at": at(created_ms)}, {"captured_at": at(captured_ms)})
    for name, age_s in (("entry_age", entry_age_s), ("read_age", read_age_s)):
        check = check_of(name, match)
        assert (check.age_s, check.result) == (age_s, "unknown")
