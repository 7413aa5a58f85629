"""`engine.ingest.adapters.generic`: a mapping's mistakes are found at the start, one clear error
each. What a mapping makes of messages is in tests/data/field/messages/generic.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from engine.cli.mapping import adapter_of
from engine.errors import ConfigError
from engine.ingest.adapters import Adapter, AdapterError, Site

_SITE = Site("city-north")
_GOOD = 'plate = "plate"\ntime = "time"\ncamera = "camera"\n'


def adapter(tmp_path: Path, text: str) -> Adapter:
    path = tmp_path / "mapping.toml"
    path.write_text(text, "utf-8")
    return adapter_of("generic", path)


def sent(**fields: Any) -> bytes:
    whole = {"plate": "KRT447", "time": "2026-11-22T16:00:00Z", "camera": "gate", **fields}
    return json.dumps({name: each for name, each in whole.items() if each is not ...}).encode()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('time = "t"', "mapping.toml: plate: is required"),
        (_GOOD + 'speed = "v"', "mapping.toml: speed: unknown field; there are plate, time, "),
        (_GOOD + 'format = "csv"', "mapping.toml: format: must be json, xml or form"),
        (_GOOD + 'each = "a..b"', "mapping.toml: each: must be a path such as data.results[*]"),
        (_GOOD + 'id = "="', "mapping.toml: id: must have a text after ="),
        (_GOOD + "id = 7", "mapping.toml: id: must be a path or =TEXT"),
        (_GOOD + "confidence_of = 0", "mapping.toml: confidence_of: must be the number that means"),
        (_GOOD + 'time_format = "%H:%M"', "mapping.toml: time_format: must be iso, s, ms, us, ns"),
        (_GOOD + 'time_format = "seconds"', "mapping.toml: time_format: must be iso, s, ms, us"),
        (_GOOD + 'time_zone = "Madrid"', "mapping.toml: time_zone: must be a time zone such as"),
        (_GOOD + '[vehicle]\nmake = "a["', "mapping.toml: vehicle.make: must be a path such as"),
        (_GOOD + '[vehicle]\nyear = "a"', "mapping.toml: vehicle.year: unknown field; there are"),
        (_GOOD + '[location]\nlat = "a"', "mapping.toml: location.lon: is required"),
        (_GOOD + '[alternates]\nplate = "p"', "mapping.toml: alternates.each: is required"),
        (_GOOD + '[[images]]\npath = "p"', "mapping.toml: images[0]: kind: is required"),
        (
            _GOOD + '[[images]]\nkind = "face"\npath = "p"',
            "mapping.toml: images[0]: kind: must be plate or overview",
        ),
        (
            _GOOD + '[[no_read]]\npath = "p"',
            "mapping.toml: no_read[0]: must have equals, not_equals or missing, one of them",
        ),
        (
            _GOOD + '[[no_read]]\npath = "p"\nequals = "x"',
            "mapping.toml: no_read[0]: equals: must be a list of texts",
        ),
        ("plate = ", "mapping.toml: is not TOML in UTF-8"),
    ],
)
def test_a_mistake_in_a_mapping(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(ConfigError) as raised:
        adapter(tmp_path, text)
    assert error in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_mapping_is_for_generic_and_generic_needs_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--mapping: is required with generic"):
        adapter_of("generic", None)
    with pytest.raises(ConfigError, match="--mapping: is for `hotlist ingest generic` only"):
        adapter_of("axis", tmp_path / "mapping.toml")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        adapter_of("generic", tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (sent(plate=...), "$.plate: is not there; a no_read condition says when it may be missing"),
        (sent(camera=...), "$.camera: is required"),
        (sent(time=...), "$.time: is required"),
        (sent(time="noon"), "$.time: must be a time such as 2026-01-31T12:00:00Z"),
        (sent(plate="x" * 70), "$: gives no read (plate"),
        (b"<a/>", "$: must be a JSON object or array in UTF-8"),
        (b"7", "$: must be a JSON object or array in UTF-8"),
    ],
)
def test_a_message_that_the_mapping_does_not_fit(
    tmp_path: Path, message: bytes, error: str
) -> None:
    with pytest.raises(AdapterError) as raised:
        adapter(tmp_path, _GOOD)(message, _SITE)
    assert str(raised.value).startswith(error)


def test_a_list_that_is_not_there_is_an_error_and_an_empty_one_is_none(tmp_path: Path) -> None:
    take = adapter(tmp_path, _GOOD + 'each = "results[*]"')
    assert take(b'{"results": []}', _SITE).reads == ()
    with pytest.raises(AdapterError, match=r"^\$\.results\[\*\]: is not there"):
        take(b'{"readings": []}', _SITE)


@pytest.mark.parametrize("plate", [None, "", " ", "UNKNOWN", "--"])
def test_no_plate_now_is_no_read(tmp_path: Path, plate: str | None) -> None:
    assert adapter(tmp_path, _GOOD)(sent(plate=plate), _SITE).reads == ()


def test_conditions(tmp_path: Path) -> None:
    take = adapter(
        tmp_path,
        _GOOD
        + '[[no_read]]\npath = "kind"\nequals = ["test", "7"]\n'
        + '[[no_read]]\npath = "state"\nnot_equals = ["lost"]\n'
        + '[[no_read]]\npath = "box"\nmissing = true\n',
    )
    good = {"kind": "lpr", "state": "lost", "box": 1}
    assert len(take(sent(**good), _SITE).reads) == 1
    for wrong in ({"kind": "test"}, {"kind": 7}, {"state": "new"}, {"state": ...}, {"box": ...}):
        assert take(sent(**{**good, **wrong}), _SITE).reads == ()


@pytest.mark.parametrize(
    ("time_format", "written", "captured_at"),
    [
        ("s", 1795363200, "2026-11-22T16:00:00.000Z"),
        ("s", "1795363200.25", "2026-11-22T16:00:00.250Z"),
        ("ms", 1795363200250, "2026-11-22T16:00:00.250Z"),
        ("us", 1795363200250999, "2026-11-22T16:00:00.250Z"),
        ("ns", "1795363200250999999", "2026-11-22T16:00:00.250Z"),
        ("%d.%m.%y %H:%M", "22.11.26 17:00", "2026-11-22T16:00:00.000Z"),
        ("%Y%m%d%H%M%S%z", "20261122190000+0300", "2026-11-22T16:00:00.000Z"),
        ("iso", "2026-11-22T17:00:00", "2026-11-22T16:00:00.000Z"),
        ("iso", "2026-11-22 16:00:00Z", "2026-11-22T16:00:00.000Z"),
    ],
)
def test_times(tmp_path: Path, time_format: str, written: object, captured_at: str) -> None:
    zone = 'time_zone = "Europe/Madrid"\n'
    take = adapter(tmp_path, f'{_GOOD}{zone}time_format = "{time_format}"')
    [read] = take(sent(time=written), _SITE._replace(zone=None)).reads
    assert read.captured_at == captured_at


def test_the_zone_of_a_mapping_is_no_fallback(tmp_path: Path) -> None:
    message = sent(time="2026-11-22T17:00:00")
    take = adapter(tmp_path, _GOOD + 'time_zone = "Europe/Madrid"')
    assert take(message, _SITE).fallbacks == frozenset()
    assert adapter(tmp_path, _GOOD)(message, _SITE).fallbacks == {"utc"}


def test_a_message_sent_again_gives_the_same_read(tmp_path: Path) -> None:
    """And with an id, another plate of the same event is another read."""
    take = adapter(tmp_path, _GOOD + 'id = "event"\n')
    [first] = take(sent(event="e-1"), _SITE).reads
    [again] = take(sent(event="e-1", time="2026-11-22T16:00:09Z"), _SITE).reads
    [other] = take(sent(event="e-1", plate="KRT448"), _SITE).reads
    assert first.read_id == again.read_id != other.read_id


@pytest.mark.parametrize("value", [None, True, -1, math.pi, "x" * 5000, [], {}, "\x00"])
@pytest.mark.parametrize("field", ["id", "confidence", "region", "country", "heading", "lat"])
def test_an_optional_field_never_costs_the_read(tmp_path: Path, field: str, value: object) -> None:
    names = ("id", "confidence", "region", "country", "heading")
    text = "".join(f'{name} = "{name}"\n' for name in names)
    take = adapter(tmp_path, f'{_GOOD}{text}[location]\nlat = "lat"\nlon = "lon"\n')
    [read] = take(sent(**{"lat": 1, "lon": 2, field: value}), _SITE).reads
    assert read.plate == "KRT447"
