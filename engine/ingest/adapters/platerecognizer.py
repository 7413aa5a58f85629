"""Plate Recognizer, Stream and Snapshot: webhooks in JSON, one result for each plate in a picture.

A message has a `hook` and `data`. Stream's event is `recognition`, Snapshot's `image.done`, which
also comes for pictures without a plate and then gives no read. Plates are lower case, scores 0 to
1, regions such as `us-ca` or `nl`. A webhook with the picture is a form whose field `json` is this
message; the pictures are not used.

Ignored: `direction` and `box`, which are measured in the picture, and `source_url`, which is the
camera's and may contain its password.
"""

from __future__ import annotations

from engine.documents.model import Detection
from engine.ingest.adapters.fallbacks import Fallbacks
from engine.ingest.adapters.message import (
    Adapted,
    Node,
    Site,
    each,
    id_of,
    make_read,
    parse_json,
)
from engine.ingest.adapters.optional_fields import alternates, image, region, share

_EVENTS = frozenset({"recognition", "image.done"})


def adapt(message: bytes, site: Site) -> Adapted:
    """Return the reads of all results; a result that gives none does not stop the others."""
    root = parse_json(message)
    event = root["hook"]["event"]
    if event.needed() not in _EVENTS:
        raise event.error("must be recognition or image.done")
    data = root["data"]
    if data.value is None:
        raise data.error("is required")
    results = list(data["results"])
    if not results:
        return Adapted()
    hook = root["hook"]["id"].text() or ""
    camera = data["camera_id"].needed()
    lacking = Fallbacks(site)
    captured_at = lacking.time(
        data["timestamp_local"] if data["timestamp"].text() is None else data["timestamp"]
    )

    def read(result: Node) -> Detection | None:
        plate = result["plate"].text()
        if plate is None:
            return None  # a vehicle whose plate was not visible
        return make_read(
            result,
            site,
            {
                "read_id": id_of("platerecognizer", hook, camera, captured_at, result.path, plate),
                "plate": plate,
                "captured_at": captured_at,
                "camera": camera,
                "region": region(result["region"]["code"].text()),
                "confidence": share(result["score"]),
                "alternates": alternates(
                    plate,
                    ((each["plate"], share(each["score"])) for each in result["candidates"]),
                ),
                "vehicle": _vehicle(result),
                "images": list(filter(None, [image("overview", data["filename"])])),
            },
        )

    return each(results, read)


def _vehicle(result: Node) -> dict[str, str]:
    """Return the type, and the most likely make, model and colour if the licence has them."""
    model = next(iter(result["model_make"]), Node(None))
    color = next(iter(result["color"]), Node(None))
    found = {
        "make": model["make"].text(),
        "model": model["model"].text(),
        "color": color["color"].text(),
        "type": result["vehicle"]["type"].text(),
    }
    return {name: text for name, text in found.items() if text is not None}
