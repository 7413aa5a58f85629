"""Axis License Plate Verifier: JSON, one message for each change of what it knows about a car.

A car is `new`, then `update`d, then `lost`, and each message may have another plate than the one
before. The last state of a car counts, once, so the reads of one car pass through
`engine.ingest.adapters.cars`. Times are in nanoseconds since 1970, or in milliseconds; the
confidence is 0 to 1. Both are strings. Countries have three letters.

A camera's serial number distinguishes it. It is named by `sensorProviderID`, unless that is
still "defaultID", which several cameras share: then the serial number is its name.

Ignored: heartbeats, pictures, coordinates in the picture, `plateList`, which is the result of the
camera's own lists, and `carMoveDirection`, which is not a heading.
"""

from __future__ import annotations

import re
from typing import Final

from engine.ingest.adapters.countries import ALPHA_2
from engine.ingest.adapters.fallbacks import Fallbacks
from engine.ingest.adapters.message import (
    Adapted,
    Car,
    Node,
    Site,
    id_of,
    make_read,
    parse_json,
    time_of,
)
from engine.ingest.adapters.optional_fields import location, optional, region, share
from engine.ingest.adapters.values import traits

_STATES: Final = frozenset({"new", "update", "updated", "lost"})
_PLATES: Final = ("plateUTF8", "plateUnicode", "plateText", "plateASCII")
_DAY_AND_TIME: Final = re.compile(r"([0-9]{8}) ([0-9]{6})([0-9]{3}) ?([+-][0-9]{4})?")
#: The provider's id by default; some versions append a number.
_DEFAULT: Final = re.compile(r"defaultid(?:_[0-9]+)?", re.IGNORECASE)


def adapt(message: bytes, site: Site) -> Adapted:
    """Return the read, if the message has a plate, and which car it is about."""
    root = parse_json(message)
    state = (root["carState"].text() or root["carstate"].text() or "").lower()
    plate = next((text for name in _PLATES if (text := root[name].text())), None)
    if not state and plate is None and _is_heartbeat(root):
        return Adapted()
    if state not in _STATES:
        raise root["carState"].error("must be new, update or lost")
    lacking = Fallbacks(site)
    camera, device = _camera(root, lacking)
    number = root["carID"].text()
    car = None if number is None else Car(f"{device}/{number}", state == "lost")
    if plate is None:
        return lacking.adapted(car=car)
    captured_at = _time(root, lacking)
    read = make_read(
        root,
        site,
        {
            "read_id": id_of("axis", device, number or "", captured_at, plate),
            "plate": plate,
            "captured_at": captured_at,
            "camera": camera,
            "region": optional(lambda: _region(root)),
            "confidence": share(root["plateConfidence"]),
            "location": optional(lambda: location(root["geotag"]["lat"], root["geotag"]["lon"])),
            "vehicle": optional(lambda: _vehicle(root["vehicle_info"])),
        },
    )
    return lacking.adapted([read], car=car)


def _is_heartbeat(root: Node) -> bool:
    """Return whether a message says of a camera that it works, and nothing of a car."""
    return root["carID"].value is None and root["camera_info"].value is not None


def _camera(root: Node, lacking: Fallbacks) -> tuple[str, str]:
    """Return the name of the camera, and what distinguishes it from other cameras."""
    info, provider = root["camera_info"], root["sensorProviderID"]
    name = provider.text()
    if name is not None and _DEFAULT.fullmatch(name):
        name = None
    serials = (info["SerialNumber"], info["MACAddress"], root["cameraId"])
    device = next((text for at in serials if (text := at.text())), None)
    if device is None and name is None:
        name = lacking.camera(Node(None, serials[0].path), provider)
    return name or device or "", device or name or ""


def _time(root: Node, lacking: Fallbacks) -> str:
    """Return the time in nanoseconds, in milliseconds, or as it is written."""
    capture, stamp, written = root["capture_ts"], root["capture_timestamp"], root["datetime"]
    found = (
        optional(lambda: time_of(capture, "ns"))
        or optional(lambda: time_of(stamp, "ms"))
        or optional(lambda: time_of(stamp, "ns"))
    )
    if found is not None:
        return found
    parts = _DAY_AND_TIME.fullmatch(optional(written.needed) or "")
    if parts is not None:
        day, second, millisecond, offset = parts.groups(default="")
        return lacking.time(Node(f"{day}T{second}.{millisecond}{offset}", written.path))
    return time_of(capture, "ns")


def _region(root: Node) -> str | None:
    country = ALPHA_2.get((root["plateCountry"].text() or "").upper())
    part = root["plateRegionCode"].text()
    return region(
        root["plateISO3166-2"].text(), f"{country}-{part}" if country and part else None, country
    )


def _vehicle(info: Node) -> dict[str, str]:
    return traits(
        make=info["make"] if info["brand"].value is None else info["brand"],
        model=info["model"],
        color=info["color"],
        type=info["type"],
    )
