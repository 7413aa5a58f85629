"""`engine.demo.synthetic`: good documents, repeatable, of the stated shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from engine.clock import parse_time
from engine.demo.synthetic import City, CitySize
from engine.documents.admission import check_entry
from engine.documents.codec import decode_detection, encode
from engine.documents.purposes import Purposes
from engine.plates.normal_form import is_normal
from tests.repository.schemas import validator

NOW_MS = 1_790_000_000_000
SIZE = CitySize(entries=300, sources=30)
#: With some of everything that is not there by itself.
MIXED = replace(
    SIZE,
    confusables_share=0.4,
    distance_share=0.3,
    partial_share=0.2,
    misread_share=0.5,
    alternates_share=0.5,
    suppress_s=7,
)


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


def test_a_read_of_a_listed_plate_shows_the_listed_vehicle(city: City) -> None:
    vehicles = {entry.plate: orjson.loads(encode(entry))["vehicle"] for entry in city.entries()}
    for read in city.reads(500, 1.0):
        assert read["vehicle"] == vehicles[read["plate"]]
    assert len({str(read["vehicle"]) for read in city.reads(500, 0.0)}) > 1


def test_entries_that_match_more_than_their_plate_are_admissible() -> None:
    purposes = Purposes.load(None)
    city = City(7, MIXED, NOW_MS)
    entries = list(city.entries())
    assert 100 < sum(entry.confusables is True for entry in entries) < 140
    partial = [entry for entry in entries if "?" in entry.plate]
    assert 40 < len(partial) < 80
    assert {entry.plate.count("?") for entry in partial} == {1, 2}
    assert 50 < sum(entry.distance == 1 for entry in entries) < 95
    for entry, plate in zip(entries, city.listed_plates, strict=True):
        check_entry(entry, purposes)
        validator("entry").validate(orjson.loads(encode(entry)))
        assert entry.suppress_s == 7
        assert all(char in ("?", seen) for char, seen in zip(entry.plate, plate, strict=True))


def test_misread_reads_and_alternates() -> None:
    city = City(7, MIXED, NOW_MS)
    list(city.entries())
    plain = City(7, SIZE, NOW_MS)
    list(plain.entries())
    misread = named = 0
    for read, true in zip(city.reads(2_000, 0.5), plain.reads(2_000, 0.5), strict=True):
        validator("detection").validate(read)
        assert is_normal(read["plate"])
        others = [alternate["plate"] for alternate in read.get("alternates", ())]
        assert all(map(is_normal, others))
        named += bool(others)
        if read["plate"] != true["plate"]:
            misread += 1
            assert true["plate"] in city.listed_plates
            assert not others or true["plate"] in others
    assert 400 < misread < 550
    assert 900 < named < 1_100


def test_what_is_asked_for_beside_changes_nothing_else() -> None:
    def made(size: CitySize) -> Iterator[Any]:
        city = City(7, size, NOW_MS)
        yield from ((entry.entry_id, entry.purpose, entry.vehicle) for entry in city.entries())
        yield from city.policies()
        for read in city.reads(500, 0.5):
            yield {name: read[name] for name in read if name not in ("plate", "alternates")}

    assert list(made(SIZE)) == list(made(MIXED))


def test_reads_without_entries_hit_nothing(city: City) -> None:
    assert len(list(city.reads(10, 1.0))) == 10


def test_the_same_seed_makes_the_same_city() -> None:
    def made(seed: int) -> list[object]:
        city = City(seed, MIXED, NOW_MS)
        return [*city.entries(), *city.policies(), *city.reads(50, 0.5)]

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_further_reads_go_on_counting(city: City) -> None:
    first = [read["read_id"] for read in city.reads(20, 0)]
    second = [read["read_id"] for read in city.reads(20, 0, first=20)]
    assert not set(first) & set(second)
