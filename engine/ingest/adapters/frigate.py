"""Frigate: messages of its MQTT topic `frigate/tracked_object_update`, one JSON object each.

Messages of type `lpr` give a read, all others none. The time is in seconds since 1970 as a decimal
fraction, the score 0 to 1. Frigate reports an object again when it has read its plate better; each
report is a read, and the engine suppresses repeated matches.

Ignored: `name`, which is the name that the owner of the cameras gave to a known plate.
"""

from __future__ import annotations

from engine.ingest.adapters.message import (
    Adapted,
    Site,
    id_of,
    make_read,
    parse_json,
    time_of,
)
from engine.ingest.adapters.optional_fields import share


def adapt(message: bytes, site: Site) -> Adapted:
    """Return the read of an `lpr` update; no read for any other message."""
    root = parse_json(message)
    if root["type"].needed() != "lpr":
        return Adapted()
    camera, plate = root["camera"].needed(), root["plate"].needed()
    captured_at = time_of(root["timestamp"], "s")
    read = make_read(
        root,
        site,
        {
            "read_id": id_of("frigate", camera, root["id"].needed(), captured_at, plate),
            "plate": plate,
            "captured_at": captured_at,
            "camera": camera,
            "confidence": share(root["score"]),
        },
    )
    return Adapted((read,))
