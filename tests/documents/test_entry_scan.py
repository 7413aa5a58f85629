"""The compiled scan of entries beside the codec, on values that programs write and on damaged
ones; and the scan as plain Python, where a position out of bounds shows itself.

That a load in bulk has the same result is tested in `tests/matching/test_bulk_load.py`.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import parse_time
from engine.documents import entry_scan as scan
from engine.documents.codec import decode_entry
from engine.documents.text_numbers import number_texts
from engine.errors import DocumentError
from tests.fakes.documents import as_bytes, at, entry_json
from tests.models.plain_python import Checked, plain

_OPTIONAL: dict[str, Any] = {
    "starts_at": at(5),
    "region": "NL",
    "instructions": "Call.",
    "vehicle": {"make": "VW", "model": None},
    "confusables": True,
    "priority": 1,
    "suppress_s": 0,
    "distance": 1,
}
_WHOLE = as_bytes(entry_json(**_OPTIONAL))
_VALUES = st.sampled_from(
    [
        *(_WHOLE, as_bytes(entry_json()), b" { } ", b"{", b"", b"null", b'{"a"', b'{"area":[1]}'),
        json.dumps(entry_json(**_OPTIONAL), indent=1).encode(),
        b'{"vehicle":{"make":n', b'{"confusables":t', b'{"priority":1', b'{"authority":{"kind":"',
    ]
)  # fmt: skip


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    value = draw(_VALUES)
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(value)))
        new = draw(st.binary(max_size=2) | st.sampled_from([b'"', b"\\", b"{", b"}", b",", b":"]))
        value = value[:place] + new + value[place + draw(st.integers(0, 3)) :]
    return value[: draw(st.integers(0, len(value)))] if draw(st.booleans()) else value


def scanned(values: list[bytes], key: bytes, *, as_python: bool = False) -> Any:
    """The data, and a row for each value; the last value ends where the data does."""
    text, spans = key, []
    for value in values:
        spans.append((0, len(key), len(text), len(value)))
        text += value
    data = np.frombuffer(text, dtype=np.uint8)
    rows = np.zeros((len(values), scan.COLUMNS), dtype=np.int64)
    guess = np.zeros(scan.GUESSES, dtype=np.int64)
    given_spans = np.array(spans, dtype=np.int64).reshape(-1, 4)
    if as_python:
        plain(scan.scan)(Checked(data), given_spans, Checked(guess), rows)
    else:
        scan.scan(data, given_spans, guess, rows)
    return data, rows


@given(values=st.lists(_damaged(), min_size=1, max_size=3))
def test_what_is_accepted_is_an_entry(values: list[bytes]) -> None:
    data, rows = scanned(values, b"E1")
    for value, row in zip(values, rows, strict=True):
        if not row[scan.IS_PLAIN]:
            continue
        read = {
            name: bytes(data[row[scan.at(name)] :][: row[scan.at(name) + 1]]).decode(
                "utf-8", "replace"
            )
            for name in scan.TEXTS
            if row[scan.at(name) + 1] >= 0
        }
        try:
            entry = decode_entry(value)
        except DocumentError:
            # For the value of a shared field, which the caller checks.
            shared = set(read) - {"entry_id", "plate", "reference", "created_at", "expires_at"}
            assert shared or row[scan.value_of("priority")] > 5
            continue
        assert (read["entry_id"], read["plate"]) == (entry.entry_id, entry.plate)
        authority = entry.authority
        assert (read["kind"], read["reference"]) == (authority.kind, authority.reference)
        for name in ("list_id", "agency", "purpose", "requested_by", "created_at", "expires_at"):
            assert read[name] == getattr(entry, name)
        for name in ("starts_at", "region", "instructions"):
            assert read.get(name) == getattr(entry, name)
        assert row[scan.CREATED_MS] == entry.created_ms
        assert row[scan.EXPIRES_MS] == entry.expires_ms
        for name in scan.NUMBERS:
            number = getattr(entry, name)
            assert row[scan.value_of(name)] == (-1 if number is None else number)


@given(values=st.lists(_damaged(), min_size=1, max_size=2))
def test_no_position_is_out_of_bounds(values: list[bytes]) -> None:
    data, rows = scanned(values, b"E1")
    _, as_python = scanned(values, b"E1", as_python=True)
    assert rows[:, scan.IS_PLAIN].tolist() == as_python[:, scan.IS_PLAIN].tolist()
    accepted = rows[:, scan.IS_PLAIN] == 1
    assert (rows[accepted] == as_python[accepted]).all()
    for name in scan.TEXTS:
        size = len(rows)
        numbers, firsts, heads = (np.zeros(n, dtype=np.int32) for n in (size, size, 2 * size))
        heads = np.zeros(1 << (2 * size).bit_length(), dtype=np.int32)
        arrays = Checked(numbers), Checked(firsts), Checked(heads)
        count = plain(number_texts)(Checked(data), Checked(rows), scan.at(name), *arrays)
        texts = [
            bytes(data[row[scan.at(name)] :][: row[scan.at(name) + 1]])
            for row in rows[accepted]
            if row[scan.at(name) + 1] >= 0
        ]
        assert count == len(set(texts))


def test_an_entry_with_every_field_is_accepted() -> None:
    _, rows = scanned([_WHOLE, as_bytes(entry_json())], b"E1")
    assert rows[:, scan.IS_PLAIN].tolist() == [1, 1]
    assert rows[0, scan.STARTS_MS] == parse_time(at(5))


@given(
    year=st.integers(1890, 3010),
    month=st.integers(0, 13),
    day=st.integers(0, 32),
    clock=st.tuples(st.integers(0, 25), st.integers(0, 61), st.integers(0, 61)),
    end=st.sampled_from(["Z", ".000Z", ".999Z", ".5Z", ":00Z"]),
)
def test_times_are_those_of_the_codec(
    year: int, month: int, day: int, clock: tuple[int, int, int], end: str
) -> None:
    hour, minute, second = clock
    text = f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{end}"
    value = as_bytes(entry_json(created_at=text))
    _, [row] = scanned([value], b"E1")
    try:
        expected = decode_entry(value).created_ms
    except DocumentError:
        assert not row[scan.IS_PLAIN]
    else:
        if end != ".5Z":
            assert row[scan.CREATED_MS] == expected
