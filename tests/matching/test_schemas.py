"""Reads in Avro on their way through the matcher, which stops before a schema that it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from engine.documents.avro import AvroSchema
from engine.documents.purposes import Purposes
from engine.documents.schema_cache import JsonSchema, SchemaCache, UnusableSchema
from engine.documents.value_formats import Values
from engine.kafka.raw_fetcher import parse
from engine.matching.lists import ControlKind, ControlRecord, Lists
from engine.matching.matcher import Matcher
from engine.matching.outcome import Outcome
from engine.matching.suppression import Suppression
from engine.wire.record_batch import RawFetch
from tests.fakes.documents import NOW_MS, as_bytes, detection_json, entry_json, policy_json
from tests.fakes.record_batches import TOPIC, Sent, batch_bytes, raw_batch
from tests.fakes.schema_registry import DETECTION, avro, framed

_PURPOSES = Purposes.load()


def a_matcher(cache: SchemaCache) -> Matcher:
    lists = Lists(_PURPOSES)
    matcher = Matcher(lists, 0, parse, Suppression(), values=Values("schema-registry", cache))
    for kind, key, document in (
        (ControlKind.ENTRY, b"E1", entry_json(suppress_s=0)),
        (ControlKind.POLICY, b"S1", policy_json()),
    ):
        lists.apply([ControlRecord(kind, 0, 0, NOW_MS, key, as_bytes(document))], NOW_MS)
    return matcher


def in_avro(read_id: str, schema_id: int = 7, **fields: Any) -> bytes:
    read = detection_json(read_id=read_id) | {"captured_at": NOW_MS} | fields
    return framed(schema_id, avro(DETECTION, read))


def a_fetch(sent: Sequence[Sent], magic: int = 2) -> RawFetch:
    return RawFetch(TOPIC, 0, (raw_batch(batch_bytes(sent)),), 1)


def read_ids(outcome: Outcome) -> list[str]:
    return [each.match.read.read_id for each in outcome.matches]


def test_it_stops_before_a_schema_that_it_lacks_and_goes_on_with_it() -> None:
    cache = SchemaCache()
    cache.put(7, AvroSchema(DETECTION))
    matcher = a_matcher(cache)
    listed, other = b"ABC123", b"XYZ999"
    fetch = a_fetch(
        [
            Sent(other, framed(99, b"of a plate that is not listed")),
            Sent(listed, in_avro("a")),
            Sent(listed, as_bytes(detection_json(read_id="plain"))),
            Sent(listed, framed(8, as_bytes(detection_json(read_id="json")))),
            Sent(None, in_avro("no key", 9)),
            Sent(listed, in_avro("b")),
        ]
    )
    first = matcher.process(fetch, NOW_MS)
    assert read_ids(first) == ["a", "plain"]
    assert (first.missing_schema, first.next_offset) == (8, 3)
    assert (first.reads, first.values_opened, first.rejects) == (3, 2, [])

    again = matcher.process(fetch.since(3), NOW_MS)
    assert (again.missing_schema, again.next_offset, again.reads) == (8, 3, 0)
    assert (again.matches, again.values_opened, again.suppression) == ([], 0, [])

    cache.put(8, JsonSchema())
    second = matcher.process(fetch.since(3), NOW_MS)
    assert (read_ids(second), second.missing_schema, second.next_offset) == (["json"], 9, 4)
    assert (second.reads, not second.odd_keys) == (1, True)

    cache.put(9, AvroSchema(DETECTION))
    third = matcher.process(fetch.since(4), NOW_MS)
    assert (read_ids(third), third.missing_schema, third.next_offset) == (
        ["no key", "b"],
        None,
        None,
    )
    assert (third.reads, third.odd_keys) == (2, {"missing": 1})


def test_the_sample_looks_again_when_the_schema_is_there() -> None:
    cache = SchemaCache()
    lists = Lists(_PURPOSES)
    matcher = Matcher(
        *(lists, 1024, parse, Suppression()),
        values=Values("schema-registry", cache),
        look_ms=10_000,
    )
    fetch = a_fetch([Sent(b"XYZ999", in_avro("a", plate="XYZ-999"))])
    assert matcher.process(fetch, NOW_MS).missing_schema == 7
    cache.put(7, AvroSchema(DETECTION))
    assert matcher.process(fetch, NOW_MS).values_opened == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (framed(7, b"garbage"), "invalid_avro"),
        (in_avro("a") + b"!", "invalid_avro"),
        (framed(7, b""), "invalid_avro"),
        (in_avro("a", 1), "unknown_schema"),
        (in_avro("a", 2**32 - 1), "unknown_schema"),
        (b"\0\0", "unknown_schema"),
        (avro(DETECTION, detection_json() | {"captured_at": 0}), "unframed"),
        (b"", "unframed"),
        (b"\1" + bytes(16), "unframed"),  # Confluent's id in the value's GUID form
        (b"\3\0" + bytes(20), "framed"),
        (framed(2, b'{"op":"c","after":{}}'), "envelope"),
        (in_avro("a", plate=""), "schema"),
    ],
)
def test_a_value_that_is_no_read_is_one_reject(value: bytes, reason: str) -> None:
    cache = SchemaCache()
    cache.put(7, AvroSchema(DETECTION))
    cache.put(2, JsonSchema())
    cache.put(1, UnusableSchema("must name a schema that the schema registry has"))
    outcome = a_matcher(cache).process(
        a_fetch([Sent(b"ABC123", value), Sent(b"ABC123", in_avro("b"))]), NOW_MS
    )
    [reject] = outcome.rejects
    assert (reject.reason, reject.offset, read_ids(outcome)) == (reason, 0, ["b"])
    assert set(outcome.producer_faults) <= {reason}
    if reason == "unframed":
        assert outcome.producer_faults == {"unframed": 1}


def test_an_id_of_eight_bytes_is_known_by_its_zeros() -> None:
    cache = SchemaCache()
    cache.put(7, AvroSchema(DETECTION))
    value = b"\0" + (7).to_bytes(8) + in_avro("a")[5:]
    outcome = a_matcher(cache).process(a_fetch([Sent(b"ABC123", value)]), NOW_MS)
    assert read_ids(outcome) == ["a"]


def test_an_optional_field_that_breaks_its_rule_is_dropped_as_in_json() -> None:
    cache = SchemaCache()
    cache.put(7, AvroSchema(DETECTION))
    value = in_avro("a", confidence=93.1, region="us-ca")
    [match] = a_matcher(cache).process(a_fetch([Sent(b"ABC123", value)]), NOW_MS).matches
    assert match.match.read.confidence is None
    dropped = [each.field for each in match.match.verification.checks if each.check == "dropped"]
    assert sorted(map(str, dropped)) == ["confidence", "region"]
