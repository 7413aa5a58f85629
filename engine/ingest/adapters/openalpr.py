"""OpenALPR, now Rekor Scout: JSON over HTTP POST, one group of readings of one car a message.

A message has a `data_type`. `alpr_group` gives a read, `alpr_alert` the read of the group that it
contains; `vehicle` and `heartbeat` give none. Times are milliseconds since 1970, confidences 0 to
100, regions and countries lower case. `candidates` are the other readings. A camera is identified
by the agent (`agent_uid`, in version 1 `site_id`) and its number there.

Ignored: pictures in base64, and `travel_direction`, which is measured in the picture and is not a
heading.
"""

from __future__ import annotations

from engine.documents.model import Detection
from engine.ingest.adapters.message import (
    Adapted,
    Node,
    Site,
    id_of,
    make_read,
    parse_json,
    time_of,
)
from engine.ingest.adapters.optional_fields import alternates, image, location, region, share

_WITHOUT_PLATE = frozenset({"vehicle", "heartbeat"})
_HUNDRED = 100


def adapt(message: bytes, site: Site) -> Adapted:
    """Return the read of a group or an alert; none for a vehicle or a heartbeat."""
    root = parse_json(message)
    kind = root["data_type"].needed()
    if kind in _WITHOUT_PLATE:
        return Adapted()
    if kind == "alpr_alert":
        return Adapted((_read(root["group"], site),))
    if kind == "alpr_group":
        return Adapted((_read(root, site),))
    raise root["data_type"].error("must be alpr_group, alpr_alert, vehicle or heartbeat")


def _read(group: Node, site: Site) -> Detection:
    best = group["best_plate"]
    at_plate = group["best_plate_number"]
    if at_plate.text() is None:
        at_plate = best["plate"]
    plate = at_plate.needed()
    agent = group["agent_uid"].text() or group["site_id"].text()
    number = group["camera_id"].needed()
    camera = f"{agent}/{number}" if agent else number
    at_confidence = group["best_confidence"]
    if at_confidence.number() is None:
        at_confidence = best["confidence"]
    started = group["best_uuid_epoch_ms"]
    captured_at = time_of(group["epoch_start"] if started.number() is None else started, "ms")
    return make_read(
        group,
        site,
        {
            "read_id": id_of(
                "openalpr", camera, group["best_uuid"].text() or f"{captured_at} {plate}"
            ),
            "plate": plate,
            "captured_at": captured_at,
            "camera": camera,
            "region": _region(group, site),
            "confidence": share(at_confidence, _HUNDRED),
            "alternates": alternates(
                plate,
                (
                    (candidate["plate"], share(candidate["confidence"], _HUNDRED))
                    for candidate in group["candidates"]
                ),
            ),
            "location": location(group["gps_latitude"], group["gps_longitude"]),
            "vehicle": _vehicle(group["vehicle"]),
            "images": list(
                filter(None, [image("overview", group["web_server_config"]["image_url"])])
            ),
        },
    )


def _region(group: Node, site: Site) -> str | None:
    """Return `us-mo`; or `mo` of the group's or the site's country; or only that country."""
    state = group["best_region"].text() or group["best_plate"]["region"].text()
    country = group["country"].text()
    if country is None or region(country) is None or len(country) != 2 or country.lower() == "eu":
        country = site.country
    if state is not None and "-" in state:
        whole = state.lower().removeprefix("eu-")
        return region(whole)
    if country is None:
        return None
    return region(f"{country}-{state}" if state else None, country)


def _vehicle(vehicle: Node) -> dict[str, str]:
    """Return the most likely value of each trait; `make_model` has the form `toyota_camry`."""
    make = _likeliest(vehicle["make"])
    model = _likeliest(vehicle["make_model"])
    if make is not None and model is not None:
        model = model.removeprefix(f"{make}_")
    found = {
        "make": make,
        "model": model,
        "color": _likeliest(vehicle["color"]),
        "type": _likeliest(vehicle["body_type"]),
    }
    return {name: text.replace("_", " ") for name, text in found.items() if text is not None}


def _likeliest(names: Node) -> str | None:
    """Return the first name of a list, which is sorted by confidence."""
    return next((name["name"].text() for name in names), None)
