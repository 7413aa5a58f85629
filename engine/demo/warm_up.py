"""Compiles and loads what the first match needs, so that the demo's first matches show no start.

numba compiles a function, or loads it from its cache, when it is first called. This calls each of
them once: it matches made-up reads against the city's lists in a matcher that is then dropped. The
worker's own lists, counts and topics are not involved. A second process compiles meanwhile what the
lists need and what writes matches, because numba compiles one function at a time in a process.

`python -m engine.demo.warm_up` only fills the cache, so that processes started together do not each
compile.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from engine.audit.changes import ControlKind
from engine.clock import SystemClock, format_time
from engine.demo.city import ShownCity
from engine.demo.worker_process import own_package
from engine.documents.admission import Purposes
from engine.documents.codec import encode
from engine.kafka.raw_fetcher import parse
from engine.matching.control_records import ControlRecords
from engine.matching.lists import Lists, Phase
from engine.matching.matcher import Matcher
from engine.matching.plain_reads import PlainReads
from engine.matching.ready_matches import ReadyMatches
from engine.matching.scanner import Scanner
from engine.matching.suppression import Suppression
from engine.wire.batch_reader import BatchReader
from engine.wire.record_batch import RawBatch, RawFetch

#: Enough reads for a few matches, in several batches: the scanner takes one and many at a time.
_READS: Final = 3_000
_SEED: Final = 2026
_READS_A_BATCH: Final = 300
_LZ4: Final = 3
_BATCH_BYTES: Final = 1 << 22
#: The argument of the second process.
_LISTS: Final = "lists"


def warm_up(now_ms: int) -> int:
    """Match reads of a city, and return how many matched."""
    with _second_process():
        city = ShownCity(_SEED, now_ms)
        Scanner(0)
        PlainReads(city.misreads)
    matcher = Matcher(_lists_of(city, now_ms), 64, parse, Suppression())
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


@contextlib.contextmanager
def _second_process() -> Iterator[None]:
    """Run `compile_lists` in another process meanwhile. If it fails, this one compiles all."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "engine.demo.warm_up", _LISTS],
        env=own_package(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ):
        yield


def compile_lists(now_ms: int) -> None:
    """Compile what the lists need, and what writes matches."""
    lists = _lists_of(ShownCity(_SEED, now_ms), now_ms)
    lists.index.similar.slots_like("A")
    ReadyMatches(lists, Suppression().states.table)


def _lists_of(city: ShownCity, now_ms: int) -> Lists:
    """Return the city's lists, loaded as a worker loads them."""
    policies = [(policy.source.encode(), encode(policy)) for policy in city.policies()]
    entries = [(entry.entry_id.encode(), encode(entry)) for entry in city.entries]
    lists, reader = Lists(Purposes.load(None), city.misreads), BatchReader(parse)
    for kind, documents in ((ControlKind.POLICY, policies), (ControlKind.ENTRY, entries)):
        batch = _batch(documents, 0, now_ms)
        for step in reader.steps([batch], 0, len(documents), _BATCH_BYTES):
            lists.apply(ControlRecords(kind, 0, step), now_ms, Phase.LOADING)
    lists.commit()
    return lists


def _batch(records: list[tuple[bytes, bytes]], offset: int, now_ms: int) -> RawBatch:
    """Return records as one batch, compressed as the demo's producer does it."""
    builder: Any = DefaultRecordBatchBuilder(2, _LZ4, 0, -1, -1, -1, _BATCH_BYTES)
    for number, (key, value) in enumerate(records):
        builder.append(number, now_ms, key, value, [])
    data = bytes(builder.build())
    header: Any = DefaultRecordBatch(data)
    return RawBatch(
        data=memoryview(data),
        magic=2,
        codec=header.compression_type,
        record_count=len(records),
        base_offset=offset,
        next_offset=offset + len(records),
        from_offset=offset,
        first_ms=now_ms,
        append_ms=None,
        intact=True,
    )


if __name__ == "__main__":
    (compile_lists if sys.argv[1:] == [_LISTS] else warm_up)(SystemClock().now_ms())
