"""Dates and times as other systems write them, as milliseconds since 1970.

In a format, `%Y %m %d %H %M %S` stand for year, month, day, hour, minute and second, in any order
and with any text between them. `%-m`, `%-d`, `%-H` and `%-I` may lack the leading zero. `%y` is a
year of two digits, up to 2068 and from 1969; `%b` an English month such as Jan; `%I` and `%p` an
hour of twelve and AM or PM; `%f` a fraction of a second. The date is always complete; the time may
be left out. A time is local to a time zone. Hours that the zone's clocks skip or repeat are read
with the zone's earlier offset.

Pure. Formats are compiled once, and recent results are cached, because a list has few dates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from engine.clock import EPOCH

_MONTHS: Final = (
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
)  # fmt: skip
#: The part of a date that each directive stands for, and what it looks like.
_DIRECTIVES: Final = {
    "Y": ("year", "[0-9]{4}"),
    "y": ("year", "[0-9]{2}"),
    "m": ("month", "[0-9]{2}"),
    "b": ("month", "|".join(_MONTHS)),
    "d": ("day", "[0-9]{2}"),
    "H": ("hour", "[0-9]{2}"),
    "I": ("hour", "[0-9]{2}"),
    "M": ("minute", "[0-9]{2}"),
    "S": ("second", "[0-9]{2}"),
    "f": ("fraction", "[0-9]{1,9}"),
    "p": ("half", "[AP]M"),
}
_DATE: Final = frozenset({"year", "month", "day"})
#: The parts that may follow the date.
_CLOCKS: Final[tuple[set[str], ...]] = (
    set(),
    {"hour"},
    {"hour", "minute"},
    {"hour", "minute", "second"},
    {"hour", "minute", "second", "fraction"},
)
#: A year of two digits is of the last century from here on, as in POSIX.
_LAST_CENTURY: Final = 69
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
            try:
                parts = _parts(found.groupdict())
                when = datetime(**parts, tzinfo=self._zone)
                if through and "hour" not in parts:
                    when += timedelta(days=1)  # a day by the zone's clock, even if it changes
                return (when - EPOCH) // _MILLISECOND
            except (ValueError, OverflowError):
                break
        raise ValueError(f"must be a date such as {_written(self._first)}")

    def write(self, when: datetime) -> str:
        """Return a local date and time as the first format writes it."""
        return _written(self._first, when)


def _written(form: str, when: datetime = _EXAMPLE) -> str:
    """Return a time in a format, on every platform alike."""
    unpadded = {"m": when.month, "d": when.day, "H": when.hour, "I": when.hour % 12 or 12}
    form = re.sub("%-([mdHI])", lambda found: str(unpadded[found[1]]), form)
    return when.strftime(form.replace("%b", _MONTHS[when.month - 1].title()))


def _parts(found: Mapping[str, str]) -> dict[str, int]:
    """Return the parts of a datetime from those of a pattern. Raises ValueError."""
    parts = {
        name: int(value)
        for name, value in found.items()
        if name not in ("half", "fraction") and value.isdigit()
    }
    if "month" not in parts:
        parts["month"] = _MONTHS.index(found["month"].lower()) + 1
    if len(found["year"]) == 2:
        parts["year"] += 1900 if parts["year"] >= _LAST_CENTURY else 2000
    if "half" in found:
        if not 1 <= parts["hour"] <= 12:
            raise ValueError("no hour of twelve")
        parts["hour"] = parts["hour"] % 12 + (12 if found["half"].upper() == "PM" else 0)
    if "fraction" in found:
        parts["microsecond"] = int(found["fraction"].ljust(6, "0")[:6])
    return parts


def _pattern(form: str) -> re.Pattern[str]:
    parts = re.split(r"%(-?.)", form)
    directives = parts[1::2]
    for name in directives:
        if name.lstrip("-") not in _DIRECTIVES or (name[0] == "-" and name[1:] not in "mdHI"):
            raise ValueError(
                f"%{name} is none of %Y %m %d %H %M %S, %y %b %I %p %f, %-m %-d %-H %-I"
            )
    kinds = [_DIRECTIVES[name.lstrip("-")][0] for name in directives]
    if len(set(kinds)) < len(kinds):
        raise ValueError("a part of the date occurs twice")
    if not set(kinds) >= _DATE:
        raise ValueError("must have %Y, %m and %d")
    if set(kinds) - _DATE - {"half"} not in _CLOCKS:
        raise ValueError("must have the hour before the minute, and the minute before the second")
    if ("half" in kinds) != any(name.endswith("I") for name in directives):
        raise ValueError("must have %p beside %I, and only there")
    pattern = re.escape(parts[0])
    for name, kind, between in zip(directives, kinds, parts[2::2], strict=True):
        looks = "[0-9]{1,2}" if name[0] == "-" else _DIRECTIVES[name][1]
        pattern += f"(?P<{kind}>{looks}){re.escape(between)}"
    return re.compile(pattern, re.ASCII | re.IGNORECASE)
