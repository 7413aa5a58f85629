"""Reads in Avro against the same reads in JSON, and what hostile values and schemas come to.

The judge is fastavro's writer. Hostile values: https://github.com/apache/avro/pull/3865 and
https://github.com/apache/arrow-rs/issues/10235 (items that take no bytes).
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.documents.avro import AvroSchema
from engine.documents.droppable import decode_read
from engine.documents.model import Alternate, Detection, Image, Location, Vehicle
from engine.documents.schema_cache import SchemaError
from engine.errors import DocumentError
from tests.fakes.documents import as_bytes, detection_json
from tests.fakes.schema_registry import DETECTION, avro

_SCHEMA = AvroSchema(DETECTION)

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
_PART = st.floats(0, 1)
_OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "region": st.sampled_from(["US-CA", "NL", "us-ca", ""]),
    "confidence": st.floats(allow_nan=False, allow_infinity=False),
    "alternates": st.lists(
        st.fixed_dictionaries({"plate": _TEXT, "confidence": st.none() | _PART}), max_size=18
    ),
    "location": st.fixed_dictionaries({"lat": st.floats(-99, 99), "lon": st.floats(-180, 180)}),
    "heading": st.floats(-10, 370),
    "vehicle": st.fixed_dictionaries(
        {part: st.none() | _TEXT for part in ("make", "model", "color", "type")}
    ),
    "images": st.lists(
        st.fixed_dictionaries({"kind": st.sampled_from(["plate", "overview"]), "uri": _TEXT}),
        max_size=3,
    ),
}
_FIRST = datetime.fromisoformat("1900-01-01")
_LAST = datetime.fromisoformat("2999-12-31")
READS = st.fixed_dictionaries(
    {
        "read_id": _TEXT,
        "plate": _TEXT,
        "captured_at": st.datetimes(_FIRST, _LAST),
        "source": _TEXT,
        "camera": _TEXT,
        **{name: st.none() | values for name, values in _OPTIONAL.items()},
    }
)


def in_millis(time: datetime) -> datetime:
    return time.replace(microsecond=time.microsecond // 1000 * 1000, tzinfo=UTC)


@given(READS)
def test_a_read_in_avro_is_the_read_in_json(read: dict[str, Any]) -> None:
    at = in_millis(read["captured_at"])
    text = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
    written = avro(DETECTION, read | {"captured_at": at})
    through_json = decode_read(as_bytes(read | {"captured_at": text}))
    assert decode_read(_SCHEMA.to_json(written)) == through_json


def test_the_schema_that_we_ship_has_the_fields_of_a_read() -> None:
    def names(kind: Any, schema: Any) -> None:
        fields = schema["fields"]
        known = {each.name: each for each in msgspec.structs.fields(kind)}
        assert [each["name"] for each in fields] == list(known)
        for each in fields:
            assert known[each["name"]].required == ("default" not in each), each["name"]

    schema = json.loads(DETECTION)
    names(Detection, schema)
    by_name = {each["name"]: each["type"] for each in schema["fields"]}
    names(Location, by_name["location"][1])
    names(Vehicle, by_name["vehicle"][1])
    names(Alternate, by_name["alternates"][1]["items"])
    names(Image, by_name["images"][1]["items"])


def value_of(schema: Any, value: Any, *references: Any) -> Any:
    """What comes of a value that fastavro writes."""
    whole = json.dumps({"type": "record", "name": "R", "fields": [{"name": "x", "type": schema}]})
    found = AvroSchema(whole, map(json.dumps, references)).to_json(avro(whole, {"x": value}))
    return json.loads(found)["x"]


_AT = datetime(2026, 9, 21, 15, 13, 18, 123456, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("schema", "value", "plain"),
    [
        ({"type": "long", "logicalType": "timestamp-millis"}, _AT, "2026-09-21T14:13:18.123Z"),
        ({"type": "long", "logicalType": "timestamp-micros"}, _AT, "2026-09-21T14:13:18.123456Z"),
        ({"type": "long", "logicalType": "timestamp-millis"}, -1, "1969-12-31T23:59:59.999Z"),
        ({"type": "long", "logicalType": "timestamp-millis"}, 2**62, 2**62),
        (
            {"type": "long", "logicalType": "local-timestamp-millis"},
            _AT.replace(tzinfo=None),
            "2026-09-21T15:13:18.123",
        ),
        ({"type": "int", "logicalType": "date"}, date(1970, 1, 3), 2),
        ({"type": "string", "logicalType": "uuid"}, uuid.UUID(int=7), str(uuid.UUID(int=7))),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 3},
            Decimal("-0.931"),
            -0.931,
        ),
        (
            {"type": "fixed", "name": "D", "size": 4, "logicalType": "decimal", "precision": 6},
            Decimal(7),
            7.0,
        ),
        ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, "b", "b"),
        (["null", "int", {"type": "map", "values": "boolean"}], {"k": True}, {"k": True}),
        ({"type": "array", "items": ["null", "string"]}, ["a", None], ["a", None]),
        ("float", 0.93, 0.93),
        ("float", float("nan"), None),
        ("bytes", b"pixels", None),
        ({"type": "fixed", "name": "F", "size": 2}, b"ab", None),
        ("long", -(2**63), -(2**63)),
    ],
)
def test_each_type_comes_out_as_the_contract_writes_it(schema: Any, value: Any, plain: Any) -> None:
    assert value_of(schema, value) == plain


def test_a_uuid_of_sixteen_bytes_is_a_text() -> None:
    schema = AvroSchema('{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}')
    assert json.loads(schema.to_json(uuid.UUID(int=9).bytes)) == str(uuid.UUID(int=9))


def test_names_are_found_in_their_namespaces_and_in_references() -> None:
    place = {
        "type": "record",
        "name": "Place",
        "namespace": "geo",
        "fields": [
            {"name": "lat", "type": "double"},
            {"name": "next", "type": ["null", "Place"]},
        ],
    }
    schema = json.dumps(
        {
            "type": "record",
            "name": "cam.Read",
            "fields": [
                {"name": "at", "type": "geo.Place"},
                {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["a"]}},
                {"name": "again", "type": "Kind"},
                {"name": "full", "type": "cam.Kind"},
            ],
        }
    )
    value = b"\0" * 8 + b"\2" + b"\0" * 8 + b"\0" + b"\0\0\0"
    assert json.loads(AvroSchema(schema, [json.dumps(place)]).to_json(value)) == {
        "at": {"lat": 0.0, "next": {"lat": 0.0, "next": None}},
        "kind": "a",
        "again": "a",
        "full": "a",
    }


def test_blocks_with_their_size_are_read() -> None:
    schema = AvroSchema('{"type":{"type":"array","items":"int"}}')
    assert schema.to_json(b"\3\4\2\4" + b"\2\6" + b"\0") == b"[1,2,3]"


_NULLS = '{"type":"array","items":"null"}'
_SELF = '{"type":"record","name":"S","fields":[{"name":"s","type":["null","S"]}]}'
_WIDE = [
    {
        "type": "record",
        "name": f"W{n}",
        "fields": [
            {"name": f"f{each}", "type": "null" if n == 0 else f"W{n - 1}"} for each in range(32)
        ],
    }
    for n in range(8)
]


@pytest.mark.parametrize(
    ("schema", "value", "rule"),
    [
        (_NULLS, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\1\0", "at most 32768 parts"),
        ('"string"', b"\xfe\xff\xff\xff\x0fabc", "must not end within a field"),
        ('"string"', b"\1a", "must not end within a field"),
        ('"string"', b"\2\xff", "must have texts in UTF-8"),
        ('"bytes"', b"\xff" * 9 + b"\x7f", "more than 64 bits"),
        ('"long"', b"\xff" * 11, "more than 64 bits"),
        ('"long"', b"\xff", "must not end within a field"),
        ('"long"', b"\2\2", "must end with the last field"),
        ('"boolean"', b"\2", "must have booleans"),
        ('["null","int"]', b"\4", "must name a branch"),
        ('["null","int"]', b"\1", "must name a branch"),
        ('{"type":"enum","name":"E","symbols":["a"]}', b"\1", "must name a symbol"),
        (_SELF, b"\2" * 1000, "nested at most 32 levels"),
        (
            '{"type":"bytes","logicalType":"decimal","precision":9}',
            b"\x80\1" + b"\x7f" * 64,
            "decimals of at most 32 bytes",
        ),
    ],
)
def test_a_hostile_value_is_one_error(schema: str, value: bytes, rule: str) -> None:
    with pytest.raises(DocumentError, match=rule) as caught:
        AvroSchema(schema).to_json(value)
    assert caught.value.reason == "invalid_avro"
    assert len(caught.value.rule) <= 256


def test_records_that_multiply_are_one_error() -> None:
    """A schema of a few kilobytes that describes a million million fields, and no byte of them."""
    with pytest.raises(DocumentError, match="at most 32768 parts"):
        AvroSchema(json.dumps(_WIDE[-1]), map(json.dumps, _WIDE[:-1])).to_json(b"")


@given(st.binary(max_size=200))
def test_garbage_is_a_value_or_one_error(data: bytes) -> None:
    reason = "none"
    try:
        decode_read(_SCHEMA.to_json(data))
    except DocumentError as error:
        reason = error.reason
    assert reason in ("none", "invalid_avro", "schema")


_DEEP = '{"type":"array","items":' * 400 + '"int"' + "}" * 400


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("message M {}", "no JSON"),
        ("[" * 100_000, "no JSON"),
        (_DEEP, "nested more than 32 levels"),
        ('"Nowhere"', "names a type that it does not define"),
        ("7", "neither a name, a list nor an object"),
        ('{"type":"record","fields":[]}', "has no name"),
        ('{"type":"record","name":"R"}', "no fields"),
        ('{"type":"record","name":"R","fields":[7]}', "a field of a record has no name"),
        ('{"type":"enum","name":"E"}', "no symbols"),
        ('{"type":"fixed","name":"F","size":-1}', "no size"),
        ('{"type":"bytes","logicalType":"decimal","scale":99999999}', "the scale of a decimal"),
        ('{"type":"array"}', "neither a name, a list nor an object"),
    ],
)
def test_a_schema_that_cannot_be_used_says_why(schema: str, why: str) -> None:
    with pytest.raises(SchemaError, match=why):
        AvroSchema(schema)


def test_a_time_without_a_zone_is_no_time_of_a_read() -> None:
    read = detection_json() | {"captured_at": "2026-09-21T15:13:18.123"}
    with pytest.raises(DocumentError) as caught:
        decode_read(as_bytes(read))
    assert caught.value.field == "$.captured_at"
