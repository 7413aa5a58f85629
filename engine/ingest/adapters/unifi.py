"""UniFi Protect: the webhook of an alarm, JSON over HTTP POST, one trigger or several.

A trigger whose key is `license_plate_known`, `license_plate_unknown` or
`license_plate_of_interest` gives a read; triggers of people, vehicles, motion give none. The plate
is the trigger's `value`, or the name of its group if that is none; the group of a known plate may
have its owner's name. The time is milliseconds since 1970, or written. A camera is identified by
its address (`device`). There is no confidence.

Ignored: the zones and the alarm's thumbnail.
"""

from __future__ import annotations

from typing import Final

from engine import limits
from engine.documents.model import Detection
from engine.errors import DocumentError
from engine.ingest.adapters.fallbacks import Fallbacks
from engine.ingest.adapters.message import (
    Adapted,
    AdapterError,
    Node,
    Site,
    id_of,
    make_read,
    parse_json,
    time_of,
)
from engine.ingest.adapters.values import plate_text
from engine.plates.normal_form import normalize

_PLATE_KEY: Final = "license_plate"


def adapt(message: bytes, site: Site) -> Adapted:
    """Return the read of each trigger that has a plate; none for other alarms."""
    root = parse_json(message)
    alarm = root if root["alarm"].value is None else root["alarm"]
    if root["alarm"].value is None and root["triggers"].value is None:
        raise root["alarm"].error("is required", "missing_field")
    fallbacks = Fallbacks(site)

    def read(trigger: Node) -> Detection | None:
        if not (trigger["key"].text() or "").startswith(_PLATE_KEY):
            return None
        at_plate = _plate(trigger)
        plate = plate_text(at_plate)
        if plate is None:
            return None
        camera = fallbacks.camera(trigger["device"], root["cameraId"])
        captured_at = _time(trigger, root, fallbacks)
        event = trigger["eventId"].text() or captured_at
        return make_read(
            trigger,
            site,
            {
                "read_id": id_of("unifi", camera, event, plate),
                "plate": plate,
                "captured_at": captured_at,
                "camera": camera,
            },
        )

    return fallbacks.each(alarm["triggers"], read)


def _plate(trigger: Node) -> Node:
    """Return the value, unless it is no plate and the group's name is one."""
    value, group = trigger["value"], trigger["group"]
    try:
        name = group["name"]
        if not _is_normal(value) and _is_normal(name):
            return name
    except AdapterError:
        pass
    return value


def _is_normal(at: Node) -> bool:
    try:
        text = plate_text(at)
        return (
            text is not None and len(text) <= limits.PLATE_TEXT_CHARACTERS and bool(normalize(text))
        )
    except (AdapterError, DocumentError):
        return False


def _time(trigger: Node, root: Node, fallbacks: Fallbacks) -> str:
    """Return the trigger's time, or the message's."""
    at = root["timestamp"] if trigger["timestamp"].value is None else trigger["timestamp"]
    if isinstance(at.value, str) and not at.value.strip().isdigit():
        return fallbacks.time(at)
    return time_of(at, "ms")
