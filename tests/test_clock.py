"""Times: what is one, and what it is in milliseconds."""

from __future__ import annotations

import calendar
import re
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.clock import (
    CANONICAL_TIME_CHARACTERS,
    SystemClock,
    format_time,
    parse_read_time,
    parse_time,
)
from engine.documents.fields import TIME_PATTERN

PATTERN = re.compile(TIME_PATTERN.removesuffix("$"))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.datetimes(
    datetime(1900, 1, 1),  # noqa: DTZ001 - Hypothesis wants bounds without a zone
    datetime(2999, 12, 31, 23, 59, 59),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.001Z", 1),
        ("1969-12-31T23:59:59.999Z", -1),
        ("1970-01-01T00:00:01+00:00", 1000),
        ("1970-01-01T00:00:00.5Z", 500),
        ("1970-01-01T00:00:00.0019999Z", 1),
        ("2024-02-29T12:00:00.000Z", 1709208000000),
        ("2999-12-31T23:59:59.999999999Z", 32503679999999),
    ],
)
def test_parse_time(text: str, ms: int) -> None:
    assert parse_time(text) == ms
    assert PATTERN.fullmatch(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31 12:00:00Z",
        "2026-01-31t12:00:00z",
        "2026-01-31T12:00:00+01:00",
        "2026-01-31T12:00:00-00:00",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00.1234567890Z",
        "2026-01-31T12:00:00Z\n",
        " 2026-01-31T12:00:00Z",
        "2026-1-31T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-00-01T12:00:00Z",
        "2026-04-31T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "1900-02-29T12:00:00Z",
        "2026-01-00T12:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:60:00Z",
        "2026-12-31T23:59:60Z",
        "٢٠٢٦-01-31T12:00:00Z",
    ],
)
def test_not_a_time(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the day's own message comes from datetime
        parse_time(text)
    assert not PATTERN.fullmatch(text)


@given(MOMENTS)
def test_format_and_parse_are_inverse(moment: datetime) -> None:
    ms = (moment - EPOCH) // timedelta(milliseconds=1)
    text = format_time(ms)
    assert parse_time(text) == ms
    assert PATTERN.fullmatch(text)
    assert len(text) == len("2026-01-31T12:00:00.000Z")


_WRITTEN = "2026-01-31T12:00:00.000Z"


@given(
    st.from_regex(PATTERN, fullmatch=True)
    | st.text("0123456789-:.TZW+_ ٣", min_size=24, max_size=24)
    | st.builds(
        lambda place, character: _WRITTEN[:place] + character + _WRITTEN[place + 1 :],
        st.integers(0, 23),
        st.sampled_from("0129-:.TZW+_ ٣"),
    )
)
@example("2026-W01-1T12:00:00.000Z")
@example("0000-01-01T12:00:00.000Z")
@example("2026-01-31T12:00:00.00Z0")
def test_by_its_length_a_time_is_known_as_written_here(text: str) -> None:
    """So that it need not be kept as text. Of what else has that length, none is a time."""
    if PATTERN.fullmatch(text):
        is_canonical = format_time(parse_time(text)) == text
        assert (len(text) == CANONICAL_TIME_CHARACTERS) is is_canonical
    elif "1900" <= text[:4] <= "2999":
        with pytest.raises(ValueError):  # noqa: PT011 - as above
            parse_time(text)


@given(st.from_regex(PATTERN, fullmatch=True))
def test_what_the_pattern_accepts_is_a_time(text: str) -> None:
    assert PATTERN.fullmatch(format_time(parse_time(text)))


def test_the_pattern_knows_the_calendar() -> None:
    """Every day of every year that the schemas allow, and the days that there are not."""
    for year in range(1890, 3010):
        for month in range(14):
            days = calendar.monthrange(year, month)[1] if 1 <= month <= 12 else 0
            for day in (0, 1, 9, 10, 19, 20, 27, 28, 29, 30, 31, 32):
                text = f"{year}-{month:02}-{day:02}T00:00:00Z"
                expected = 1900 <= year <= 2999 and 1 <= day <= days
                assert (PATTERN.fullmatch(text) is not None) == expected, text


def test_the_system_clock_counts_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_123_999_999)
    assert SystemClock().now_ms() == 1_700_000_000_123


@given(
    MOMENTS.filter(lambda moment: 1900 < moment.year < 2999),
    st.integers(-23 * 60, 23 * 60),
    st.sampled_from("Tt "),
)
def test_a_time_of_a_read_may_have_any_offset(at: datetime, offset: int, between: str) -> None:
    local = at.astimezone(timezone(timedelta(minutes=offset)))
    text = local.isoformat(between, timespec="microseconds")
    assert parse_read_time(text) == (at - EPOCH) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-01-31t12:00:00z", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31T12:00:00.1239999999999999Z", "2026-01-31T12:00:00.123Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        ("2016-12-31T15:59:60.5-08:00", "2017-01-01T00:00:00.500Z"),
        ("2026-01-31T12:00:00-00:00", "2026-01-31T12:00:00.000Z"),
    ],
)
def test_a_time_of_a_read_in_the_forms_of_rfc_3339(text: str, same: str) -> None:
    assert parse_read_time(text) == parse_time(same)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00Z",
        "2026-01-31T12:00:00",
        "2026-02-30T12:00:00+01:00",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:00:61Z",
        "2026-01-31T12:00:00+24:00",
        "2026-W05-6T12:00:00Z",
        "now",
    ],
)
def test_what_rfc_3339_does_not_allow_is_no_time_of_a_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"RFC 3339|day is out of range"):
        parse_read_time(text)
