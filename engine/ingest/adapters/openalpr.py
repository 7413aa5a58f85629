"""OpenALPR, now Rekor Scout: JSON over HTTP POST, one group of readings of one car a message.

A message has a `data_type`. `alpr_group` gives a read, also while it is a preview; `alpr_results`,
which comes at once for a single picture, gives a read for each plate in it; `alpr_alert` gives the
read of the group that it contains, or what it says itself. `vehicle`, `heartbeat` and the test of a
webhook give none, and neither does a plate that is empty or missing. Times are milliseconds since
1970, confidences 0 to 100, regions and countries lower case. `candidates` are the other readings.
A camera is identified by the agent (`agent_uid`, in version 1 `site_id`) and its number there.

Ignored: pictures in base64, and `travel_direction`, which is measured in the picture and is not a
heading.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine.documents.model import Detection
from engine.ingest.adapters.fallbacks import Fallbacks
from engine.ingest.adapters.message import (
    Adapted,
    Node,
    Site,
    id_of,
    make_read,
    parse_json,
    time_of,
)
from engine.ingest.adapters.optional_fields import (
    alternates,
    image,
    location,
    optional,
    region,
    share,
)
from engine.ingest.adapters.values import inside

_WITHOUT_PLATE: Final = frozenset({"vehicle", "heartbeat"})
_GROUP: Final = "alpr_group"
_TYPES: Final = "must be alpr_group, alpr_alert, alpr_results, vehicle or heartbeat"
_HUNDRED: Final = 100


def adapt(message: bytes, site: Site) -> Adapted:
    """Return the reads of a group, an alert or a picture; none for a vehicle or a heartbeat."""
    root = parse_json(message)
    kind = root["data_type"].text()
    if kind in _WITHOUT_PLATE or (kind is None and root["openalpr_webhook"].value is not None):
        return Adapted()
    lacking = Fallbacks(site)
    if kind == "alpr_results":
        return lacking.each(root["results"], _picture(root, site, lacking))
    if kind == _GROUP:
        return _one(_read(root, site, lacking), lacking)
    group = root["group"]
    if kind == "alpr_alert" or (kind is None and group.value is not None):
        alone = group.value is None
        return _one(_alert(root, site, lacking) if alone else _read(group, site, lacking), lacking)
    root["data_type"].needed()
    raise root["data_type"].error(_TYPES)


def _one(read: Detection | None, lacking: Fallbacks) -> Adapted:
    return lacking.adapted([] if read is None else [read])


def _read(group: Node, site: Site, lacking: Fallbacks) -> Detection | None:
    best = group["best_plate"]
    plate = group["best_plate_number"].text() or inside(best, "plate").text()
    if plate is None:
        return None
    camera = _camera(group, "camera_id", lacking)
    at_confidence = group["best_confidence"]
    if optional(at_confidence.number) is None:
        at_confidence = inside(best, "confidence")
    started = group["best_uuid_epoch_ms"]
    captured_at = optional(lambda: time_of(started, "ms")) or time_of(group["epoch_start"], "ms")
    seen = optional(group["best_uuid"].text) or f"{captured_at} {plate}"
    state = optional(group["best_region"].text) or optional(inside(best, "region").text)
    served = group["web_server_config"]
    return make_read(
        group,
        site,
        {
            "read_id": id_of("openalpr", camera, seen),
            "plate": plate,
            "captured_at": captured_at,
            "camera": camera,
            "region": _region(state, group["country"], site),
            "confidence": share(at_confidence, _HUNDRED),
            "alternates": _alternates(plate, group["candidates"]),
            "location": location(group["gps_latitude"], group["gps_longitude"]),
            "vehicle": optional(lambda: _vehicle(group["vehicle"])),
            "images": list(filter(None, [image("overview", inside(served, "image_url"))])),
        },
    )


def _picture(root: Node, site: Site, lacking: Fallbacks) -> Callable[[Node], Detection | None]:
    """Return what makes a read of each plate in a picture."""

    def read(result: Node) -> Detection | None:
        plate = result["plate"].text()
        if plate is None:
            return None
        camera = _camera(root, "camera_id", lacking)
        captured_at = time_of(root["epoch_time"], "ms")
        return make_read(
            result,
            site,
            {
                "read_id": id_of("openalpr", camera, captured_at, result.path, plate),
                "plate": plate,
                "captured_at": captured_at,
                "camera": camera,
                "region": _region(optional(result["region"].text), root["country"], site),
                "confidence": share(result["confidence"], _HUNDRED),
                "alternates": _alternates(plate, result["candidates"]),
            },
        )

    return read


def _alert(alert: Node, site: Site, lacking: Fallbacks) -> Detection | None:
    """Return the read of an alert without its group."""
    plate = alert["plate_number"].text()
    if plate is None:
        return None
    camera = _camera(alert, "camera_number", lacking)
    captured_at = time_of(alert["epoch_time"], "ms")
    return make_read(
        alert,
        site,
        {
            "read_id": id_of("openalpr", camera, f"{captured_at} {plate}"),
            "plate": plate,
            "captured_at": captured_at,
            "camera": camera,
        },
    )


def _camera(at: Node, number: str, lacking: Fallbacks) -> str:
    """Return the agent and the camera's number there, such as `AGENT7/104`."""
    agent = at["agent_uid"] if at["agent_uid"].text() is not None else at["site_id"]
    numbered = at[number].text()
    if numbered is None:
        return lacking.camera(at[number], agent)
    return f"{agent.text()}/{numbered}" if agent.text() is not None else numbered


def _alternates(plate: str, candidates: Node) -> list[dict[str, object]] | None:
    return optional(
        lambda: alternates(
            plate,
            ((each["plate"], share(each["confidence"], _HUNDRED)) for each in candidates),
        )
    )


def _region(state: str | None, at_country: Node, site: Site) -> str | None:
    """Return `us-mo`; or `mo` of the message's or the site's country; or only that country."""
    country = optional(at_country.text)
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
    return optional(lambda: next((name["name"].text() for name in names), None))
