"""Which vendor's message a message is, so that an error names the command that takes it.

Two tables name what identifies each sort of message: `JSON_SORTS` the paths that a JSON message
has, `XML_SORTS` the root of an XML document. A message may be of several sorts; if one of them is
the vendor's own, it is not another vendor's. Only messages that gave no read are looked at, so a
row costs the regular messages nothing.

To add a vendor: its rows, with the vendor's name once `ADAPTERS` has it.

Pure: no clock, no I/O, no state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from engine import limits
from engine.ingest.adapters.message import Adapted, Adapter, AdapterError, Site, json_value


class Sort(NamedTuple):
    """A sort of message: its title, the vendor whose adapter takes it (None: no adapter does), and
    what identifies it.

    In JSON_SORTS these are paths that are all there, such as `data.results`, or `type=lpr` for a
    value; in XML_SORTS one or several names of the root, in lower case, without namespaces, or
    `<name` for an element anywhere near the beginning, if products name their roots as they like.
    """

    title: str
    vendor: str | None
    marks: tuple[str, ...]


JSON_SORTS: Final = (
    Sort("a Plate Recognizer webhook", "platerecognizer", ("hook.event",)),
    Sort("a Plate Recognizer webhook", "platerecognizer", ("hook.target", "data")),
    Sort("a Plate Recognizer result", "platerecognizer", ("results", "filename", "timestamp")),
    Sort("a visit for ParkPow", "platerecognizer", ("camera", "results", "time")),
    Sort("an OpenALPR (Rekor Scout) message", "openalpr", ("data_type",)),
    Sort("an Axis License Plate Verifier event", "axis", ("carState",)),
    Sort("a Frigate event", "frigate", ("before", "after", "type")),
    Sort("a Frigate object update", "frigate", ("type", "id", "camera")),
    Sort("a Frigate object update", "frigate", ("type=lpr", "plate")),
    Sort("a Genetec export", "genetec", ("CameraName", "Plate")),
    Sort("a Genetec export", "genetec", ("CameraName", "DateUtc", "TimeUtc")),
    Sort("a Genetec export", "genetec", ("SharpName", "Plate")),
    Sort("a Genetec read", "genetec", ("LprCameraName", "PlateRead")),
    Sort("a UniFi Protect alarm", "unifi", ("alarm.triggers",)),
    Sort("a Verkada webhook", "verkada", ("webhook_type", "org_id")),
    Sort("a Dahua event", "dahua", ("Picture.Plate",)),
    Sort("a Dahua event", "dahua", ("Code", "Data", "Action")),
    Sort("a Dahua event", "dahua", ("params.eventList",)),
    Sort("a Dahua event", "dahua", ("Plate.PlateNumber", "SnapInfo")),
    Sort("a Hikvision event", "hikvision", ("eventType", "dateTime")),
    Sort("a Milesight recognition", "milesight", ("device", "time", "plate")),
)

XML_SORTS: Final = (
    Sort(
        "a Genetec export", "genetec", ("autovu", "autovuread", "autovureturn", "enforce", "read")
    ),
    Sort("a Genetec hit", "genetec", ("<platereadmatched", "<matchedplate", "<hitid")),
    Sort("a Genetec read", "genetec", ("<lprcameraname",)),
    Sort("a Hikvision event", "hikvision", ("eventnotificationalert", "plates")),
    Sort("a Tattile transit", "tattile", ("<plate_string", "<transit_id")),
    Sort("an ONVIF metadata stream", None, ("metadatastream", "notificationmessage")),
)

_ROOT: Final = re.compile(rb"<(?![?!])(?:[^\s<>/:]{1,100}:)?([^\s<>/:]{1,100})")
_XML_HEAD_BYTES: Final = 4096


def named(vendor: str, adapt: Adapter) -> Adapter:
    """Return the adapter, naming the sort of each message that is another vendor's."""

    def adapt_own(message: bytes, site: Site) -> Adapted:
        try:
            adapted = adapt(message, site)
        except AdapterError as error:
            if error.reason == "too_long":
                raise
            _check_vendor(message, vendor)
            raise
        if not (adapted.reads or adapted.car):
            _check_vendor(message, vendor)
        return adapted

    return adapt_own


def sorts_of(message: bytes) -> list[Sort]:
    """Return the sorts of message that this one is; none if it is of no known one."""
    if len(message) > limits.INGEST_MESSAGE_BYTES:
        return []
    if (head := _xml_head(message)) is not None:
        found = _ROOT.search(head)
        root = "" if found is None else found[1].decode("utf-8", "replace").lower()
        return [sort for sort in XML_SORTS if any(_is_of(head, root, mark) for mark in sort.marks)]
    value = json_value(message)
    return [sort for sort in JSON_SORTS if all(_is_in(value, mark) for mark in sort.marks)]


def _check_vendor(message: bytes, vendor: str) -> None:
    """Raise AdapterError, naming the message's sort, if that is another vendor's."""
    sorts = sorts_of(message)
    if not sorts or any(sort.vendor == vendor for sort in sorts):
        return
    takes = " or ".join(dict.fromkeys(_takers(sorts)))
    remedy = f"which {takes} takes" if takes else f"which is no message of {vendor}"
    raise AdapterError("$", f"looks like {sorts[0].title}, {remedy}", "other_vendor")


def _takers(sorts: list[Sort]) -> Iterator[str]:
    for sort in sorts:
        if sort.vendor is not None:
            yield f"hotlist ingest {sort.vendor}"


def _xml_head(message: bytes) -> bytes | None:
    """Return the first bytes of an XML document; None if this is none.

    They are not parsed: the answer is a word in an error.
    """
    head = message[:_XML_HEAD_BYTES].replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    return head if head.startswith(b"<") else None


def _is_of(head: bytes, root: str, mark: str) -> bool:
    return mark.encode() + b">" in head.lower() if mark.startswith("<") else root == mark


def _is_in(value: Any, mark: str) -> bool:
    """Return whether a path is in a JSON value, with the value that the mark names."""
    path, _, wanted = mark.partition("=")
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return not wanted or value == wanted
