"""`engine.synthetic`: good documents, repeatable, of the stated shape."""

from __future__ import annotations

import orjson
import pytest

from engine.clock import parse_time
from engine.documents import decode_detection, encode
from engine.plate import is_normal
from engine.purposes import Purposes
from engine.rules import check_entry
from engine.synthetic import City, CitySize
from tests.schemas import validator

NOW_MS = 1_790_000_000_000
SIZE = CitySize(entries=300, sources=30)


@pytest.fixture
def city() -> City:
    return City(7, SIZE, NOW_MS)


def test_entries_are_admissible_and_in_force(city: City) -> None:
    purposes = Purposes.load(None)
    entries = list(city.entries())
    assert len(entries) == len({entry.entry_id for entry in entries}) == SIZE.entries
    assert len({entry.plate for entry in entries}) == SIZE.entries
    for entry in entries:
        check_entry(entry, purposes)
        validator("entry").validate(orjson.loads(encode(entry)))
        assert entry.created_ms < NOW_MS < entry.expires_ms


def test_a_third_of_the_sources_has_no_policy(city: City) -> None:
    policies = city.policies()
    assert {policy.source for policy in policies} < set(city.sources)
    assert len(policies) == 2 * SIZE.sources // 3
    for policy in policies:
        validator("policy").validate(orjson.loads(encode(policy)))


def test_reads_are_what_vendors_send(city: City) -> None:
    list(city.entries())
    reads = list(city.reads(2_000, 0.1))
    assert len({read["read_id"] for read in reads}) == len(reads)
    for read in reads:
        validator("detection").validate(read)
        detection = decode_detection(orjson.dumps(read))
        assert is_normal(detection.plate)
        assert detection.source in city.sources
        assert parse_time(detection.captured_at) >= NOW_MS
    assert 150 < len(orjson.dumps(reads[0])) < 500


@pytest.mark.parametrize(
    ("rate", "least", "most"), [(0.0, 0, 0), (0.5, 900, 1_100), (1.0, 2_000, 2_000)]
)
def test_as_many_reads_are_listed_as_asked(city: City, rate: float, least: int, most: int) -> None:
    plates = {entry.plate for entry in city.entries()}
    hits = sum(read["plate"] in plates for read in city.reads(2_000, rate))
    assert least <= hits <= most


def test_reads_without_entries_hit_nothing(city: City) -> None:
    assert len(list(city.reads(10, 1.0))) == 10


def test_the_same_seed_makes_the_same_city() -> None:
    def made(seed: int) -> list[object]:
        city = City(seed, SIZE, NOW_MS)
        return [*city.entries(), *city.policies(), *city.reads(50, 0.5)]

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_further_reads_go_on_counting(city: City) -> None:
    first = [read["read_id"] for read in city.reads(20, 0)]
    second = [read["read_id"] for read in city.reads(20, 0, first=20)]
    assert not set(first) & set(second)
