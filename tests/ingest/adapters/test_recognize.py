"""`engine.ingest.adapters.recognize`: a message given to the wrong command is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.ingest.adapters import ADAPTERS, AdapterError, Site
from engine.ingest.adapters.recognize import JSON_SORTS, XML_SORTS, sorts_of

_VENDORS = Path(__file__).parents[2] / "data" / "vendors"
_HIKVISION = b"""<?xml version="1.0" encoding="UTF-8"?>
<!-- of a camera -->
<EventNotificationAlert version="2.0" xmlns="http://www.hikvision.com/ver20/XMLSchema">
<eventType>videoloss</eventType></EventNotificationAlert>"""


def _first(path: Path) -> bytes:
    content = path.read_bytes()
    return content.splitlines()[0] if path.suffix == ".jsonl" else content


@pytest.mark.parametrize("path", sorted(_VENDORS.iterdir()), ids=lambda path: path.name)
@pytest.mark.parametrize("vendor", ADAPTERS)
def test_each_vendors_message_given_to_each_command(path: Path, vendor: str) -> None:
    own = path.stem.partition("-")[0]
    if vendor == own:
        ADAPTERS[vendor](_first(path), Site("city"))
        return
    with pytest.raises(AdapterError, match=f"which hotlist ingest {own} takes$") as raised:
        ADAPTERS[vendor](_first(path), Site("city"))
    assert (raised.value.field, raised.value.reason) == ("$", "other_vendor")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_document_of_another_camera(encoding: str) -> None:
    sent = _HIKVISION.decode().replace("UTF-8", "utf-16" if encoding == "utf-16" else "UTF-8")
    with pytest.raises(AdapterError, match="looks like a Hikvision event") as raised:
        ADAPTERS["genetec"](sent.encode(encoding), Site("city"))
    assert raised.value.reason == "other_vendor"


def test_every_vendor_that_is_named_has_a_command() -> None:
    """And every command has a sort of message."""
    named = {sort.vendor for sort in (*JSON_SORTS, *XML_SORTS)}
    assert named - {None} == set(ADAPTERS)


@pytest.mark.parametrize(
    "sent", [b"", b"{}", b"[]", b"null", b"<", b"<?xml?>", b"\xff\xfe<", b"<a"]
)
def test_what_is_of_no_known_sort(sent: bytes) -> None:
    assert sorts_of(sent) == []
