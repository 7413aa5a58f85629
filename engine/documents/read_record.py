"""A read as a Kafka record: its key, its value and its headers.

For services that produce reads, with any Kafka client. The key is the plate's normal form, so the
engine need not open the value. The header names the normal forms of the alternates, so the engine
looks them up too. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from engine import limits
from engine.documents.codec import decode_detection, encode
from engine.documents.fields import ALTERNATES_HEADER
from engine.documents.model import Detection
from engine.errors import DocumentError
from engine.plates.normal_form import PlateError, normalize


class ReadRecord(NamedTuple):
    """A record for the detections topic, without a timestamp.

    `key` is the plate in normal form and `value` the document as JSON, both in UTF-8. `headers` has
    the form that aiokafka and confluent-kafka accept.
    """

    key: bytes
    value: bytes
    headers: list[tuple[str, str | bytes | None]]


def encode_read(read: Detection) -> ReadRecord:
    """Encode a read as a record.

    Raises DocumentError, with the field and the rule, if the read breaks
    `schemas/detection.v1.json`, if its plate has no normal form (`plate_length`), or if it is
    larger than the engine accepts (`value_too_large`).
    """
    try:
        value = encode(read)
    except (TypeError, ValueError, msgspec.MsgspecError):
        raise DocumentError("schema", rule="holds what JSON cannot hold") from None
    decode_detection(value)  # because a Detection is not checked when it is constructed
    if len(value) > limits.READ_VALUE_BYTES:
        rule = f"must have at most {limits.READ_VALUE_BYTES} bytes"
        raise DocumentError("value_too_large", rule=rule)
    headers: list[tuple[str, str | bytes | None]] = []
    headers += alternates_header(each.plate for each in read.alternates or ())
    return ReadRecord(normalize(read.plate).encode(), value, headers)


def alternates_header(plates: Iterable[str]) -> list[tuple[str, bytes]]:
    """Return the header that requests these readings, or no header if there are none."""
    others = []
    for plate in plates:
        try:
            other = normalize(plate)
        except PlateError:
            continue  # it cannot match anything
        others.append(other)
    return [(ALTERNATES_HEADER, ",".join(others).encode())] if others else []
