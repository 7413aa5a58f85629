"""Tattile cameras (Vega): XML, one document for each transit, its elements chosen at the camera.

`PLATE_STRING` (or `PLATE`, which may end with `-` and the country), `DATE` (`yyyy-MM-dd`), `TIME`
(`HH-mm-ss-fff` or with colons; the camera's clock without a zone), `DEVICE_SN` or `SN`,
`OCRSCORE`, `PLATE_COUNTRY_CODE` and `PLATE_COUNTRY`; one of the last two may be three letters.
The name of the root differs. A transit whose plate was not read gives no read.

The camera is identified by its serial number, which is unlike its name never shared.

Ignored: `DIRECTION`, which is relative to the camera, lanes, coordinates in the picture, and
pictures in base64. A score above 100 is on a scale of its own and is left out.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from engine.ingest.adapters.fallbacks import Fallbacks
from engine.ingest.adapters.message import Adapted, Node, Site, id_of, make_read
from engine.ingest.adapters.optional_fields import share
from engine.ingest.adapters.values import country, plate_text, text_at
from engine.ingest.adapters.xml_message import parse_xml

_HUNDRED: Final = 100
_DATE: Final = re.compile(r"([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})")
_TIME: Final = re.compile(r"([0-9]{1,2})[-:]([0-9]{1,2})[-:]([0-9]{1,2})(?:[-:.,]([0-9]{1,6}))?")
#: One of these is in the document of a transit.
_FIELDS: Final = ("PLATE_STRING", "PLATE", "DEVICE_SN", "SN", "PLATE_NOT_READ")


def adapt(message: bytes, site: Site) -> Adapted:
    """Return the read of a transit; no read if its plate was not read."""
    _, root = parse_xml(message)
    if all(root[name].value is None for name in _FIELDS):
        raise root["PLATE_STRING"].error("is required", "missing_field")
    whole = root["PLATE"]
    code = country(text_at(root, "PLATE_COUNTRY_CODE")) or country(text_at(root, "PLATE_COUNTRY"))
    plate = plate_text(root["PLATE_STRING"])
    if plate is None and (plate := plate_text(whole)) is not None:
        bare, _, ending = plate.rpartition("-")
        if bare and (named := country(ending)) is not None and len(ending) == 3:
            plate, code = bare, code or named
    if plate is None:
        return Adapted()
    fallbacks = Fallbacks(site)
    camera = fallbacks.camera(
        root["DEVICE_SN"] if root["SN"].text() is None else root["SN"],
        root["DEVICE_NAME"],
        root["NETBIOSNAME"],
    )
    captured_at = _time(root, fallbacks)
    read = make_read(
        root,
        site,
        {
            "read_id": id_of("tattile", camera, captured_at, plate),
            "plate": plate,
            "captured_at": captured_at,
            "camera": camera,
            "region": code,
            "confidence": share(root["OCRSCORE"], _HUNDRED),
            "vehicle": _vehicle(root),
        },
    )
    return fallbacks.adapted([read])


def _time(root: Node, fallbacks: Fallbacks) -> str:
    day, time = root["DATE"], root["TIME"]
    date_found, time_found = _DATE.fullmatch(day.needed()), _TIME.fullmatch(time.needed())
    if date_found is None:
        raise day.error("must be a date such as 2026-01-31")
    if time_found is None:
        raise time.error("must be a time such as 08-30-00-250 or 08:30:00")
    year, month, date = (int(part) for part in date_found.groups())
    hour, minute, second = (int(part) for part in time_found.groups()[:3])
    microsecond = int((time_found[4] or "").ljust(6, "0"))
    try:
        when = datetime(year, month, date, hour, minute, second, microsecond, UTC)
    except ValueError:
        raise day.error("must be an existing day and time") from None
    return fallbacks.moment(when.replace(tzinfo=None), day)


def _vehicle(root: Node) -> dict[str, str]:
    text = text_at(root, "VEHICLE_TYPE") or text_at(root, "CLASS_STRING")
    return {} if text is None else {"type": text}
