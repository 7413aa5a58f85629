"""Hikvision cameras and recorders (ISAPI): EventNotificationAlert, in XML or JSON.

The event type is `ANPR`, and the block `ANPR` has the plate; other events (`videoloss` as a
heartbeat, motion, ...) give no read unless they have such a block. `originalLicensePlate` is what
the camera read before it corrected the plate with its lists: another reading. The time has the
offset of the camera, or none. The confidence is 0 to 100. A camera is identified by its address
(`macAddress`) and the channel: the names that cameras come with are all the same.

The form `Plates`, which a camera answers when asked for its last plates, gives a read of each.
It does not name the camera.

Ignored: the country if it is a number of Hikvision's own table, `direction`, which is relative to
the camera, the camera's own lists, and the numbers of makes and models. The pictures are parts of
the HTTP request, and the names in `pictureInfoList` are no references outside it.
"""

from __future__ import annotations

from typing import Final

from engine.documents.model import Detection
from engine.ingest.adapters.fallbacks import Fallbacks
from engine.ingest.adapters.message import (
    Adapted,
    AdapterError,
    Node,
    Site,
    id_of,
    make_read,
    parse_json,
)
from engine.ingest.adapters.optional_fields import alternates, optional, share
from engine.ingest.adapters.values import country, known, plate_text, text_at
from engine.ingest.adapters.xml_message import items, looks_like_xml, parse_xml

_ALERT: Final = "EventNotificationAlert"
#: The second in JSON that a program of theirs writes, in which all names begin with a small letter.
_BLOCKS: Final = ("ANPR", "aNPR")
_HUNDRED: Final = 100


def adapt(message: bytes, site: Site) -> Adapted:
    """Return the read of an alert, or of each of the last plates; none for other events."""
    if not looks_like_xml(message):
        root = parse_json(message)
        return _alert(root if root[_ALERT].value is None else root[_ALERT], site)
    name, root = parse_xml(message)
    if name == _ALERT:
        return _alert(root, site)
    if name == "Plates":
        return _plates(root, site)
    raise AdapterError("$", f"must be an {_ALERT}", "other_vendor")


def _alert(root: Node, site: Site) -> Adapted:
    kind = root["eventType"].needed()
    blocks = [block for name in _BLOCKS for block in items(root[name])]
    if not blocks and kind.upper() == "ANPR":
        blocks = [root]
    fallbacks = Fallbacks(site)

    def read(block: Node) -> Detection | None:
        plate = plate_text(block["licensePlate"], block["originalLicensePlate"])
        if plate is None:
            return None
        at_time = block["dateTime"] if root["dateTime"].value is None else root["dateTime"]
        captured_at = fallbacks.time(at_time)
        camera = _camera(root, fallbacks)
        return make_read(
            block,
            site,
            {
                "read_id": id_of("hikvision", camera, captured_at, plate),
                "plate": plate,
                "captured_at": captured_at,
                "camera": camera,
                "region": country(text_at(block, "country")),
                "confidence": share(block["confidenceLevel"], _HUNDRED),
                "alternates": alternates(plate, _originals(block)),
                "vehicle": _vehicle(block),
            },
        )

    return fallbacks.each(blocks, read)


def _originals(block: Node) -> list[tuple[Node, float | None]]:
    original = block["originalLicensePlate"]
    return [(original, None)] if optional(lambda: plate_text(original)) else []


def _camera(root: Node, fallbacks: Fallbacks) -> str:
    """Return the address and the channel, such as `bc:5e:33:00:00:01/1`."""
    channel = root["channelID"].text() or root["dynChannelID"].text()

    def at(name: str) -> Node:
        address = root[name].text()
        return Node(f"{address}/{channel}" if address and channel else address, root[name].path)

    return fallbacks.camera(at("macAddress"), at("ipAddress"))


def _vehicle(block: Node) -> dict[str, str]:
    return known(color=text_at(block, "vehicleInfo", "color"), type=text_at(block, "vehicleType"))


def _plates(root: Node, site: Site) -> Adapted:
    fallbacks = Fallbacks(site)

    def read(at: Node) -> Detection | None:
        plate = plate_text(at["plateNumber"])
        if plate is None:
            return None
        captured_at = fallbacks.time(at["captureTime"])
        camera = fallbacks.camera(at["camera"])
        return make_read(
            at,
            site,
            {
                "read_id": id_of("hikvision", camera, captured_at, plate),
                "plate": plate,
                "captured_at": captured_at,
                "camera": camera,
                "region": country(text_at(at, "country")),
            },
        )

    return fallbacks.each(items(root["Plate"]), read)
