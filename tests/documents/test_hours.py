"""Weekly windows beside a walk through the minutes, clock changes, and the one-line form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import EPOCH, parse_time
from engine.documents.fields import DAYS
from engine.documents.hours import (
    day_and_time,
    one_line,
    parse_hours,
    time_zone,
    within,
    zone_names,
)
from engine.documents.model import Hours, Window

_CLOCK = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 1, 30, 59]))
_WINDOWS = st.builds(
    Window,
    days=st.lists(st.sampled_from(DAYS), min_size=1, max_size=7).map(tuple),
    start=_CLOCK,
    end=_CLOCK | st.just("24:00"),
)
_ZONES = st.sampled_from(["UTC", "America/Los_Angeles", "Australia/Lord_Howe", "Asia/Kathmandu"])
_HOURS = st.builds(
    Hours, time_zone=_ZONES, windows=st.lists(_WINDOWS, min_size=1, max_size=4).map(tuple)
)


def hours(text: str) -> Hours:
    """Hours as people write them."""
    document = parse_hours(text)
    windows = tuple(
        Window(days=tuple(each["days"]), start=each["start"], end=each["end"])
        for each in document["windows"]
    )
    return Hours(time_zone=document["time_zone"], windows=windows)


def minutes_of_week(all_hours: Hours) -> set[int]:
    """The minutes of the week, from Monday's first, that lie in any window, walked one by one."""
    found = set()
    for window in all_hours.windows:
        for day in window.days:
            hour, minute = map(int, window.start.split(":"))
            at = DAYS.index(day) * 1440 + hour * 60 + minute
            while True:
                found.add(at % (7 * 1440))
                at += 1
                if window.end in (_clock(at), "24:00" if _clock(at) == "00:00" else ""):
                    break
    return found


def _clock(minute: int) -> str:
    return f"{minute // 60 % 24:02}:{minute % 60:02}"


@given(hours=_HOURS, minute=st.integers(0, 7 * 1440 - 1), late_ms=st.integers(0, 59_999))
def test_a_time_lies_where_a_walk_through_the_week_comes_by(
    hours: Hours, minute: int, late_ms: int
) -> None:
    """A week in UTC, in which no clock is changed; a minute holds to its last millisecond."""
    hours = Hours(time_zone="UTC", windows=hours.windows)
    monday_ms = parse_time("2026-11-23T00:00:00Z")
    at_ms = monday_ms + minute * 60_000 + late_ms
    assert within(hours, at_ms) is (minute in minutes_of_week(hours))


@given(hours=_HOURS, at_ms=st.integers(parse_time("2020-01-01T00:00:00Z"), 4_000_000_000_000))
def test_only_the_clocks_on_the_wall_count(hours: Hours, at_ms: int) -> None:
    """In any zone and at any time of the year, beside the standard library's own zones."""
    local = (EPOCH + timedelta(milliseconds=at_ms)).astimezone(ZoneInfo(hours.time_zone))
    minute = local.weekday() * 1440 + local.hour * 60 + local.minute
    assert within(hours, at_ms) is (minute in minutes_of_week(hours))
    assert day_and_time(hours, at_ms) == f"{DAYS[local.weekday()]} {local:%H:%M}"


