"""What the microbenchmarks work on: batches of synthetic reads and tables of any length."""

from __future__ import annotations

import random

import numpy as np
import orjson
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from engine.demo.synthetic import City, CitySize
from engine.index.hash_table import HashTable
from engine.wire.record_batch import V2_HEADER_BYTES, RawBatch

SEED = 20_240_502
_NOW_MS = 1_700_000_000_000
_CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
CODECS = tuple(_CODECS)


def reads(count: int) -> list[tuple[bytes, bytes]]:
    """Keys and values of synthetic reads."""
    city = City(SEED, CitySize(entries=0), _NOW_MS)
    return [(read["plate"].encode(), orjson.dumps(read)) for read in city.reads(count, 0.0)]


def batch_of(records: list[tuple[bytes, bytes]], codec: str) -> RawBatch:
    """One record batch as a producer makes it."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=_CODECS[codec],
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 30,
    )
    for offset, (key, value) in enumerate(records):
        builder.append(offset, timestamp=_NOW_MS, key=key, value=value, headers=[])
    data = memoryview(bytes(builder.build()))
    assert len(data) > V2_HEADER_BYTES
    return RawBatch(
        data=data,
        magic=2,
        codec=_CODECS[codec],
        record_count=len(records),
        base_offset=0,
        next_offset=len(records),
        from_offset=0,
        first_ms=_NOW_MS,
        append_ms=None,
        intact=True,
    )


def table_of(entries: int) -> HashTable:
    """A plate table with so many random hashes in it."""
    table = HashTable()
    hashes = np.random.default_rng(SEED).integers(1, 1 << 63, entries, dtype=np.uint64)
    following = np.full(entries, -1, dtype=np.int32)
    table.push_many(hashes, np.arange(entries, dtype=np.int32), following)
    return table


def plates(count: int) -> list[str]:
    """Different plates in no order."""
    numbers = list(range(count))
    random.Random(SEED).shuffle(numbers)
    return [f"F{number:07d}" for number in numbers]
