"""The buffers of plain reads; what is plain is tested in `tests/documents/test_read_scan.py`."""

from __future__ import annotations

import numpy as np

from engine.index.hash_table import HashTable, hashes_of
from engine.matching.plain_reads import PlainRead, PlainReads
from engine.matching.scanner import Scanner
from engine.wire.decompress import Decompressor
from tests.fakes.documents import as_bytes, detection_json
from tests.fakes.record_batches import Sent, batch_bytes, raw_batch
from tests.models.real_matcher import MISREADS


def test_what_is_read_is_wiped() -> None:
    batch = raw_batch(batch_bytes([Sent(b"ABC123", as_bytes(detection_json()))]))
    data = Decompressor().decompress(batch.codec, batch.records)
    table, slots = HashTable(), np.zeros(1, dtype=np.int32)
    table.push_many(hashes_of(["ABC123"]), slots, np.zeros(1, dtype=np.int32))
    plain_reads = PlainReads(MISREADS)
    rows, _ = Scanner(0).scan([batch], data, table)
    [step] = plain_reads.steps(data, rows, 0)
    read = step.read(0)
    assert isinstance(read, PlainRead)
    assert read.text_bytes in plain_reads._out.tobytes()
    plain_reads.scrub()
    for buffer in (plain_reads._out, plain_reads._found, plain_reads._spans):
        assert not buffer.any()
