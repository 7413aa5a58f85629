"""Time: its source, and its written form.

Everything that depends on the time of day takes a `Clock`, so that tests can control it. Times
on the wire are RFC 3339 in UTC; inside they are whole milliseconds since 1970 (`*_ms`).
"""

from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

#: RFC 3339 in UTC. The schemas have the same pattern, with the days of each month spelled
#: out, so that a validator in any language rejects the same strings as this module does.
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(?:Z|\+00:00)", re.ASCII)
#: RFC 3339 in full: the date, then hour, minute, second, decimals, and the offset in three parts.
_READ_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d+))?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class Clock(Protocol):
    """A source of the time of day."""

    def now_ms(self) -> int:
        """Return the milliseconds since 1970-01-01T00:00:00Z."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


#: The parts of a time as `format_time` writes it, each with its separator.
_DAY_MS = 86_400_000
_EPOCH_DAY = EPOCH.toordinal()
_MINUTE_MS = {
    f"T{minute // 60:02d}:{minute % 60:02d}:": minute * 60_000 for minute in range(24 * 60)
}
_SECOND_MS = {f"{second:02d}.": second * 1000 for second in range(60)}
_MILLISECOND = {f"{ms:03d}Z": ms for ms in range(1000)}


#: The length of a time as `format_time` writes it.
CANONICAL_TIME_CHARACTERS: Final = len("2026-01-31T12:00:00.000Z")


def _parse_canonical_time(text: str) -> int | None:
    """Return the milliseconds since 1970 of a time in `format_time`'s form; None for any other.
    This is for loading entries by the million."""
    try:
        ms = _MINUTE_MS[text[10:17]] + _SECOND_MS[text[17:20]] + _MILLISECOND[text[20:]]
        return _midnight_ms(text[:10]) + ms
    except (KeyError, ValueError):
        return None


@lru_cache(maxsize=4096)
def _midnight_ms(day: str) -> int:
    """Return the start of a day such as 2026-01-31; ValueError if it is not a day."""
    if day[4] != "-" or day[7] != "-":
        raise ValueError("a week")  # which date.fromisoformat would accept
    return (date.fromisoformat(day).toordinal() - _EPOCH_DAY) * _DAY_MS


def parse_time(text: str) -> int:
    """Return the milliseconds since 1970 of an RFC 3339 time in UTC.

    Digits beyond the millisecond are cut off. Raises ValueError for anything else, including a
    day that its month does not have.
    """
    ms = _parse_canonical_time(text)
    if ms is not None:
        return ms
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("not an RFC 3339 time in UTC, such as 2026-01-31T12:00:00.000Z")
    whole, fraction = found.groups()
    since = datetime.fromisoformat(whole + "+00:00") - EPOCH
    return since // _SECOND * 1000 + int((fraction or "0")[:3].ljust(3, "0"))


def parse_read_time(text: str) -> int:
    """Return the milliseconds since 1970 of any RFC 3339 time, which may have an offset.

    Digits beyond the millisecond are cut off. A leap second is the first second of the next
    minute. Raises ValueError for anything else, including a day that its month does not have.
    """
    ms = _parse_canonical_time(text)
    if ms is not None:
        return ms
    found = _READ_TIME.fullmatch(text)
    if found is None:
        raise ValueError("not an RFC 3339 time, such as 2026-01-31T12:00:00.000Z")
    day, hour, minute, second, fraction, sign, offset_hour, offset_minute = found.groups()
    minutes = 60 * int(hour) + int(minute)
    if sign is not None:
        offset = 60 * int(offset_hour) + int(offset_minute)
        minutes += offset if sign == "-" else -offset
    millis = int((fraction or "")[:3].ljust(3, "0"))
    return _midnight_ms(day) + 1000 * (60 * minutes + int(second)) + millis


def zone_named(name: object) -> tzinfo:
    """Return the time zone with this name in the IANA database. Raises ValueError."""
    try:
        return ZoneInfo(name)  # type: ignore[arg-type]
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise ValueError("not the name of a time zone") from None


def format_time(ms: int) -> str:
    """Return the RFC 3339 form, in UTC with milliseconds, of a time in ms since 1970."""
    seconds, millis = divmod(ms, 1000)
    whole = datetime.fromtimestamp(seconds, tz=UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"


def duration(seconds: float) -> str:
    """Format at most two units, such as `4 ms`, `1.2 s`, `3 min 12 s`, `2 d 4 h`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, smaller, divisor in (
        ("d", 86_400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size:
            rest = whole % size // divisor
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"
