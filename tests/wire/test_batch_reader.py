"""All records of a batch, whichever way they are read, and who made a change."""

from __future__ import annotations

import dataclasses

import hypothesis.strategies as st
import pytest
from hypothesis import given

from engine import limits
from engine.kafka.raw_fetcher import parse
from engine.wire.batch_reader import BatchReader, operator_of
from engine.wire.record_batch import BatchError, Headers, RawBatch, Record
from engine.wire.record_rows import RecordRows
from tests.fakes import record_batches
from tests.fakes.record_batches import CODECS, Sent

_RECORDS = (
    Sent(b"key", b"value"),
    Sent(None, b"value of no key"),
    Sent(b"\xff odd", b"v", headers=(("h", b"1"), ("h", None))),
    Sent(b"tombstone", None, delta=7),
    Sent(b"large", b"x" * 100_000),
)


def _expected(base_offset: int, from_offset: int) -> list[tuple[int, bytes | None, bytes | None]]:
    offsets = [base_offset + delta for delta in (0, 1, 2, 7, 8)]
    return [
        (offset, record.key, record.value)
        for offset, record in zip(offsets, _RECORDS, strict=True)
        if offset >= from_offset
    ]


def _fields(records: list[Record]) -> list[tuple[int, bytes | None, bytes | None]]:
    return [(record.offset, record.key, record.value) for record in records]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("from_offset", [0, 1_000, 1_002, 1_008])
def test_all_records_in_order(codec: int, from_offset: int) -> None:
    data = record_batches.batch_bytes(_RECORDS, base_offset=1_000, codec=codec)
    batch = record_batches.raw_batch(data, from_offset=from_offset)
    reader = BatchReader(parse)
    assert _fields(reader.records(batch)) == _expected(1_000, from_offset)
    assert _fields(reader.records(batch)) == _expected(1_000, from_offset)


def test_what_the_scanner_leaves_to_the_parser() -> None:
    """Header names beyond ASCII."""
    records = [Sent(b"k", b"v", headers=(("höhe", b"1"),))]
    batch = record_batches.raw_batch(record_batches.batch_bytes(records, base_offset=5))
    assert _fields(BatchReader(parse).records(batch)) == [(5, b"k", b"v")]


def test_legacy_records() -> None:
    data = record_batches.legacy_bytes([Sent(b"k", b"v")], magic=1, base_offset=3)
    some = record_batches.raw_batch(record_batches.batch_bytes(_RECORDS))
    batch = dataclasses.replace(some, data=memoryview(data), magic=1, codec=-1)
    assert _fields(BatchReader(parse).records(batch)) == [(3, b"k", b"v")]


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_an_unknown_codec(codec: int) -> None:
    data = record_batches.batch_bytes(_RECORDS, base_offset=9, codec=codec)
    with pytest.raises(BatchError) as caught:
        BatchReader(parse).records(record_batches.raw_batch(data))
    assert (caught.value.reason, caught.value.next_offset) == ("unknown_codec", 9)


def test_a_damaged_batch() -> None:
    data = record_batches.batch_bytes(_RECORDS, base_offset=9)
    with pytest.raises(BatchError) as caught:
        BatchReader(parse).records(record_batches.raw_batch(data, from_offset=10, intact=False))
    assert (caught.value.reason, caught.value.next_offset) == ("corrupt_batch", 10)


#: In ASCII, which the scanner reads, and beyond, which it leaves to the parser.
NAMES = st.one_of(st.sampled_from(["operator", "Operator", "", "traceparent"]), st.text(max_size=3))
HEADERS = st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=200)), max_size=5)


@given(of_records=st.lists(HEADERS, min_size=1, max_size=4), codec=st.sampled_from(CODECS))
def test_headers_are_those_that_the_parser_reads(
    of_records: list[list[tuple[str, bytes | None]]], codec: int
) -> None:
    records = [Sent(b"k", b"v" * number, tuple(some)) for number, some in enumerate(of_records)]
    batch = record_batches.raw_batch(record_batches.batch_bytes(records, codec=codec))
    assert BatchReader(parse).records(batch, headers_from=0) == list(parse(batch))


@pytest.mark.parametrize("value", [None, b"", b"value", b"x" * 100_000])
def test_headers_stand_behind_any_value(value: bytes | None) -> None:
    batch = record_batches.raw_batch(
        record_batches.batch_bytes([Sent(None, value, (("operator", b"ann"),))])
    )
    (record,) = BatchReader(parse).records(batch, headers_from=0)
    assert record.headers == (("operator", b"ann"),)


