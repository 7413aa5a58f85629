"""Producers that get something wrong: what the worker counts, and which reads it matches."""

from __future__ import annotations

from collections import Counter

import pytest

from engine import limits
from engine.documents.codec import encode
from engine.documents.producer_faults import DESCRIBED, PRODUCER_FAULTS
from engine.documents.purposes import Purposes
from engine.documents.value_formats import VALUE_FORMATS, Values
from engine.kafka.raw_fetcher import parse
from engine.matching.lists import ControlKind, ControlRecord, Lists
from engine.matching.matcher import Matcher
from engine.matching.outcome import Outcome
from engine.matching.suppression import Suppression
from engine.setting_rules import one_of
from engine.wire.record_batch import RawBatch, RawFetch
from tests.fakes.documents import NOW_MS, Json, as_bytes, detection_json, entry_json, policy_json
from tests.fakes.record_batches import TOPIC, Sent, batch_bytes, raw_batch
from tests.fakes.wrong_producers import PARTITIONS, RIGHT, WRONG, Placed, WrongProducer, reads_of

#: Listed, and some that are not: a producer is found by these alone, too.
_LISTED = "ABC-123"
_UNLISTED = {f"SECRET{number}": 1 for number in range(10)}
_PURPOSES = Purposes.load()


def a_read(plate: str, number: int) -> Json:
    return detection_json(plate=plate, read_id=f"r-{number}")


def a_matcher(value_format: str) -> Matcher:
    """A matcher as a worker has it: it samples one in 1,024 and looks at small fetches."""
    matcher = Matcher(
        *(Lists(_PURPOSES), 1024, parse, Suppression()), values=Values(value_format), look_ms=10_000
    )
    entry, policy = entry_json(suppress_s=0), policy_json()
    for kind, key, document in (
        (ControlKind.ENTRY, b"E1", entry),
        (ControlKind.POLICY, b"S1", policy),
    ):
        matcher.lists.apply([ControlRecord(kind, 0, 0, NOW_MS, key, as_bytes(document))], NOW_MS)
    return matcher


def processed(wrong: WrongProducer, plates: dict[str, int]) -> list[Outcome]:
    """What comes of the producer's reads, each partition in a fetch of its own."""
    matcher = a_matcher(wrong.value_format)
    by_partition: dict[int, list[Placed]] = {}
    for record in reads_of(wrong, a_read, plates):
        by_partition.setdefault(record.partition, []).append(record)
    outcomes = []
    for partition, records in by_partition.items():
        batch = raw_batch(batch_bytes([Sent(each.key, each.value) for each in records]))
        fetch = RawFetch(TOPIC, partition, (batch,), PARTITIONS)
        outcomes.append(matcher.process(fetch, NOW_MS))
    return outcomes


def faults_of(outcomes: list[Outcome]) -> Counter[str]:
    return sum((outcome.producer_faults for outcome in outcomes), Counter[str]())


@pytest.mark.parametrize("wrong", WRONG, ids=lambda each: each.name)
def test_it_is_counted_though_nothing_of_it_is_listed(wrong: WrongProducer) -> None:
    outcomes = processed(wrong, _UNLISTED)
    assert not any(outcome.matches for outcome in outcomes)
    found = faults_of(outcomes)
    if wrong.fault is not None:
        assert set(found) == {wrong.fault}
    else:
        dropped = sum((outcome.dropped_fields for outcome in outcomes), Counter[str]())
        assert (found, dropped) == ({}, {wrong.dropped: len(_UNLISTED)})
    for outcome in outcomes:
        for reject in outcome.rejects:
            assert b"SECRET" not in encode(reject)


@pytest.mark.parametrize("wrong", [*WRONG, *RIGHT], ids=lambda each: each.name)
def test_a_listed_read_is_matched_if_it_can_be(wrong: WrongProducer) -> None:
    outcomes = processed(wrong, {_LISTED: 3})
    assert sum(len(outcome.matches) for outcome in outcomes) == (3 if wrong.matches else 0)
    assert sum(len(outcome.rejects) for outcome in outcomes) == (0 if wrong.matches else 3)


@pytest.mark.parametrize("right", RIGHT, ids=lambda each: each.name)
def test_what_is_right_has_no_fault(right: WrongProducer) -> None:
    for outcome in processed(right, _UNLISTED | {_LISTED: 3}):
        assert (outcome.producer_faults, outcome.dropped_fields, outcome.rejects) == ({}, {}, [])


def framed_batch(count: int, first: int = 0) -> RawBatch:
    """A batch of plates that are not listed, framed for a schema registry."""
    wrong = next(each for each in WRONG if each.name == "framed")
    plates = {f"SECRET{number}": 1 for number in range(count)}
    records = [Sent(each.key, each.value) for each in reads_of(wrong, a_read, plates)]
    return raw_batch(batch_bytes(records, base_offset=first))


def test_a_fetch_is_looked_at_once_in_a_while() -> None:
    matcher = a_matcher("json")
    fetch = RawFetch(TOPIC, 0, (framed_batch(10),), 1)
    counts = [
        len(matcher.process(fetch, NOW_MS + after_ms).rejects)
        for after_ms in (0, 9_999, 10_000, 5_000)
    ]
    assert counts == [10, 1, 10, 10]  # offset 0 is in every sample
    other = RawFetch(TOPIC, 1, (framed_batch(10),), 2)
    assert len(matcher.process(other, NOW_MS + 5_001).rejects) == 10, "each partition by itself"


def test_of_a_large_fetch_a_part_is_looked_at() -> None:
    matcher = a_matcher("json")
    fetch = RawFetch(TOPIC, 0, (framed_batch(6_400), framed_batch(6_400, first=6_400)), 1)
    first, second = (matcher.process(fetch, NOW_MS + after_ms) for after_ms in (0, 1))
    assert limits.LOOK_READS / 2 < len(first.rejects) < limits.LOOK_READS * 2
    assert len(second.rejects) < limits.LOOK_READS / 2
    assert first.reads == second.reads == 12_800


def test_what_is_looked_at_besides_does_not_count_for_its_source() -> None:
    """That count is of one in 1,024 reads, so that it compares sources of any size."""
    plates = {f"SECRET{number}": 1 for number in range(32)}
    outcomes = processed(RIGHT[0], plates)
    assert sum(outcome.values_opened for outcome in outcomes) == len(plates)
    counted = sum(outcome.sampled_by_source.total() for outcome in outcomes)
    assert counted == len(outcomes), "offset 0 is in every sample"


def test_without_a_sample_nothing_is_looked_at() -> None:
    matcher = Matcher(Lists(_PURPOSES), 0, parse, Suppression(), look_ms=10_000)
    fetch = RawFetch(TOPIC, 0, (framed_batch(10),), 1)
    assert matcher.process(fetch, NOW_MS).values_opened == 0


def test_each_fault_is_described_and_shown_by_a_producer() -> None:
    assert set(DESCRIBED) == set(PRODUCER_FAULTS)
    assert {each.fault for each in WRONG} - {None} == set(PRODUCER_FAULTS)


def test_the_setting_has_the_formats() -> None:
    rule = one_of(*VALUE_FORMATS)
    assert [rule(each) for each in VALUE_FORMATS] == [
        "json",
        "json-schema-registry",
        "schema-registry",
    ]
