"""The times of Genetec's messages: a date and a time or both in one, in UTC or in local time.

Dates have the year first in the cameras' templates, and the form of the server's language in
Security Center and Patroller: `10/31/2026` in American English, `31/10/2026` or `31.10.2026` in
others. If both are possible, the month comes first, unless the site's country is one that writes
the day first. Times may end in AM or PM.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from engine.ingest.adapters.fallbacks import Fallbacks
from engine.ingest.adapters.message import AdapterError, Node

#: Where a time is, the best first: fields of a date and of a time (or one field), and if it is UTC.
_PLACES: Final = (
    (("UTCDate", "UTCTime"), True),
    (("DateUtc", "TimeUtc"), True),
    (("TimeStampUTC",), True),
    (("LocalDate", "LocalTime"), False),
    (("DateLocal", "TimeLocal"), False),
    (("TimeStamp",), False),
    (("Date", "Time"), False),
)
_YEAR_FIRST: Final = re.compile(r"([0-9]{4})[:/.-]([0-9]{1,2})[:/.-]([0-9]{1,2})")
_YEAR_LAST: Final = re.compile(r"([0-9]{1,2})([/.-])([0-9]{1,2})[/.-]([0-9]{4})")
_TIME: Final = re.compile(
    r"([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2}))?(?:[.,:]([0-9]{1,9}))?(?: ?([AaPp])\.?[Mm]\.?)?"
)
_MONTHS: Final = 12
_HALF_A_DAY: Final = 12
#: Countries whose short dates begin with the month.
_MONTH_FIRST: Final = frozenset({"US", "PR", "GU", "AS", "VI", "MP", "UM", "PH", "FM", "MH", "PW"})


def time_in(root: Node, lacking: Fallbacks, country: str | None) -> str:
    """Return the time of a record, whose fields have lower-case names.

    Raises AdapterError if it has none, or one that cannot be read.
    """
    for names, is_utc in _PLACES:
        parts = [Node(root[name.lower()].value, f"$.{name}") for name in names]
        if all(part.text() is not None for part in parts):
            return _time(parts, lacking, country, is_utc=is_utc)
    rule = "is required, with UTCTime; or DateUtc and TimeUtc, or TimeStamp"
    raise AdapterError("$.UTCDate", rule, "missing_field")


def _time(parts: list[Node], lacking: Fallbacks, country: str | None, *, is_utc: bool) -> str:
    written = " ".join(part.needed() for part in parts)
    when = _parsed(written, country)
    if when is None:
        raise parts[0].error("must be an existing day and time")
    if is_utc and when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    found = lacking.moment(when, parts[0])
    if _is_ambiguous(written):
        lacking.note("date_order")
    return found


def _parsed(written: str, country: str | None) -> datetime | None:
    """Return a time as it is written; None if it is none."""
    try:
        return datetime.fromisoformat(written.upper())
    except ValueError:
        pass
    day, _, time = written.partition(" ")
    date, clock = _date(day, country), _clock(time.strip())
    try:
        return datetime.fromisoformat(f"{date}T{clock}")
    except ValueError:
        return None


def _date(text: str, country: str | None) -> str:
    """Return a date with its year first; nothing if it is none."""
    if (found := _YEAR_FIRST.fullmatch(text)) is not None:
        return _iso_date(found[1], found[2], found[3])
    if (found := _YEAR_LAST.fullmatch(text)) is None:
        return ""
    first, sign, second, year = found.groups()
    is_month_first = sign != "." and (country is None or country in _MONTH_FIRST)
    if int(first) > _MONTHS:
        is_month_first = False
    elif int(second) > _MONTHS:
        is_month_first = True
    return _iso_date(year, first, second) if is_month_first else _iso_date(year, second, first)


def _iso_date(year: str, month: str, day: str) -> str:
    return f"{year}-{month:0>2}-{day:0>2}"


def _is_ambiguous(written: str) -> bool:
    """Return whether both the first number of a date and the second might be its month."""
    found = _YEAR_LAST.match(written)
    if found is None or found[2] == ".":
        return False
    return found[1] != found[3] and int(found[1]) <= _MONTHS >= int(found[3])


def _clock(text: str) -> str:
    """Return a time of day with 24 hours; nothing if it is none."""
    if (found := _TIME.fullmatch(text)) is None:
        return ""
    hour, half = int(found[1]), (found[5] or "").lower()
    if half:
        if not 1 <= hour <= _HALF_A_DAY:
            return ""
        hour = hour % _HALF_A_DAY + (_HALF_A_DAY if half == "p" else 0)
    return f"{hour:02}:{found[2]:0>2}:{found[3] or 0:0>2}.{(found[4] or '0')[:6]:0<6}"
