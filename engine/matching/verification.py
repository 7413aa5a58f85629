"""What a person must compare before acting on a match.

A match is a lead. Its verification block lists what to compare, what the engine saw of it, and what
the engine could not check.

Pure. The common match, an exact one, is the largest part of what a hit costs, so checks that are
the same for many matches are made once.
"""

from __future__ import annotations

from typing import Literal, cast

from engine.documents.droppable import Dropped
from engine.documents.fields import CheckResult, DroppableField
from engine.documents.hours import day_and_time, one_line, within
from engine.documents.model import (
    Area,
    Check,
    Detection,
    Hours,
    Location,
    Misreading,
    Vehicle,
)
from engine.index.eligibility import region_covers
from engine.matching.candidates import Found
from engine.matching.conditions import area_in_words, circle_of, place_in_words
from engine.matching.vehicles import compare_vehicles, vehicle_in_words
from engine.plates.likeness import Likeness

_PLATE_TEXT = "Compare the plate in the picture with the listed one, character by character."
_REGION_TEXT = "Compare the region of the plate in the picture with the region as listed."
_VEHICLE_TEXT = "Compare the vehicle in the picture with the vehicle as listed."
_AREA_TEXT = "Make sure that the camera stands in the area that the entry is for."
_HOURS_TEXT = "Make sure that the camera's clock is right: the entry is for certain hours."
_AGE_TEXTS = {
    "entry_age": "Ask the listing agency whether the entry still holds.",
    "read_age": "Consider how long ago the read was made.",
}
#: If neither the read nor the entry has a value.
_REGION_UNKNOWN = Check(check="region", result="unknown", text=_REGION_TEXT)
_VEHICLE_UNKNOWN = Check(check="vehicle", result="unknown", text=_VEHICLE_TEXT)
_SHOWN_CHARACTERS = 300


def checks(
    found: Found,
    read: Detection,
    captured_ms: int,
    now_ms: int,
    dropped: tuple[Dropped, ...] = (),
) -> tuple[Check, ...]:
    """What a person must compare before acting on a match of a read with this time of its own.

    One check names each field that lost a part because it broke a rule.
    """
    entry = found.entry
    plate = _plate_check(found, read)
    region = region_check(read.region, entry.region)
    vehicle = vehicle_check(read.vehicle, entry.vehicle)
    entry_age = age_check("entry_age", age_s(entry.created_ms, now_ms))
    read_age = age_check("read_age", age_s(captured_ms, now_ms))
    if not dropped and entry.area is None and entry.hours is None:
        return plate, region, vehicle, entry_age, read_age
    area = () if entry.area is None else (_area_check(read.location, entry.area),)
    hours = () if entry.hours is None else (_hours_check(captured_ms, entry.hours),)
    return plate, region, vehicle, *area, *hours, *_dropped_checks(dropped), entry_age, read_age


def age_check(check: Literal["entry_age", "read_age"], age_s: int) -> Check:
    """Name an age in seconds."""
    return Check(check=check, result="unknown", age_s=age_s, text=_AGE_TEXTS[check])


def age_s(since_ms: int, now_ms: int) -> int:
    """Return the whole seconds since a time, 0 if it lies in the future."""
    return (now_ms - since_ms) // 1000 if since_ms < now_ms else 0


def exact_plate_check(read: str, listed: str) -> Check:
    """Compare the listed plate with a read's own plate that has the same normal form."""
    return Check(
        check="plate", result="same", read=read, listed=listed, positions=(), text=_PLATE_TEXT
    )


def like_plate_check(likeness: Likeness, read: str, listed: str, alternate_of: str | None) -> Check:
    """Compare the listed plate with the text that is like it: a read's own plate, or an alternate
    of the plate `alternate_of`."""
    if likeness.match_type == "exact" and alternate_of is None:
        return exact_plate_check(read, listed)
    positions, misread = likeness.positions, likeness.misread
    result: CheckResult = "differs" if positions else "same"
    text = _PLATE_TEXT
    if likeness.match_type == "partial":
        text += " Of the listed plate only some characters are known."
        result = "differs" if positions else "unknown"
    if alternate_of is not None:
        text += f" This is an alternate: the read's own plate is {alternate_of}."
    return Check(
        check="plate",
        result=result,
        read=read,
        listed=listed,
        positions=positions,
        look_alikes=likeness.look_alikes,
        misread=None
        if misread is None
        else Misreading(kind=misread.kind, position=misread.position),
        text=text,
    )


