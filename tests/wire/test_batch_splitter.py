"""`engine.wire.batch_splitter`: batches cut from the bytes of a fetch. What aiokafka makes of them,
damage included, is tested with the seam (`tests/kafka_package/test_raw_fetcher.py`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatch
from hypothesis import given
from hypothesis import strategies as st

from engine.limits import CORRUPT_BATCH_FETCHES
from engine.wire.batch_splitter import Batch, BatchSplitter, Damaged
from tests.fakes.record_batches import (
    CODECS,
    FIRST_MS,
    GZIP,
    Sent,
    batch_bytes,
    control_batch,
    legacy_bytes,
    raw_batch,
)

_RECORDS = [Sent(b"A", b"v"), Sent(b"B", b"v")]


def split(data: bytes, position: int = 0, damaged: Damaged | None = None) -> list[Batch]:
    """All batches that the data gives at once."""
    splitter = BatchSplitter(data, {} if damaged is None else damaged, "partition", position)
    batches = []
    while splitter.has_next():
        batch = splitter.next_batch()
        assert batch is not None
        batches.append(batch)
    return batches


def wrong(data: bytes) -> bytes:
    """The batch with its last byte changed."""
    return data[:-1] + bytes([data[-1] ^ 0xFF])


def test_a_fetch_is_cut_where_its_last_batch_is() -> None:
    """The broker cuts a response anywhere; a batch that is not whole is not given."""
    first = batch_bytes(_RECORDS)
    second = batch_bytes(_RECORDS, base_offset=2)
    both = first + second
    for size in range(len(both) + 1):
        whole = (size >= len(first)) + (size == len(both))
        assert [batch.data for batch in split(both[:size])] == [first, second][:whole]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("append_ms", [None, FIRST_MS + 9])
def test_the_header_says_what_the_scanner_needs(codec: int, append_ms: int | None) -> None:
    data = batch_bytes(_RECORDS, base_offset=7, codec=codec, append_ms=append_ms)
    [batch] = split(data, position=8)
    assert batch.raw(8, 5) == replace(raw_batch(data, from_offset=8), covered_from=5)


@pytest.mark.parametrize(
    "data",
    [
        batch_bytes(_RECORDS, base_offset=7),
        batch_bytes(_RECORDS, base_offset=2**40, codec=GZIP),
        control_batch(7, 99, commit=True),
        control_batch(8, 2**40, commit=False),
    ],
    ids=["plain", "gzip", "commit marker", "abort marker"],
)
def test_the_header_is_read_as_aiokafka_reads_it(data: bytes) -> None:
    [batch] = split(data)
    theirs: Any = DefaultRecordBatch(data)
    for name in (
        "base_offset",
        "next_offset",
        "producer_id",
        "is_control_batch",
        "is_transactional",
    ):
        assert getattr(batch, name) == getattr(theirs, name), name
    assert batch.offset == batch.next_offset - 1
    assert list(batch) == [batch]
    assert batch.validate_crc()


@pytest.mark.parametrize("magic", [0, 1])
def test_a_message_of_an_old_format_has_no_first_offset(magic: Any) -> None:
    data = legacy_bytes(_RECORDS, magic, codec=GZIP, base_offset=2)
    [batch] = split(data, position=2)
    assert (batch.magic, batch.base_offset, batch.next_offset, batch.intact) == (magic, 2, 4, True)
    assert (batch.producer_id, batch.is_control_batch, batch.is_transactional) == (
        None,
        False,
        False,
    )


def test_a_damaged_batch_ends_the_data_until_it_is_wrong_for_the_last_time() -> None:
    first, third = batch_bytes(_RECORDS), batch_bytes(_RECORDS, base_offset=4)
    data = first + wrong(batch_bytes(_RECORDS, base_offset=2)) + third
    damaged: Damaged = {}
    for _ in range(CORRUPT_BATCH_FETCHES - 1):
        assert [batch.next_offset for batch in split(data, damaged=damaged)] == [2]
    assert [(batch.intact, batch.next_offset) for batch in split(data, damaged=damaged)] == [
        (True, 2),
        (False, 4),
        (True, 6),
    ]
    assert not damaged, "nothing is kept of a batch that is passed"


def test_damage_on_two_partitions_is_counted_apart() -> None:
    damaged: Damaged = {}
    data = wrong(batch_bytes([Sent(b"A", b"v")]))
    for _ in range(CORRUPT_BATCH_FETCHES - 1):
        for partition in (0, 1):
            assert not BatchSplitter(data, damaged, partition, 0).has_next()
    assert BatchSplitter(data, damaged, 0, 0).has_next()
    assert len(damaged) == 1, "what has been passed is forgotten"


@given(st.binary(max_size=120), st.integers(0, 2**40))
def test_arbitrary_bytes_move_the_position_on(data: bytes, position: int) -> None:
    damaged: Damaged = {}
    for _ in range(CORRUPT_BATCH_FETCHES):
        for batch in split(data, position, damaged):
            assert not batch.intact
            assert batch.next_offset > position
