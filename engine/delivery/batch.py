"""A batch of records, built at once: it takes the place of aiokafka's BatchBuilder.

aiokafka's producer says late who produces a batch, and with which sequence number: when it sends it
for the first time. That lies in the header, so the records are written and compressed before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from engine import limits
from engine.delivery.records import WrittenRecords
from engine.in_parts import parts_of
from engine.kafka.fast_compression import lz4_encode
from engine.wire.record_columns import all_of, columns_of, encode_columns
from engine.wire.record_encoder import (
    TRANSACTIONAL,
    Producer,
    WritableRecord,
    encode_batch,
    encode_records,
)

_LZ4: Final = 3
_NO_PRODUCER: Final = Producer(-1, -1, -1)


class BuiltBatch:
    """See the module. The names are those that aiokafka calls.

    `records` are `count` records as `encode_records` has them, needed while it is made.
    """

    def __init__(self, count: int, records: bytes | memoryview, *, is_transactional: bool) -> None:
        self._count = count
        self._at_ms = int(time.time() * 1000)
        self._attributes = TRANSACTIONAL if is_transactional else 0
        self._payload = lz4_encode(records)
        if len(self._payload) < len(records):
            self._attributes |= _LZ4
        else:
            self._payload = bytes(records)
        self._producer = _NO_PRODUCER
        self._built: bytes | None = None

    def record_count(self) -> int:
        return self._count

    def close(self) -> None:
        """Do nothing: nothing can be added."""

    def closed(self) -> bool:
        return True

    def _set_producer_state(
        self, producer_id: int, producer_epoch: int, base_sequence: int
    ) -> None:
        self._producer = Producer(producer_id, producer_epoch, base_sequence)

    def build(self) -> bytes:
        """Return the batch; the same one if it has to be sent again."""
        if self._built is None:
            self._built = encode_batch(
                self._payload, self._count, self._attributes, self._at_ms, self._producer
            )
            self._payload = b""
        return self._built

    _build = build


def batches(records: Sequence[WritableRecord], *, is_transactional: bool) -> Iterator[BuiltBatch]:
    """Yield batches of the records, ready to be sent. A batch takes a first record of any size."""
    for count, some in _encoded(parts_of(records)):
        yield BuiltBatch(count, some, is_transactional=is_transactional)


def _encoded(parts: Sequence[Sequence[WritableRecord]]) -> Iterator[tuple[int, bytes | memoryview]]:
    if any(isinstance(part, WrittenRecords) for part in parts):
        columns = (
            part.some if isinstance(part, WrittenRecords) else all_of(columns_of(part))
            for part in parts
        )
        return encode_columns(columns, limits.SINK_BATCH_BYTES)
    return encode_records(chain.from_iterable(parts), limits.SINK_BATCH_BYTES)
