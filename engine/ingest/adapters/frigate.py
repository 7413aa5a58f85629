"""Frigate: messages of its MQTT topic `frigate/tracked_object_update`, one JSON object each.

Those of type `lpr` give a read, all others none. The time is in seconds since 1970 as a decimal
fraction, the score 0 to 1. Frigate tells again of an object when it has read its plate better;
each telling is a read, and the engine folds what matches twice.

Left out: `name`, which is what the owner of the cameras calls a known plate.
"""

from __future__ import annotations

from engine.ingest.adapters.message import (
    Adapted,
    Site,
    id_of,
    make_read,
    parse_json,
    share,
    time_of,
)


def adapt(message: bytes, site: Site) -> Adapted:
    """The read of an `lpr` update; none of any other."""
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
