"""Protobuf's binary form of a read, as the JSON that the contract describes.

A registry gives the descriptor of a schema, a FileDescriptorProto in base64 (`format=serialized`),
which is Protobuf itself: the reader of values reads it too, and nothing is compiled. A value names
its message by the indexes before it. Each step of the reader takes bytes of the value, so a value
of a bounded size is bounded work; only its depth is counted.

A field that is absent is absent in the JSON, so proto3's empty texts and zeros are. `lat` and `lon`
are the exception: without them there is no place, so there absent means zero. A Timestamp comes out
as RFC 3339, a wrapper as its value, and an enum's value in lower case without the enum's name.

Redpanda's descriptors have the names of messages and enums and not that they are one: the names
decide. The encoding: https://protobuf.dev/programming-guides/encoding/, after Confluent's indexes:
https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop. Pure; no
error has a part of a value.

Long because the schema and the value are read by the same functions.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np

from engine import limits
from engine.documents.avro_values import time_text
from engine.documents.schema_cache import SchemaError
from engine.documents.varints import unzigzag, varint
from engine.errors import DocumentError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DOUBLE, _FLOAT, _BOOL, _STRING, _MESSAGE, _ENUM = 1, 2, 8, 9, 11, 14
#: The wire type of each type of a field; groups have none.
_WIRE: Final = {
    **dict.fromkeys((3, 4, 5, _BOOL, 13, _ENUM, 17, 18), _VARINT),
    **dict.fromkeys((_DOUBLE, 6, 16), _FIXED64),
    **dict.fromkeys((_STRING, _MESSAGE, 12), _BYTES),
    **dict.fromkeys((_FLOAT, 7, 15), _FIXED32),
}
_PACKED: Final = (_VARINT, _FIXED64, _FIXED32)
#: Types whose integers are signed as they are, and by zigzag.
_SIGNED: Final = frozenset({3, 5, 15, 16})
_ZIGZAG: Final = frozenset({17, 18})
_FLOATS: Final = {_DOUBLE: struct.Struct("<d"), _FLOAT: struct.Struct("<f")}
_REPEATED: Final = 3
_TIMESTAMP: Final = "google.protobuf.Timestamp"
_WRAPPED: Final = {
    f"google.protobuf.{name}Value": kind
    for name, kind in (
        *(("Double", _DOUBLE), ("Float", _FLOAT), ("Int64", 3), ("UInt64", 4)),
        *(("Int32", 5), ("UInt32", 13), ("Bool", _BOOL), ("String", _STRING)),
    )
}
_ZEROS: Final[dict[int, Any]] = {_STRING: "", _BOOL: False, _DOUBLE: 0.0, _FLOAT: 0.0}
#: More than any nested message of a schema needs.
_INDEXES_MOST: Final = 16
_NANOS: Final = 1_000_000_000


def _misfit(rule: str) -> DocumentError:
    return DocumentError("invalid_protobuf", rule=rule)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned integer at a position, and the position behind it."""
    try:
        return varint(data, at)
    except (EOFError, OverflowError):
        raise _misfit(
            "must have integers of at most 64 bits, and must not end within one"
        ) from None


