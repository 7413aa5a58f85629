"""Milesight LPR cameras: HTTP post, JSON, one plate a message.

The camera sends the time of its own clock without a zone (`--time-zone` names it), the confidence
as a string 0 to 1, and `No Plates` for a car without one. Events that count vehicles or parking
spaces have no plate and give no read. `device` is the camera's name, which is `Network Camera`
until someone changes it: then `--camera` names the camera. The country has two or three letters.

Ignored: `direction`, which is relative to the camera, the camera's own lists (`type`), coordinates
in the picture, and pictures in base64.
"""

from __future__ import annotations

from typing import Final

from engine.ingest.adapters.fallbacks import Fallbacks
from engine.ingest.adapters.message import (
    Adapted,
    Node,
    Site,
    id_of,
    make_read,
    parse_json,
)
from engine.ingest.adapters.optional_fields import share
from engine.ingest.adapters.values import country, known, plate_text, text_at

_DEFAULT_NAME: Final = "network camera"
#: One of these is in every event of these cameras.
_FIELDS: Final = ("device", "event", "time")


def adapt(message: bytes, site: Site) -> Adapted:
    """Return the read of a recognition; no read for an event without a plate."""
    root = parse_json(message)
    plate = plate_text(root["plate"])
    if plate is None:
        if all(root[name].value is None for name in (*_FIELDS, "plate")):
            raise root["plate"].error("is required", "missing_field")
        return Adapted()
    fallbacks = Fallbacks(site)
    camera = _camera(root["device"], fallbacks)
    # `time_msec` is the same time with milliseconds, which older versions do not have.
    captured_at = fallbacks.time(
        root["time"] if root["time_msec"].text() is None else root["time_msec"]
    )
    read = make_read(
        root,
        site,
        {
            "read_id": id_of("milesight", camera, captured_at, plate),
            "plate": plate,
            "captured_at": captured_at,
            "camera": camera,
            "region": country(text_at(root, "region")),
            "confidence": _confidence(root["confidence"]),
            "vehicle": _vehicle(root),
        },
    )
    return fallbacks.adapted([read])


def _camera(device: Node, fallbacks: Fallbacks) -> str:
    """Return the camera's name; one that all cameras come with only if there is no other."""
    if (device.text() or "").lower() == _DEFAULT_NAME:
        return fallbacks.camera(Node(None, device.path), device)
    return fallbacks.camera(device)


def _confidence(at: Node) -> float | None:
    """Convert `0.70`; some versions write percents."""
    found = share(at)
    return share(at, 100) if found is None else found


def _vehicle(root: Node) -> dict[str, str]:
    return known(
        make=text_at(root, "Vehicle Brand")
        or text_at(root, "vehicle_brand")
        or text_at(root, "Vehicle_Brand"),
        color=text_at(root, "vehicle_color"),
        type=text_at(root, "vehicle_type"),
    )
