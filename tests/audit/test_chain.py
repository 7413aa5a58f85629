"""Sealing and opening audit records: a hash that anybody can compute, and nothing else passes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.audit.chain import GENESIS_HASH, AuditedEvent, Chain, Opener
from engine.documents.codec import decode_audit
from engine.documents.fields import AUDIT_EVENTS, INTEGER_MAX
from engine.errors import DocumentError
from tests.fakes.chains import MATCH, NOON_MS, resealed, to_json
from tests.repository.schemas import validator

SCHEMA = Path(__file__).parents[2] / "schemas" / "audit.v1.json"

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
FIELDS = st.dictionaries(NAMES, TEXTS | st.integers(-INTEGER_MAX, INTEGER_MAX), max_size=8)
EVENTS = st.sampled_from(AUDIT_EVENTS)
TIMES_MS = st.integers(0, 4_102_444_800_000)
CHAINS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=128)


def by_hand(value: bytes) -> str:
    """As the schema tells it, with nothing but a JSON reader and SHA-256."""
    record = json.loads(value)
    del record["hash"]
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256((record["previous_hash"] + text).encode()).hexdigest()


def test_the_schemas_example_hashes_as_the_schema_says() -> None:
    (example,) = json.loads(SCHEMA.read_text())["examples"]
    value = json.dumps(example, indent=2).encode()
    assert by_hand(value) == example["hash"]
    record, true_hash = Opener().open(value)
    assert record.hash == true_hash


@given(CHAINS, st.lists(st.tuples(EVENTS, FIELDS, TIMES_MS), min_size=1, max_size=5))
def test_a_sealed_record_is_a_link_that_anybody_can_check(
    name: str, events: list[tuple[str, dict[str, str | int], int]]
) -> None:
    chain, opener = Chain(name), Opener()
    previous = GENESIS_HASH
    for sequence, (event, fields, at_ms) in enumerate(events):
        assert (chain.sequence, chain.head) == (sequence, previous)
        value = chain.seal(event, fields, at_ms)
        document = json.loads(value)
        validator("audit").validate(document)
        assert value == to_json(document)  # canonical itself
        assert document["hash"] == by_hand(value) == chain.head
        assert (document["chain"], document["sequence"]) == (name, sequence)
        assert (document["event"], document["fields"]) == (event, fields)
        assert document["previous_hash"] == previous
        record, true_hash = opener.open(value)
        assert true_hash == record.hash == chain.head
        found = decode_audit(value)
        for field in found.__struct_fields__:
            assert getattr(record, field) == getattr(found, field)
        previous = chain.head
    assert chain.id == name


@given(
    st.lists(st.tuples(EVENTS, FIELDS | st.just({"N": 1}), TIMES_MS), max_size=5),
    st.integers(0, 5),
)
def test_records_are_sealed_together_as_one_by_one(
    events: list[tuple[str, dict[str, str | int], int]], asked_for: int
) -> None:
    """Only as many as are asked for, and none from the first on that is no audit record."""
    alone, chain = Chain("c"), Chain("c")
    expected: list[bytes] = []
    sealed: list[bytes] = []
    each = chain.seal_each([AuditedEvent(event, at_ms, of) for event, of, at_ms in events])
    for event, of, at_ms in events[:asked_for]:
        if "N" in of:
            with pytest.raises(ValueError, match=r"^not an audit record: "):
                next(each)
            break
        expected.append(alone.seal(event, of, at_ms))
        sealed.append(next(each))
    assert sealed == expected
    assert (chain.sequence, chain.head) == (alone.sequence, alone.head)


@pytest.mark.parametrize(
    ("event", "fields", "message"),
    [
        ("matched", {}, "not an audit record: 'matched' is not an event"),
        ("match", {"Agency": "a"}, "not an audit record: 'Agency' is not the name of a field"),
        ("match", {"agency\n": "a"}, "not an audit record: 'agency\\n' is not the name of a field"),
        ("match", {"n": 1.5}, "not an audit record: n is neither text nor a whole number"),
        ("match", {"n": True}, "not an audit record: n is neither text nor a whole number"),
        ("match", {"n": None}, "not an audit record: n is neither text nor a whole number"),
        ("match", {"n": 2**53}, "not an audit record: n is out of range"),
        ("match", {"n": -(2**53)}, "not an audit record: n is out of range"),
        ("match", {"t": "x" * 2001}, "not an audit record: t has more than 2000 characters"),
        (
            "match",
            {f"n{number}": 1 for number in range(33)},
            "not an audit record: 33 fields, more than 32",
        ),
        (
            "match",
            {"t": "\ud800"},
            "not an audit record: str is not valid UTF-8: surrogates not allowed",
        ),
    ],
)
def test_what_is_no_audit_record_is_not_sealed(
    event: str, fields: dict[str, Any], message: str
) -> None:
    chain = Chain("c")
    chain.seal("match", {}, NOON_MS)
    before = chain.sequence, chain.head
    with pytest.raises(ValueError, match=r"^not an audit record: ") as caught:
        chain.seal(event, fields, NOON_MS)
    assert str(caught.value) == message
    assert (chain.sequence, chain.head) == before
    chain.seal("match", {"t": "x" * 2000, "n": 2**53 - 1}, NOON_MS)


#: All fields of a match, as its record has them.
WHOLE_MATCH = {**MATCH, "suppressed": 3}
MATCH_FIELDS = st.fixed_dictionaries(
    {name: TEXTS for name, value in WHOLE_MATCH.items() if isinstance(value, str)}
    | {
        name: st.integers(-INTEGER_MAX, INTEGER_MAX)
        for name, value in WHOLE_MATCH.items()
        if isinstance(value, int)
    }
)


@given(st.lists(MATCH_FIELDS, min_size=1, max_size=4))
def test_fields_that_come_written_are_sealed_as_any_others(
    matches: list[dict[str, str | int]],
) -> None:
    one, other = Chain("c"), Chain("c")
    for fields in matches:
        assert one.seal("match", to_json(fields), NOON_MS) == other.seal("match", fields, NOON_MS)
    assert one.head == other.head


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"{}",
        b"[]",
        to_json({**WHOLE_MATCH, "plate": "AB12CD"}),
        to_json({**WHOLE_MATCH, "agency": 1}),
        to_json({**WHOLE_MATCH, "agency": "x" * 2001}),
        to_json({**WHOLE_MATCH, "suppressed": "none"}),
        to_json({**WHOLE_MATCH, "suppressed": 2**53}),
        to_json({**WHOLE_MATCH, "suppressed": 0.5}),
        to_json(MATCH),
        to_json(WHOLE_MATCH) + b"}",
        to_json(WHOLE_MATCH).replace(b"city", b"\xff\xff"),
    ],
)
def test_what_comes_written_is_checked_too(fields: bytes) -> None:
    chain = Chain("c")
    with pytest.raises(ValueError, match=r"^not an audit record: "):
        chain.seal("match", fields, NOON_MS)
    assert (chain.sequence, chain.head) == (0, GENESIS_HASH)
    chain.seal("match", to_json(WHOLE_MATCH), NOON_MS)


@pytest.mark.parametrize("name", ["", "x" * 129])
def test_a_chain_has_an_id_that_the_schema_takes(name: str) -> None:
    with pytest.raises(ValueError, match=r"^a chain's id has 1 to 128 characters, not "):
        Chain(name)


@given(st.data())
def test_a_record_may_be_spelled_in_any_way(data: st.DataObject) -> None:
    value = Chain("c").seal("match", MATCH, NOON_MS)
    document = json.loads(value)
    shuffled = {name: document[name] for name in data.draw(st.permutations(sorted(document)))}
    spelled = json.dumps(
        shuffled,
        indent=data.draw(st.none() | st.integers(0, 3)),
        ensure_ascii=data.draw(st.booleans()),
    )
    if data.draw(st.booleans()):
        spelled = spelled.replace('"sequence": 0', '"sequence": 0.0')
    opener = Opener()
    assert opener.open(spelled.encode()) == opener.open(value)


def test_a_field_named_as_a_part_of_the_record_confuses_nobody() -> None:
    fields = {"hash": "f" * 64, "previous_hash": "e" * 64, "text": '"hash":"' + "a" * 64 + '",'}
    chain = Chain('c"hash":"')
    for _ in range(2):
        value = chain.seal("match", fields, NOON_MS)
        record, true_hash = Opener().open(value)
        assert record.hash == true_hash == by_hand(value) == chain.head


SEALED = Chain("c").seal("match", MATCH, NOON_MS)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "$: must be JSON in UTF-8"),
        (b"null", "$: must be an object, not null"),
        (b"{}", "$.chain: is required"),
        (SEALED[:-1], "$: must be JSON in UTF-8"),
        (SEALED[:-1] + b',"sequence":0}', "$: must not hold a field twice"),
        (
            SEALED.replace(b'"agency"', b'"agency":"x","agency"'),
            "$: must not hold a field twice",
        ),
        (SEALED[:-1] + b',"more":1.5}', "$: must hold text and whole numbers only"),
        (
            SEALED[:-1] + b',"more":' + 500 * b"[" + 500 * b"]" + b"}",
            "$: must hold text and whole numbers only",
        ),
        (resealed(SEALED, chain=""), "$.chain: must not be empty"),
        (resealed(SEALED, sequence=-1), "$.sequence: must be at least 0"),
        (
            resealed(SEALED, recorded_at="yesterday"),
            "$.recorded_at: must be a time in UTC such as 2026-01-31T12:00:00.000Z",
        ),
        (
            resealed(SEALED, fields={"A": 1}),
            "$.fields: must be lower-case letters, digits and _, at most 64, a letter first",
        ),
        (
            resealed(SEALED, fields={"a": None}),
            "$.fields: must be an integer or a string, not null",
        ),
        (resealed(SEALED, event="matched"), f"$.event: must be {' or '.join(AUDIT_EVENTS)}"),
    ],
)
def test_what_is_no_audit_record_is_not_opened(value: bytes, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        Opener().open(value)
    assert str(caught.value) == message


@given(
    st.binary(max_size=64)
    | st.builds(
        lambda at, b: SEALED[:at] + b + SEALED[at + 1 :],
        st.integers(0, len(SEALED) - 1),
        st.binary(min_size=1, max_size=1),
    )
)
def test_hostile_bytes_open_as_the_schema_has_it_or_not_at_all(value: bytes) -> None:
    try:
        record, true_hash = Opener().open(value)
    except DocumentError:
        return
    document = json.loads(value)
    assert {name: getattr(record, name) for name in document} == document
    # Whatever was changed, its hash tells.
    assert (record.hash == true_hash) == (document == json.loads(SEALED))