def _wire_fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Yield the number, the wire type and the content of each field of a message."""
    at = 0
    value: int | bytes
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(wire)
            if wire == _BYTES:
                size, at = _varint(data, at)
            if size is None or not number:
                raise _misfit("must have fields of known wire types, and no groups")
            if size > len(data) - at:
                raise _misfit("must not end within a field")
            value = data[at : at + size]
            at += size
        yield number, wire, value


@dataclass(slots=True)
class _Field:
    """A field of a message; `kind` is 0 until the name of its type is known to be one of ours."""

    name: str = ""
    kind: int = 0
    type_name: str = ""
    is_repeated: bool = False
    has_presence: bool = False
    message: _Message | None = None
    symbols: dict[int, str] | None = None


@dataclass(slots=True)
class _Message:
    """A message; `zeros` are the fields of a place that are zero if they are absent."""

    name: str
    fields: dict[int, _Field] = field(default_factory=dict)
    nested: list[_Message] = field(default_factory=list)
    zeros: tuple[str, ...] = ()


class ProtobufSchema:
    """The messages of a schema, which decode values.

    `text` and `references` are descriptors in base64. Raises SchemaError if they cannot be used.
    """

    def __init__(self, text: str, references: Iterable[str] = ()) -> None:
        self._messages: dict[str, _Message] = {}
        self._enums: dict[str, dict[int, str]] = {}
        try:
            for each in references:
                self._add_file(each)
            self._first = self._add_file(text)
        except (DocumentError, UnicodeDecodeError, RecursionError):
            raise SchemaError("its descriptor is damaged") from None
        for message in self._messages.values():
            for each_field in message.fields.values():
                self._resolve(each_field, message.name)

    def to_json(self, data: bytes) -> bytes:
        """Return the JSON of a value, which begins with the indexes of its message.

        Raises DocumentError, with reason `invalid_protobuf`, if it does not follow the schema.
        """
        message, start = self._message_of(data)
        return msgspec.json.encode(_decoded(data[start:], message, 0))

    def _message_of(self, data: bytes) -> tuple[_Message, int]:
        count, at = _varint(data, 0)
        count = unzigzag(count)
        among, found = self._first, None
        for _ in range(count or 1):
            place = 0
            if count:
                place, at = _varint(data, at)
                place = unzigzag(place)
            if not 0 <= place < len(among):
                break
            found = among[place]
            among = found.nested
        else:
            if found is not None and 0 <= count <= _INDEXES_MOST:
                return found, at
        raise _misfit("must name a message of its schema after the schema's id")

    def _add_file(self, text: str) -> list[_Message]:
        """Add the types of a file; return its messages."""
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise SchemaError("the registry gives no descriptor of it") from None
        package, syntax, messages, enums = "", "proto2", [], []
        for number, _, value in _wire_fields(data):
            match number, value:
                case 2, bytes():
                    package = value.decode()
                case 4, bytes():
                    messages.append(value)
                case 5, bytes():
                    enums.append(value)
                case 12, bytes():
                    syntax = value.decode()
        for each in enums:
            self._add_enum(each, package)
        return [self._add_message(each, package, syntax == "proto3", 0) for each in messages]

    def _add_message(self, data: bytes, scope: str, is_proto3: bool, depth: int) -> _Message:
        if depth > limits.VALUE_DEPTH:
            raise SchemaError(f"it is nested more than {limits.VALUE_DEPTH} levels deep")
        message = _Message(_within(scope, _name_of(data)))
        self._messages[message.name] = message
        for number, _, value in _wire_fields(data):
            match number, value:
                case 2, bytes():
                    place, found = _field_of(value, is_proto3)
                    message.fields[place] = found
                case 3, bytes():
                    inner = self._add_message(value, message.name, is_proto3, depth + 1)
                    message.nested.append(inner)
                case 4, bytes():
                    self._add_enum(value, message.name)
        message.zeros = tuple(
            each.name
            for each in message.fields.values()
            if each.name in ("lat", "lon") and each.kind in _FLOATS and not each.has_presence
        )
        return message

    def _add_enum(self, data: bytes, scope: str) -> None:
        name = _name_of(data)
        prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper() + "_"
        symbols: dict[int, str] = {}
        for number, _, value in _wire_fields(data):
            if number == 2 and isinstance(value, bytes):
                at = {each: content for each, _, content in _wire_fields(value)}.get(2, 0)
                if isinstance(at, int):
                    symbols[at] = _name_of(value).removeprefix(prefix).lower()
        self._enums[_within(scope, name)] = symbols

    def _resolve(self, one: _Field, scope: str) -> None:
        """Find the message or the enum that a field names; one that is not known is ignored."""
        if not one.type_name or one.kind not in (0, _MESSAGE, _ENUM):
            return
        for name in _candidates(one.type_name, scope):
            if name == _TIMESTAMP or name in _WRAPPED:
                one.kind, one.message = _MESSAGE, _Message(name)
                return
            if name in self._messages:
                one.kind, one.message = _MESSAGE, self._messages[name]
                return
            if name in self._enums:
                one.kind, one.symbols = _ENUM, self._enums[name]
                return
        one.kind = 0


def _candidates(type_name: str, scope: str) -> Iterator[str]:
    """Yield the full names that a type's name may mean, the innermost first."""
    if type_name.startswith("."):
        yield type_name[1:]
        return
    while scope:
        yield f"{scope}.{type_name}"
        scope = scope.rpartition(".")[0]
    yield type_name


def _within(scope: str, name: str) -> str:
    return f"{scope}.{name}" if scope else name


def _name_of(data: bytes) -> str:
    """Return the name of a message, an enum, a value or a field, which is its first field."""
    for number, _, value in _wire_fields(data):
        if number == 1 and isinstance(value, bytes):
            return value.decode()
    raise SchemaError("a type or a field has no name")


