"""The value of a read's record in the forms in which producers write it.

`json` is the plain document. `json-schema-registry` is what a serializer of a schema registry makes
of it: a zero byte, the schema's id and the document; plain documents are taken too, so producers
can change one after the other. No JSON begins with a zero byte, so the two cannot be mixed up. The
id has four bytes as Confluent's and Apicurio's serializers write it, or eight as older ones of
Apicurio do.

`schema-registry` asks the registry for the schema that the frame names. It takes Avro, Protobuf,
JSON Schema and plain documents side by side. An id of four bytes is never zero, so the longer one,
whose first bytes are zero, is known by them.

A byte order mark before the document is passed over, as RFC 8259 allows, and named. Any other form
is an error whose reason and rule name it, and never a part of the value. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import msgspec

from engine.documents.codec import UNREADABLE
from engine.documents.droppable import ToleratedRead, decode_read
from engine.documents.schema_cache import Schema, SchemaCache, SchemaMissing
from engine.errors import DocumentError

ValueFormat = Literal["json", "json-schema-registry", "schema-registry"]
VALUE_FORMATS: Final[tuple[str, ...]] = get_args(ValueFormat)
SCHEMA_REGISTRY: Final = "schema-registry"

_MARK: Final = b"\xef\xbb\xbf"
_FRAME: Final = b"\0"
#: A frame's bytes with an id of four bytes and of eight, and the largest id that is issued.
_SHORT_FRAME: Final = 5
_LONG_FRAME: Final = 9
_ID_MOST: Final = 2**31 - 1
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


@dataclass(frozen=True, slots=True)
class Values:
    """The form of all values of a topic, and the schemas that they may name."""

    value_format: str = "json"
    schemas: SchemaCache | None = None


def decode_any(value: bytes, values: Values) -> tuple[ToleratedRead, bool]:
    """Decode a read; the second result says whether a byte order mark precedes it.

    Raises the DocumentError that names the form of a value that is no read, and SchemaMissing if
    the schema that the value names must be fetched first.
    """
    value_format = values.value_format
    if value_format == SCHEMA_REGISTRY and value.startswith(_FRAME):
        document = _by_schema(value, values.schemas)
        try:
            return decode_read(document), False
        except DocumentError as refused:
            error = refused
        raise _with_form_named(document, error, value_format)
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
            rule = "is framed for a schema registry; workers take such frames with "
            return DocumentError("framed", rule=f"{rule}--value-format {SCHEMA_REGISTRY}")
        value = _unframed(value)
        if error.reason == "invalid_json":
            rule = "is framed for a schema registry and holds no JSON; workers take others by "
            return DocumentError("framed", rule=f"{rule}--value-format {SCHEMA_REGISTRY}")
    if value.startswith(_GLUE_FRAMES) and len(value) > _GLUE_BYTES:
        return DocumentError("framed", rule="is framed for the Glue registry; send plain JSON")
    if value.startswith(b'"') and _is_quoted_json(value):
        return DocumentError("quoted", rule="is JSON inside a JSON string; serialize it once")
    fields = _fields(value)
    if "plate" not in fields:
        for known, rule in _ENVELOPES:
            if known <= fields.keys():
                return DocumentError("envelope", rule=rule)
    if value_format == SCHEMA_REGISTRY and error.reason == "invalid_json":
        rule = "is neither framed for a schema registry nor JSON; the schema's id must be "
        return DocumentError("unframed", rule=f"{rule}in the value, not in a header")
    return error


def missing_schema(value: bytes, values: Values) -> int | None:
    """Return the id of the schema that must be fetched before a value is decoded; else None."""
    if values.value_format != SCHEMA_REGISTRY or not value.startswith(_FRAME):
        return None
    try:
        _schema_of(value, values.schemas)
    except SchemaMissing as missing:
        return missing.schema_id
    except DocumentError:
        pass
    return None


def _by_schema(value: bytes, schemas: SchemaCache | None) -> bytes:
    """Return the JSON of a framed value, by the schema that it names."""
    schema, start = _schema_of(value, schemas)
    return schema.to_json(value[start:])


def _schema_of(value: bytes, schemas: SchemaCache | None) -> tuple[Schema, int]:
    """Return the schema that a framed value names, and where the value itself begins."""
    if schemas is None:
        rule = "is framed for a schema registry; check the reads of a topic with hotlist doctor"
        raise DocumentError("framed", rule=rule)
    start = _SHORT_FRAME
    if len(value) > _LONG_FRAME and not any(value[:start]):
        start = _LONG_FRAME
    schema_id = int.from_bytes(value[1:start])
    if len(value) < start or not 0 < schema_id <= _ID_MOST:
        raise DocumentError("unknown_schema", rule="must name a schema after its first byte")
    return schemas.get(schema_id), start


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
