"""A read without the optional fields that break their rule: what is dropped, and what is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.documents.codec import decode_detection, encode
from engine.documents.droppable import Dropped, decode_read
from engine.documents.fields import DROPPABLE_FIELDS
from engine.documents.model import Detection
from engine.errors import DocumentError
from tests.documents.test_model import DETECTION, VALUES, damaged, schema_accepts
from tests.fakes.documents import Json, as_bytes, detection_json
from tests.models.contract_reads import REQUIRED, kept

#: Values of an optional field as producers are reported to send them, the path that is named, and
#: what is kept.
_REGION = "must be an ISO 3166-2 code such as US-CA, or a country such as NL"
_CASES: list[tuple[str, Any, str, str, Any]] = [
    ("region", "us-ca", "$.region", _REGION, None),
    ("region", "", "$.region", _REGION, None),
    ("region", "California", "$.region", _REGION, None),
    ("confidence", 93.1, "$.confidence", "must be at most 1", None),
    ("confidence", "0.93", "$.confidence", "must be a number or null, not a string", None),
    ("location", "", "$.location", "must be an object or null, not a string", None),
    ("location", {"lat": 95, "lon": 1}, "$.location.lat", "must be at most 90", None),
    (
        "location",
        {"lat": None, "lon": None},
        "$.location.lat",
        "must be a number, not null",
        None,
    ),
    ("heading", 361, "$.heading", "must be at most 360", None),
    ("heading", "north", "$.heading", "must be a number or null, not a string", None),
    ("vehicle", "white van", "$.vehicle", "must be an object or null, not a string", None),
    (
        "vehicle",
        {"make": ["Ford"], "color": "white"},
        "$.vehicle.make",
        "must be a string or null, not an array",
        {"color": "white"},
    ),
    ("images", "a.jpg", "$.images", "must be an array or null, not a string", None),
    (
        "images",
        [{"kind": "rear", "uri": "u"}],
        "$.images[0].kind",
        "must be plate or overview",
        None,
    ),
    (
        "alternates",
        [{"plate": "A"}, {"plate": ""}, {"plate": "B", "confidence": 0.5}],
        "$.alternates[1].plate",
        "must not be empty",
        [{"plate": "A"}, {"plate": "B", "confidence": 0.5}],
    ),
    (
        "alternates",
        [{"plate": "A", "confidence": 87}],
        "$.alternates[0].confidence",
        "must be at most 1",
        [{"plate": "A"}],
    ),
    ("alternates", ["A"], "$.alternates[0]", "must be an object, not a string", None),
    (
        "alternates",
        [{"plate": str(number)} for number in range(20)],
        "$.alternates",
        "must have at most 16 items",
        [{"plate": str(number)} for number in range(16)],
    ),
]


@pytest.mark.parametrize(("name", "value", "path", "rule", "rest"), _CASES)
def test_the_smallest_part_is_dropped_and_named(
    name: str, value: Any, path: str, rule: str, rest: Any
) -> None:
    read, dropped = decode_read(as_bytes(detection_json(**{name: value})))
    assert dropped == (Dropped(name, path, rule),)
    assert json.loads(encode(read)) == detection_json(**{name: rest})


def test_a_number_that_no_float_holds_is_dropped() -> None:
    text = as_bytes(detection_json())[:-1] + b', "confidence": 1e999}'
    read, dropped = decode_read(text)
    assert read.confidence is None
    assert dropped == (Dropped("confidence", "$.confidence", "holds a number out of range"),)


def test_a_good_read_loses_nothing() -> None:
    read, dropped = decode_read(as_bytes(DETECTION))
    assert json.loads(encode(read)) == DETECTION
    assert dropped == ()


@pytest.mark.parametrize("name", REQUIRED)
def test_a_required_field_is_not_dropped(name: str) -> None:
    wrong: list[Any] = [None, 5, "", [], {}]
    for value in wrong:
        with pytest.raises(DocumentError) as caught:
            decode_read(as_bytes(DETECTION | {name: value, "region": "us"}))
        assert (caught.value.reason, caught.value.field) == ("schema", f"$.{name}")
        assert caught.value.__context__ is None, "the chain would carry the read along"
    with pytest.raises(DocumentError, match="is required"):
        decode_read(as_bytes({key: each for key, each in DETECTION.items() if key != name}))


@pytest.mark.parametrize("value", [b"", b"[", b"\xff", b"5", b"null", b'{"a": "\xff"}', b"[]"])
def test_what_is_no_json_object_is_an_error(value: bytes) -> None:
    with pytest.raises(DocumentError) as caught:
        decode_read(value)
    assert caught.value.reason in ("invalid_json", "schema")


def test_a_flood_of_bad_items_is_looked_at_only_so_far() -> None:
    size = limits.READ_VALUE_BYTES // 3
    _, dropped = decode_read(as_bytes(detection_json(alternates=[5] * size, images=[5] * size)))
    assert len(dropped) == 2 * 17


@given(damaged("detection"))
def test_what_is_kept_is_what_the_contract_keeps(document: Json) -> None:
    check_beside_the_contract(document)


@given(
    st.fixed_dictionaries({}, optional={name: st.sampled_from(VALUES) for name in DROPPABLE_FIELDS})
)
def test_any_values_of_the_optional_fields(optional: Json) -> None:
    check_beside_the_contract(detection_json() | optional)


def check_beside_the_contract(document: Any) -> None:
    """The decoder and the contract agree on what is kept, or that there is no read."""
    text = as_bytes(document)
    if not isinstance(document, dict) or not schema_accepts("detection", _required(document)):
        with pytest.raises(DocumentError):
            decode_read(text)
        return
    read, dropped = decode_read(text)
    rest, broken = kept(document)
    assert read == decode_detection(as_bytes(rest))  # which ignores unknown fields
    assert {each.field for each in dropped} == broken
    assert bool(dropped) == (not schema_accepts("detection", document))
    assert isinstance(read, Detection)
    assert schema_accepts("detection", json.loads(encode(read)))


def _required(document: Json) -> Json:
    return {name: value for name, value in document.items() if name in REQUIRED}
