"""The rules for entries: one clear error for each way to break them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import format_time
from engine.documents.admission import Purpose, Purposes, admitted, check_change, check_entry
from engine.documents.model import Authority, Entry, Hours, Window
from engine.errors import RuleError

PURPOSES = Purposes(
    [
        Purpose("theft", "Theft"),
        Purpose("gate", "Gate", longest_term_days=10, known_characters_floor=6),
    ]
)
ENTRY = Entry(
    entry_id="e-1",
    list_id="list",
    plate="ABC123",
    agency="agency",
    purpose="theft",
    authority=Authority(kind="case", reference="1"),
    requested_by="someone",
    created_at="2026-01-01T00:00:00.000Z",
    expires_at="2026-02-01T00:00:00.000Z",
)


def hours(time_zone: str) -> Hours:
    window = Window(days=("mon",), start="08:00", end="18:00")
    return Hours(time_zone=time_zone, windows=(window,))


def entry(**changes: Any) -> Entry:
    return msgspec.structs.replace(ENTRY, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"plate": "AB?1?3"},
        {"plate": "AB12"},
        {"plate": "AB12", "confusables": True},
        {"plate": "AB12", "distance": 0},
        {"plate": "AB123", "distance": 1},
        {"plate": "AB?1?3", "distance": 0, "confusables": True},
        {"hours": hours("America/Los_Angeles")},
        {"hours": hours("UTC")},
        {"plate": "?AB12?"},
        {"plate": "京A·12345".replace("·", "")},
        {"purpose": "gate", "expires_at": "2026-01-11T00:00:00Z"},
        {"expires_at": "2027-01-01T00:00:00Z"},  # 365 days to the millisecond
        {"expires_at": "2026-01-01T00:00:00.001Z"},
        {"starts_at": "2026-01-31T23:59:59.999Z"},
        {"starts_at": "2025-01-01T00:00:00Z"},  # before it was made: at once
        {"created_at": "2001-01-01T00:00:00Z", "expires_at": "2001-02-01T00:00:00Z"},  # long over
    ],
)
def test_admissible(changes: dict[str, Any]) -> None:
    check_entry(entry(**changes), PURPOSES)


@pytest.mark.parametrize(
    ("listed", "today"),
    [("أبج١٢٣٤", "أبج1234"), ("١٢?۳٤", "12?34"), ("12ی345", "12ي345"), ("AB1234", "AB1234")],
)
def test_a_record_with_a_plate_in_the_normal_form_of_version_01(listed: str, today: str) -> None:
    sent_ms = ENTRY.created_ms
    assert admitted(entry(plate=listed), PURPOSES, sent_ms) == entry(plate=today)


@pytest.mark.parametrize("plate", ["abc-1234", "АВ1234", "١٢-٣٤", "ＡＢ１２", "ـAB1"])
def test_a_record_with_a_plate_in_no_normal_form_is_refused(plate: str) -> None:
    with pytest.raises(RuleError, match=r"^plate '"):
        admitted(entry(plate=plate), PURPOSES, ENTRY.created_ms)


def test_the_commands_take_the_normal_form_of_today_alone() -> None:
    with pytest.raises(RuleError, match="must be in normal form, which is أبج1234"):
        check_entry(entry(plate="أبج١٢٣٤"), PURPOSES)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"purpose": "curiosity"},
            "purpose 'curiosity': is not in the purposes file, which has theft, gate",
        ),
        ({"plate": "abc-123"}, "plate 'abc-123': must be in normal form, which is ABC123"),
        ({"plate": "АВ1234"}, "plate 'АВ1234': must be in normal form, which is AB1234"),
        (
            {"plate": "ab?123"},
            (
                "plate 'ab?123': must be in normal form: capital letters and digits, "
                "and ? for one unknown character"
            ),
        ),
        (
            {"plate": "---"},
            (
                "plate '---': must be in normal form: capital letters and digits, "
                "and ? for one unknown character"
            ),
        ),
        ({"plate": "ABC"}, "plate 'ABC': must have at least 4 known characters for theft, not 3"),
        (
            {"plate": "A?C?1?"},
            "plate 'A?C?1?': must have at least 4 known characters for theft, not 3",
        ),
        (
            {"plate": "????????"},
            "plate '????????': must have at least 4 known characters for theft, not 0",
        ),
        (
            {"plate": "AB12", "distance": 1},
            "plate 'AB12': must have at least 5 known characters for theft with distance 1, not 4",
        ),
        (
            {"plate": "ABC123", "purpose": "gate", "distance": 1, "confusables": True},
            "plate 'ABC123': must have at least 7 known characters for gate with distance 1, not 6",
        ),
        (
            {"plate": "ABC12?", "distance": 1},
            "distance 1: a plate with unknown characters takes no distance",
        ),
        (
            {"plate": "ABC12", "purpose": "gate"},
            "plate 'ABC12': must have at least 6 known characters for gate, not 5",
        ),
        (
            {"expires_at": "2026-01-01T00:00:00.000Z"},
            (
                "expires_at '2026-01-01T00:00:00.000Z': must be after created_at, "
                "2026-01-01T00:00:00.000Z"
            ),
        ),
        (
            {"expires_at": "2025-12-31T23:59:59.999Z"},
            (
                "expires_at '2025-12-31T23:59:59.999Z': must be after created_at, "
                "2026-01-01T00:00:00.000Z"
            ),
        ),
        (
            {"expires_at": "2027-01-01T00:00:00.001Z"},
            (
                "expires_at '2027-01-01T00:00:00.001Z': must be at most 365 days after created_at, "
                "2026-01-01T00:00:00.000Z, for theft"
            ),
        ),
        (
            {"purpose": "gate", "expires_at": "2026-01-11T00:00:00.001Z"},
            (
                "expires_at '2026-01-11T00:00:00.001Z': must be at most 10 days after created_at, "
                "2026-01-01T00:00:00.000Z, for gate"
            ),
        ),
        (
            {"starts_at": "2026-02-01T00:00:00.000Z"},
            (
                "starts_at '2026-02-01T00:00:00.000Z': must be before expires_at, "
                "2026-02-01T00:00:00.000Z"
            ),
        ),
    ],
)
def test_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(RuleError) as caught:
        check_entry(entry(**changes), PURPOSES)
    error = caught.value
    assert str(error) == text
    assert error.value == changes.get(error.field)
    assert text == f"{error.field} {error.value!r}: {error.rule}"


@pytest.mark.parametrize("name", ["Mars/Olympus", "utc", "America", "PST"])
def test_a_time_zone_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(RuleError) as caught:
        check_entry(entry(hours=hours(name)), PURPOSES)
    assert str(caught.value) == (
        f"hours.time_zone {name!r}: must be a time zone of the IANA database such as "
        "America/Los_Angeles"
    )


@given(
    known=st.integers(0, 10),
    unknown=st.integers(0, 6),
    distance=st.integers(0, 1),
    confusables=st.booleans(),
)
def test_no_dragnet_however_an_entry_widens(
    known: int, unknown: int, distance: int, confusables: bool
) -> None:
    """Of what a read must show, never less than the floor is certain, to look-alikes."""
    asked = entry(
        plate=("ABCDEFGHJK"[:known] + "?" * unknown) or "-",
        distance=distance,
        confusables=confusables,
    )
    admitted = known - distance >= 4 and not (distance and unknown)
    if admitted:
        check_entry(asked, PURPOSES)
    else:
        with pytest.raises(RuleError):
            check_entry(asked, PURPOSES)


def test_an_entry_that_breaks_several_rules_gives_one_error() -> None:
    bad = entry(purpose="curiosity", plate="a", expires_at="2020-01-01T00:00:00Z")
    with pytest.raises(RuleError, match=r"^purpose "):
        check_entry(bad, PURPOSES)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"expires_at": "2027-01-01T00:00:00.000Z"},  # to the end of the term
        {"expires_at": "2026-01-02T00:00:00.000Z"},
        {"created_at": "2025-12-01T00:00:00.000Z"},  # earlier only shortens
        {"plate": "XYZ123", "list_id": "other"},
        # A new reference begins a new term.
        {
            "authority": Authority(kind="case", reference="2"),
            "created_at": "2026-12-31T00:00:00.000Z",
            "expires_at": "2027-12-31T00:00:00.000Z",
        },
        # Another purpose with a term of its own, counted from the same day.
        {"purpose": "gate", "expires_at": "2026-01-11T00:00:00.000Z"},
        {"purpose": "curiosity", "expires_at": "2028-01-01T00:00:00.000Z"},  # check_entry's matter
    ],
)
def test_a_change_within_the_authority(changes: dict[str, Any]) -> None:
    check_change(ENTRY, entry(**changes), PURPOSES)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"created_at": "2026-06-01T00:00:00.000Z", "expires_at": "2027-01-01T00:00:00.001Z"},
            (
                "authority.reference '1': must be a new one to extend the entry beyond 365 days "
                "after 2026-01-01T00:00:00.000Z"
            ),
        ),
        (
            {
                "purpose": "gate",
                "created_at": "2026-01-05T00:00:00.000Z",
                "expires_at": "2026-01-14T00:00:00.000Z",
            },
            (
                "authority.reference '1': must be a new one to extend the entry beyond 10 days "
                "after 2026-01-01T00:00:00.000Z"
            ),
        ),
        (
            # The kind alone is no new authority.
            {
                "authority": Authority(kind="warrant", reference="1"),
                "created_at": "2026-12-31T00:00:00.000Z",
                "expires_at": "2027-12-31T00:00:00.000Z",
            },
            (
                "authority.reference '1': must be a new one to extend the entry beyond 365 days "
                "after 2026-01-01T00:00:00.000Z"
            ),
        ),
        (
            {"created_at": "2026-01-01T00:00:00.001Z"},
            (
                "created_at '2026-01-01T00:00:00.001Z': must stay 2026-01-01T00:00:00.000Z "
                "while authority.reference stays the same"
            ),
        ),
    ],
)
def test_a_change_beyond_the_authority(changes: dict[str, Any], text: str) -> None:
    new = entry(**changes)
    check_entry(new, PURPOSES)  # by itself it is admissible
    with pytest.raises(RuleError) as caught:
        check_change(ENTRY, new, PURPOSES)
    assert str(caught.value) == text


@given(steps=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 400)), max_size=12))
def test_no_run_of_changes_outlives_the_term_under_one_reference(
    steps: list[tuple[int, int]],
) -> None:
    standing, day_ms = ENTRY, 86_400_000
    for created_day, term_days in steps:
        created_ms = ENTRY.created_ms + created_day * day_ms
        new = entry(
            created_at=format_time(created_ms),
            expires_at=format_time(created_ms + term_days * day_ms),
        )
        try:
            check_entry(new, PURPOSES)
            check_change(standing, new, PURPOSES)
        except RuleError:
            continue
        standing = new
    assert standing.expires_ms <= ENTRY.created_ms + 365 * day_ms
