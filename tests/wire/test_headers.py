"""The headers of a record beside aiokafka's parser, and on bytes that are none."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine import limits
from engine.index.hash_table import HashTable
from engine.kafka.raw_fetcher import parse
from engine.matching.scanner import Scanner
from engine.wire.decompress import Decompressor
from engine.wire.headers import headers_at
from engine.wire.record_decoder import VALUE_AT, VALUE_LENGTH
from tests.fakes.record_batches import CODECS, Sent, batch_bytes, encoded_records, raw_batch

Parsed = list[tuple[str, bytes | None]]

_NAMES: Final = st.text("abc-_", max_size=12) | st.sampled_from(["traceparent", "alternates"])
_HEADERS: Final = st.lists(st.tuples(_NAMES, st.none() | st.binary(max_size=200)), max_size=8)
_SENT: Final = st.builds(
    lambda key, value, headers: Sent(key, value, tuple(headers)),
    st.none() | st.binary(max_size=20),
    st.none() | st.binary(max_size=300),
    _HEADERS,
)


def copied(data: memoryview) -> Parsed | None:
    found = headers_at(data)
    return None if found is None else [(n, None if v is None else bytes(v)) for n, v in found]


@given(st.sampled_from(CODECS), st.lists(_SENT, min_size=1, max_size=12))
def test_behind_each_value_lie_the_headers_that_the_parser_finds(
    codec: int, records: list[Sent]
) -> None:
    """The scanner's rows say where: as the matcher looks, in batches of all codecs."""
    batch = raw_batch(batch_bytes(records, codec=codec))
    data = Decompressor().decompress(codec, batch.records)
    rows, _ = Scanner(1).scan([batch], data, HashTable())  # all: sampled, odd or without a value
    found = [
        copied(data.data[int(row[VALUE_AT]) + max(int(row[VALUE_LENGTH]), 0) :]) for row in rows
    ]
    assert found == [list(record.headers) for record in parse(batch)]
    assert len(found) == len(records)


def written(headers: Parsed) -> bytes:
    """The headers as they stand on the wire: all that lies behind a record's empty value."""
    record = encoded_records([Sent(None, b"", tuple(headers))])
    # Length, attributes, time, offset, no key, an empty value.
    length_bytes = 1 if len(record) <= 64 else 2 if len(record) < 2**13 else 3
    return record[length_bytes + 5 :]


def test_headers_as_they_are_written() -> None:
    headers: Parsed = [("", b""), ("a", None), ("ü", b"\x00"), ("long", b"x" * 500)]
    for count in range(5):
        assert copied(memoryview(written(headers[:count]))) == headers[:count]
        assert copied(memoryview(written(headers[:count]) + b"\xff" * 9)) == headers[:count]


def test_as_many_as_are_looked_at_and_no_more() -> None:
    most: Parsed = [("a", b"")] * limits.READ_HEADERS
    assert copied(memoryview(written(most))) == most
    assert copied(memoryview(written([*most, ("a", b"")]))) is None


@given(_HEADERS)
def test_headers_that_end_too_early_are_none(headers: Parsed) -> None:
    whole = written(headers)
    assert copied(memoryview(whole)) == headers
    for length in range(len(whole)):
        assert headers_at(memoryview(whole)[:length]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",  # -1 headers
        b"\x02\x01",  # a name of -1 bytes
        b"\x02\x04a",  # a name that goes on behind the end
        b"\x02\x02a\x04b",  # a value that does
        b"\x02\x02\xff\x00",  # a name that is no text
        b"\x02" + b"\xff" * 8 + b"\x7f",  # a name as long as can be said
        b"\x02\x02a" + b"\xfe" + b"\xff" * 7 + b"\x7f",  # a value as long as that
        b"\xff" * 9 + b"\x00",  # a number that takes more bytes than there are
        b"\x80" * 12,
        b"\x80" * 9 + b"\x00",  # none, in one byte more than a number may take
    ],
    ids=bytes.hex,
)
def test_what_is_not_well_formed_is_none(data: bytes) -> None:
    assert headers_at(memoryview(data)) is None


def test_the_first_of_many() -> None:
    """More than a read may have, of which a control record's reader looks at some."""
    count = limits.READ_HEADERS + 1
    data = memoryview(bytes([2 * count & 0x7F | 0x80, 2 * count >> 7]) + b"\x02a\x00" * count)
    assert headers_at(data) is None
    for first, found in ((3, 3), (count, count), (2 * count, count)):
        headers = headers_at(data, first=first)
        assert headers is not None
        assert [name for name, _ in headers] == ["a"] * found


@settings(max_examples=10 * settings().max_examples)
@given(st.binary(max_size=60))
@example(b"\x02\x02a\x01")
def test_hostile_bytes_are_headers_or_none(data: bytes) -> None:
    """Whatever is found lies within the data; nothing is raised."""
    found = copied(memoryview(data))
    if found is not None:
        assert sum(len(name.encode()) + len(value or b"") for name, value in found) <= len(data)