def test_headers_only_where_they_are_asked_for() -> None:
    records = [Sent(b"k", b"v", (("operator", b"ann"),)) for _ in range(3)]
    batch = record_batches.raw_batch(record_batches.batch_bytes(records, base_offset=10))
    reader = BatchReader(parse)
    assert [bool(record.headers) for record in reader.records(batch, 11)] == [
        False,
        True,
        True,
    ]
    assert not any(record.headers for record in reader.records(batch))


def test_headers_are_bounded() -> None:
    """Somebody may send a million of them."""
    many = tuple((f"h{number}", b"") for number in range(10 * limits.CONTROL_HEADERS))
    batch = record_batches.raw_batch(
        record_batches.batch_bytes([Sent(b"k", b"v", many), Sent(b"k", b"next")])
    )
    first, second = BatchReader(parse).records(batch, headers_from=0)
    assert first.headers == many[: limits.CONTROL_HEADERS]
    assert second.value == b"next"


@given(damage=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6))
def test_damaged_headers_are_the_parsers_business(damage: list[tuple[int, int]]) -> None:
    """What is accepted is read as the parser reads it; the rest is an error of the batch."""
    headers = (("operator", b"ann"), ("other", None), ("x" * 70, b"y" * 70))
    body = bytearray(record_batches.encoded_records([Sent(b"k", b"v", headers)]))
    for place, byte in damage:
        body[place % len(body)] = byte
    data = record_batches.batch_bytes(body=bytes(body), record_count=1, last_delta=0)
    batch = record_batches.raw_batch(data)
    try:
        expected = list(parse(batch))
    except BatchError:
        with pytest.raises(BatchError):
            BatchReader(parse).records(batch, headers_from=-(1 << 62))
    else:
        assert BatchReader(parse).records(batch, headers_from=-(1 << 62)) == expected


@pytest.mark.parametrize(
    ("headers", "operator"),
    [
        ((), None),
        ((("operator", b"ann"),), "ann"),
        ((("Operator", b"ann"),), None),
        ((("operator", None), ("other", b"x")), None),
        ((("operator", b""),), None),
        ((("operator", b"ann"), ("operator", b"bob"), ("operator", b"")), "bob"),
        ((("operator", "Zoë".encode()),), "Zoë"),
        ((("operator", b"\xff\xfea"),), "\ufffd\ufffda"),
        ((("operator", b"x" * 100_000),), "x" * limits.OPERATOR_BYTES),
    ],
)
def test_who_made_a_change(headers: Headers, operator: str | None) -> None:
    assert operator_of(headers) == operator


@given(
    sizes=st.lists(st.lists(st.none() | st.integers(0, 30), min_size=1, max_size=12), max_size=8),
    odd=st.sets(st.integers(0, 7)),
)
def test_every_record_comes_in_some_step_and_no_step_is_long(
    sizes: list[list[int | None]], odd: set[int]
) -> None:
    """From large batches and small ones, and from those that are left to the parser."""
    batches: list[RawBatch] = []
    records: list[Record] = []
    for number, of_batch in enumerate(sizes):
        headers = ((("h\u00f6he" if number in odd else "operator"), b"1"),)
        sent = [Sent(b"E", None if size is None else bytes(size), headers) for size in of_batch]
        data = record_batches.batch_bytes(sent, base_offset=len(records))
        batches.append(record_batches.raw_batch(data))
        records += parse(batches[-1])
    steps = [
        list(some.records()) if isinstance(some, RecordRows) else some
        for some in BatchReader(parse).steps(batches, 0, 5, 60)
    ]
    assert [one for step in steps for one in step] == records
    for step in steps:
        assert 1 <= len(step) <= 5
        assert _size_bytes(step[:-1]) < 60, "it ends with the one that was too much"


def test_small_batches_come_together() -> None:
    """A list that people made by hand has a batch for each entry."""
    batches = [
        record_batches.raw_batch(record_batches.batch_bytes([Sent(b"E", b"v")], base_offset=each))
        for each in range(100)
    ]
    steps = BatchReader(parse).steps(batches, 0, 64, 1 << 20)
    assert [len(step) for step in steps] == [64, 36]


def _size_bytes(step: list[Record]) -> int:
    return sum(len(one.key or b"") + len(one.value or b"") for one in step)


def test_rows_are_of_one_kind_of_data() -> None:
    """Copied, joined or as decompressed, so that what reads them is compiled for that alone."""
    sent = [[Sent(b"a", b"x" * 9)], [Sent(b"b", b"y" * 9)], [Sent(b"c", b"z" * 9)] * 40]
    for codec in CODECS:
        data = [record_batches.batch_bytes(records, codec=codec) for records in sent]
        batches = [record_batches.raw_batch(each) for each in data]
        for step in BatchReader(parse).steps(batches, 0, 50, 1 << 20):
            assert isinstance(step, RecordRows)
            assert not step.data.flags.writeable
