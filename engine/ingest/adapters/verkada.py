"""Verkada: the webhook of type `lpr`, JSON over HTTP POST, one plate a message.

Other types (`notification`, ...) give no read. `created` is the time in seconds since 1970; if it
is missing, `detected` in milliseconds counts. The confidence is 0 to 1, the state such as `us-ca`.
A camera is identified by Verkada's id of it.

Ignored: `crop`, which is a place in the picture.
"""

from __future__ import annotations

from engine.ingest.adapters.fallbacks import Fallbacks
from engine.ingest.adapters.message import (
    Adapted,
    Site,
    id_of,
    make_read,
    parse_json,
    time_of,
)
from engine.ingest.adapters.optional_fields import image, region, share
from engine.ingest.adapters.values import plate_text, text_at


def adapt(message: bytes, site: Site) -> Adapted:
    """Return the read of an `lpr` webhook; no read for any other."""
    root = parse_json(message)
    if root["webhook_type"].needed().lower() != "lpr":
        return Adapted()
    data = root["data"]
    if data.value is None:
        raise data.error("is required", "missing_field")
    plate = plate_text(data["license_plate_number"])
    if plate is None:
        return Adapted()
    fallbacks = Fallbacks(site)
    camera = fallbacks.camera(data["camera_id"])
    if data["created"].value is None and data["detected"].value is not None:
        captured_at = time_of(data["detected"], "ms")
    else:
        captured_at = time_of(data["created"], "s")
    state = text_at(data, "license_plate_state")
    if state is not None and "-" not in state and site.country is not None:
        state = f"{site.country}-{state}"
    read = make_read(
        data,
        site,
        {
            "read_id": id_of("verkada", camera, captured_at, plate),
            "plate": plate,
            "captured_at": captured_at,
            "camera": camera,
            "region": region(state if state is not None and "-" in state else None),
            "confidence": share(data["confidence"]),
            "images": list(filter(None, [image("overview", data["image_url"])])),
        },
    )
    return fallbacks.adapted([read])
