"""Frigate: messages of its MQTT topics, one JSON object each.

The topics are `frigate/tracked_object_update`, `frigate/events` and `frigate/reviews`.

An object update of type `lpr` gives a read, and so does an event whose object `after` has a
`recognized_license_plate`, a text or a list of a text and its score. Updates of other types and
reviews, which have no plates, give none; neither does a plate that is empty or null, as when a car
leaves. Times are in seconds since 1970 as a decimal fraction, scores 0 to 1. Frigate reports an
object again when it has read its plate better, and in events when anything about it changes; each
report is a read, and the engine suppresses repeated matches.

Ignored: `name` and `sub_label`, which are the name that the owner of the cameras gave to a known
plate.
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
    time_of,
)
from engine.ingest.adapters.optional_fields import optional, share

_PLATE: Final = "recognized_license_plate"


def adapt(message: bytes, site: Site) -> Adapted:
    """Return the read of a message; none for one without a plate."""
    root = parse_json(message)
    kind = root["type"].needed()
    after = root["after"]
    if after.value is not None:
        at_plate, at_score = _pair(after[_PLATE], after[f"{_PLATE}_score"])
        at_time = after["frame_time"]
    elif kind == "lpr":
        after, at_plate, at_score = root, root["plate"], root["score"]
        at_time = root["timestamp"]
    else:
        return Adapted()
    plate = at_plate.text()
    if plate is None:
        return Adapted()
    lacking = Fallbacks(site)
    camera = lacking.camera(after["camera"])
    captured_at = time_of(at_time, "s")
    seen = optional(after["id"].text) or ""
    read = make_read(
        root,
        site,
        {
            "read_id": id_of("frigate", camera, seen, captured_at, plate),
            "plate": plate,
            "captured_at": captured_at,
            "camera": camera,
            "confidence": share(at_score),
        },
    )
    return lacking.adapted([read])


def _pair(plate: Node, score: Node) -> tuple[Node, Node]:
    """Return where a plate and its score are; some versions put both into a list."""
    if not isinstance(plate.value, list):
        return plate, score
    both = [*plate, Node(None, plate.path), Node(None, plate.path)]
    return both[0], both[1] if both[1].value is not None else score
