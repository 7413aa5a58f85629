"""`engine.delivery.batch`: what takes the place of aiokafka's own batch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.delivery.batch import batches
from engine.kafka.raw_fetcher import parse
from engine.wire.batch_reader import BatchReader
from tests.fakes.record_batches import FIRST_MS, Sent, raw_batch, sent_in
from tests.fakes.written_records import RECORDS, Written


@given(st.lists(RECORDS, min_size=1, max_size=8), st.booleans())
def test_what_is_sent_is_read(records: list[Sent], is_transactional: bool) -> None:
    """By aiokafka and by our own reader, compressed where that pays. Large ones in many batches."""
    by_aiokafka, by_us = [], []
    for batch in batches([*map(Written, records)], is_transactional=is_transactional):
        batch._set_producer_state(7, 3, 11)
        built = batch.build()
        found = sent_in(built)
        assert batch.record_count() == len(found)
        assert batch.closed()
        by_aiokafka += [each._replace(timestamp_ms=FIRST_MS, delta=None) for each in found]
        raw = raw_batch(built)
        assert raw.is_transactional == is_transactional
        by_us += BatchReader(parse).records(raw, headers_from=0)
    assert by_aiokafka == records
    assert [(each.key, each.value, tuple(each.headers)) for each in by_us] == [
        (each.key, each.value, each.headers) for each in records
    ]


def test_a_batch_that_is_sent_again_is_the_same() -> None:
    [batch] = batches([Written(Sent(b"key", b"value" * 100))], is_transactional=False)
    batch._set_producer_state(7, 3, 11)
    assert batch.build() is batch.build()


@pytest.mark.parametrize("size_bytes", [10, 600_000])
def test_a_record_of_any_size_is_a_batch(size_bytes: int) -> None:
    records = [Written(Sent(b"key", bytes(size_bytes)))] * 2
    found = list(batches(records, is_transactional=False))
    assert [batch.record_count() for batch in found] == ([2] if size_bytes == 10 else [1, 1])
