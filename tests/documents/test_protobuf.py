"""Reads in Protobuf against the same reads in JSON, and what hostile values and schemas come to.

The judge is google.protobuf. Registries' descriptors: https://github.com/Aiven-Open/karapace/issues/398
(base64 of a FileDescriptorProto) and https://docs.redpanda.com/api/doc/schema-registry/.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from engine.documents.droppable import decode_read
from engine.documents.model import Alternate, Detection, Image, Location, Vehicle
from engine.documents.protobuf import ProtobufSchema
from engine.documents.schema_cache import SchemaError
from engine.errors import DocumentError
from tests.documents.test_avro import READS, in_millis
from tests.fakes.documents import as_bytes
from tests.fakes.proto_files import DETECTION_PROTO, descriptor_of, in_base64, message_class

_FILE = descriptor_of(DETECTION_PROTO)
_DETECTION = message_class(_FILE, "lpr.v1.Detection")
_SCHEMA = ProtobufSchema(in_base64(_FILE))


def without_none(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {name: without_none(each) for name, each in plain.items() if each is not None}
    return [without_none(each) for each in plain] if isinstance(plain, list) else plain


@given(READS)
def test_a_read_in_protobuf_is_the_read_in_json(read: dict[str, Any]) -> None:
    at = in_millis(read["captured_at"])
    text = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
    plain = without_none(read | {"captured_at": text})
    # A list without items and an absent one are the same in Protobuf.
    plain = {name: each for name, each in plain.items() if each != []}
    in_proto = dict(plain)
    if "images" in plain:
        in_proto["images"] = [
            each | {"kind": f"IMAGE_KIND_{each['kind'].upper()}"} for each in plain["images"]
        ]
    message = json_format.ParseDict(in_proto, _DETECTION())
    written = b"\0" + message.SerializeToString()
    assert decode_read(_SCHEMA.to_json(written)) == decode_read(as_bytes(plain))


def test_the_schema_that_we_ship_has_the_fields_of_a_read() -> None:
    by_name = {each.name: each for each in _FILE.message_type}
    for kind in (Detection, Alternate, Location, Vehicle, Image):
        fields = by_name[kind.__name__].field
        assert [each.name for each in fields] == [
            each.name for each in msgspec.structs.fields(kind)
        ]


_TYPES = """
package t;
message Inner {
  string text = 1;
  repeated Inner more = 2;
}
message Place {
  double lat = 1;
  float lon = 2;
  optional double alt = 3;
}
enum Kind {
  KIND_UNSPECIFIED = 0;
  KIND_PLATE = 1;
  Other = 2;
}
message All {
  double a = 1;
  float b = 2;
  int64 c = 3;
  uint64 d = 4;
  int32 e = 5;
  fixed64 f = 6;
  fixed32 g = 7;
  bool h = 8;
  string i = 9;
  bytes j = 10;
  uint32 k = 11;
  sfixed32 l = 12;
  sfixed64 m = 13;
  sint32 n = 14;
  sint64 o = 15;
  Kind p = 16;
  repeated Kind q = 17;
  repeated sint32 r = 18;
  repeated double s = 19;
  repeated string t = 20;
  Inner u = 21;
  Place v = 22;
  optional string w = 23;
  google.protobuf.Timestamp x = 24;
  google.protobuf.StringValue y = 25;
  google.protobuf.DoubleValue z = 26;
}
"""
_ALL_FILE = descriptor_of(_TYPES)
_ALL_FILE.dependency.extend(["google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"])
_ALL = message_class(_ALL_FILE, "t.All")
_ALL_INDEX = b"\2\4"  # the third message of the file


def plain_of(data: bytes, file: Any = _ALL_FILE) -> Any:
    return json.loads(ProtobufSchema(in_base64(file)).to_json(_ALL_INDEX + data))


def test_each_type_comes_out_as_the_contract_writes_it() -> None:
    values: dict[str, Any] = {
        "a": 0.5,
        "b": 0.93,
        "c": -5,
        "d": 2**64 - 1,
        "e": -6,
        "f": 2**63,
        "g": 7,
        "h": True,
    }
    values |= {
        "i": "text",
        "k": 2**32 - 1,
        "l": -8,
        "m": -9,
        "n": -10,
        "o": -(2**63),
        "p": "KIND_PLATE",
    }
    values |= {"q": ["Other", "KIND_PLATE"], "r": [-1, 2], "s": [0.25, -1.5], "t": ["", "a"]}
    values |= {"u": {"text": "b", "more": [{}, {"text": "c"}]}, "v": {"alt": 0.0}, "w": ""}
    values |= {"x": "2026-09-21T14:13:18.123456Z", "y": "", "z": 0.0}
    message = json_format.ParseDict(values, _ALL())
    message.j = b"pixels"
    assert plain_of(message.SerializeToString()) == values | {
        "p": "plate",
        "q": ["other", "plate"],
        "j": None,
        "v": {"lat": 0.0, "lon": 0.0, "alt": 0.0},
    }
    assert plain_of(b"") == {}


def test_types_that_only_have_a_name_are_found_by_it() -> None:
    """As in Redpanda's descriptors, and with names that are relative to their place."""
    file = type(_ALL_FILE)()
    file.CopyFrom(_ALL_FILE)
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.ClearField("type")
                field.type_name = field.type_name.removeprefix(".t.")
    message = json_format.ParseDict({"p": "KIND_PLATE", "u": {"more": [{"text": "c"}]}}, _ALL())
    assert plain_of(message.SerializeToString(), file) == {
        "p": "plate",
        "u": {"more": [{"text": "c"}]},
    }


