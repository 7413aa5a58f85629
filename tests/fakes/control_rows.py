"""Control records as a load is given them: rows over the bytes of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.kafka.raw_fetcher import parse
from engine.matching.control_records import ControlRecords
from engine.matching.lists import ControlRecord
from engine.wire.batch_reader import BatchReader
from tests.fakes import record_batches
from tests.fakes.record_batches import Sent


def in_rows(records: Sequence[ControlRecord], most: int = 1 << 20) -> Iterator[ControlRecords]:
    """Yield records of one partition in steps of at most so many."""
    first = records[0]
    sent = [
        Sent(
            *(each.key, each.value),
            () if each.operator is None else (("operator", each.operator.encode()),),
            timestamp_ms=each.timestamp_ms,
            delta=each.offset - first.offset,
        )
        for each in records
    ]
    batch = record_batches.raw_batch(record_batches.batch_bytes(sent, base_offset=first.offset))
    for rows in BatchReader(parse).steps([batch], 0, most, 1 << 30):
        yield ControlRecords(first.kind, first.partition, rows)
