"""Reads the hot list topic as digests, and continues where it stopped.

Whole record batches are fetched and decoded one at a time, so memory is bounded by the state
and one fetch. Only committed records are read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiokafka import TopicPartition

from engine import limits
from engine.cli.output import remark
from engine.config import Settings
from engine.kafka.raw_fetcher import parse
from engine.kafka.readable import until_none_open, until_readable
from engine.kafka.reader import Progress, between, consuming
from engine.list_files.digests import Names
from engine.list_files.list_state import ListState
from engine.list_files.removed_terms import removed_term
from engine.wire.batch_reader import BatchReader, every_record
from engine.wire.record_batch import RawBatch


class ListReader:
    """A reader whose `state` is that of the topic when `catch_up` last returned. Made by
    `list_reader()`."""

    def __init__(self, consumer: Any, partitions: list[TopicPartition], names: Names) -> None:
        self.state = ListState(names)
        self._consumer = consumer
        self._partitions = partitions
        self._at: dict[TopicPartition, int] = {}
        self._batch_reader = BatchReader(parse)
        self._has_warned = False

    async def catch_up(self, progress: Progress) -> bool:
        """Read the records that are new since the last call; return whether there were any.

        Raises BrokerError if a record cannot be read.
        """
        if not self._at:
            self._at = await self._consumer.beginning_offsets(self._partitions)
        ends = await self._ends()
        ahead = sum(ends.values()) - sum(self._at.values())
        if not ahead:
            return False
        with progress(ahead) as step:
            async for fetched, moved in between(self._consumer, self._at, ends):
                # In a thread, so that the loop goes on fetching meanwhile.
                await asyncio.to_thread(self._apply, fetched)
                step(moved)
            for part in self._partitions:
                self._at[part] = max(ends[part], await self._consumer.position(part))
            await asyncio.to_thread(self.state.settle)
        self._warn_of_dropped()
        return True

    def _warn_of_dropped(self) -> None:
        dropped = self.state.removed.dropped
        if dropped and not self._has_warned:
            self._has_warned = True
            remark(
                f"warning: {self._partitions[0].topic} has more than {limits.REMOVED_TERMS:,} "
                f"removed entries; the {dropped:,} created first are not held to the terms of "
                "their authorities if they are listed again"
            )

    def _apply(self, fetched: dict[TopicPartition, list[RawBatch]]) -> None:
        for part, batches in fetched.items():
            where = f"{part.topic}/{part.partition}"
            for batch in batches:
                records = every_record(self._batch_reader, where, [batch], headers_from=0)
                self.state.apply(
                    (record.key, record.value)
                    if record.value is not None
                    else (record.key, None, removed_term(record.headers))
                    for record in records
                )

    async def settled(self) -> None:
        """Wait until no transaction hides the topic's last changes.

        Raises NotReadableError if it takes too long.
        """
        await until_none_open(self._consumer, self._partitions)

    async def readable(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """Wait until everyone can read the records that end before these offsets.

        Raises NotReadableError if it takes too long.
        """
        await until_readable(self._consumer, next_offsets)

    async def committed(self, next_offsets: Mapping[TopicPartition, int]) -> int:
        """Wait until everyone can read a transaction whose records end before these offsets.

        Returns the list revision that the workers have from then on. Raises NotReadableError if it
        takes too long.
        """
        # The transaction's end marker takes its own offset after the records.
        ends = {part: offset + 1 for part, offset in next_offsets.items()}
        await until_readable(self._consumer, ends, "the sync is committed")
        return sum(next_offsets.get(part, self._at[part]) for part in self._partitions)

    async def _ends(self) -> dict[TopicPartition, int]:
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(self._partitions)
        return ends


@contextlib.asynccontextmanager
async def list_reader(settings: Settings, topic: str, names: Names) -> AsyncIterator[ListReader]:
    """Open a reader of the hot list topic; it has read nothing yet.

    Raises BrokerError, or TopicError if the topic is missing.
    """
    async with consuming(settings, topic, unopened=True) as (consumer, partitions):
        yield ListReader(consumer, partitions, names)
