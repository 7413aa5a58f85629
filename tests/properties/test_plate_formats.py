"""The plates of many countries: each has a normal form, and different plates have different ones.

`tests/data/field/plate_formats.toml` says how the plates are written. Whether two plates of a
country can share a normal form is decided for all of them, not for a sample: by position, from the
characters that may stand there.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import pytest

from engine.documents.admission import Purpose, Purposes
from engine.documents.codec import decode_detection
from engine.documents.read_record import encode_read
from engine.library.hot_list_index import HotListIndex
from engine.plates.normal_form import PlateError, is_normal, normalize
from tests.fakes.documents import NOW_MS, as_bytes, detection_json, entry_json, policy_json
from tests.models.contract_plates import normal_form

_TABLE: Final[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parents[1] / "data/field/plate_formats.toml").read_text()
)
_COUNTRIES: Final[list[dict[str, Any]]] = _TABLE["countries"]
_TOKEN: Final = re.compile(r"<(?P<texts>[^>]*)>|(?P<one>.)(?:\{(?P<least>\d),(?P<most>\d)\})?")
_PLATES_OF_A_FORMAT: Final = 20

#: What may stand at each place of a plate, in the order in which it is written.
Places = tuple[str, ...]
_each_country = pytest.mark.parametrize("country", _COUNTRIES, ids=lambda each: each["code"])


class Position(NamedTuple):
    """From a character of the normal form to how it is written at this place."""

    written: dict[str, str]


def places_of(country: dict[str, Any], text: str) -> Iterator[Places]:
    """Every way to read a format, with one set of characters a place."""
    letters = country.get("letters", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    digits = country.get("digits", "0123456789")
    kinds = {"L": letters, "D": digits, "X": letters + digits}
    parts: list[list[Places]] = []
    for token in _TOKEN.finditer(text):
        if token["texts"] is not None:
            parts.append([tuple(one) for one in token["texts"].split("|")])
            continue
        chars = kinds.get(str(token["one"]), str(token["one"]))
        counts = range(int(token["least"] or 1), int(token["most"] or 1) + 1)
        parts.append([(chars,) * count for count in counts])
    for chosen in itertools.product(*parts):
        yield tuple(itertools.chain(*chosen))


def ways_of(country: dict[str, Any]) -> list[Places]:
    return [places for text in country["formats"] for places in places_of(country, text)]


def positions_of(places: Places) -> list[Position]:
    """The positions of the normal form; a separator has none."""
    positions = []
    for chars in places:
        written = {normal_form(char): char for char in chars}
        if written.keys() != {""}:
            assert len(written) == len(chars), f"two of {chars} become one letter"
            positions.append(Position(written))
    return positions


def shared(one: Places, other: Places) -> tuple[str, str] | None:
    """Two plates of these ways with one normal form; None if there are none."""
    here, there = positions_of(one), positions_of(other)
    if len(here) != len(there):
        return None
    both = [a.written.keys() & b.written.keys() for a, b in zip(here, there, strict=True)]
    if not all(both):
        return None
    chosen = [min(chars) for chars in both]
    return written_as(one, chosen), written_as(other, chosen)


def written_as(places: Places, normal: list[str]) -> str:
    rest = iter(normal)
    return "".join(
        chars
        if normal_form(chars) == ""
        else {normal_form(char): char for char in chars}[next(rest)]
        for chars in places
    )


def test_the_table_has_many_countries_each_with_a_source() -> None:
    codes = [each["code"] for each in _COUNTRIES]
    assert len(codes) == len(set(codes)) >= 60
    for kind in ("countries", "separators", "too_long"):
        for each in _TABLE[kind]:
            assert each["code"] in codes
            assert each["source"].startswith("https://")


@_each_country
def test_every_format_has_a_normal_form_that_keys_and_entries_take(country: dict[str, Any]) -> None:
    random = Random(country["code"])
    purposes = Purposes([Purpose("permit", "Permit", known_characters_floor=1)])
    for text in country["formats"]:
        ways = list(places_of(country, text))
        index = HotListIndex(purposes)
        index.set_policy(policy_json())
        for number in range(_PLATES_OF_A_FORMAT):
            plate = "".join(map(random.choice, random.choice(ways)))
            normal = normalize(plate)
            assert 1 <= len(normal) <= 16
            assert normalize(normal) == normal == normal_form(plate)
            assert normalize(plate.lower()) == normal
            assert is_normal(normal)
            fields = detection_json(plate=plate, read_id=f"R{number}", region=country["code"])
            record = encode_read(decode_detection(as_bytes(fields)))
            assert record.key.decode() == normal
            listed = entry_json(
                entry_id=f"E{number}", plate=normal, purpose="permit", region=country["code"]
            )
            index.add_many([listed])
            found = index.snapshot().match(fields, NOW_MS)
            assert f"E{number}" in {match.entry.entry_id for match in found}


@_each_country
def test_no_two_plates_of_a_country_share_a_normal_form(country: dict[str, Any]) -> None:
    known = [each for each in _TABLE["separators"] if each["code"] == country["code"]]
    found = []
    for one, other in itertools.combinations(ways_of(country), 2):
        both = shared(one, other)
        if both is not None:
            assert normalize(both[0]) == normalize(both[1])
            found.append(both)
    assert bool(found) == bool(known), found[:5]
    for each in known:
        one, other = each["plates"]
        assert one != other
        assert normalize(one) == normalize(other)


@pytest.mark.parametrize("each", _TABLE["too_long"], ids=lambda each: each["code"])
def test_plates_that_are_too_long_are_rejected(each: dict[str, Any]) -> None:
    assert len(normal_form(each["plate"])) > 16
    with pytest.raises(PlateError):
        normalize(each["plate"])
