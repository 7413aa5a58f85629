"""Reads the audit topic: all of it for a verifier, or a period of it for a report.

The raw fetcher returns whole record batches, and they are decoded while the next ones are
fetched, so millions of records take seconds. Only committed records are read, up to the end that
the topic had when reading began; later records are left for the next run. The size of a fetch
bounds the memory.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, Protocol

from aiokafka import TopicPartition

from engine import limits
from engine.audit.report import AuditReport
from engine.audit.verifier import Verifier
from engine.config import Settings
from engine.kafka.raw_fetcher import parse
from engine.kafka.reader import Progress, between, consuming
from engine.kafka.topics import Topics
from engine.wire.batch_reader import BatchReader
from engine.wire.record_batch import BatchError, RawBatch, Record

Offsets = dict[TopicPartition, int]


class Takes(Protocol):
    """What is given the records, and the batches that cannot be read."""

    def take(self, partition: int, records: Iterable[Record]) -> None: ...
    def unreadable(self, partition: int, offset: int, reason: str) -> None: ...


async def verify(settings: Settings, verifier: Verifier, progress: Progress) -> None:
    """Pass the whole topic to the verifier, then the records that it needs again, then close it.

    Raises BrokerError, or TopicError if the topic is missing.
    """
    async with consuming(settings, Topics(settings.prefix).audit, unopened=True) as (
        consumer,
        partitions,
    ):
        starts = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        for part in partitions:
            verifier.begins(part.partition, starts[part])
        await read_batches(consumer, starts, ends, verifier, progress)
        again = verifier.second_look()
        if again:
            spans = {part: again.get(part.partition, (0, 0)) for part in partitions}
            first = {part: start for part, (start, _) in spans.items()}
            last = {part: end for part, (_, end) in spans.items()}
            await read_batches(consumer, first, last, _LooksAgain(verifier), progress)
        if verifier.is_waiting():
            now = await consumer.end_offsets(partitions)
            await read_batches(consumer, ends, now, _LooksAgain(verifier), progress)
        verifier.finish()


async def report(settings: Settings, report: AuditReport, progress: Progress) -> None:
    """Pass the records of its period to the report. Raises as `verify` does."""
    async with consuming(settings, Topics(settings.prefix).audit, unopened=True) as (
        consumer,
        partitions,
    ):
        starts = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        await _skip(consumer, starts, ends, report.from_ms - limits.AUDIT_SLACK_MS)
        await read_batches(consumer, starts, ends, report, progress)


async def _skip(consumer: Any, starts: Offsets, ends: Offsets, until_ms: int) -> None:
    """Move the starts to the first record of this time, if the broker can search by time."""
    if until_ms <= 0:
        return
    any_time = await consumer.offsets_for_times(dict.fromkeys(starts, 0))
    found = await consumer.offsets_for_times(dict.fromkeys(starts, until_ms))
    for part, offset in found.items():
        if offset is not None:
            starts[part] = max(starts[part], offset.offset)
        elif any_time[part] is not None:  # else it is the embedded broker, which has no times
            starts[part] = ends[part]


class _LooksAgain:
    """A consumer of records for a verifier that searches them a second time."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def take(self, partition: int, records: Iterable[Record]) -> None:
        self._verifier.look_again(records)

    def unreadable(self, partition: int, offset: int, reason: str) -> None:
        pass  # the first reading has reported it, or the next one will


async def read_batches(
    consumer: Any, starts: Offsets, ends: Offsets, takes: Takes, progress: Progress
) -> None:
    """Pass the committed records between these offsets to `takes`, in the order of a partition."""
    reader = BatchReader(parse)

    def unpack(fetched: dict[TopicPartition, list[RawBatch]]) -> None:
        for part, batches in fetched.items():
            for batch in batches:
                if batch.first_offset < ends[part]:
                    _unpack(reader, part.partition, batch, ends[part], takes)

    with progress(sum(max(0, ends[part] - starts[part]) for part in ends)) as step:
        steps = between(consumer, starts, ends)
        async with contextlib.aclosing(steps):
            async for fetched, moved in steps:
                await asyncio.to_thread(unpack, fetched)
                step(moved)


def _unpack(reader: BatchReader, partition: int, batch: RawBatch, end: int, takes: Takes) -> None:
    try:
        records = reader.records(batch)
    except BatchError as error:
        takes.unreadable(partition, batch.first_offset, error.reason)
        return
    if batch.next_offset > end:
        records = [record for record in records if record.offset < end]
    takes.take(partition, records)
