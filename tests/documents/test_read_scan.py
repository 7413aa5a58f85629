"""The compiled scan of reads beside `decode_any` and `encode`, on values that producers write and
on damaged ones; and the scan as plain Python, where a position out of bounds shows itself.

That the matcher's outcome is the same is tested in `tests/matching/test_plain_match.py`.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.documents import read_scan as scan
from engine.documents.codec import encode
from engine.documents.value_formats import VALUE_FORMATS, Values, decode_any
from engine.errors import DocumentError
from engine.plates.normal_form import normalize
from tests.fakes.documents import as_bytes, at, detection_json
from tests.models.plain_python import Checked, plain

KEY = b"ABC123"
#: Every field, in the order in which they are written.
WHOLE: dict[str, Any] = {
    **detection_json(plate="abc-123"),
    "region": "US-CA",
    "confidence": 0.875,
    "alternates": [{"plate": "ABC128", "confidence": 0.25}, {"plate": "A8C123"}],
    "location": {"lat": 52.370216, "lon": -4.895168},
    "heading": 12,
    "vehicle": {"make": "VW", "model": "Golf", "color": "red", "type": "car"},
    "images": [
        {"kind": "plate", "uri": "s3://plates/1.jpg"},
        {"kind": "overview", "uri": "s3://plates/2.jpg"},
    ],
}


def _of_many(count: int) -> str:
    return "[" + ",".join(count * ['{"plate":"A"}']) + "]"


#: What a field may hold, or nearly.
ODDITIES: dict[str, list[str]] = {
    "read_id": ['""', f'"{64 * "r"}"', f'"{65 * "r"}"', "5", "null", '"\\u0041"', '"R\x7f"', '"é"'],
    "plate": [
        '"ABC123"',
        '"a b.c:1-2-3"',
        '"ABC12"',
        '"ABC1234"',
        '"ABĆ123"',
        f'"{60 * "-"}ABC123"',
    ],
    "captured_at": [
        *('"2026-02-29T00:00:00Z"', '"2024-02-29T00:00:00Z"', '"2026-09-21T14:13:20.5Z"'),
        *('"2026-09-21T14:13:20+00:00"', '"2026-09-21t14:13:20Z"', '"2026-09-21T24:13:20Z"'),
        *('"1899-12-31T00:00:00.000Z"', '"2999-12-31T23:59:59.999Z"', '"2026-09-21T14:13:60Z"'),
    ],
    "source": ['""', f'"{128 * "s"}"', f'"{129 * "s"}"', '"S/1 <>&"', '"S\\/1"', '"S\t1"'],
    "camera": ['"C"', "[]"],
    "region": [
        '"NL"',
        '"nl"',
        '"US-"',
        '"US-C1X"',
        '"US-C1XX"',
        '"USCA"',
        '"1S"',
        "null",
        '"US-Ca"',
    ],
    "confidence": [
        *("0", "1", "0.0", "1.0", "1.0001", "-0.0", "-0", "0.5000", "1e-3", "0.00009", "0.0001"),
        *("0.123456789012", "0.1234567890123", "00.5", ".5", "0.", "null", '"0.5"', "true", "2"),
    ],
    "alternates": [
        *("[]", "null", "[ ]", '[{"plate":"A"}]', '[{"plate":"A","confidence":1}]', "[null]"),
        *('[{"confidence":0.5,"plate":"A"}]', '[{"plate":"A","confidence":0.50}]', "[{}]"),
        *('[ { "plate" : "A B" , "confidence" : 0.5 } ]', '[{"plate":"A","confidence":null}]'),
        *('[{"plate":"A","confidence":1.5}]', '[{"plate":"A"},]', '[{"plate":"A","x":1}]'),
        *('[{"plate":""}]', _of_many(16)),
        _of_many(17),
    ],
    "location": [
        *('{"lat":1,"lon":2}', '{"lon":-180.0,"lat":90.0}', '{"lat":1}', "{}", "null", "[]"),
        *(
            '{"lat":90.1,"lon":2}',
            '{"lat":-0.0,"lon":2}',
            '{"lat":null,"lon":2}',
            '{"lat":0,"lon":0}',
        ),
        *('{"lat":1,"lon":-180.000001}', '{"lat":1,"lat":2,"lon":3}', '{"lat":1.50,"lon":-2.00}'),
        '{"lat":1,"lon":2,"alt":3}',
    ],
    "heading": ["0", "360", "360.0", "360.1", "-1", "12.50", "1e2", "999", "1000", "null"],
    "vehicle": [
        *("{}", "null", '{"make":null}', '{"type":"car","make":"VW"}', '{"make":"VW","make":"VW"}'),
        *('{"make":""}', f'{{"make":"{64 * "m"}"}}', f'{{"make":"{65 * "m"}"}}', '{"make":5}'),
        *('{"year":"1999"}', '"VW"', '{"plate":"X"}'),
    ],
    "images": [
        *("[]", "null", '[{"kind":"plate","uri":"x"}]', '[{"kind":"Plate","uri":"x"}]'),
        *('[{"uri":"x","kind":"plate"}]', '[{"kind":"plate"}]', '[{"kind":"plate","uri":""}]'),
        *('[{"kind":"overview","uri":"x y"}]', '[{"kind":"other","uri":"x"}]', "{}"),
        *(f'[{{"kind":"plate","uri":"{size * "u"}"}}]' for size in (2048, 2049)),
    ],
    "unknown": ["1", "null"],
}
_PIECES = st.sampled_from([b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"-", b".", b"0", b" "])


@st.composite
def values(draw: st.DrawFn) -> bytes:
    """A read in any order and spelling, with some odd values; now and then damaged."""
    document = {name: json.dumps(value) for name, value in WHOLE.items()}
    for name in draw(st.lists(st.sampled_from(scan.FIELDS), max_size=3)):
        document.pop(name, None)
    for name in draw(st.lists(st.sampled_from(sorted(ODDITIES)), max_size=2)):
        document[name] = draw(st.sampled_from(ODDITIES[name]))
    names = list(document)
    if draw(st.booleans()):
        names = draw(st.permutations(names))
    space = draw(st.sampled_from(["", " ", "\n\t"]))
    members = [f'{space}"{name}"{space}:{space}{document[name]}{space}' for name in names]
    value = f"{space}{{{','.join(members)}}}{space}".encode()
    if draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, len(value)))
        new = draw(st.binary(max_size=2) | _PIECES)
        value = value[:place] + new + value[place + draw(st.integers(0, 3)) :]
    return value[: draw(st.integers(0, len(value)))] if draw(st.integers(0, 9)) == 0 else value


def scanned(value: bytes, key: bytes = KEY, *, as_python: bool = False) -> tuple[bytes, Any]:
    """What is written of a read, and its row; the value ends where the data does."""
    data = np.frombuffer(key + value, dtype=np.uint8)
    spans = np.zeros(scan.SPANS, dtype=np.int64)
    out = np.zeros(len(value) + scan.ROOM_BYTES, dtype=np.uint8)
    row = np.zeros(scan.COLUMNS, dtype=np.int64)
    where = (0, len(key), len(key), len(value))
    if as_python:
        of_python = Checked(data), *where, Checked(spans), Checked(out), 0, row
        end = plain(scan.scan_read)(*of_python)
    else:
        end = scan.scan_read(data, *where, spans, out, 0, row)
    return out[:end].tobytes(), row


def check(value: bytes, key: bytes = KEY) -> bool:
    """Hold what is accepted against the codec; return whether it was."""
    written, row = scanned(value, key)
    if not row[scan.IS_PLAIN]:
        assert written == b""
        return False
    for value_format in VALUE_FORMATS:
        (read, dropped), is_marked = decode_any(value, Values(value_format))
        assert (dropped, is_marked) == ((), False)
    assert written == encode(read)
    assert normalize(read.plate).encode() == key
    is_key = read.plate.encode() == key
    assert row[scan.IS_PLAIN] == (scan.IS_KEY if is_key else scan.IS_SPELLED)
    assert row[scan.CAPTURED_MS] == read.captured_ms
    found = {
        name: None if row[column] < 0 else written[row[column] : row[column + 1]].decode()
        for name, column in {
            "read_id": scan.READ_ID_AT,
            "plate": scan.PLATE_AT,
            "source": scan.SOURCE_AT,
            "camera": scan.CAMERA_AT,
            "region": scan.REGION_AT,
        }.items()
    }
    assert found == {name: getattr(read, name) for name in found}
    vehicle = None
    if row[scan.VEHICLE_AT] >= 0:
        vehicle = msgspec.json.decode(written[row[scan.VEHICLE_AT] : row[scan.VEHICLE_END]])
    assert vehicle == (None if read.vehicle is None else msgspec.to_builtins(read.vehicle))
    number, decimals = int(row[scan.CONFIDENCE]), int(row[scan.DECIMALS])
    assert (None if number < 0 else number / 10**decimals) == read.confidence
    assert (row[scan.AT], row[scan.END]) == (0, len(written))
    return True


@given(value=values())
def test_what_is_accepted_is_a_read(value: bytes) -> None:
    check(value)


@given(value=values())
def test_no_position_is_out_of_bounds(value: bytes) -> None:
    written, row = scanned(value)
    of_python, python_row = scanned(value, as_python=True)
    assert written == of_python
    assert row[scan.IS_PLAIN] == python_row[scan.IS_PLAIN]
    assert not row[scan.IS_PLAIN] or row.tolist() == python_row.tolist()


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in ODDITIES.items() for text in texts]
)
def test_each_oddity(name: str, text: str) -> None:
    members = {each: json.dumps(value) for each, value in WHOLE.items()} | {name: text}
    value = "{" + ",".join(f'"{each}":{member}' for each, member in members.items()) + "}"
    check(value.encode())


@pytest.mark.parametrize("spelled", [as_bytes, lambda read: json.dumps(read, indent=1).encode()])
def test_usual_reads_are_accepted(spelled: Any) -> None:
    assert check(spelled(WHOLE))
    for name in set(WHOLE) - set(detection_json()):
        assert check(spelled({**WHOLE, name: None}))
        assert check(spelled({each: value for each, value in WHOLE.items() if each != name}))
    assert check(spelled(dict(reversed(WHOLE.items()))))
    assert check(spelled(detection_json(plate="ABC123", captured_at="2026-09-21T14:13:20Z")))
    assert check(spelled(detection_json(plate="ABC123", captured_at=at(5))))


@pytest.mark.parametrize("name", detection_json())
def test_a_required_field_that_is_absent_or_there_twice_is_left(name: str) -> None:
    read = detection_json(plate="ABC123")
    once = json.dumps(read)
    assert check(once.encode())
    assert not check(as_bytes({each: value for each, value in read.items() if each != name}))
    assert not check(f'{once[:-1]},"{name}":{json.dumps(read[name])}}}'.encode())


_AROUND = {"heading": "{}", "confidence": "{}", "location": '{{"lat":{},"lon":1}}'}


@given(
    st.decimals(min_value=-181, max_value=361, places=None, allow_nan=False).map(str)
    | st.from_regex(r"\A-?[0-9]{1,4}(\.[0-9]{0,13})?([eE]-?[0-9])?\Z")
)
def test_numbers_are_written_as_the_codec_writes_them(text: str) -> None:
    for name, around in (
        ("heading", "{}"),
        ("confidence", "{}"),
        ("location", '{{"lat":{},"lon":1}}'),
    ):
        members = {each: json.dumps(value) for each, value in WHOLE.items()}
        members[name] = around.format(text)
        check(("{" + ",".join(f'"{each}":{m}' for each, m in members.items()) + "}").encode())


@given(plate=st.text("ABCabc123 -.éß", max_size=12), key=st.text("ABC123", min_size=1, max_size=7))
def test_the_key_is_the_plates_normal_form(plate: str, key: str) -> None:
    value = as_bytes(detection_json(plate=plate))
    accepted = check(value, key.encode())
    try:
        is_key = normalize(plate) == key
    except DocumentError:
        is_key = False
    assert accepted is (is_key and plate.isascii())
