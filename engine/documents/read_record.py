"""A read as the record that goes to Kafka: its key, its value and its headers.

For services that produce reads, whatever client they use. The key is the plate's normal form, so
that the engine need not open the value; the header names the normal forms of the alternates, so
that it looks for those too. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from engine import limits
from engine.documents.codec import decode_detection
from engine.documents.codec import encode as encode_document
from engine.documents.fields import ALTERNATES_HEADER
from engine.documents.model import Detection
from engine.errors import DocumentError
from engine.plates.normal_form import PlateError, normalize


class ReadRecord(NamedTuple):
    """What to produce to the topic of the detections; takes no timestamp of its own.

    `key` is the plate in normal form and `value` the document as JSON, both UTF-8; `headers` is
    as aiokafka and confluent-kafka take it.
    """

    key: bytes
    value: bytes
    headers: list[tuple[str, str | bytes | None]]


def encode(read: Detection) -> ReadRecord:
    """The record of a read.

    Raises DocumentError, which says the field and the rule, where the read is not what
    `schemas/detection.v1.json` asks for, where its plate has no normal form (`plate_length`), or
    where it is larger than the engine opens (`value_too_large`).
    """
    try:
        value = encode_document(read)
    except (TypeError, ValueError, msgspec.MsgspecError):
        raise DocumentError("schema", rule="holds what JSON cannot hold") from None
    decode_detection(value)  # a Detection is not checked when it is made
    if len(value) > limits.READ_VALUE_BYTES:
        rule = f"must have at most {limits.READ_VALUE_BYTES} bytes"
        raise DocumentError("value_too_large", rule=rule)
    headers: list[tuple[str, str | bytes | None]] = []
    headers += alternates_header(each.plate for each in read.alternates or ())
    return ReadRecord(normalize(read.plate).encode(), value, headers)


def alternates_header(plates: Iterable[str]) -> list[tuple[str, bytes]]:
    """The header that asks for these readings to be tried; none where there is none of them."""
    others = []
    for plate in plates:
        try:
            other = normalize(plate)
        except PlateError:
            continue  # may match nothing
        others.append(other)
    return [(ALTERNATES_HEADER, ",".join(others).encode())] if others else []
