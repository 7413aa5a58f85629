"""The value of a read's record in the forms in which producers write it.

`json` is the plain document. `json-schema-registry` is what a serializer of a schema registry makes
of it: a zero byte, the schema's id and the document; plain documents are taken too, so producers
can change one after the other. No JSON begins with a zero byte, so the two cannot be mixed up. The
id has four bytes as Confluent's and Apicurio's serializers write it, or eight as older ones of
Apicurio do.

A byte order mark before the document is passed over, as RFC 8259 allows, and named. Any other form
is an error whose reason and rule name it, and never a part of the value. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import msgspec

from engine.documents.codec import UNREADABLE
from engine.documents.droppable import ToleratedRead, decode_read
from engine.errors import DocumentError

ValueFormat = Literal["json", "json-schema-registry"]
VALUE_FORMATS: Final[tuple[str, ...]] = get_args(ValueFormat)

_MARK: Final = b"\xef\xbb\xbf"
_FRAME: Final = b"\0"
#: Glue's frame: a version, whether the rest is compressed, and the 16 bytes of a schema's id.
_GLUE_FRAMES: Final = (b"\3\0", b"\3\5")
_GLUE_BYTES: Final = 18
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)

#: The fields by which an envelope is known if it has no plate of its own, and what it is.
_ENVELOPES: Final = (
    (
        {"schema", "payload"},
        "is an envelope of Kafka Connect; set schemas.enable=false on its JsonConverter",
    ),
    (
        {"op", "after"},
        "is a change event of Debezium; unwrap it with its ExtractNewRecordState",
    ),
    (
        {"specversion", "data"},
        "is a CloudEvent in structured mode; send it in binary mode",
    ),
)


def decode_any(value: bytes, value_format: str) -> tuple[ToleratedRead, bool]:
    """Decode a read; the second result says whether a byte order mark precedes it.

    Raises the DocumentError that names the form of a value that is no read.
    """
    try:
        return decode_read(value if value_format == "json" else _unframed(value)), False
    except DocumentError as refused:
        error = refused
    bare = value.removeprefix(_MARK)
    if len(bare) < len(value):
        try:
            return decode_read(bare), True
        except DocumentError as refused:
            error = refused
    raise _with_form_named(bare, error, value_format)


def _with_form_named(value: bytes, error: DocumentError, value_format: str) -> DocumentError:
    """Return the error that names the form of a value that could not be decoded.

    `error` is what the decoder said; it is returned if the form is that of a read.
    """
    if value.startswith(_FRAME):
        if value_format == "json":
            rule = "is framed for a schema registry; workers take JSON Schema frames with "
            return DocumentError("framed", rule=f"{rule}--value-format json-schema-registry")
        value = _unframed(value)
        if error.reason == "invalid_json":
            rule = "is framed for a schema registry and holds no JSON; send JSON Schema, "
            return DocumentError("framed", rule=f"{rule}not Avro or Protobuf")
    if value.startswith(_GLUE_FRAMES) and len(value) > _GLUE_BYTES:
        return DocumentError("framed", rule="is framed for the Glue registry; send plain JSON")
    if value.startswith(b'"') and _is_quoted_json(value):
        return DocumentError("quoted", rule="is JSON inside a JSON string; serialize it once")
    fields = _fields(value)
    if "plate" not in fields:
        for known, rule in _ENVELOPES:
            if known <= fields.keys():
                return DocumentError("envelope", rule=rule)
    return error


def _unframed(value: bytes) -> bytes:
    if not value.startswith(_FRAME):
        return value
    # The first bytes of an eight-byte id are zero, and no JSON begins with a zero byte.
    return value[9:] if value[5:6] == b"\0" else value[5:]


def _is_quoted_json(value: bytes) -> bool:
    try:
        return _TEXT.decode(value).lstrip().startswith("{")
    except UNREADABLE:
        return False


def _fields(value: bytes) -> Mapping[str, Any]:
    try:
        return _OBJECT.decode(value)
    except UNREADABLE:
        return {}
