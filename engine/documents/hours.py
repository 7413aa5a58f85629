"""Weekly windows: whether a time lies in them, and how people write them in one line.

A time is turned into what the clocks on the wall of the time zone show, and that is compared:
an hour that the clocks skip never comes, one that they repeat counts twice. The rules of the
zones are those of the package `tzdata` and not those of the machine, so that all workers of one
release take a zone for one and the same.

In one line: `mon-fri 08:00-18:00|sat,sun 10:00-24:00 America/Los_Angeles`, the windows between
`|` and the zone behind the last one.

Pure, but for the zones' files, of which each is read once.
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
#: Runs of days of this length and longer are written with a dash.
_RUN: Final = 3


@cache
def zone_names() -> frozenset[str]:
    """The names of all time zones that there are."""
    return frozenset((files("tzdata") / "zones").read_text("utf-8").split())


@cache
def time_zone(name: str) -> ZoneInfo:
    """The time zone with this name; KeyError where there is none."""
    if name not in zone_names():
        raise KeyError(name)
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as rules:
        return ZoneInfo.from_file(rules, key=name)


def day_and_time(hours: Hours, at_ms: int) -> str:
    """The day and the time of day, such as `fri 22:10`, that the clocks of the windows' time
    zone show; KeyError where there is no such zone."""
    local = _local(hours, at_ms)
    return f"{DAYS[local.weekday()]} {local:%H:%M}"


def _local(hours: Hours, at_ms: int) -> datetime:
    return (EPOCH + timedelta(milliseconds=at_ms)).astimezone(time_zone(hours.time_zone))


def within(hours: Hours, at_ms: int) -> bool:
    """Whether a time lies in any of the windows; KeyError where there is no such time zone."""
    local = _local(hours, at_ms)
    day, minute = local.weekday(), local.hour * 60 + local.minute
    day_before = (day - 1) % 7
    for window in hours.windows:
        opens, closes = _minute(window.start), _minute(window.end)
        if closes <= opens:  # of the next day
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
    """The windows and their zone in one line, which `parse_hours` reads."""
    return f"{'|'.join(map(_window, hours.windows))} {hours.time_zone}"


def _window(window: Window) -> str:
    return f"{','.join(_runs(window.days))} {window.start}-{window.end}"


def _runs(days: Iterable[str]) -> Iterable[str]:
    """The days in the order of the week, those that follow one another as one."""
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
    """The `hours` of an entry's document, from one line; ValueError for anything else.

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
