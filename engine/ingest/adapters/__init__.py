"""Vendors' messages as detections: one module for each vendor, one function in each.

`adapt(message, site)` takes one message as it was received (bytes) and a `Site` (the owner of the
cameras, and what stands for what messages lack), and returns an `Adapted`: the reads, the parts
that gave none, for vendors that report a car several times, which car it is (then `Cars` passes
only its last state), and which fallbacks the reads have. If nothing in a message is usable, it
raises AdapterError with the field, the rule there and one of a few reasons, never with the
message's content. A message that is another vendor's is named. Any other exception is a bug.

An event without a read, and a plate that is empty, null or missing, give no read and no error.

A read's id follows from the message and the site, so that a message sent again gives the same read.
Pictures are never carried, only references to them.

The modules, in the order in which data passes them:

    axis             Axis cameras
    dahua            Dahua cameras and recorders
    frigate          Frigate
    genetec          Genetec
    genetec_times    the forms of times in its messages
    hikvision        Hikvision cameras and recorders
    milesight        Milesight cameras
    openalpr         OpenALPR and Rekor Scout
    platerecognizer  Plate Recognizer
    tattile          Tattile cameras
    unifi            UniFi Protect
    verkada          Verkada
    generic          any product, by an operator's mapping
    mapping          the file of a mapping
    message          what the vendors' modules share: parsing a message, making a read
    xml_message      parsing an XML message
    form_message     parsing a form, or the query of a URL
    fallbacks        the camera and the zone of a message that lacks them
    optional_fields  a read's optional fields, from vendors' forms
    paths            paths into a message, as mappings write them
    countries        codes of countries
    values           no plate, an unknown trait, a country, as several vendors write them
    recognize        which vendor's message a message is
    cars             passes only the last state of a car
"""

from __future__ import annotations

from typing import Final

from engine.ingest.adapters import (
    axis,
    dahua,
    frigate,
    genetec,
    hikvision,
    milesight,
    openalpr,
    platerecognizer,
    tattile,
    unifi,
    verkada,
)
from engine.ingest.adapters.cars import Cars
from engine.ingest.adapters.generic import make_adapter
from engine.ingest.adapters.mapping import Mapping
from engine.ingest.adapters.message import (
    FALLBACKS,
    Adapted,
    Adapter,
    AdapterError,
    Car,
    Fallback,
    Reason,
    Site,
)
from engine.ingest.adapters.recognize import named

#: By the name under which `hotlist ingest` knows the vendor.
ADAPTERS: Final[dict[str, Adapter]] = {
    vendor: named(vendor, adapt)
    for vendor, adapt in {
        "axis": axis.adapt,
        "dahua": dahua.adapt,
        "frigate": frigate.adapt,
        "genetec": genetec.adapt,
        "hikvision": hikvision.adapt,
        "milesight": milesight.adapt,
        "openalpr": openalpr.adapt,
        "platerecognizer": platerecognizer.adapt,
        "tattile": tattile.adapt,
        "unifi": unifi.adapt,
        "verkada": verkada.adapt,
    }.items()
}

#: Vendors whose senders never send a message again, whatever the answer: it is accepted at once.
NEVER_RESENT: Final = frozenset({"hikvision"})

__all__ = [
    "ADAPTERS",
    "FALLBACKS",
    "NEVER_RESENT",
    "Adapted",
    "Adapter",
    "AdapterError",
    "Car",
    "Cars",
    "Fallback",
    "Mapping",
    "Reason",
    "Site",
    "make_adapter",
]
