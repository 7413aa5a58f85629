"""Genetec AutoVu SharpV: one XML document for each read.

`Plate, State, UTCDate` (`yyyy:MM:dd`), `UTCTime, CameraName, SourceName, ContextImage, PlateImage,
LongitudeX, LatitudeY, Guid` and possibly `ConfidenceScore` (0 to 100), as elements at any depth or
as attributes, their names in any case: the content of an export is configured at the camera. The
state belongs to a country that the message does not name (`Site.country`).

Document types, and with them entities, are not accepted. Pictures in base64 are ignored.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from engine.ingest.adapters.message import (
    Adapted,
    AdapterError,
    Node,
    Site,
    check_size,
    id_of,
    make_read,
    moment,
)
from engine.ingest.adapters.optional_fields import image, location, region, share

_DATE: Final = re.compile(r"([0-9]{4})[:/-]([0-9]{1,2})[:/-]([0-9]{1,2})")
_TIME: Final = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,:]([0-9]{1,6}))?")
_NAMES: Final = (
    "Plate",
    "State",
    "UTCDate",
    "UTCTime",
    "CameraName",
    "SourceName",
    "ContextImage",
    "PlateImage",
    "LongitudeX",
    "LatitudeY",
    "Guid",
    "ConfidenceScore",
)
_BY_LOWER_CASE: Final = {name.lower(): name for name in _NAMES}
_HUNDRED: Final = 100


def adapt(message: bytes, site: Site) -> Adapted:
    """Return the read of a document; no read if its plate is empty."""
    root = Node(_fields(message))
    plate = root["Plate"].text()
    if plate is None:
        return Adapted()
    camera = root["CameraName"].text() or root["SourceName"].needed()
    captured_at = _time(root)
    read = make_read(
        root,
        site,
        {
            "read_id": id_of("genetec", camera, root["Guid"].text() or f"{captured_at} {plate}"),
            "plate": plate,
            "captured_at": captured_at,
            "camera": camera,
            "region": _region(root["State"].text(), site.country),
            "confidence": share(root["ConfidenceScore"], _HUNDRED),
            "location": location(root["LatitudeY"], root["LongitudeX"]),
            "images": list(
                filter(
                    None,
                    [
                        image("plate", root["PlateImage"]),
                        image("overview", root["ContextImage"]),
                    ],
                )
            ),
        },
    )
    return Adapted((read,))


def _region(state: str | None, country: str | None) -> str | None:
    """Return e.g. `QC` of the country; without one only `CA-QC`: `CA` might be California."""
    if country is None:
        return region(state) if state is not None and "-" in state else None
    return region(f"{country}-{state}" if state else None, country)


def _fields(message: bytes) -> dict[str, str]:
    """Return the first text of each element or attribute with one of our names."""
    check_size(message)
    try:
        root: Element = fromstring(message, forbid_dtd=True)
    except DefusedXmlException:
        raise AdapterError("$", "must not have a document type or entities") from None
    except (ParseError, ValueError, LookupError):
        raise AdapterError("$", "must be an XML document") from None
    found: dict[str, str] = {}
    for element in root.iter():
        for tag, text in ((element.tag, element.text), *element.attrib.items()):
            name = _BY_LOWER_CASE.get(tag.rpartition("}")[2].lower())
            if name is not None and text is not None and text.strip():
                found.setdefault(name, text.strip())
    return found


def _time(root: Node) -> str:
    day, time = root["UTCDate"], root["UTCTime"]
    date_found, time_found = _DATE.fullmatch(day.needed()), _TIME.fullmatch(time.needed())
    if date_found is None:
        raise day.error("must be a date such as 2026:01:31")
    if time_found is None:
        raise time.error("must be a time such as 08:30:00 or 08:30:00.250")
    year, month, date = (int(part) for part in date_found.groups())
    hour, minute, second = (int(part) for part in time_found.groups()[:3])
    microsecond = int((time_found[4] or "").ljust(6, "0"))
    try:
        return moment(datetime(year, month, date, hour, minute, second, microsecond, UTC))
    except ValueError:
        raise day.error("must be an existing day and time") from None
