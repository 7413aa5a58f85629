"""The changelog of the suppression as a broker keeps it: logs with offsets, compacted now and then.

`read_from` lets the worker's own reader read it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

from aiokafka import TopicPartition

from engine.kafka.topics import Topics
from tests.fakes.record_batches import Sent, batch_bytes, raw_batch
from tests.fakes.runtime import CLUSTER

TOPICS = Topics("lpr.")
#: How long a tombstone stays at least.
TOMBSTONES_S = 3600.0


class Kept(NamedTuple):
    """A record; `at_s` is when it was written."""

    offset: int
    key: bytes
    value: bytes | None
    at_s: float


@dataclass
class Log:
    """One partition."""

    records: list[Kept] = field(default_factory=list)
    start: int = 0
    end: int = 0


class ChangelogTopic:
    """The topic. `now_s` is the time; `reads_end` is where each partition of the reads ends.

    `records_read` counts what was read by `read_from`, and `fetched` has the partitions of which it
    was not at the end. `failures` has, by the name of a request,
    what fails it the next time.
    """

    def __init__(self, partitions: int) -> None:
        self.now_s = 0.0
        self.reads_end = 1 << 40
        self.records_read = 0
        self.fetched: list[int] = []
        self.failures: dict[str, Exception] = {}
        self._incarnation = 0
        self.logs = [Log() for _ in range(partitions)]

    def append(self, partition: int, records: Sequence[tuple[bytes, bytes | None]]) -> range:
        """Write records; return their offsets."""
        log = self.logs[partition]
        first = log.end
        for key, value in records:
            log.records.append(Kept(log.end, key, value, self.now_s))
            log.end += 1
        return range(first, log.end)

    def skip(self, partition: int, count: int = 1) -> None:
        """Use offsets for what no reader sees: a marker, or records of an aborted transaction."""
        self.logs[partition].end += count

    def compact(self, chance: random.Random) -> None:
        """Remove some records that another one follows, and some tombstones that are old."""
        for log in self.logs:
            last = {record.key: record.offset for record in log.records}
            log.records = [
                record
                for record in log.records
                if chance.random() < 0.3
                or (
                    record.offset == last[record.key]
                    and (record.value is not None or self.now_s - record.at_s < TOMBSTONES_S)
                )
            ]

    def recreate(self) -> None:
        """Delete the topic, and make another one of its name."""
        self._incarnation += 1
        self.logs = [Log() for _ in self.logs]

    def delete_before(self, partition: int, offset: int) -> None:
        """Delete the records below an offset."""
        log = self.logs[partition]
        log.start = max(log.start, min(offset, log.end))
        log.records = [record for record in log.records if record.offset >= log.start]

    def states_of(self, source: int) -> dict[bytes, bytes]:
        """Return the state of a partition of the reads: of all that is there, each key's last."""
        last: dict[bytes, bytes | None] = {}
        for record in self.logs[source % len(self.logs)].records:
            group, of, digits = record.key.split(b"/")
            if (group, int(of)) == (CLUSTER.group.encode(), source):
                last[bytes.fromhex(digits.decode())] = record.value
        return {key: value for key, value in last.items() if value is not None}

    @contextlib.contextmanager
    def read_from(self) -> Iterator[None]:
        """Within it, a `SuppressionReader` of `CLUSTER` reads this topic."""
        module = "engine.delivery.suppression_reader."
        with (
            mock.patch("engine.kafka.cluster.Cluster.reader", return_value=_Consumer(self)),
            mock.patch(module + "deliver_batches"),
            mock.patch(module + "log_ends", self._ends),
            mock.patch(module + "topics_as_shown", self._shown),
            mock.patch(module + "between", self._between),
            mock.patch("asyncio.to_thread", _here),
        ):
            yield

    def answer(self, request: str) -> None:
        """Fail a request if it is to fail."""
        if (failure := self.failures.pop(request, None)) is not None:
            raise failure

    async def _ends(self, _: Any, parts: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        self.answer("ends")
        return {
            part: self.logs[part.partition].end
            if part.topic == TOPICS.suppression
            else self.reads_end
            for part in parts
        }

    async def _shown(self, _: Any, names: Sequence[str]) -> list[Any]:
        self.answer("topic")
        return [SimpleNamespace(id=self._incarnation.to_bytes(16) if self._incarnation else b"T")]

    async def _between(
        self,
        _: Any,
        starts: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
        **__: Any,
    ) -> AsyncIterator[tuple[dict[TopicPartition, list[Any]], int]]:
        for part, end in ends.items():
            log = self.logs[part.partition]
            assert log.start <= starts[part] <= end <= log.end, "an offset that is not there"
            if starts[part] < end:
                self.fetched.append(part.partition)
            records = [one for one in log.records if starts[part] <= one.offset < end]
            self.records_read += len(records)
            for one in records:
                data = batch_bytes([Sent(one.key, one.value)], base_offset=one.offset)
                yield {part: [raw_batch(data)]}, 1


class _Consumer:
    """The part of aiokafka's consumer that the reader uses."""

    def __init__(self, topic: ChangelogTopic) -> None:
        self._topic = topic
        self._client = None

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def assign(self, parts: Sequence[TopicPartition]) -> None: ...
    def pause(self, *parts: TopicPartition) -> None: ...
    def seek(self, part: TopicPartition, offset: int) -> None: ...
    def unsubscribe(self) -> None: ...

    async def beginning_offsets(self, parts: Sequence[TopicPartition]) -> dict[Any, int]:
        self._topic.answer("begins")
        return {part: self._topic.logs[part.partition].start for part in parts}


async def _here(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)
