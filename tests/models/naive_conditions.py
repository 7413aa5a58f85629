"""What narrows an entry, by the plainest means: region, vehicle, area and hours of the week.

A part of `tests.models.naive`, and like it shares nothing with the engine. Places are points on a
sphere. Of the words for vehicles it knows those that the tests use.
"""

from __future__ import annotations

import datetime
import math
import zoneinfo
from functools import cache
from typing import Any

Document = dict[str, Any]

EARTH_RADIUS_M = 6_371_008.8
#: Words of one meaning, without case and punctuation.
_SAME_WORDS = (
    ("grey", "gray", "gry"),
    ("white", "whi"),
    ("black", "blk"),
    ("volkswagen", "vw", "volk"),
    ("chevrolet", "chevy", "chev"),
)
#: Words that do not contradict each other, and one that says nothing.
_NEAR_WORDS = ({"car", "sedan"}, {"car", "van"}, {"truck", "van"}, {"silver", "grey"})
#: What else is known to mean something; any other word excludes nothing.
_OTHER_WORDS = {
    *("red", "blue", "silver", "ford", "toyota", "honda"),
    *("f150", "transit", "corolla", "golf", "civic", "car", "sedan", "truck", "van"),
}
_NO_WORD = "unknown"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def narrowed_out(entry: Document, read: Document) -> str | None:
    """Why the entry rules the read out; None where it does not. What the read lacks does not."""
    listed, region = entry.get("region"), read.get("region")
    if listed and region and not (covers(listed, region) or covers(region, listed)):
        return "entry_region"
    asked, seen = entry.get("vehicle", {}), read.get("vehicle", {})
    for name in ("make", "model", "color", "type"):
        if name in asked and name in seen and _contradict(asked[name], seen[name]):
            return "entry_vehicle"
    circles, place = entry.get("area"), read.get("location")
    if circles and place and all(_distance_m(one, place) > one["radius_m"] for one in circles):
        return "entry_area"
    if "hours" in entry and not _within_hours(entry["hours"], read["captured_at"]):
        return "entry_hours"
    return None


def _contradict(asked: str, seen: str) -> bool:
    """Whether both are known to mean something, and not the same."""
    words = {_word(asked), _word(seen)}
    known = _OTHER_WORDS | {same[0] for same in _SAME_WORDS}
    if len(words) == 1 or _NO_WORD in words or any(words <= near for near in _NEAR_WORDS):
        return False
    return words <= known


@cache
def _word(text: str) -> str:
    plain = "".join(char for char in text.lower() if char.isalnum())
    return next((same[0] for same in _SAME_WORDS if plain in same), plain)


def _distance_m(one: Document, other: Document) -> float:
    """The angle between two points of a sphere, by their vectors, times its radius."""

    def vector(place: Document) -> tuple[float, float, float]:
        lat, lon = math.radians(place["lat"]), math.radians(place["lon"])
        return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)

    a, b = vector(one), vector(other)
    return EARTH_RADIUS_M * 2 * math.asin(min(1.0, math.dist(a, b) / 2))


def _within_hours(hours: Document, captured_at: str) -> bool:
    zone = zoneinfo.ZoneInfo(hours["time_zone"])
    local = datetime.datetime.fromisoformat(captured_at).astimezone(zone)
    clock = local.strftime("%H:%M")
    for window in hours["windows"]:
        opens, closes = window["start"], window["end"]
        today = _DAYS[local.weekday()] in window["days"]
        since_yesterday = _DAYS[local.weekday() - 1] in window["days"]
        if opens < closes:
            if today and opens <= clock < closes:
                return True
        elif (today and clock >= opens) or (since_yesterday and clock < closes):
            return True
    return False


def covers(wide: str, narrow: str | None) -> bool:
    """Whether a country or subdivision is, or contains, another."""
    return narrow is not None and (narrow == wide or narrow.split("-")[0] == wide)
