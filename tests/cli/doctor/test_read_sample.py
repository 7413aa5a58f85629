"""`hotlist doctor` finds the same wrong producers in the latest reads, and names what to do."""

from __future__ import annotations

import pytest

from engine.cli.doctor.findings import Finding
from engine.cli.doctor.read_sample import Sample, judge_sample
from engine.documents.producer_faults import DESCRIBED
from engine.documents.value_formats import Values
from tests.fakes.documents import NOW_MS
from tests.fakes.wrong_producers import PARTITIONS, RIGHT, WRONG, WrongProducer, reads_of
from tests.matching.test_wrong_producers import a_read

_PLATES = {f"SECRET{number}": 1 for number in range(10)}


def judged(*producers: WrongProducer) -> list[Finding]:
    sample = Sample(Values(producers[0].value_format))
    for producer in producers:
        for record in reads_of(producer, a_read, _PLATES):
            place = record.partition, PARTITIONS
            sample.take(record.key, record.value, NOW_MS, frozenset({"S1"}), place)
    return list(judge_sample(sample))


@pytest.mark.parametrize(
    "wrong", [each for each in WRONG if each.name != "crc32"], ids=lambda w: w.name
)
def test_it_is_named_with_what_to_do(wrong: WrongProducer) -> None:
    found = judged(wrong)
    faulty = [each for each in found if each.state in ("warning", "problem")]
    if wrong.fault is None:
        [each] = faulty
        assert each.what.startswith(f"10 of 10 lose their {wrong.dropped}")
    else:
        what, todo = DESCRIBED[wrong.fault]
        each = next(each for each in faulty if each.todo == todo)
        assert each.what == f"10 of 10 {what}"
    assert not any("SECRET" in f"{each}" for each in found)


def test_two_partitioners_are_named_with_the_clients() -> None:
    plain, crc32 = RIGHT[0], next(each for each in WRONG if each.name == "crc32")
    [mixed] = [each for each in judged(plain, crc32) if each.state == "warning"]
    assert "murmur2" in mixed.what
    assert "partitioner=murmur2_random" in mixed.todo
    [alone] = [each for each in judged(crc32) if each.state == "note"]
    assert "crc32, the default of librdkafka" in alone.what


@pytest.mark.parametrize("right", RIGHT, ids=lambda each: each.name)
def test_what_is_right_has_no_finding(right: WrongProducer) -> None:
    assert [each.state for each in judged(right)] == ["ok"]
