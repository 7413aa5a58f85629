"""Dates and times as other systems write them, as milliseconds since 1970.

In a format, `%Y %m %d %H %M %S` stand for year, month, day, hour, minute and second, in any order
and with any text between them. The date is always complete; the time may be left out. A time is
local to a time zone. Hours that the zone's clocks skip or repeat are read with the zone's earlier
offset.

Pure. Formats are compiled once, and recent results are cached, because a list has few dates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from engine.clock import EPOCH

_DIRECTIVES: Final = {
    "Y": "year",
    "m": "month",
    "d": "day",
    "H": "hour",
    "M": "minute",
    "S": "second",
}
_DATE: Final = frozenset("Ymd")
#: The sets of directives that may follow the date: none, hour, hour and minute, all three.
_CLOCKS: Final[tuple[set[str], ...]] = (set(), set("H"), set("HM"), set("HMS"))
_EXAMPLE: Final = datetime(2026, 1, 31, 17, 5, 0)  # noqa: DTZ001 - only its digits are shown
_MILLISECOND: Final = timedelta(milliseconds=1)
_REMEMBERED: Final = 65536


class DateForms:
    """The date formats of one file, in one time zone."""

    def __init__(self, forms: Sequence[str], zone: tzinfo) -> None:
        """Compile the formats. Raises ValueError with the rule if one is not a format."""
        self._patterns = [_pattern(form) for form in forms]
        self._zone = zone
        self._first = forms[0]
        self.read = lru_cache(maxsize=_REMEMBERED)(self._read)

    def _read(self, text: str, through: bool) -> int:
        """Return the time that `text` gives, in ms.

        With `through`, a date without a time means its end: the beginning of the next day.
        Raises ValueError with the rule if the text matches none of the formats.
        """
        for pattern in self._patterns:
            found = pattern.fullmatch(text)
            if found is None:
                continue
            parts = {name: int(value) for name, value in found.groupdict().items()}
            try:
                when = datetime(**parts, tzinfo=self._zone)
                if through and "hour" not in parts:
                    when += timedelta(days=1)  # a day by the zone's clock, even if it changes
                return (when - EPOCH) // _MILLISECOND
            except (ValueError, OverflowError):
                break
        raise ValueError(f"must be a date such as {_EXAMPLE.strftime(self._first)}")


def _pattern(form: str) -> re.Pattern[str]:
    parts = re.split(r"%(.)", form)
    directives = parts[1::2]
    for name in directives:
        if name not in _DIRECTIVES:
            raise ValueError(f"%{name} is none of %Y %m %d %H %M %S")
    if len(set(directives)) < len(directives):
        raise ValueError("a part of the date occurs twice")
    if not set(directives) >= _DATE:
        raise ValueError("must have %Y, %m and %d")
    if set(directives) - _DATE not in _CLOCKS:
        raise ValueError("must have the hour before the minute, and the minute before the second")
    pattern = re.escape(parts[0])
    for name, between in zip(directives, parts[2::2], strict=True):
        digits = "[0-9]{4}" if name == "Y" else "[0-9]{2}"
        pattern += f"(?P<{_DIRECTIVES[name]}>{digits}){re.escape(between)}"
    return re.compile(pattern, re.ASCII)
