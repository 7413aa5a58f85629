"""`engine.wire.record_encoder`, beside aiokafka's builder, which writes a record at a time."""

from __future__ import annotations

from typing import Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.headers import headers_at
from engine.wire.record_encoder import (
    NO_HEADERS,
    Producer,
    encode_batch,
    encode_records,
)
from tests.fakes.record_batches import FIRST_MS, Sent, encoded_records
from tests.fakes.written_records import RECORDS, Written

_HEADER_BYTES = 61


@given(st.lists(RECORDS, min_size=1, max_size=8))
def test_records_are_those_of_aiokafka(records: list[Sent]) -> None:
    [(count, written)] = encode_records(map(Written, records), 1 << 30)
    assert count == len(records)
    assert written == encoded_records(records)


@given(
    st.lists(RECORDS, min_size=1, max_size=8),
    st.booleans(),
    st.integers(0, 2**62),
    st.integers(0, 2**15 - 1),
    st.integers(0, 2**31 - 1),
)
def test_a_batch_is_that_of_aiokafka(
    records: list[Sent], is_transactional: bool, number: int, epoch: int, sequence: int
) -> None:
    """Byte for byte, uncompressed, for a producer that is known only when it is sent."""
    [(count, written)] = encode_records(map(Written, records), 1 << 30)
    batch = encode_batch(
        written, count, is_transactional << 4, FIRST_MS, Producer(number, epoch, sequence)
    )
    builder: Any = DefaultRecordBatchBuilder(2, 0, is_transactional, -1, -1, -1, 1 << 30)
    for offset, record in enumerate(records):
        builder.append(offset, FIRST_MS, record.key, record.value, list(record.headers))
    builder.set_producer_state(number, epoch, sequence)
    assert batch == bytes(builder.build())


@given(st.lists(RECORDS, max_size=20), st.integers(_HEADER_BYTES, 20_000))
def test_records_are_split_at_the_limit(records: list[Sent], limit_bytes: int) -> None:
    """Each record is in one batch, in order; a batch above the limit is a single record."""
    some = list(encode_records(map(Written, records), limit_bytes))
    assert sum(count for count, _ in some) == len(records)
    for count, written in some:
        assert written == encoded_records(records[:count])
        assert count == 1 or _HEADER_BYTES + len(written) <= limit_bytes
        del records[:count]


def test_a_batch_has_an_offset_of_two_bytes_in_the_end() -> None:
    records = [Sent(b"key", b"%d" % number) for number in range(5_000)]
    [(count, written)] = encode_records(map(Written, records), 1 << 30)
    assert (count, written) == (5_000, encoded_records(records))


def test_no_headers() -> None:
    assert headers_at(memoryview(NO_HEADERS)) == []
