"""Time: where it comes from and how it is written.

Everything that depends on the time of day takes a `Clock`, so that tests can drive it. Times
on the wire are RFC 3339 in UTC; inside they are whole milliseconds since 1970 (`*_ms`).
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

#: RFC 3339 in UTC. The schemas hold the same pattern, with the days of each month spelled
#: out, so that a validator in any language refuses the same strings as this module does.
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(?:Z|\+00:00)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


class Clock(Protocol):
    """Tells the time of day."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


def parse_time(text: str) -> int:
    """Milliseconds since 1970 of an RFC 3339 time in UTC.

    Digits beyond the millisecond are cut off. Raises ValueError for anything else, a day that
    its month does not have included.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("not an RFC 3339 time in UTC, such as 2026-01-31T12:00:00.000Z")
    whole, fraction = found.groups()
    since = datetime.fromisoformat(whole + "+00:00") - _EPOCH
    return since // _SECOND * 1000 + int((fraction or "0")[:3].ljust(3, "0"))


def format_time(ms: int) -> str:
    """The RFC 3339 form, in UTC with milliseconds, of a time in ms since 1970."""
    seconds, millis = divmod(ms, 1000)
    whole = datetime.fromtimestamp(seconds, tz=UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"
