"""Dates as others write them, beside Python's own reading of them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import EPOCH, format_time
from engine.list_files.date_formats import DateForms

NONE_OF = "%{} is none of %Y %m %d %H %M %S, %y %b %I %p %f, %-m %-d %-H %-I"
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
        ("%q-%m-%d", NONE_OF.format("q")),
        ("%-Y-%m-%d", NONE_OF.format("-Y")),
        ("%%m", NONE_OF.format("%")),
        ("%Y-%y-%m-%d", "a part of the date occurs twice"),
        ("%Y-%m-%d %I:%M", "must have %p beside %I, and only there"),
        ("%Y-%m-%d %H:%M %p", "must have %p beside %I, and only there"),
    ],
)
def test_what_is_no_form(form: str, rule: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is the point
        DateForms([form], UTC)
    assert str(caught.value) == rule


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("%-m/%-d/%Y", "1/5/2026", "2026-01-05T00:00:00.000Z"),
        ("%-m/%-d/%Y", "12/31/2026", "2026-12-31T00:00:00.000Z"),
        ("%-d.%-m.%Y", "5.1.2026", "2026-01-05T00:00:00.000Z"),
        ("%-m/%-d/%Y %-I:%M:%S %p", "1/5/2026 12:00:00 AM", "2026-01-05T00:00:00.000Z"),
        ("%-m/%-d/%Y %-I:%M:%S %p", "1/5/2026 12:30:00 pm", "2026-01-05T12:30:00.000Z"),
        ("%d-%b-%y", "05-JAN-26", "2026-01-05T00:00:00.000Z"),
        ("%m/%d/%y", "12/31/98", "1998-12-31T00:00:00.000Z"),
        ("%m/%d/%y", "12/31/68", "2068-12-31T00:00:00.000Z"),
        ("%Y-%m-%dT%H:%M:%S.%f", "2026-01-05T10:00:00.1239", "2026-01-05T10:00:00.123Z"),
    ],
)
def test_what_programs_write(form: str, text: str, expected: str) -> None:
    assert format_time(DateForms([form], UTC).read(text, False)) == expected


@pytest.mark.parametrize("text", ["13/1/2026", "1/32/2026", "1/5/26", "001/5/2026", "1-5-2026"])
def test_an_unpadded_form_is_strict_otherwise(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a date such as 1/31/2026$"):
        DateForms(["%-m/%-d/%Y"], UTC).read(text, False)


@given(
    when=st.datetimes().map(
        lambda when: when.replace(year=1972 + when.year % 24 * 4, microsecond=0)
    ),
    form=st.sampled_from(
        ["%-m/%-d/%Y %-I:%M:%S %p", "%d-%b-%y %H:%M:%S", "%Y-%m-%d %-H:%M:%S", "%Y%m%d%H%M%S"]
    ),
)
def test_what_a_form_writes_it_reads(when: datetime, form: str) -> None:
    forms = DateForms([form], UTC)
    expected = (when.replace(tzinfo=UTC) - EPOCH).total_seconds() * 1000
    assert forms.read(forms.write(when), False) == expected


@given(text=st.text(max_size=20))
def test_any_text_is_a_date_or_one_error(text: str) -> None:
    said = ""
    try:
        DateForms(["%Y-%m-%d", "%d.%m.%Y %H:%M"], UTC).read(text, True)
    except ValueError as error:
        said = str(error)
    assert said in ("", "must be a date such as 2026-01-31")
