"""The lists loaded: from record batches in memory to the index, as a worker does when it starts.

The filler of `list_size`, whose entries came one by one with times of their own, in batches of
lz4 as `hotlist entries import` writes them. "in bulk" is the way of a load. "one by one" is that of
all other records, and was the way of a load before. "to be audited" is the first start of a
deployment, without the audit itself. All is the time of the thread, an entry.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from benchmarks.measures.figures import Figure, MeasuredCase
from benchmarks.measures.long_list import filler
from engine import limits
from engine.documents.purposes import Purposes
from engine.kafka.raw_fetcher import parse
from engine.matching.control_records import ControlRecords
from engine.matching.lists import ControlKind, Lists, Phase
from engine.wire.batch_reader import BatchReader
from engine.wire.batch_splitter import BatchSplitter
from engine.wire.record_batch import RawBatch

_BATCH_BYTES = 256 * limits.KIB
_LZ4 = 3
_AUDITED = 1 << 62


def measure(sizes: tuple[int, ...]) -> list[MeasuredCase]:
    """A case for each number of entries."""
    return [_of_size(entries) for entries in sizes]


def _of_size(entries: int) -> MeasuredCase:
    now_ms = int(time.time() * 1000)
    batches = list(_batches(entries, now_ms))
    for in_bulk in (True, False):
        _load(batches[:1], now_ms, in_bulk=in_bulk, audited_to=_AUDITED)  # compiles
    figures = [
        Figure(
            name=name,
            unit="us",
            values=[_load(batches, now_ms, in_bulk=in_bulk, audited_to=to) / entries * 1e6],
        )
        for name, in_bulk, to in (
            ("in bulk", True, _AUDITED),
            ("one by one", False, _AUDITED),
            ("in bulk, to be audited", True, 0),
        )
    ]
    return MeasuredCase(case=f"{entries:,} entries", figures=figures)


def _load(batches: list[RawBatch], now_ms: int, *, in_bulk: bool, audited_to: int) -> float:
    """Return the seconds that the thread took."""
    lists, reader = Lists(Purposes.load()), BatchReader(parse)
    lists.audited_to = {(ControlKind.ENTRY, 0): audited_to}
    kept: list[Any] = []  # what waits for the audit
    gc.collect()
    gc.disable()
    started_s = time.thread_time()
    bounds = limits.LOAD_RECORDS_A_STEP, limits.LOAD_STEP_BYTES
    for some in reader.steps(batches, audited_to, *bounds):
        records = ControlRecords(ControlKind.ENTRY, 0, some)
        applied = lists.apply(records if in_bulk else list(records), now_ms, Phase.LOADING)
        kept.append(applied.added)
    lists.commit()
    took_s = time.thread_time() - started_s
    gc.enable()
    assert len(lists.index) == sum(batch.record_count for batch in batches)
    return took_s


def _batches(entries: int, now_ms: int) -> Iterator[RawBatch]:
    offset = count = 0
    builder = _builder()
    for key, value, *_ in filler(0, entries, now_ms, "single"):
        if builder.append(count, now_ms, key, value, []) is None:
            yield _raw(builder, offset)
            offset, count, builder = offset + count, 0, _builder()
            builder.append(0, now_ms, key, value, [])
        count += 1
    yield _raw(builder, offset)


def _builder() -> Any:
    return DefaultRecordBatchBuilder(2, _LZ4, 0, -1, -1, -1, _BATCH_BYTES)


def _raw(builder: Any, offset: int) -> RawBatch:
    data = offset.to_bytes(8, "big") + bytes(builder.build())[8:]
    splitter = BatchSplitter(memoryview(data), {}, TopicPartition("entries", 0), offset)
    batch = splitter.next_batch()
    assert batch is not None
    return batch.raw(offset, offset)