def test_unknown_and_repeated_fields_are_read_as_protobuf_says() -> None:
    inner = b"\xaa\1\3\n\1a" + b"\xaa\1\4\x12\2\n\0"  # u twice: they are merged
    unpacked = b"\x90\1\1" + b"\x92\1\2\2\4"  # r alone, then packed
    unknown = b"\xf8\7\1" + b"\x09" + bytes(8) + b"\x0d" + bytes(4)  # 127, and a of another type
    found = plain_of(inner + unpacked + unknown)
    assert found == {"u": {"text": "a", "more": [{"text": ""}]}, "r": [-1, 1, 2], "a": 0.0}


def test_a_nested_message_is_found_by_its_indexes_and_a_type_in_a_reference() -> None:
    outer = descriptor_of("package o;\nmessage Outer {\n  string a = 1;\n}")
    inner = outer.message_type[0].nested_type.add(name="Inner")
    inner.CopyFrom(descriptor_of("message Inner {\n  t.Inner b = 1;\n}").message_type[0])
    types = descriptor_of(_TYPES)
    schema = ProtobufSchema(in_base64(outer), [in_base64(types)])
    assert json.loads(schema.to_json(b"\4\0\0\n\3\n\1x")) == {"b": {"text": "x"}}
    assert json.loads(schema.to_json(b"\0\n\1x")) == {"a": "x"}
    assert json.loads(schema.to_json(b"\2\0\n\1x")) == {"a": "x"}


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (b"", "must have integers"),
        (b"\2", "must have integers"),
        (b"\2\x10", "must name a message"),
        (b"\1", "must name a message"),
        (b"\4\0\0", "must name a message"),
        (b"\xfe\xff\xff\xff\x0f" + bytes(64), "must name a message"),
        (b"\2\4\n\x7fabc", "must not end within"),
        (b"\2\4J\xff\xff\xff\xff\x0fabc", "must not end within"),
        (b"\2\4J\1\xff", "must have texts in UTF-8"),
        (b"\2\4\x18" + b"\xff" * 10 + b"\1", "at most 64 bits"),
        (b"\2\4\x0b", "known wire types, and no groups"),
        (b"\2\4\2\0", "known wire types, and no groups"),
        (b"\2\4\x9a\1\3abc", "must not end within"),
        (b"\2\4\xc2\1\7\x10\xff\xff\xff\xff\x0f\x08", "must have integers"),
        (b"\2\4\xc2\1\6\x10\xff\xff\xff\xff\x0f", "nanoseconds of less than a second"),
    ],
)
def test_a_hostile_value_is_one_error(value: bytes, rule: str) -> None:
    with pytest.raises(DocumentError, match=rule) as caught:
        ProtobufSchema(in_base64(_ALL_FILE)).to_json(value)
    assert caught.value.reason == "invalid_protobuf"


def test_a_value_that_is_nested_without_end_is_one_error() -> None:
    value = b""
    for _ in range(200):
        size, rest = len(value), b""
        while size > 127:
            rest, size = rest + bytes([size & 127 | 128]), size >> 7
        value = b"\x12" + rest + bytes([size]) + value
    with pytest.raises(DocumentError, match="nested at most 32 levels"):
        ProtobufSchema(in_base64(_ALL_FILE)).to_json(b"\0" + value)


@given(st.binary(max_size=200))
def test_garbage_is_a_value_or_one_error(data: bytes) -> None:
    reason = "none"
    try:
        decode_read(_SCHEMA.to_json(b"\0" + data))
    except DocumentError as error:
        reason = error.reason
    assert reason in ("none", "invalid_protobuf", "schema")


def nested(depth: int) -> str:
    file = descriptor_of("message M {\n  string a = 1;\n}")
    message = file.message_type[0]
    for _ in range(depth):
        message = message.nested_type.add(name="M")
    return in_base64(file)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (DETECTION_PROTO, "gives no descriptor"),
        ("syntax", "gives no descriptor"),
        (base64.b64encode(b"\x22\x7f").decode(), "damaged"),
        (base64.b64encode(b"\x22\2\n\xff").decode(), "damaged"),
        (base64.b64encode(b"\x22\0").decode(), "has no name"),
        (nested(60), "nested more than 32 levels"),
    ],
)
def test_a_schema_that_cannot_be_used_says_why(text: str, why: str) -> None:
    with pytest.raises(SchemaError, match=why):
        ProtobufSchema(text)
