"""Genetec: reads of AutoVu cameras, of Patroller and of Security Center, in XML or JSON.

A SharpV sends an XML document by FTP, or XML or JSON over HTTP; Security Center's third-party
exporter sends XML or JSON; Patroller exports its hits in XML, and its Simple Host returns several
vehicles in one document. Operators choose the tags of most of these. So fields are found by name,
at any depth, as elements, attributes or keys, in any case and with or without spaces: `_NAMES` has
the names in use. Custom fields (`<Attribute name="Vehicle Make">`, or `Key` and `Value`) are fields
of that name. `-` stands for no value. `genetec_times` has the forms of times.

A hit's `PlateReadMatched` is the plate as read, `MatchedPlate` that of the list; it counts only if
there is no other. The state belongs to a country that the message does not name (`Site.country`).
Many units leave their camera's name as it came ("Lpr Camera"): then the unit's name is put first.

Document types, and with them entities, are not accepted. Pictures in base64 are ignored.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from engine.documents.model import Detection
from engine.ingest.adapters.fallbacks import Fallbacks
from engine.ingest.adapters.genetec_times import time_in
from engine.ingest.adapters.message import (
    Adapted,
    AdapterError,
    Node,
    Site,
    check_size,
    id_of,
    make_read,
    parse_json,
)
from engine.ingest.adapters.optional_fields import image, location, region, share
from engine.ingest.adapters.values import traits
from engine.ingest.adapters.xml_message import parse_xml

#: The plate as the camera read it; then what a hit has if it has no read.
_READ_PLATES: Final = ("Plate", "PlateRead", "PlateNumber", "LicensePlate")
_HIT_PLATES: Final = ("PlateReadMatched", "MatchedPlate")
#: By what they are, the names of fields, the first of them first.
_NAMES: Final = {
    "plate": (*_READ_PLATES, *_HIT_PLATES),
    "state": ("State", "PlateState", "StateName"),
    "camera": ("CameraName", "LprCameraName", "AlprCameraName", "DeviceName", "Device"),
    "unit": ("SourceName", "SharpName", "SourceUrl", "UnitName", "PatrollerName"),
    "id": ("Guid", "Id", "ReadId", "VehicleId", "HitId"),
    "confidence": ("ConfidenceScore",),
    "latitude": ("LatitudeY", "Latitude"),
    "longitude": ("LongitudeX", "Longitude"),
    "make": ("VehicleMake",),
    "model": ("VehicleModel",),
    "color": ("VehicleColor",),
    "type": ("VehicleType",),
}
_VEHICLE: Final = ("make", "model", "color", "type")
#: Names that cameras have by default.
_UNNAMED: Final = frozenset({"camera", "lpr camera", "alpr camera", "context camera"})
_NO_VALUES: Final = frozenset({"", "-", "--", "n/a", "null"})
#: A declaration of UTF-16 in a document that is not: .NET writes it so into strings.
_FALSE_UTF_16: Final = re.compile(rb"""(<\?xml[^>]*?)\s+encoding=["']utf-16["']""", re.IGNORECASE)
_DEPTH: Final = 32
_HUNDRED: Final = 100


class _Field(NamedTuple):
    """A field of a document: its name, its text if it has one, and the fields within it."""

    name: str
    text: str | None
    inner: list[_Field]


def adapt(message: bytes, site: Site) -> Adapted:
    """Return the reads of a document; none for those whose plates are empty."""
    document = _Field("", None, _parse(message))
    records = list(_plate_records(document)) or [document]
    if not any(_has_plate(field, _NAMES["plate"]) for field in _all(document)):
        names = ", ".join(_NAMES["plate"])
        raise AdapterError("$", f"must have a plate, as one of {names}", "missing_field")
    lacking = Fallbacks(site)
    many = len(records) > 1
    roots = [Node(_values(record if many else _first(record, document))) for record in records]
    return lacking.each(roots, lambda root: _read(root, site, lacking))


def _read(root: Node, site: Site, lacking: Fallbacks) -> Detection | None:
    plate = _text(root, "plate")
    if plate is None:
        return None
    captured_at = time_in(root, lacking, site.country)
    camera = _camera(root, lacking)
    return make_read(
        root,
        site,
        {
            "read_id": id_of("genetec", camera, _text(root, "id") or f"{captured_at} {plate}"),
            "plate": plate,
            "captured_at": captured_at,
            "camera": camera,
            "region": _region(_text(root, "state"), site.country),
            "confidence": share(_node(root, "confidence"), _HUNDRED),
            "location": location(_node(root, "latitude"), _node(root, "longitude")),
            "vehicle": traits(**{trait: _node(root, trait) for trait in _VEHICLE}),
            "images": list(
                filter(
                    None,
                    [
                        image("plate", root["plateimage"]),
                        image("overview", root["contextimage"]),
                    ],
                )
            ),
        },
    )


def _camera(root: Node, lacking: Fallbacks) -> str:
    """Return the camera's name, with its unit's if many cameras have that name."""
    camera, unit = _node(root, "camera"), _node(root, "unit")
    name = camera.text()
    if name is None:
        return lacking.camera(Node(None, "$.CameraName"), unit)
    if name.lower() in _UNNAMED and (of_unit := unit.text()) is not None:
        return f"{of_unit}/{name}"
    return name


def _region(state: str | None, country: str | None) -> str | None:
    """Return e.g. `QC` of the country; without one only `CA-QC`: `CA` might be California."""
    if country is None:
        return region(state) if state is not None and "-" in state else None
    return region(f"{country}-{state}" if state else None, country)


def _node(root: Node, what: str) -> Node:
    """Return the first field of these names that has a value."""
    found = (root[_plain(name)] for name in _NAMES[what])
    return next((at for at in found if at.value is not None), Node(None, root.path))


def _text(root: Node, what: str) -> str | None:
    return _node(root, what).text()


def _parse(message: bytes) -> list[_Field]:
    """Return the fields of an XML or a JSON document."""
    check_size(message)
    text = message.removeprefix(codecs.BOM_UTF8).lstrip()
    if text.startswith((b"{", b"json=")):
        return _fields(parse_json(message).value, _DEPTH)
    if not text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = _FALSE_UTF_16.sub(rb"\1", text, count=1)
    name, root = parse_xml(text, attributes=True)
    return _fields({name: root.value}, _DEPTH)


def _fields(value: dict[str, Any], depth: int) -> list[_Field]:
    """Return the values of an object as fields; what lies too deep is left out."""
    found = []
    for name, values in value.items():
        for one in values if isinstance(values, list) else [values]:
            if isinstance(one, dict):
                found.append(_object(_plain(name), one, depth - 1))
            elif one is None or isinstance(one, str):
                found.append(_Field(_plain(name), one, []))
            elif isinstance(one, int | float) and not isinstance(one, bool):
                found.append(_Field(_plain(name), str(one), []))
    return found


def _object(name: str, value: dict[str, Any], depth: int) -> _Field:
    """Return an object as a field; a custom field by the name that it gives itself."""
    inner = _fields(value, depth) if depth else []
    texts = {field.name: field.text for field in inner}
    if (custom := texts.get("key")) and "value" in texts:
        return _Field(_plain(custom), texts["value"], [])
    if name == "attribute" and (custom := texts.get("name")):
        return _Field(_plain(custom), texts.get("text"), [])
    return _Field(name, texts.get("text"), inner)


def _plate_records(field: _Field) -> Iterator[_Field]:
    """Yield the innermost fields that have a plate of their own."""
    found = False
    for inner in field.inner:
        for record in _plate_records(inner):
            found = True
            yield record
    if not found and _has_plate(field, _READ_PLATES):
        yield field


def _all(field: _Field) -> Iterator[_Field]:
    yield field
    for inner in field.inner:
        yield from _all(inner)


def _has_plate(record: _Field, names: Iterable[str]) -> bool:
    """Return whether a field directly within this one is a plate, perhaps an empty one."""
    wanted = {_plain(name) for name in names}
    return any(
        field.name in wanted and (not field.inner or (field.text or "").strip())
        for field in record.inner
    )


def _first(record: _Field, document: _Field) -> _Field:
    """Return the whole document as one record, with the record's own fields first."""
    return _Field("", None, [record, document])


def _values(record: _Field) -> dict[str, str]:
    """Return the first value of each name in a record."""
    found: dict[str, str] = {}
    for name, text, _ in _all(record):
        value = (text or "").strip()
        if value.lower() not in _NO_VALUES:
            found.setdefault(name, value)
    return found


def _plain(name: str) -> str:
    """Return a name in lower case without spaces and the like."""
    return "".join(letter for letter in name.lower() if letter.isalnum())