def _plate_check(found: Found, read: Detection) -> Check:
    alternate, listed = found.alternate, found.entry.plate
    if alternate is None:
        return like_plate_check(found.likeness, read.plate, listed, None)
    return like_plate_check(found.likeness, alternate.plate, listed, read.plate)


def region_check(read: str | None, listed: str | None) -> Check:
    """Compare two regions; `unknown` if one contains the other: `US` may or may not be `US-CA`."""
    if read is None and listed is None:
        return _REGION_UNKNOWN
    result: CheckResult = "unknown"
    text = _REGION_TEXT
    if read is None:
        text += " The read does not say it."
    elif read == listed:
        result = "same"
    elif listed is not None:
        if region_covers(read, listed) or region_covers(listed, read):
            text += " One contains the other."
        else:
            result = "differs"
    return Check(check="region", result=result, read=read, listed=listed, text=text)


def vehicle_check(read: Vehicle | None, listed: Vehicle | None) -> Check:
    """Return `differs` if any listed field differs, `unknown` if none is known to be the same."""
    if listed is None:
        if read is None:
            return _VEHICLE_UNKNOWN
        return Check(
            check="vehicle",
            result="unknown",
            read=vehicle_in_words(read) or None,
            text=_VEHICLE_TEXT,
        )
    result: CheckResult = "unknown"
    text = _VEHICLE_TEXT
    differing, silent, open_ = [], [], []
    for field, found in compare_vehicles(read, listed).items():
        if found == "same":
            result = "same"
        elif found == "differs":
            differing.append(field)
        elif read is None or getattr(read, field) is None:
            silent.append(field)
        else:
            open_.append(field)
    if differing:
        result = "differs"
        text += f" They differ in {_and(differing)}."
    if silent:
        text += f" The read does not say the {_and(silent)}."
    if open_:
        text += f" What the read says of the {_and(open_)} leaves it open."
    return Check(
        check="vehicle",
        result=result,
        read=None if read is None else vehicle_in_words(read) or None,
        listed=vehicle_in_words(listed) or None,
        text=text,
    )


def _area_check(place: Location | None, area: tuple[Area, ...]) -> Check:
    if place is None:
        return Check(
            check="area",
            result="unknown",
            listed=area_in_words(area, None),
            text=f"{_AREA_TEXT} The read does not say where it was made.",
        )
    circle = circle_of(area, place)
    return Check(
        check="area",
        result="differs" if circle is None else "same",
        read=place_in_words(place),
        listed=area_in_words(area, circle),
        text=_AREA_TEXT,
    )


def _hours_check(captured_ms: int, hours: Hours) -> Check:
    return Check(
        check="hours",
        result="same" if within(hours, captured_ms) else "differs",
        read=day_and_time(hours, captured_ms),
        listed=_cut(one_line(hours)),
        text=_HOURS_TEXT,
    )


def _dropped_checks(dropped: tuple[Dropped, ...]) -> tuple[Check, ...]:
    """Return a check for each field that lost a part; it names the first part."""
    by_field: dict[str, list[Dropped]] = {}
    for each in dropped:
        by_field.setdefault(each.field, []).append(each)
    made = []
    for field, parts in by_field.items():
        more = f", and {len(parts) - 1} more" if len(parts) > 1 else ""
        what = f"{parts[0].path} {parts[0].rule}{more}"
        made.append(
            Check(
                check="dropped",
                result="unknown",
                field=cast(DroppableField, field),
                text=f"Part of the read was dropped because it broke a rule: {what}.",
            )
        )
    return tuple(made)


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."