@pytest.mark.parametrize(
    ("text", "captured_at", "inside"),
    [
        # In winter Los Angeles is eight hours behind, in summer seven.
        ("mon-fri 08:00-18:00 America/Los_Angeles", "2026-01-05T15:59:59.999Z", False),
        ("mon-fri 08:00-18:00 America/Los_Angeles", "2026-01-05T16:00:00.000Z", True),
        ("mon-fri 08:00-18:00 America/Los_Angeles", "2026-07-06T15:00:00.000Z", True),
        ("mon-fri 08:00-18:00 America/Los_Angeles", "2026-07-07T00:59:59.999Z", True),
        ("mon-fri 08:00-18:00 America/Los_Angeles", "2026-07-07T01:00:00.000Z", False),
        # The hour from two to three of the 8th of March 2026 does not come there...
        ("sun 02:00-03:00 America/Los_Angeles", "2026-03-08T09:59:59.999Z", False),
        ("sun 02:00-03:00 America/Los_Angeles", "2026-03-08T10:00:00.000Z", False),
        ("sun 03:00-04:00 America/Los_Angeles", "2026-03-08T10:00:00.000Z", True),
        # ... and the one from one to two of the 1st of November comes twice.
        ("sun 01:00-02:00 America/Los_Angeles", "2026-11-01T08:30:00.000Z", True),
        ("sun 01:00-02:00 America/Los_Angeles", "2026-11-01T09:30:00.000Z", True),
        ("sun 01:00-02:00 America/Los_Angeles", "2026-11-01T10:00:00.000Z", False),
        # Across midnight, across the end of the week, and a day from its start.
        ("fri 22:00-05:00 UTC", "2026-11-21T04:59:00Z", True),
        ("fri 22:00-05:00 UTC", "2026-11-21T05:00:00Z", False),
        ("fri 22:00-05:00 UTC", "2026-11-20T04:59:00Z", False),
        ("sun 22:00-05:00 UTC", "2026-11-23T04:59:00Z", True),
        ("sun 22:00-05:00 UTC", "2026-11-22T04:59:00Z", False),
        ("sun 06:00-06:00 UTC", "2026-11-23T05:59:00Z", True),
        ("sun 06:00-06:00 UTC", "2026-11-22T05:59:00Z", False),
        ("sun 00:00-24:00 UTC", "2026-11-22T23:59:59.999Z", True),
        ("sun 00:00-24:00 UTC", "2026-11-23T00:00:00Z", False),
        # Long before and after now.
        ("mon-sun 00:00-24:00 Europe/Amsterdam", "1900-01-01T00:00:00Z", True),
        ("mon-sun 00:00-24:00 Europe/Amsterdam", "2999-12-31T23:59:59Z", True),
    ],
)
def test_windows_of_the_week(text: str, captured_at: str, inside: bool) -> None:
    assert within(hours(text), parse_time(captured_at)) is inside


def test_there_are_the_zones_of_the_database() -> None:
    """All of them, and their rules are those that the standard library knows."""
    assert zone_names() >= available_timezones() - {"localtime", "posixrules", "Factory"}
    summer = datetime(2026, 7, 1, tzinfo=UTC)
    for name in sorted(zone_names()):
        zone = time_zone(name)
        assert zone.key == name
        assert summer.astimezone(zone).utcoffset() is not None


@pytest.mark.parametrize("name", ["Mars/Olympus", "utc", "America", "zones", "../zones", ""])
def test_other_names_are_no_zones(name: str) -> None:
    with pytest.raises(KeyError):
        time_zone(name)


@given(hours=_HOURS)
def test_one_line_reads_back(hours: Hours) -> None:
    """With the days in the order of the week, each once."""
    document = parse_hours(one_line(hours))
    assert document == {
        "time_zone": hours.time_zone,
        "windows": [
            {
                "days": sorted(set(window.days), key=DAYS.index),
                "start": window.start,
                "end": window.end,
            }
            for window in hours.windows
        ],
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("mon-fri 08:00-18:00 UTC", "mon-fri 08:00-18:00 UTC"),
        ("Mon, Tue 08:00 - 18:00|SAT 10:00-12:00   UTC", "mon,tue 08:00-18:00|sat 10:00-12:00 UTC"),
        ("fri-mon 22:00-05:00 UTC", "mon,fri-sun 22:00-05:00 UTC"),
        ("mon-sun 00:00-24:00 Etc/GMT+3", "mon-sun 00:00-24:00 Etc/GMT+3"),
        ("sun-sun 00:00-24:00 UTC", "sun 00:00-24:00 UTC"),
    ],
)
def test_ways_to_write_it(text: str, line: str) -> None:
    assert one_line(hours(text)) == line


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mon-fri 08:00-18:00",
        "mon-fri UTC",
        "08:00-18:00 UTC",
        "monday 08:00-18:00 UTC",
        "mon-fry 08:00-18:00 UTC",
        "mon- 08:00-18:00 UTC",
        "mon 08:00 UTC",
        "mon 8am-6pm UTC",
        "mon 08:00-18:00| UTC",
        "|mon 08:00-18:00 UTC",
    ],
)
def test_what_is_no_hours(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be hours such as mon-fri 08:00-18:00"):
        parse_hours(text)
