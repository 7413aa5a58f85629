"""Dates as others write them, beside Python's own reading of them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import EPOCH, format_time
from engine.list_files.date_formats import DateForms

GOOD = ["%Y-%m-%d", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%Y%m%d", "%H Uhr, %d %m %Y"]


@given(
    when=st.datetimes(timezones=st.just(UTC)).filter(lambda when: 1900 <= when.year < 3000),
    form=st.sampled_from(GOOD),
)
def test_as_python_reads_them(when: datetime, form: str) -> None:
    text = when.strftime(form)
    expected = datetime.strptime(text, form).replace(tzinfo=UTC)
    found = DateForms(GOOD, UTC).read(text, False)
    assert found == (expected - EPOCH).total_seconds() * 1000


@pytest.mark.parametrize(
    ("zone", "text", "through", "expected"),
    [
        ("UTC", "2026-01-31", False, "2026-01-31T00:00:00.000Z"),
        ("UTC", "2026-01-31", True, "2026-02-01T00:00:00.000Z"),
        ("UTC", "2026-12-31", True, "2027-01-01T00:00:00.000Z"),
        ("America/Chicago", "2026-01-31", False, "2026-01-31T06:00:00.000Z"),
        ("America/Chicago", "2026-07-31", False, "2026-07-31T05:00:00.000Z"),
        # The day on which the clocks go forward has 23 hours, the other one 25.
        ("America/Chicago", "2026-03-08", True, "2026-03-09T05:00:00.000Z"),
        ("America/Chicago", "2026-11-01", True, "2026-11-02T06:00:00.000Z"),
        # With a time, a day's end is no matter.
        ("UTC", "31.01.2026 17:05:09", True, "2026-01-31T17:05:09.000Z"),
        # Once skipped, twice there: as before the change.
        ("Europe/Berlin", "29.03.2026 02:30:00", False, "2026-03-29T01:30:00.000Z"),
        ("Europe/Berlin", "25.10.2026 02:30:00", False, "2026-10-25T00:30:00.000Z"),
    ],
)
def test_time_zones_and_whole_days(zone: str, text: str, through: bool, expected: str) -> None:
    forms = DateForms(["%Y-%m-%d", "%d.%m.%Y %H:%M:%S"], ZoneInfo(zone))
    assert format_time(forms.read(text, through)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "2026-1-31", "2026-13-01", "2026-02-29", "26-01-31", "2026-01-31 ", "２０２６-01-31"],
)
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a date such as 2026-01-31$"):
        DateForms(["%Y-%m-%d"], UTC).read(text, False)


@pytest.mark.parametrize(
    ("form", "rule"),
    [
        ("%Y-%m", "must have %Y, %m and %d"),
        ("%Y-%m-%d %S", "must have the hour before the minute, and the minute before the second"),
        ("%Y-%m-%d %d", "a part of the date occurs twice"),
        ("%y-%m-%d", "%y is none of %Y %m %d %H %M %S"),
        ("%%m", "%% is none of %Y %m %d %H %M %S"),
    ],
)
def test_what_is_no_form(form: str, rule: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is the point
        DateForms([form], UTC)
    assert str(caught.value) == rule


@given(text=st.text(max_size=20))
def test_any_text_is_a_date_or_one_error(text: str) -> None:
    said = ""
    try:
        DateForms(["%Y-%m-%d", "%d.%m.%Y %H:%M"], UTC).read(text, True)
    except ValueError as error:
        said = str(error)
    assert said in ("", "must be a date such as 2026-01-31")
