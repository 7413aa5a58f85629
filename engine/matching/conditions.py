"""An entry's conditions on a read besides its plate: the region, the vehicle, the area, the hours.

Each condition excludes reads that are known not to meet it. A field that the read lacks excludes
nothing: the match lists what could not be checked, for the person who confirms it (`match`).

Pure, and almost free for an entry without conditions.
"""

from __future__ import annotations

import math
from typing import Final

from engine.documents.hours import within
from engine.documents.model import Area, Detection, Entry, Location
from engine.index.eligibility import (
    ENTRY_AREA,
    ENTRY_HOURS,
    ENTRY_REGION,
    ENTRY_VEHICLE,
    region_excludes,
)
from engine.matching.vehicles import vehicle_differs

#: The mean radius of the earth (IUGG); on a sphere of it, distances are right to 0.6%.
EARTH_RADIUS_M: Final = 6_371_008.8


def narrowed_out(entry: Entry, read: Detection) -> str | None:
    """Return why the entry excludes the read, one of `eligibility.DENIAL_REASONS`, or None."""
    if region_excludes(entry.region, read.region):
        return ENTRY_REGION
    vehicle = entry.vehicle
    if vehicle is not None and read.vehicle is not None and vehicle_differs(read.vehicle, vehicle):
        return ENTRY_VEHICLE
    area = entry.area
    if area is not None and read.location is not None and circle_of(area, read.location) is None:
        return ENTRY_AREA
    hours = entry.hours
    if hours is not None and not within(hours, read.captured_ms):
        return ENTRY_HOURS
    return None


def circle_of(area: tuple[Area, ...], place: Location) -> Area | None:
    """Return the first circle of the area that contains the place; None if none does."""
    return next(
        (circle for circle in area if distance_m(circle, place) <= circle.radius_m),
        None,
    )


def area_in_words(area: tuple[Area, ...], circle: Area | None) -> str:
    """Describe the circle, or if it is None, the area's first one and the number of others."""
    shown = circle or area[0]
    text = f"within {shown.radius_m:.10g} m of {place_in_words(shown)}"
    return text if circle is not None or len(area) == 1 else f"{text}, or {len(area) - 1} more"


def place_in_words(place: Area | Location) -> str:
    """Return latitude and longitude, to about a metre."""
    return f"{place.lat:.5f} {place.lon:.5f}"


def distance_m(one: Area | Location, other: Area | Location) -> float:
    """Return the great-circle distance of two places in metres.

    It uses the haversine formula (R. W. Sinnott, Virtues of the Haversine, Sky and Telescope 68,
    1984).
    """
    lat_one, lat_other = math.radians(one.lat), math.radians(other.lat)
    across = math.sin(math.radians(other.lon - one.lon) / 2)
    along = math.sin((lat_other - lat_one) / 2)
    haversine = along * along + math.cos(lat_one) * math.cos(lat_other) * across * across
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, haversine)))
