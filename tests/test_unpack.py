"""All records of a batch, whichever way they are read."""

from __future__ import annotations

import dataclasses

import pytest

from engine.raw import BatchError, Record
from engine.unpack import Unpacker
from tests import record_batches
from tests.record_batches import CODECS, Sent

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
    unpacker = Unpacker()
    assert _fields(unpacker.records(batch)) == _expected(1_000, from_offset)
    assert _fields(unpacker.records(batch)) == _expected(1_000, from_offset)


def test_what_the_scanner_leaves_to_the_parser() -> None:
    """Header names beyond ASCII."""
    records = [Sent(b"k", b"v", headers=(("höhe", b"1"),))]
    batch = record_batches.raw_batch(record_batches.batch_bytes(records, base_offset=5))
    assert _fields(Unpacker().records(batch)) == [(5, b"k", b"v")]


def test_legacy_records() -> None:
    data = record_batches.legacy_bytes([Sent(b"k", b"v")], magic=1, base_offset=3)
    some = record_batches.raw_batch(record_batches.batch_bytes(_RECORDS))
    batch = dataclasses.replace(some, data=memoryview(data), magic=1, codec=-1)
    assert _fields(Unpacker().records(batch)) == [(3, b"k", b"v")]


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_an_unknown_codec(codec: int) -> None:
    data = record_batches.batch_bytes(_RECORDS, base_offset=9, codec=codec)
    with pytest.raises(BatchError) as caught:
        Unpacker().records(record_batches.raw_batch(data))
    assert (caught.value.reason, caught.value.next_offset) == ("unknown_codec", 9)


def test_a_damaged_batch() -> None:
    data = record_batches.batch_bytes(_RECORDS, base_offset=9)
    with pytest.raises(BatchError) as caught:
        Unpacker().records(record_batches.raw_batch(data, from_offset=10, intact=False))
    assert (caught.value.reason, caught.value.next_offset) == ("corrupt_batch", 10)
