"""Vendors' messages as detections: one module for each vendor, one function in each.

`adapt(message, site)` takes one message as it was received (bytes) and a `Site` (the owner of the
cameras), and returns an `Adapted`: the reads, the parts that gave none, and for vendors that report
a car several times, which car it is (then `Cars` passes only its last state). If nothing in a
message is usable, it raises AdapterError with the field and the rule there, never with the
message's content. Any other exception is a bug.

A read's id follows from the message alone, so that a message sent again gives the same read.
Pictures are never carried, only references to them.

The modules, in the order in which data passes them:

    axis             Axis cameras
    frigate          Frigate
    genetec          Genetec
    openalpr         OpenALPR and Rekor Scout
    platerecognizer  Plate Recognizer
    message          what the vendors' modules share: parsing a message, making a read
    countries        codes of countries
    cars             passes only the last state of a car
"""

from __future__ import annotations

from typing import Final

from engine.ingest.adapters import axis, frigate, genetec, openalpr, platerecognizer
from engine.ingest.adapters.cars import Cars
from engine.ingest.adapters.message import Adapted, Adapter, AdapterError, Car, Site

#: By the name under which `hotlist ingest` knows the vendor.
ADAPTERS: Final[dict[str, Adapter]] = {
    "axis": axis.adapt,
    "frigate": frigate.adapt,
    "genetec": genetec.adapt,
    "openalpr": openalpr.adapt,
    "platerecognizer": platerecognizer.adapt,
}

__all__ = ["ADAPTERS", "Adapted", "Adapter", "AdapterError", "Car", "Cars", "Site"]
