"""Vendors' messages as detections: one module for each vendor, one function in each.

`adapt(message, site)` takes one message as it came (bytes) and a `Site` (whose cameras these
are), and gives an `Adapted`: the reads, what of the message gave none, and for vendors that tell
of a car several times, which car it is (then `Cars` lets its last state through). A message of
which nothing can be used raises AdapterError: where, and what is asked for there, never what was
sent. Anything else is a bug.

A read's id follows from the message alone, so that a message which is sent again is the same
read. Pictures are never carried, only references to them.

The modules, in the order in which data passes them:

    axis             Axis cameras
    frigate          Frigate
    genetec          Genetec
    openalpr         OpenALPR and Rekor Scout
    platerecognizer  Plate Recognizer
    message          what the vendors' modules share: a message taken apart, a read made
    countries        codes of countries
    cars             lets the last state of a car through
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