def _field_of(data: bytes, is_proto3: bool) -> tuple[int, _Field]:
    """Return a field's number, and what its descriptor says."""
    place, found = 0, _Field(_name_of(data), has_presence=not is_proto3)
    for number, _, value in _wire_fields(data):
        match number, value:
            case 3, int():
                place = value
            case 4, int():
                found.is_repeated = value == _REPEATED
            case 5, int():
                found.kind = value
            case 6, bytes():
                found.type_name = value.decode()
            case 9 | 17, int():  # a member of a oneof, or optional
                found.has_presence = True
    return place, found


def _decoded(data: bytes, message: _Message, depth: int) -> Any:
    """Return the plain value of a message."""
    if depth > limits.VALUE_DEPTH:
        raise _misfit(f"must be nested at most {limits.VALUE_DEPTH} levels deep")
    if message.name == _TIMESTAMP:
        return _timestamp(data)
    if message.name in _WRAPPED:
        kind = _WRAPPED[message.name]
        found = _fields_of(data, _Message("", {1: _Field("value", kind)}), depth)
        return found.get("value", _ZEROS.get(kind, 0))
    found = _fields_of(data, message, depth)
    for name in message.zeros:
        found.setdefault(name, 0.0)
    return found


def _fields_of(data: bytes, message: _Message, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    merged: dict[str, tuple[_Message, list[bytes]]] = {}
    for number, wire, value in _wire_fields(data):
        one = message.fields.get(number)
        if one is None:
            continue
        expected = _WIRE.get(one.kind)
        if isinstance(value, bytes) and one.message is not None and wire == expected:
            if one.is_repeated:
                items = found.setdefault(one.name, [])
                items.append(_decoded(value, one.message, depth + 1))
            else:  # several of them are one message, the concatenated one
                merged.setdefault(one.name, (one.message, []))[1].append(value)
        elif wire == expected and one.kind != _MESSAGE:
            plain = _scalar(value, one)
            if one.is_repeated:
                found.setdefault(one.name, []).append(plain)
            else:
                found[one.name] = plain
        elif one.is_repeated and isinstance(value, bytes) and expected in _PACKED:
            found.setdefault(one.name, []).extend(_packed(value, one))
    for name, (kind, parts) in merged.items():
        found[name] = _decoded(b"".join(parts), kind, depth + 1)
    return found


def _packed(data: bytes, one: _Field) -> Iterator[Any]:
    """Yield the items of a repeated field of numbers that are written together."""
    size = {_FIXED64: 8, _FIXED32: 4}.get(_WIRE.get(one.kind, -1))
    at = 0
    while at < len(data):
        value: int | bytes
        if size is None:
            value, at = _varint(data, at)
        else:
            value, at = data[at : at + size], at + size
            if len(value) < size:
                raise _misfit("must not end within a field")
        yield _scalar(value, one)


def _scalar(value: int | bytes, one: _Field) -> Any:
    """Return the plain value of a field that is no message."""
    kind = one.kind
    if isinstance(value, bytes):
        if kind == _STRING:
            try:
                return value.decode()
            except UnicodeDecodeError:
                pass  # continue outside the clause, so that no error chain holds the value
            raise _misfit("must have texts in UTF-8")
        if kind in _FLOATS:
            [number] = _FLOATS[kind].unpack(value)
            # The shortest number that is this one in four bytes.
            return float(str(np.float32(number))) if kind == _FLOAT else number
        if kind in (6, 7, 15, 16):
            return int.from_bytes(value, "little", signed=kind in _SIGNED)
        return None  # no field of a read is made of bytes
    if kind == _BOOL:
        return bool(value)
    if kind == _ENUM:
        return None if one.symbols is None else one.symbols.get(value)
    if kind in _ZIGZAG:
        return unzigzag(value)
    return value - (1 << 64) if kind in _SIGNED and value >> 63 else value


def _timestamp(data: bytes) -> str | int | None:
    shape = _Message("", {1: _Field("seconds", 3), 2: _Field("nanos", 5)})
    found = _fields_of(data, shape, 0)
    nanos = found.get("nanos", 0)
    if not 0 <= nanos < _NANOS:
        raise _misfit("must have nanoseconds of less than a second")
    digits = next(each for each in (3, 6, 9) if nanos % 10 ** (9 - each) == 0)
    whole = found.get("seconds", 0) * _NANOS + nanos
    return time_text(whole // 10 ** (9 - digits), digits, "Z")
