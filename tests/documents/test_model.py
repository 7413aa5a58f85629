"""The documents: what the code accepts is what the schemas accept, and errors tell nothing."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from engine.documents import model, schema_errors
from engine.documents.codec import (
    decode_audit,
    decode_detection,
    decode_entry,
    decode_match,
    decode_policy,
    decode_reject,
    decode_suppression,
    encode,
)
from engine.documents.model import AUDIT_EVENTS, REJECT_REASONS
from engine.errors import DocumentError
from tests.repository.schema_drift import read_schemas

Json = Any
Path = tuple[str | int, ...]

SCHEMAS = read_schemas()
DECODERS: dict[str, Callable[[bytes], model.Document]] = {
    "detection": decode_detection,
    "entry": decode_entry,
    "policy": decode_policy,
    "match": decode_match,
    "reject": decode_reject,
    "audit": decode_audit,
    "suppression": decode_suppression,
}
KINDS = sorted(DECODERS)


# ---- the schemas' side


def _pattern(_: object, pattern: str, instance: Json, __: object) -> Iterator[Any]:
    """The keyword as ECMA-262 has it: `$` is the end, not the place before a final newline."""
    if isinstance(instance, str) and not re.search(pattern.removesuffix("$") + r"\Z", instance):
        yield ValidationError("does not match the pattern")


_Validator = extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]
# Without `$schema`, at which jsonschema would go back to its own idea of a pattern.
_PLAIN_SCHEMAS = [
    {name: value for name, value in schema.items() if name != "$schema"}
    for schema in SCHEMAS.values()
]
_REGISTRY: Registry[Any] = Registry().with_resources(
    (schema["$id"], DRAFT202012.create_resource(schema)) for schema in _PLAIN_SCHEMAS
)
_VALIDATORS = {
    kind: _Validator({"$ref": SCHEMAS[f"{kind}.v1.json"]["$id"]}, registry=_REGISTRY)
    for kind in KINDS
}


def schema_accepts(kind: str, document: Json) -> bool:
    return bool(_VALIDATORS[kind].is_valid(document))


def decode(kind: str, document: Json) -> model.Document | None:
    """The document, or None where the code refuses it by its schema."""
    error = refusal(kind, document)
    if error is None:
        return DECODERS[kind](_json(document))
    assert error.reason == "schema"
    assert error.__context__ is None, "the chain would carry the document along"
    return None


def refusal(kind: str, document: Json) -> DocumentError | None:
    """The error with which the code refuses the document, None where it accepts it."""
    try:
        DECODERS[kind](_json(document))
    except DocumentError as error:
        return error
    return None


def _json(document: Json) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def check_agreement(kind: str, document: Json) -> None:
    """Code and schema agree; and what comes out again is clean, and the same."""
    decoded = decode(kind, document)
    assert (decoded is not None) == schema_accepts(kind, document), document
    if decoded is None:
        return
    written = encode(decoded)
    again = json.loads(written)
    assert schema_accepts(kind, again)
    assert DECODERS[kind](written) == decoded
    assert not list(surplus(again, decoded))


def surplus(plain: Json, struct: msgspec.Struct) -> Iterator[str]:
    """Nulls and fields without a place in the document."""
    for name, value in plain.items():
        known = getattr(struct, name, None)
        if value is None or name not in struct.__struct_fields__:
            yield name
        elif isinstance(known, msgspec.Struct):
            yield from surplus(value, known)
        elif isinstance(known, tuple):
            for item, struct_item in zip(value, known, strict=True):
                if isinstance(struct_item, msgspec.Struct):
                    yield from surplus(item, struct_item)


# ---- documents to try

VEHICLE = {"make": "Ford", "model": "Transit", "color": "white", "type": "van"}
NOON = "2026-01-31T12:00:00.000Z"
DETECTION: Json = {
    "read_id": "r-1",
    "plate": "7ABC-123",
    "captured_at": NOON,
    "source": "city",
    "camera": "c-1",
    "region": "US-CA",
    "confidence": 0.5,
    "alternates": [{"plate": "7A8C-123", "confidence": 0.25}],
    "location": {"lat": 37.5, "lon": -122.5},
    "heading": 270,
    "vehicle": VEHICLE,
    "images": [{"kind": "plate", "uri": "https://images.example/1"}],
}
ENTRY: Json = {
    "entry_id": "e-1",
    "list_id": "list",
    "plate": "7ABC123",
    "agency": "city",
    "purpose": "stolen_vehicle",
    "authority": {"kind": "case", "reference": "1"},
    "requested_by": "somebody",
    "created_at": NOON,
    "expires_at": "2026-03-31T12:00:00.000Z",
    "starts_at": NOON,
    "region": "NL",
    "confusables": True,
    "distance": 1,
    "vehicle": VEHICLE,
    "priority": 1,
    "instructions": "Look twice.",
    "area": [{"lat": 37.5, "lon": -122.5, "radius_m": 100.5}],
    "hours": {
        "time_zone": "America/Los_Angeles",
        "windows": [{"days": ["mon", "sun"], "start": "22:00", "end": "24:00"}],
    },
    "suppress_s": 0,
}
FULL: dict[str, Json] = {
    "detection": DETECTION,
    "entry": ENTRY,
    "policy": {
        "source": "city",
        "rules": [
            {"agencies": ["city"], "purposes": "*"},
            {"agencies": "*", "purposes": ["permit"]},
        ],
        "updated_by": "somebody",
        "updated_at": NOON,
        "regions": ["NL"],
    },
    "match": {
        "match_id": "0123456789abcdef" * 2,
        "matched_at": NOON,
        "match_type": "exact",
        "confidence": 0.75,
        "alternate": {"plate": "7A8C-123", "confidence": 0.25},
        "entry": ENTRY,
        "entry_revision": 1,
        "read": DETECTION,
        "verification": {
            "required": True,
            "checks": [
                {
                    "check": "plate",
                    "result": "differs",
                    "text": "Compare.",
                    "read": "A",
                    "listed": "B",
                    "positions": [0],
                    "look_alikes": [15],
                    "misread": {"kind": "added", "position": 15},
                    "field": "region",
                    "age_s": 7,
                }
            ],
        },
        "suppressed": 0,
        "policy": {"source": "city", "revision": 2},
        "list_revision": 3,
    },
    "reject": {
        "topic": "lpr.detections.v1",
        "partition": 0,
        "offset": 1,
        "reason": "schema",
        "rejected_at": NOON,
        "last_offset": 2,
        "field": "$.plate",
        "rule": "is required",
    },
    "audit": {
        "chain": "c",
        "sequence": 0,
        "recorded_at": NOON,
        "event": "match",
        "fields": {"entry_id": "e-1", "revision": 4},
        "previous_hash": "0" * 64,
        "hash": "f" * 64,
    },
    "suppression": {
        "entry_id": "e-1",
        "matches": [
            {
                "captured_ms": -1,
                "offset": 4,
                "suppressed": 2,
                "arrived_ms": 5,
                "match_type": "exact",
                "confidence": 0.5,
            }
        ],
        "suppress_s": 60,
        "offset": 7,
        "suppressed": 1,
        "source": "s-1",
        "listing": "0f3a5c7e91b2d4f6",
        "list_id": "l-1",
        "agency": "ag",
        "purpose": "permit",
        "authority": {"kind": "case", "reference": "1"},
    },
}

#: Values of every type, many of them at a bound of some field or just beyond it.
NUMBERS: list[Json] = [
    *(0, 1, -1, 0.0, -0.0, 1.0, 5.0, 1.5, 0.5, 5, 6, 15, 16, 90, 90.01, -90, -90.01, 180, 180.01),
    *(-180, -180.01, 360, 360.01, 86_400, 86_401, 86_400.0, 1_000_000, 1_000_000.5, 1e-9, 2**31),
    *(2**31 - 1, 2**53 - 1, 2**53, -(2**53) + 1, -(2**53), 2**63, 2**64, 10**30, 1e300, -1e300),
]
TEXTS: list[Json] = [
    *(
        "",
        "a",
        "A",
        "*",
        "?",
        "é",
        "😀",
        "NL",
        "US-CA",
        "US-CALI",
        "us",
        "NL\n",
        "N1",
        "US-",
        "case",
    ),
    *(
        "plate",
        "match",
        "same",
        "exact",
        "permit",
        "permit\n",
        "_a",
        "a-b",
        "true",
        "1",
        "\x00",
        "a\nb",
    ),
    *(
        NOON,
        NOON + "\n",
        "2026-02-29T00:00:00Z",
        "2024-02-29T00:00:00Z",
        "2026-01-01T00:00:00+00:00",
    ),
    *("2026-01-01T00:00:00+01:00", "1899-12-31T00:00:00Z", "3000-01-01T00:00:00Z", "now"),
    *("00:00", "23:59", "24:00", "24:01", "7:30", "07:30\n", "mon", "UTC", "Etc/GMT+3", "a//b"),
    *("f" * 32, "f" * 64, "F" * 64, "f" * 64 + "\n", "0" * 63),
    *(char * size for char in "a😀" for size in (16, 17, 64, 65, 128, 129, 249, 250, 256, 257)),
    *("a" * size for size in (300, 301, 500, 501, 2000, 2001, 2048, 2049)),
]
OTHERS: list[Json] = [None, True, False, [], {}, [None], [[]], ["a"], [1], [1.0], {"a": 1}, ["*"]]
VALUES = NUMBERS + TEXTS + OTHERS


def places(document: Json, path: Path = ()) -> Iterator[Path]:
    """The path of every value in a JSON document, the document itself included."""
    yield path
    if isinstance(document, dict):
        for name, value in document.items():
            yield from places(value, (*path, name))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from places(value, (*path, index))


def at(document: Json, path: Path) -> Json:
    for step in path:
        document = document[step]
    return document


def put(document: Json, path: Path, value: Json) -> Json:
    """A copy of the document with another value at a place."""
    if not path:
        return value
    changed = copy.deepcopy(document)
    at(changed, path[:-1])[path[-1]] = value
    return changed


def without(document: Json, path: Path) -> Json:
    """A copy of the document with nothing at a place."""
    changed = copy.deepcopy(document)
    del at(changed, path[:-1])[path[-1]]
    return changed


LEAVES = [(kind, path) for kind in KINDS for path in places(FULL[kind])]


@st.composite
def damaged(draw: st.DrawFn, kind: str) -> Json:
    """A valid document after up to four changes, of which many keep it valid."""
    document = copy.deepcopy(FULL[kind])
    for _ in range(draw(st.integers(0, 4))):
        path = draw(st.sampled_from(list(places(document))))
        value = at(document, path)
        change = draw(st.sampled_from(["put", "drop", "add", "edit", "edit"]))
        if change == "put":
            document = put(document, path, draw(st.sampled_from(VALUES)))
        elif change == "drop" and path:
            document = without(document, path)
        elif change == "add" and isinstance(value, dict):
            name = draw(st.sampled_from(["extra", "plate", "required"]) | st.text(max_size=5))
            document = put(document, (*path, name), draw(st.sampled_from(VALUES)))
        elif change == "edit":
            document = put(document, path, draw(_edited(value)))
    return document


def _edited(value: Json) -> st.SearchStrategy[Json]:
    """Something of the same type."""
    match value:
        case bool():
            return st.just(not value)
        case int() | float() if math.isfinite(value):
            return st.sampled_from([value + 1, -value, value / 2, float(value)])
        case str():
            return (
                st.sampled_from([value + "\n", value[:-1], value.upper(), value * 20]) | st.text()
            )
        case list():
            return st.integers(0, 20).map(lambda times: value[:1] * times)
        case dict():
            return st.dictionaries(st.text(max_size=3), st.none()).map(lambda more: value | more)
    return st.sampled_from(VALUES)


# ---- both directions


@pytest.mark.parametrize("kind", KINDS)
def test_the_schemas_examples_are_accepted(kind: str) -> None:
    examples = SCHEMAS[f"{kind}.v1.json"]["examples"]
    for example in examples:
        assert schema_accepts(kind, example)
        check_agreement(kind, example)


@pytest.mark.parametrize("kind", KINDS)
def test_the_documents_that_the_tests_start_from_are_whole(kind: str) -> None:
    decoded = decode(kind, FULL[kind])
    assert decoded is not None
    assert set(FULL[kind]) == set(decoded.__struct_fields__)
    assert json.loads(encode(decoded)) == FULL[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_code_and_schema_agree_on_every_value_in_every_place(kind: str) -> None:
    for path in places(FULL[kind]):
        small = _only(FULL[kind], path)
        # What a match quotes is tried in its own schema; here it is enough that it is quoted.
        quoted = kind == "match" and path[:1] in {("entry",), ("read",)}
        for value in OTHERS if quoted else VALUES:
            check_agreement(kind, put(small, path, value))
        if path and isinstance(path[-1], str):
            check_agreement(kind, without(small, path))
            check_agreement(kind, without(FULL[kind], path))
        if isinstance(at(small, path), dict):
            check_agreement(kind, put(small, (*path, "extra"), {"x": [1, None]}))


def _only(document: Json, path: Path) -> Json:
    """The document with optional fields only where the path leads, which is quicker to check."""
    struct = next(s for s in _STRUCTS if set(document) == set(s.__struct_fields__))
    required = {field.name for field in msgspec.structs.fields(struct) if field.required}
    kept = required | set(path[:1]) if path else set(document)
    return {name: copy.deepcopy(value) for name, value in document.items() if name in kept}


_STRUCTS: tuple[type[msgspec.Struct], ...] = get_args(model.Document)


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_code_and_schema_agree_on_damaged_documents(kind: str, data: st.DataObject) -> None:
    check_agreement(kind, data.draw(damaged(kind)))


_HOUR = r"[0-9]{2}:[0-9]{2}"


@given(
    st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?(Z|.*)")
    | st.from_regex(
        rf"\A2[0-9]{{3}}-[01][0-9]-[0-3][0-9][Tt ]{_HOUR}:[0-6][0-9](|[.][0-9]+)"
        rf"([Zz]|[+-]{_HOUR})\Z"
    )
)
def test_code_and_schema_agree_on_times(text: str) -> None:
    check_agreement("detection", {**DETECTION, "captured_at": text})


@given(st.text(), st.text(), st.text())
def test_code_and_schema_agree_on_texts(name: str, code: str, region: str) -> None:
    check_agreement("entry", {**ENTRY, "entry_id": name})
    check_agreement("entry", {**ENTRY, "purpose": code})
    check_agreement("entry", {**ENTRY, "region": region})


@given(st.from_regex(r"[0-9]{1,2}:[0-9]{2}\n?"), st.from_regex(r"[A-Z][a-z]*([/+_-][A-Za-z0-9]*)*"))
def test_code_and_schema_agree_on_hours(clock: str, zone: str) -> None:
    for part in ("start", "end"):
        check_agreement("entry", put(ENTRY, ("hours", "windows", 0, part), clock))
    check_agreement("entry", put(ENTRY, ("hours", "time_zone"), zone))


@pytest.mark.parametrize("size", [7, 8, 16, 17, 28, 29, 64, 65, 1000, 1001])
def test_code_and_schema_agree_on_the_lengths_of_lists(size: int) -> None:
    image, circle = DETECTION["images"][0], ENTRY["area"][0]
    check_agreement("detection", {**DETECTION, "images": [image] * size})
    check_agreement("detection", {**DETECTION, "alternates": [{"plate": "A"}] * size})
    check_agreement("entry", {**ENTRY, "area": [circle] * size})
    window = ENTRY["hours"]["windows"][0]
    check_agreement("entry", put(ENTRY, ("hours", "windows"), [window] * size))
    check_agreement("entry", put(ENTRY, ("hours", "windows", 0, "days"), ["fri"] * size))
    policy = FULL["policy"]
    check_agreement("policy", {**policy, "rules": policy["rules"][:1] * size})
    check_agreement("policy", {**policy, "regions": ["NL"] * size})
    for name in ("agencies", "purposes"):
        rule = {**policy["rules"][0], name: ["a"] * size}
        check_agreement("policy", {**policy, "rules": [rule]})
    check = FULL["match"]["verification"]["checks"][0]
    for checks in ([check] * size, [{**check, "positions": [1] * size, "look_alikes": [2] * size}]):
        verification = {"required": True, "checks": checks}
        check_agreement("match", {**FULL["match"], "verification": verification})
    many = {f"field_{n}": n for n in range(size * 2)}
    check_agreement("audit", {**FULL["audit"], "fields": many})


# ---- what comes out


def test_null_is_absent_and_defaults_hold() -> None:
    required = msgspec.structs.fields(model.Entry)
    bare = {f.name: ENTRY[f.name] for f in required if f.required}
    absent = {f.name: None for f in required if not f.required}
    entry = decode_entry(json.dumps(bare))
    assert decode_entry(json.dumps(bare | absent)) == entry
    assert (entry.priority, entry.priority_in_force) == (None, 3)
    assert (entry.starts_at, entry.starts_ms, entry.area) == (None, None, None)
    assert (entry.distance, entry.hours, entry.DEFAULTS["distance"]) == (None, None, 0)
    assert json.loads(encode(entry)) == bare
    given = {**bare, **model.Entry.DEFAULTS}
    assert json.loads(encode(decode_entry(json.dumps(given)))) == given


def test_a_whole_number_is_an_integer_however_it_is_written() -> None:
    entry = decode_entry(json.dumps({**ENTRY, "priority": 2.0, "suppress_s": 3e1}))
    assert (entry.priority, entry.suppress_s) == (2, 30)
    assert {type(entry.priority), type(entry.suppress_s)} == {int}
    audit = decode_audit(json.dumps({**FULL["audit"], "sequence": 1.0, "fields": {"n": 2.0}}))
    assert (audit.sequence, audit.fields) == (1, {"n": 2})
    assert type(audit.fields["n"]) is int


def test_unknown_fields_are_forgotten_on_input_and_refused_on_output() -> None:
    odd = {**DETECTION, "color": "x", "vehicle": {**VEHICLE, "doors": 5}}
    assert decode_detection(json.dumps(odd)) == decode_detection(json.dumps(DETECTION))
    for path in (
        (),
        ("entry",),
        ("entry", "authority"),
        ("read", "images", 0),
        ("policy",),
        ("alternate",),
    ):
        with pytest.raises(DocumentError, match="must not have unknown fields"):
            decode_match(json.dumps(put(FULL["match"], (*path, "doors"), 5)))


def test_a_number_out_of_range_is_passed_over_only_where_its_field_is() -> None:
    def with_it(kind: str) -> bytes:
        return _json(FULL[kind])[:-1] + b', "extra": 1e999}'

    assert decode_detection(with_it("detection")) == decode_detection(_json(DETECTION))
    for kind in ("match", "reject", "audit"):
        with pytest.raises(DocumentError, match="must not have unknown fields"):
            DECODERS[kind](with_it(kind))


def test_times_in_milliseconds() -> None:
    entry = decode_entry(json.dumps(ENTRY))
    policy = decode_policy(json.dumps(FULL["policy"]))
    noon_ms = 1_769_860_800_000
    assert decode_detection(json.dumps(DETECTION)).captured_ms == noon_ms
    assert entry.created_ms == entry.starts_ms == policy.updated_ms == noon_ms
    assert entry.expires_ms == noon_ms + 59 * 86_400_000


def test_documents_cannot_be_changed() -> None:
    detection = decode_detection(json.dumps(DETECTION))
    with pytest.raises(AttributeError):
        detection.plate = "B"  # type: ignore[misc]


def test_text_may_stand_for_bytes() -> None:
    assert decode_detection(json.dumps(DETECTION)) == decode_detection(
        json.dumps(DETECTION).encode()
    )


# ---- errors


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"{'plate': 1}",
        b'{"plate": NaN}',
        b'{"plate": 1} {}',
        b'{"plate": 5, "x": }',
        b'{"extra": "\xff"}',
        b'{"plate": "\\ud800"}',
        b'{"extra": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        '{"plate": "\ud800"}',
    ],
)
def test_invalid_json(kind: str, data: bytes) -> None:
    with pytest.raises(DocumentError) as caught:
        DECODERS[kind](data)
    assert caught.value.reason == "invalid_json"
    assert str(caught.value) == "$: must be JSON in UTF-8"
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("kind", "path", "value", "text"),
    [
        ("detection", (), [], "$: must be an object, not an array"),
        ("detection", (), None, "$: must be an object, not null"),
        ("detection", ("plate",), 5, "$.plate: must be a string, not an integer"),
        ("detection", ("plate",), "", "$.plate: must not be empty"),
        ("detection", ("read_id",), "r" * 65, "$.read_id: must have at most 64 characters"),
        ("detection", ("alternates",), [{}], "$.alternates[0].plate: is required"),
        (
            "detection",
            ("alternates",),
            [DETECTION] * 17,
            "$.alternates: must have at most 16 items",
        ),
        ("detection", ("alternates", 0), "x", "$.alternates[0]: must be an object, not a string"),
        ("detection", ("location", "lat"), 91, "$.location.lat: must be at most 90"),
        ("detection", ("location",), {"lat": 1}, "$.location.lon: is required"),
        ("detection", ("confidence",), -0.5, "$.confidence: must be at least 0"),
        ("detection", ("confidence",), 10**400, "$.confidence: holds a number out of range"),
        ("detection", ("images", 0, "kind"), "x", "$.images[0].kind: must be plate or overview"),
        (
            "detection",
            ("captured_at",),
            "noon",
            "$.captured_at: must be a time of RFC 3339 such as 2026-01-31T12:00:00.000Z",
        ),
        (
            "detection",
            ("region",),
            "us",
            "$.region: must be an ISO 3166-2 code such as US-CA, or a country such as NL",
        ),
        ("entry", ("area", 0, "radius_m"), 0, "$.area[0].radius_m: must be more than 0"),
        ("entry", ("area",), [], "$.area: must not be empty"),
        ("entry", ("distance",), 2, "$.distance: must be at most 1"),
        ("entry", ("hours",), {"windows": []}, "$.hours.windows: must not be empty"),
        ("entry", ("hours",), {"time_zone": "UTC"}, "$.hours.windows: is required"),
        (
            "entry",
            ("hours", "time_zone"),
            "../etc/passwd",
            "$.hours.time_zone: must be a time zone such as America/Los_Angeles",
        ),
        (
            "entry",
            ("hours", "windows", 0, "days"),
            ["Monday"],
            "$.hours.windows[0].days[0]: must be mon or tue or wed or thu or fri or sat or sun",
        ),
        (
            "entry",
            ("hours", "windows", 0, "start"),
            "24:00",
            "$.hours.windows[0].start: must be a time of day such as 08:00",
        ),
        (
            "entry",
            ("hours", "windows", 0, "end"),
            "8:00",
            "$.hours.windows[0].end: must be a time of day such as 18:30, or 24:00",
        ),
        ("entry", ("priority",), 1.5, "$.priority: must be an integer or null, not a number"),
        ("entry", ("confusables",), 1, "$.confusables: must be a boolean or null, not an integer"),
        ("entry", ("entry_id",), "a\x1fb", "$.entry_id: must not hold control characters"),
        (
            "entry",
            ("authority", "kind"),
            "x",
            "$.authority.kind: must be case or warrant or ncic or statute or contract",
        ),
        (
            "entry",
            ("purpose",),
            "Stolen",
            "$.purpose: must be lower-case letters, digits and _, at most 64, a letter first",
        ),
        ("policy", ("rules", 0, "agencies"), "x", '$.rules[0].agencies: must be "*" or a list'),
        ("policy", ("rules", 0, "purposes"), "x", '$.rules[0].purposes: must be "*" or a list'),
        ("match", ("verification", "required"), False, "$.verification.required: must be true"),
        ("match", ("match_id",), "x", "$.match_id: must be 32 lower-case hexadecimal digits"),
        (
            "match",
            ("match_type",),
            "x",
            "$.match_type: must be exact or confusable or distance or partial",
        ),
        ("match", ("confidence",), 1.5, "$.confidence: must be at most 1"),
        ("match", ("confidence",), None, "$.confidence: must be a number, not null"),
        ("match", ("alternate",), None, "$.alternate: must not be null"),
        (
            "match",
            ("verification", "checks", 0, "misread", "kind"),
            "swapped",
            ("$.verification.checks[0].misread.kind: must be substituted or missing or added"),
        ),
        (
            "match",
            ("verification", "checks", 0, "check"),
            "x",
            (
                "$.verification.checks[0].check: "
                "must be plate or region or vehicle or area or hours or dropped or entry_age "
                "or read_age"
            ),
        ),
        (
            "match",
            ("verification", "checks", 0, "result"),
            "x",
            "$.verification.checks[0].result: must be same or differs or unknown",
        ),
        (
            "match",
            ("verification", "checks", 0, "age_s"),
            None,
            "$.verification.checks[0].age_s: must not be null",
        ),
        ("match", ("read", "secret"), 1, "$.read: must not have unknown fields"),
        ("reject", ("reason",), "x", f"$.reason: must be {' or '.join(REJECT_REASONS)}"),
        ("reject", ("payload",), "x", "$: must not have unknown fields"),
        ("audit", ("event",), "x", f"$.event: must be {' or '.join(AUDIT_EVENTS)}"),
        ("audit", ("hash",), "x", "$.hash: must be 64 lower-case hexadecimal digits"),
        ("audit", ("fields", "x"), [], "$.fields: must be an integer or a string, not an array"),
        (
            "audit",
            ("fields",),
            {f"f{n}": 1 for n in range(33)},
            "$.fields: must have at most 32 fields",
        ),
        (
            "audit",
            ("fields", "Secret"),
            1,
            "$.fields: must be lower-case letters, digits and _, at most 64, a letter first",
        ),
    ],
)
def test_an_error_names_the_field_and_the_rule(
    kind: str, path: Path, value: Json, text: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        DECODERS[kind](json.dumps(put(FULL[kind], path, value)).encode())
    assert str(caught.value) == text
    assert f"{caught.value.field}: {caught.value.rule}" == text
    assert caught.value.reason == "schema"


SECRET = "Zebra - at `$.zebra`"


@pytest.mark.parametrize(("kind", "path"), LEAVES)
def test_no_error_holds_a_part_of_the_document(kind: str, path: Path) -> None:
    for value in (SECRET, {SECRET: SECRET}, [SECRET], [{SECRET: SECRET}], SECRET * 200):
        error = refusal(kind, put(FULL[kind], path, value))
        if error is not None:
            told = f"{error} {error.args} {error.field} {error.rule} {error.__context__}"
            assert "zebra" not in told.lower()
            assert error.rule not in {"", "does not fit the schema"}


def test_a_complaint_that_is_not_recognized_is_not_passed_on() -> None:
    error = schema_errors.schema_error("Something with `Zebra` that a later msgspec says")
    assert (error.field, error.rule) == ("$", "does not fit the schema")
    error = schema_errors.schema_error("Invalid enum value 'Zebra' - at `$.zebra[Zebra]`")
    assert (error.field, error.rule) == ("$", "does not fit the schema")
