"""Axis License Plate Verifier: JSON, one message for each change of what it knows about a car.

A car is `new`, then `update`d, then `lost`, and each message may have another plate than the one
before. The last state of a car counts, once, so the reads of one car pass through
`engine.ingest.adapters.cars`. The time is in nanoseconds since 1970, as a string; so is the
confidence, 0 to 1. Countries have three letters.

Ignored: pictures, coordinates in the picture, `plateList`, which is the result of the camera's own
lists, and `carMoveDirection`, which is not a heading.
"""

from __future__ import annotations

from engine.ingest.adapters.countries import ALPHA_2
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
from engine.ingest.adapters.optional_fields import location, region, share

_STATES = frozenset({"new", "update", "lost"})


def adapt(message: bytes, site: Site) -> Adapted:
    """Return the read, if the message has a plate, and which car it is about."""
    root = parse_json(message)
    state = root["carState"]
    if state.needed() not in _STATES:
        raise state.error("must be new, update or lost")
    camera = _camera(root)
    number = root["carID"].needed()
    car = Car(f"{camera}/{number}", state.needed() == "lost")
    plate = next(
        filter(None, (root[name].text() for name in ("plateUTF8", "plateUnicode", "plateText"))),
        None,
    )
    if plate is None:
        return Adapted(car=car)
    captured_at = time_of(root["capture_ts"], "ns")
    read = make_read(
        root,
        site,
        {
            "read_id": id_of("axis", camera, number, captured_at, plate),
            "plate": plate,
            "captured_at": captured_at,
            "camera": camera,
            "region": _region(root),
            "confidence": share(root["plateConfidence"]),
            "location": location(root["geotag"]["lat"], root["geotag"]["lon"]),
            "vehicle": _vehicle(root["vehicle_info"]),
        },
    )
    return Adapted((read,), car=car)


def _camera(root: Node) -> str:
    """Return the camera's name, or its serial number, or its address."""
    found = (
        root["sensorProviderID"].text()
        or root["camera_info"]["SerialNumber"].text()
        or root["camera_info"]["MACAddress"].text()
    )
    if found is None:
        raise root["camera_info"]["SerialNumber"].error("is required, or sensorProviderID")
    return found


def _region(root: Node) -> str | None:
    country = ALPHA_2.get((root["plateCountry"].text() or "").upper())
    part = root["plateRegionCode"].text()
    return region(
        root["plateISO3166-2"].text(), f"{country}-{part}" if country and part else None, country
    )


def _vehicle(info: Node) -> dict[str, str]:
    found = {
        "make": info["brand"].text(),
        "model": info["model"].text(),
        "color": info["color"].text(),
        "type": info["type"].text(),
    }
    return {name: text for name, text in found.items() if text is not None}
