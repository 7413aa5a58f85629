"""Compiles and loads what the first match needs, so that the demo's first matches show no start.

numba compiles a function, or loads it from its cache, when it is first called. This calls each of
them once: it matches made-up reads against the city's lists in a matcher that is then dropped. The
worker's own lists, counts and topics are not involved. `python -m engine.demo.warm_up` only fills
the cache, so that processes started together do not each compile.
"""

from __future__ import annotations

from typing import Any, Final

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from engine.audit.changes import ControlKind, ControlRecord
from engine.clock import SystemClock, format_time
from engine.demo.city import ShownCity
from engine.documents.admission import Purposes
from engine.documents.codec import encode
from engine.kafka.raw_fetcher import parse
from engine.matching.lists import Lists
from engine.matching.matcher import Matcher
from engine.matching.suppression import Suppression
from engine.plates.misreads import Misreads
from engine.wire.record_batch import RawBatch, RawFetch

#: Enough reads for a few matches, in several batches: the scanner takes one and many at a time.
_READS: Final = 3_000
_SEED: Final = 2026
_READS_A_BATCH: Final = 300
_LZ4: Final = 3
_BATCH_BYTES: Final = 1 << 20


def warm_up(now_ms: int) -> int:
    """Match reads of a city, and return how many matched."""
    city = ShownCity(_SEED, now_ms)
    lists = Lists(Purposes.load(None), Misreads.load(None))
    lists.apply(_control_records(city, now_ms), now_ms)
    lists.commit()
    matcher = Matcher(lists, 64, parse, Suppression())
    reads = [(read.plate.encode(), read.value) for read in city.reads(_READS, format_time(now_ms))]
    batches = [
        _batch(reads[at : at + _READS_A_BATCH], at, now_ms)
        for at in range(0, len(reads), _READS_A_BATCH)
    ]
    matches = 0
    for group in (batches[:1], batches[1:]):
        matches += len(matcher.process(RawFetch("warm-up", 0, tuple(group)), now_ms).matches)
    matcher.scrub()
    return matches


def _control_records(city: ShownCity, now_ms: int) -> list[ControlRecord]:
    documents: list[tuple[ControlKind, str, bytes]] = [
        (ControlKind.POLICY, policy.source, encode(policy)) for policy in city.policies()
    ]
    documents += [(ControlKind.ENTRY, entry.entry_id, encode(entry)) for entry in city.entries]
    return [
        ControlRecord(kind, 0, offset, now_ms, key.encode(), value)
        for offset, (kind, key, value) in enumerate(documents)
    ]


def _batch(reads: list[tuple[bytes, bytes]], offset: int, now_ms: int) -> RawBatch:
    """Return reads as one batch, compressed as the demo's producer does it."""
    builder: Any = DefaultRecordBatchBuilder(2, _LZ4, 0, -1, -1, -1, _BATCH_BYTES)
    for number, (key, value) in enumerate(reads):
        builder.append(number, now_ms, key, value, [])
    data = bytes(builder.build())
    header: Any = DefaultRecordBatch(data)
    return RawBatch(
        data=memoryview(data),
        magic=2,
        codec=header.compression_type,
        record_count=len(reads),
        base_offset=offset,
        next_offset=offset + len(reads),
        from_offset=offset,
        first_ms=now_ms,
        append_ms=None,
        intact=True,
    )


if __name__ == "__main__":
    warm_up(SystemClock().now_ms())
