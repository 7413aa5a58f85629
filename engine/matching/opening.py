"""A read that is processed in Python, how its value is opened, and what it then is."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from engine.documents.droppable import Dropped
from engine.documents.model import Detection
from engine.documents.value_formats import Values
from engine.wire import record_decoder
from engine.wire.alternates import NONE_ASKED, Asked, asked_for
from engine.wire.headers import Headers

#: An opened read: the detection, its normalized plate, and what was dropped from its value.
Opened = tuple[Detection, str, tuple[Dropped, ...]]


class Read(msgspec.Struct, frozen=True, gc=False):
    """The parts of a read that must be processed in Python, and its position.

    Only matches need `headers`. They are either parsed, or the data from their beginning on, which
    is valid while the batch is processed.
    """

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    asked: Asked = NONE_ASKED
    headers: Headers | memoryview = ()


class Opening(NamedTuple):
    """How the values of a fetch are opened.

    One in `sample_every` reads counts for its source, which needs a sample that does not depend on
    the fetch. One in `look_every` of the reads that match nothing is opened; that is as many or
    more. `values` says how.
    """

    sample_every: int
    look_every: int
    values: Values


def asked_at(data: memoryview, slot: int) -> Asked:
    """Return what the alternates header requests, from the SLOT of a read's row."""
    if slot == record_decoder.NO_ALTERNATES:
        return NONE_ASKED
    if slot == record_decoder.ALTERNATES_TWICE:
        return None
    at, length = record_decoder.alternates_span(slot)
    return asked_for([bytes(data[at : at + length])])
