"""`engine.wire.record_columns`, beside `record_encoder`, which writes a record at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.java_partitioner import murmur2_partition
from engine.wire.record_columns import (
    HEADERS_AT,
    NONE,
    RecordColumns,
    SomeRecords,
    all_of,
    by_key,
    columns_of,
    encode_columns,
)
from engine.wire.record_encoder import encode_records
from tests.fakes.record_batches import Sent
from tests.fakes.written_records import RECORDS, Written

_HEADER_BYTES = 61


def some_of(records: list[Sent], numbers: list[int] | None = None) -> SomeRecords:
    chosen = range(len(records)) if numbers is None else numbers
    return SomeRecords(columns_of([*map(Written, records)]), np.array([*chosen], dtype=np.int64))


@given(
    st.lists(st.lists(RECORDS, max_size=8), max_size=4),
    st.integers(_HEADER_BYTES, 20_000) | st.just(1 << 20),
)
def test_batches_are_the_same(parts: list[list[Sent]], limit_bytes: int) -> None:
    """Whatever part a record is in, and wherever a batch ends."""
    records = [Written(record) for part in parts for record in part]
    written = [
        (count, bytes(some)) for count, some in encode_columns(map(some_of, parts), limit_bytes)
    ]
    assert written == [*encode_records(records, limit_bytes)]


@given(st.lists(RECORDS, min_size=1, max_size=8), st.data())
def test_any_of_the_records_in_any_order(records: list[Sent], data: st.DataObject) -> None:
    numbers = data.draw(st.lists(st.integers(0, len(records) - 1), max_size=12))
    chosen = [Written(records[number]) for number in numbers]
    written = [bytes(some) for _, some in encode_columns([some_of(records, numbers)], 1 << 20)]
    assert written == [some for _, some in encode_records(chosen, 1 << 20)]


def test_a_batch_has_an_offset_of_two_bytes_in_the_end() -> None:
    records = [Sent(b"key", b"%d" % number) for number in range(9_000)]
    [(count, written)] = encode_columns([some_of(records)], 1 << 30)
    [(expected, expected_written)] = encode_records(map(Written, records), 1 << 30)
    assert (count, bytes(written)) == (expected, expected_written)


def test_records_without_headers_need_none() -> None:
    records = [Sent(b"key", b"%d" % number) for number in range(3)]
    (data, headers, spans), numbers = some_of(records)
    spans[:, HEADERS_AT] = NONE
    without = SomeRecords(RecordColumns(data, headers[:0], spans), numbers)
    [(_, written)] = encode_columns([without], 1 << 30)
    [(_, expected)] = encode_records(map(Written, records), 1 << 30)
    assert bytes(written) == expected


@given(st.lists(RECORDS, max_size=20), st.sampled_from([1, 2, 3, 7, 64]))
def test_a_key_has_its_partition(records: list[Sent], count: int) -> None:
    columns = columns_of([*map(Written, records)])
    placed = by_key(all_of(columns), count)
    assert len(placed) == count
    for partition, numbers in enumerate(placed):
        keys = [records[number].key or b"" for number in numbers.tolist()]
        assert [murmur2_partition(key, count) for key in keys] == len(keys) * [partition]
        assert numbers.tolist() == sorted(numbers.tolist())
    assert sum(map(len, placed)) == len(records)
