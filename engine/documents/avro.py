"""Avro's binary form of a read, as the JSON that the contract describes.

A schema is compiled once into functions, and they decode a value whose producer may be hostile.
Known decoders follow a count of items that take no bytes, five bytes that keep a thread busy for
hours (AVRO-4241 and AVRO-4300, arrow-rs 10235), so this one has its own bounds: what a value holds
ends with its last byte, and its parts, its depth and its decimals are counted.

Logical types come out as the contract writes them: a timestamp as RFC 3339 in UTC, a decimal as a
number, a UUID as text. A local timestamp names no zone, so it gets none, and is no valid time.
Bytes that have no logical type are `null`: no field of a read is made of bytes.

The specification: https://avro.apache.org/docs/1.12.0/specification/. Pure; no error has a part of
a value.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from engine import limits
from engine.documents.avro_values import (
    PRIMITIVES,
    Cursor,
    Decode,
    misfit,
    nothing,
    number_of,
    string,
    time_text,
)
from engine.documents.codec import UNREADABLE
from engine.documents.schema_cache import SchemaError

_SCALE_MOST: Final = 64
#: The digits after the second in each logical type of a time, and what follows them.
_TIMES: Final = {
    "timestamp-millis": (3, "Z"),
    "timestamp-micros": (6, "Z"),
    "timestamp-nanos": (9, "Z"),
    "local-timestamp-millis": (3, ""),
    "local-timestamp-micros": (6, ""),
    "local-timestamp-nanos": (9, ""),
}


class AvroSchema:
    """A schema that decodes values; `references` are the schemas that it refers to, in an order in
    which each may refer to those before it.

    Raises SchemaError if the schema cannot be used.
    """

    def __init__(self, text: str, references: Iterable[str] = ()) -> None:
        names: dict[str, Decode] = {}
        for each in references:
            _compiled(_parsed(each), "", names, 0)
        self._decode = _compiled(_parsed(text), "", names, 0)

    def to_json(self, data: bytes) -> bytes:
        """Return the JSON of a value.

        Raises DocumentError, with reason `invalid_avro`, if the value does not follow the schema.
        """
        cursor = Cursor(data)
        plain = self._decode(cursor)
        if cursor.at != len(data):
            raise misfit("must end with the last field of its schema")
        return msgspec.json.encode(plain)


def _parsed(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except UNREADABLE:
        pass
    raise SchemaError("it is no JSON")


def _compiled(schema: Any, space: str, names: dict[str, Decode], depth: int) -> Decode:
    """Return the decoder of a schema within a namespace; add the decoders of named types."""
    if depth > limits.VALUE_DEPTH:
        raise SchemaError(f"it is nested more than {limits.VALUE_DEPTH} levels deep")
    if isinstance(schema, str):
        return _named(schema, space, names)
    if isinstance(schema, list):
        return _union([_compiled(each, space, names, depth + 1) for each in schema])
    if not isinstance(schema, dict):
        raise SchemaError("a type is neither a name, a list nor an object")
    kind = schema.get("type")
    if kind in ("record", "error", "enum", "fixed"):
        return _definition(kind, schema, space, names, depth)
    if kind == "array":
        return _array(_compiled(schema.get("items"), space, names, depth + 1))
    if kind == "map":
        return _map(_compiled(schema.get("values"), space, names, depth + 1))
    decode = _compiled(kind, space, names, depth + 1)
    return _logical(kind, schema, decode) if isinstance(kind, str) else decode


def _named(name: str, space: str, names: dict[str, Decode]) -> Decode:
    if name in PRIMITIVES:
        return PRIMITIVES[name]
    full = name if "." in name or not space else f"{space}.{name}"
    for each in (full, name):
        if each in names:
            return lambda cursor: names[each](cursor)  # it may be the type that is being compiled
    raise SchemaError("it names a type that it does not define")


def _definition(
    kind: str, schema: Mapping[str, Any], space: str, names: dict[str, Decode], depth: int
) -> Decode:
    name = schema.get("name")
    own_space = schema.get("namespace", space)
    if not isinstance(name, str) or not isinstance(own_space, str):
        raise SchemaError(f"a type {kind} has no name")
    full = name if "." in name or not own_space else f"{own_space}.{name}"
    if kind == "enum":
        names[full] = _enum(schema.get("symbols"))
    elif kind == "fixed":
        names[full] = _fixed(schema)
    else:
        names[full] = nothing  # a record may name itself
        fields = schema.get("fields")
        if not isinstance(fields, list):
            raise SchemaError("a record has no fields")
        names[full] = _record(
            [_field(each, full.rpartition(".")[0], names, depth) for each in fields]
        )
    return names[full]


def _field(field: Any, space: str, names: dict[str, Decode], depth: int) -> tuple[str, Decode]:
    name = field.get("name") if isinstance(field, dict) else None
    if not isinstance(name, str):
        raise SchemaError("a field of a record has no name")
    return name, _compiled(field.get("type"), space, names, depth + 1)


def _record(fields: list[tuple[str, Decode]]) -> Decode:
    def decode(cursor: Cursor) -> dict[str, Any]:
        cursor.enter()
        found = {}
        for name, of_field in fields:
            cursor.count_part()
            found[name] = of_field(cursor)
        cursor.depth -= 1
        return found

    return decode


def _blocks(cursor: Cursor) -> Iterable[None]:
    """Yield once for each item of an array or a map, before it is decoded."""
    cursor.enter()
    while count := cursor.long():
        if count < 0:
            cursor.long()  # the size of the block, for readers that skip it
        for _ in range(abs(count)):
            cursor.count_part()
            yield
    cursor.depth -= 1


def _array(of_item: Decode) -> Decode:
    return lambda cursor: [of_item(cursor) for _ in _blocks(cursor)]


def _map(of_value: Decode) -> Decode:
    return lambda cursor: {string(cursor): of_value(cursor) for _ in _blocks(cursor)}


def _union(branches: list[Decode]) -> Decode:
    def decode(cursor: Cursor) -> Any:
        place = cursor.long()
        if not 0 <= place < len(branches):
            raise misfit("must name a branch of its union")
        return branches[place](cursor)

    return decode


def _enum(symbols: Any) -> Decode:
    if not isinstance(symbols, list) or not all(isinstance(each, str) for each in symbols):
        raise SchemaError("an enum has no symbols")
    known: list[str] = symbols

    def decode(cursor: Cursor) -> str:
        place = cursor.long()
        if not 0 <= place < len(known):
            raise misfit("must name a symbol of its enum")
        return known[place]

    return decode


def _fixed(schema: Mapping[str, Any]) -> Decode:
    size = schema.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise SchemaError("a fixed has no size")
    if schema.get("logicalType") == "decimal":
        return _decimal(schema, lambda cursor: cursor.take(size))
    if schema.get("logicalType") == "uuid" and size == 16:
        return lambda cursor: str(uuid.UUID(bytes=cursor.take(size)))

    def decode(cursor: Cursor) -> None:
        cursor.take(size)

    return decode


def _logical(kind: str, schema: Mapping[str, Any], decode: Decode) -> Decode:
    """Return the decoder of a primitive type with its logical type, if it has a known one."""
    logical = schema.get("logicalType")
    if kind == "long" and isinstance(logical, str) and logical in _TIMES:
        digits, zone = _TIMES[logical]
        return lambda cursor: time_text(cursor.long(), digits, zone)
    if kind == "bytes" and logical == "decimal":
        return _decimal(schema, lambda cursor: cursor.take(cursor.long()))
    return decode


def _decimal(schema: Mapping[str, Any], take: Callable[[Cursor], bytes]) -> Decode:
    scale = schema.get("scale", 0)
    if not isinstance(scale, int) or isinstance(scale, bool) or not 0 <= scale <= _SCALE_MOST:
        raise SchemaError(f"the scale of a decimal is not from 0 to {_SCALE_MOST}")

    def decode(cursor: Cursor) -> float:
        return number_of(take(cursor), scale)

    return decode
