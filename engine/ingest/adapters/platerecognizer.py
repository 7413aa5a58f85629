"""Plate Recognizer, Stream and Snapshot: webhooks in JSON, one result for each plate in a picture.

A message has a `hook` and `data`. Stream's event is `recognition`, Snapshot's `image.done`, which
also comes for pictures without a plate. Other events give no read. What the recognition API
answers, and what integrations send on to ParkPow, is the content of `data` without a hook.

A result has one of two forms: `plate` is a text, or it is an object with `props.plate[].value`,
and `vehicle` has `props` too. Plates are lower case, scores 0 to 1, regions such as `us-ca` or
`nl`. Snapshot's time has no zone; its `camera_id` is null if the caller gave none, and then the
hook's id names the camera. A webhook with the picture is a form whose field `json` is this message;
the pictures are not used.

Ignored: `direction` and `box`, which are measured in the picture, and `source_url`, which is the
camera's and may contain its password.
"""

from __future__ import annotations

from typing import Final

from engine.documents.model import Detection
from engine.ingest.adapters.fallbacks import Fallbacks
from engine.ingest.adapters.message import Adapted, Node, Site, id_of, make_read, parse_json
from engine.ingest.adapters.optional_fields import alternates, image, optional, region, share
from engine.ingest.adapters.values import inside, traits

_NOTHING: Final = Node(None)
#: Events with results.
_EVENTS: Final = frozenset({"recognition", "image.done"})
_TIMES: Final = ("timestamp", "timestamp_local", "time")


def adapt(message: bytes, site: Site) -> Adapted:
    """Return the reads of all results; a result that gives none does not stop the others."""
    root = parse_json(message)
    hook, data = root["hook"], root["data"]
    if hook.value is None and root["results"].value is not None:
        data = root
    elif hook["event"].needed() in _EVENTS and data.value is None:
        raise data.error("is required", "missing_field")
    elif hook["event"].text() not in _EVENTS:
        return Adapted()
    results = list(data["results"])
    lacking = Fallbacks(site)

    def read(result: Node) -> Detection | None:
        plate, score, area, others = _plate(result)
        if plate is None:
            return None  # a vehicle whose plate was not visible
        at_camera = data["camera_id"] if data["camera"].value is None else data["camera"]
        hook_id = hook["id"]
        camera = lacking.camera(at_camera, hook_id)
        captured_at = lacking.time(_time(data))
        named = optional(hook_id.text) or ""
        return make_read(
            result,
            site,
            {
                "read_id": id_of("platerecognizer", named, camera, captured_at, result.path, plate),
                "plate": plate,
                "captured_at": captured_at,
                "camera": camera,
                "region": _region(optional(area.text), site.country),
                "confidence": share(score),
                "alternates": others,
                "vehicle": optional(lambda: _vehicle(result)),
                "images": list(filter(None, [image("overview", data["filename"])])),
            },
        )

    return lacking.each(results, read)


def _plate(result: Node) -> tuple[str | None, Node, Node, list[dict[str, object]] | None]:
    """Return the plate, where its score and its region are, and its other readings."""
    plate = result["plate"]
    if not isinstance(plate.value, dict):
        text = plate.text()
        region_code = inside(result["region"], "code")
        if region_code.value is None and isinstance(result["region"].value, str):
            region_code = result["region"]
        return text, result["score"], region_code, _others(text, result["candidates"], "plate")
    props = plate["props"]
    readings = props["plate"]
    best, area = _best(readings), optional(lambda: _best(props["region"])) or _NOTHING
    text = best["value"].text()
    return text, best["score"], inside(area, "value"), _others(text, readings, "value")


def _region(code: str | None, country: str | None) -> str | None:
    """Return `us-ca` or `nl`; a state such as `CA`, as other cameras name it, of the country."""
    if code is None or "-" in code or code.islower():
        return region(code)
    return region(f"{country}-{code}" if country else None, country)


def _others(plate: str | None, readings: Node, name: str) -> list[dict[str, object]] | None:
    if plate is None:
        return None
    return optional(
        lambda: alternates(plate, ((each[name], share(each["score"])) for each in readings))
    )


def _best(readings: Node) -> Node:
    """Return the first reading of a list, which is sorted by score."""
    return next(iter(readings), Node(None, f"{readings.path}[0]"))


def _time(data: Node) -> Node:
    """Return the first time that is there."""
    return next(
        (data[name] for name in _TIMES if data[name].value not in (None, "")), data["timestamp"]
    )


def _vehicle(result: Node) -> dict[str, str]:
    """Return the type, and the most likely make, model and colour if the licence has them."""
    vehicle = result["vehicle"]
    props = inside(vehicle, "props")
    if props.value is not None:
        model, color = _first(props, "make_model"), _first(props, "color")
        painted = inside(color, "value")
    else:
        model, color = _first(result, "model_make"), _first(result, "color")
        painted = inside(color, "color")
    return traits(
        make=inside(model, "make"),
        model=inside(model, "model"),
        color=painted,
        type=inside(vehicle, "type"),
    )


def _first(at: Node, name: str) -> Node:
    return optional(lambda: _best(inside(at, name))) or _NOTHING
