"""Dahua cameras and recorders, and others made by Dahua: events in four forms.

* The text of `eventManager.cgi`: `Code=TrafficJunction;action=Pulse;index=0;data={...}`, once or
  several times, with or without the boundaries and headers of a multipart stream.
* The text of `snapManager.cgi`: lines such as `Events[0].TrafficCar.PlateNumber=ABC123`.
* The same events as JSON: `{"Code": ..., "Action": ..., "Data": {...}}`, in a list, or in a
  notification of the event stream.
* The HTTP push of ITSAPI (`/NotificationInfo/TollgateInfo`): `{"Picture": {"Plate": ...}}`. Its
  registration and its heartbeat give no read.

An event gives a read if it has a plate, whatever its code. Events that end (`Stop`) give none.

The time: `RealUTC` in seconds since 1970 with `UTCMS`. `UTC` of many cameras is the time of their
own clock: if it equals `LocaleTime`, the zone is the site's. ITSAPI writes the camera's clock. A
camera is identified by `MachineName` and the channel, or `DeviceID`. The confidence of an event is
0 to 255, that of ITSAPI 0 to 100; 0 is none.

Ignored: directions, which are relative to the camera, and pictures in base64.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from engine.documents.model import Detection
from engine.ingest.adapters.fallbacks import Fallbacks
from engine.ingest.adapters.message import (
    Adapted,
    AdapterError,
    Node,
    Site,
    check_size,
    id_of,
    json_value,
    make_read,
    time_of,
)
from engine.ingest.adapters.optional_fields import location, optional, share
from engine.ingest.adapters.values import country, inside, known, plate_text, text_at

_EVENT_WHOLE: Final = 255
_HUNDRED: Final = 100
_HEADER: Final = re.compile(
    r"Code=(?P<code>[^;\r\n]{1,64});action=(?P<action>[^;\r\n]{1,16})"
    r"(?:;index=(?P<index>[^;\r\n]{1,16}))?(?:;data=(?P<data>\s*)(?=\{))?"
)
_LINE: Final = re.compile(r"^Events\[(\d{1,3})\]\.([\w.]{1,200})=(.*)$", re.MULTILINE)
#: Fields of JSON messages that are no reads: registration and heartbeat of ITSAPI.
_WITHOUT_READ: Final = ("Active", "DeviceName", "KeepAlive", "DeviceModel")
_RULE: Final = "must be a Dahua event: Code=..., Events[0]... or JSON"


def adapt(message: bytes, site: Site) -> Adapted:
    """Return the read of each event that has a plate."""
    check_size(message)
    fallbacks = Fallbacks(site)
    value = json_value(message)
    events = list(_text_events(message)) if value is None else list(_json_events(Node(value)))

    def read(event: Node) -> Detection | None:
        if event["Picture"].value is not None:
            return _pushed(event["Picture"], site, fallbacks)
        return _event(event, site, fallbacks)

    return fallbacks.each(events, read)


def _json_events(root: Node) -> Iterator[Node]:
    """Yield the events of a JSON message, each with its code, action and data."""
    if isinstance(root.value, list):
        yield from root
        return
    if not isinstance(root.value, dict):
        raise AdapterError("$", _RULE, "not_json")
    inner = root["params"]
    for at in (inner["eventList"], root["eventList"], root["Events"], root["events"]):
        if at.value is not None:
            yield from at
            return
    if root["Plate"].value is not None and root["Picture"].value is None:
        yield Node({"Picture": root.value}, root.path)
    elif any(root[name].value is not None for name in ("Picture", "Code", "Data", "TrafficCar")):
        yield root
    elif all(root[name].value is None for name in _WITHOUT_READ):
        raise AdapterError("$", _RULE, "missing_field")


def _text_events(message: bytes) -> Iterator[Node]:
    """Yield the events of a text, in the form of those in JSON."""
    text = message.decode("utf-8", "replace")
    found = 0
    for header in _HEADER.finditer(text):
        found += 1
        data = _object(text, header.end()) if header["data"] is not None else {}
        yield Node(
            {"Action": header["action"], "Index": header["index"], "Data": data},
            f"$.event[{found - 1}]",
        )
    by_event: dict[str, dict[str, Any]] = {}
    for number, path, written in _LINE.findall(text):
        _put(by_event.setdefault(number, {}), path.split("."), written.strip())
    for number, fields in by_event.items():
        yield Node(fields, f"$.Events[{number}]")
    if not (
        found or by_event or text.strip() == "Heartbeat" or text.rstrip().endswith("Heartbeat")
    ):
        raise AdapterError("$", _RULE)


def _object(text: str, start: int) -> Any:
    """Return the JSON object that begins there; if it is broken, a text, which is no event."""
    try:
        return json.JSONDecoder().raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return text[start:]


def _put(fields: dict[str, Any], names: list[str], written: str) -> None:
    for name in names[:-1]:
        inner = fields.setdefault(name, {})
        if not isinstance(inner, dict):
            return
        fields = inner
    fields.setdefault(names[-1], written)


def _event(event: Node, site: Site, fallbacks: Fallbacks) -> Detection | None:
    data = event if event["Data"].value is None else event["Data"]
    action = text_at(event, "Action") or text_at(event, "EventBaseInfo", "Action") or ""
    if action.lower() == "stop":
        return None
    car, thing = data["TrafficCar"], data["Object"]
    plate = plate_text(
        car["PlateNumber"],
        thing["Text"] if text_at(thing, "ObjectType") == "Plate" else Node(None),
        inside(data, "Plate", "PlateNumber"),
        inside(data, "Plate", "Text"),
        inside(data, "NonMotor", "Plate", "Text"),
        data["PlateNumber"],
    )
    if plate is None:
        return None
    captured_at = _event_time(data, car, fallbacks)
    machine, channel = text_at(car, "MachineName"), text_at(event, "Index")
    name = f"{machine}/{channel}" if machine is not None and channel is not None else machine
    camera = fallbacks.camera(Node(name, car["MachineName"].path), car["DeviceAddress"])
    place = inside(data, "CommInfo", "GPSInfo")
    return make_read(
        data,
        site,
        {
            "read_id": id_of("dahua", camera, captured_at, plate),
            "plate": plate,
            "captured_at": captured_at,
            "camera": camera,
            "region": country(text_at(car, "Country"))
            or country(text_at(data, "CommInfo", "Country")),
            "confidence": _confidence(inside(thing, "Confidence"), _EVENT_WHOLE),
            "location": location(inside(place, "Latitude"), inside(place, "Longitude")),
            "vehicle": _vehicle(
                text_at(data, "Vehicle", "Text") or text_at(car, "VehicleSign"),
                text_at(car, "VehicleColor"),
                text_at(data, "Vehicle", "Category"),
            ),
        },
    )


def _event_time(data: Node, car: Node, fallbacks: Fallbacks) -> str:
    ms = optional(data["UTCMS"].number) or 0
    at = data["UTC"] if data["RealUTC"].number() is None else data["RealUTC"]
    if at.number() is None:
        at = car["UTC"]
    if at.number() is None and text_at(data, "LocaleTime") is not None:
        return fallbacks.time(data["LocaleTime"])
    whole = time_of(at, "s")
    if not 0 <= ms < 1000:
        ms = 0
    when = datetime.fromisoformat(whole)
    when = when.replace(microsecond=when.microsecond // 1000 * 1000 or int(ms) * 1000)
    local = text_at(data, "LocaleTime")
    if data["RealUTC"].number() is None and local == when.strftime("%Y-%m-%d %H:%M:%S"):
        return fallbacks.moment(when.replace(tzinfo=None), at)
    return fallbacks.moment(when, at)


def _pushed(picture: Node, site: Site, fallbacks: Fallbacks) -> Detection | None:
    at, info, vehicle = picture["Plate"], picture["SnapInfo"], picture["Vehicle"]
    plate = plate_text(at["PlateNumber"])
    if plate is None:
        return None
    at_time = next(
        (info[name] for name in ("AccurateTime", "SnapTime") if info[name].value is not None),
        info["Timestamp"],
    )
    captured_at = fallbacks.time(at_time)
    camera = fallbacks.camera(info["DeviceID"])
    confidence = _confidence(at["Confidence"], _HUNDRED)
    if confidence is None:
        confidence = _confidence(at["Confidence"], _EVENT_WHOLE)
    return make_read(
        picture,
        site,
        {
            "read_id": id_of("dahua", camera, captured_at, plate),
            "plate": plate,
            "captured_at": captured_at,
            "camera": camera,
            "region": country(text_at(at, "Country")) or country(text_at(at, "Region")),
            "confidence": confidence,
            "vehicle": _vehicle(
                text_at(vehicle, "VehicleSign"),
                text_at(vehicle, "VehicleColor"),
                text_at(vehicle, "VehicleType"),
                text_at(vehicle, "VehicleSeries"),
            ),
        },
    )


def _confidence(at: Node, whole: float) -> float | None:
    return share(at, whole) or None


def _vehicle(
    make: str | None, color: str | None, kind: str | None, model: str | None = None
) -> dict[str, str]:
    return known(make=make, model=model, color=color, type=kind)
