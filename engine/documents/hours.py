"""Weekly windows: whether a time lies in them, and how people write them on one line.

A time is converted to local time in the time zone, and that is compared. So an hour that the clocks
skip never occurs, and one that they repeat counts twice. The time zones come from the package
`tzdata` and not from the machine, so that all workers of one release have the same rules.

On one line, the windows are separated by `|`, and the zone follows the last one:
`mon-fri 08:00-18:00|sat,sun 10:00-24:00 America/Los_Angeles`.

Pure, except that each time zone's file is read once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any, Final
from zoneinfo import ZoneInfo

from engine.clock import EPOCH
from engine.documents.fields import DAYS
from engine.documents.model import Hours, Window

_DAY_MINUTES: Final = 24 * 60
_DAY_NUMBERS: Final = {day: number for number, day in enumerate(DAYS)}
_FORM: Final = re.compile(r"(?P<windows>.+)[ \t]+(?P<zone>[^ \t|]+)", re.DOTALL)
_WINDOW: Final = re.compile(
    r"(?P<days>[a-z, \t-]+?)[ \t]+(?P<start>[0-9:]+)[ \t]*-[ \t]*(?P<end>[0-9:]+)", re.ASCII
)
#: The shortest run of days that is written with a dash.
_RUN: Final = 3


@cache
def zone_names() -> frozenset[str]:
    """Return the names of all time zones."""
    return frozenset((files("tzdata") / "zones").read_text("utf-8").split())


@cache
def time_zone(name: str) -> ZoneInfo:
    """Return the time zone with this name; KeyError if there is none."""
    if name not in zone_names():
        raise KeyError(name)
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as rules:
        return ZoneInfo.from_file(rules, key=name)


def day_and_time(hours: Hours, at_ms: int) -> str:
    """Return the local day and time of day, such as `fri 22:10`, in the windows' time zone.

    Raises KeyError if there is no such zone.
    """
    local = _local(hours, at_ms)
    return f"{DAYS[local.weekday()]} {local:%H:%M}"


def _local(hours: Hours, at_ms: int) -> datetime:
    return (EPOCH + timedelta(milliseconds=at_ms)).astimezone(time_zone(hours.time_zone))


def within(hours: Hours, at_ms: int) -> bool:
    """Return whether a time lies in any of the windows; KeyError for an unknown time zone."""
    local = _local(hours, at_ms)
    day, minute = local.weekday(), local.hour * 60 + local.minute
    day_before = (day - 1) % 7
    for window in hours.windows:
        opens, closes = _minute(window.start), _minute(window.end)
        if closes <= opens:  # on the next day
            closes += _DAY_MINUTES
        starts_on = [_DAY_NUMBERS[name] for name in window.days]
        if day in starts_on and opens <= minute < closes:
            return True
        if day_before in starts_on and minute + _DAY_MINUTES < closes:
            return True
    return False


def _minute(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def one_line(hours: Hours) -> str:
    """Return the windows and their zone on one line, which `parse_hours` reads."""
    return f"{'|'.join(map(_window, hours.windows))} {hours.time_zone}"


def _window(window: Window) -> str:
    return f"{','.join(_runs(window.days))} {window.start}-{window.end}"


def _runs(days: Iterable[str]) -> Iterable[str]:
    """Yield the days in the order of the week, with a run of days as one text."""
    numbers = sorted({_DAY_NUMBERS[day] for day in days})
    while numbers:
        length = 1
        while length < len(numbers) and numbers[length] == numbers[0] + length:
            length += 1
        run, numbers = numbers[:length], numbers[length:]
        if length >= _RUN:
            yield f"{DAYS[run[0]]}-{DAYS[run[-1]]}"
        else:
            yield from (DAYS[number] for number in run)


def parse_hours(text: str) -> dict[str, Any]:
    """Return the `hours` of an entry's document, from one line; ValueError for anything else.

    Times of day and the zone are taken as they stand: the schema and the rules look at them.
    """
    form = _FORM.fullmatch(text.strip())
    if form is None:
        raise ValueError(_EXPECTED)
    windows = [_parse_window(part.strip().lower()) for part in form["windows"].split("|")]
    return {"time_zone": form["zone"], "windows": windows}


_EXPECTED: Final = "must be hours such as mon-fri 08:00-18:00|sat 10:00-14:00 America/Los_Angeles"


def _parse_window(text: str) -> dict[str, Any]:
    window = _WINDOW.fullmatch(text)
    if window is None:
        raise ValueError(_EXPECTED)
    days: list[str] = []
    for part in re.split(r"[, \t]+", window["days"]):
        first, dash, last = part.partition("-")
        if first not in _DAY_NUMBERS or (dash and last not in _DAY_NUMBERS):
            raise ValueError(_EXPECTED)
        number = _DAY_NUMBERS[first]
        count = (_DAY_NUMBERS[last] - number) % 7 + 1 if dash else 1
        days += (DAYS[(number + step) % 7] for step in range(count))
    kept = sorted(set(days), key=DAYS.index)
    return {"days": kept, "start": window["start"], "end": window["end"]}
