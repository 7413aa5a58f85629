"""Genetec AutoVu SharpV: one XML document for each read.

`Plate, State, UTCDate` (`yyyy:MM:dd`), `UTCTime, CameraName, SourceName, ContextImage, PlateImage,
LongitudeX, LatitudeY, Guid` and perhaps `ConfidenceScore` (0 to 100), as elements at any depth or
as attributes, their names in any case: what an export holds is set up at the camera. The state is
that of a country which the message does not name (`Site.country`).

A document type, and with it entities, is refused. Pictures in base64 are left out.
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
    image,
    location,
    make_read,
    moment,
    region,
    share,
)

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
_BY_FOLDED: Final = {name.lower(): name for name in _NAMES}
_HUNDRED: Final = 100


def adapt(message: bytes, site: Site) -> Adapted:
    """The read of a document; none where its plate is empty."""
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
    """`QC` of the country; without a country `CA-QC` alone, for `CA` might be California."""
    if country is None:
        return region(state) if state is not None and "-" in state else None
    return region(f"{country}-{state}" if state else None, country)


def _fields(message: bytes) -> dict[str, str]:
    """The first text of each element or attribute that has one of our names."""
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
            name = _BY_FOLDED.get(tag.rpartition("}")[2].lower())
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
        raise day.error("must be a day that there is, with a time of that day") from None
