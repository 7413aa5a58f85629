"""A worker's own chain of audit records, and its way to the audit topic.

Each chain has one writer, which `engine.delivery.audit_chains` begins and ends it for. So no other
writer has to be kept out, and a crash leaves a chain without an end and breaks none.

Records are sealed in the order in which they are sent, one batch at a time. What is handed over
meanwhile goes with the next batch. A sealed record is sent even if its caller no longer waits: a
chain has no gaps. The caller decides what a record may contain.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Final, Protocol

import orjson

from engine import limits
from engine.audit.chain import AuditedEvent, Chain, Event
from engine.audit.chain_state import Head
from engine.audit.compiled_hash import HAS_SHA256
from engine.audit.written_events import WrittenEvents, seal_written
from engine.delivery.records import Outgoing, WrittenRecords
from engine.delivery.send_queue import SendQueue
from engine.documents.fields import CHAIN_ENDED
from engine.documents.model import AuditRecord
from engine.in_parts import InParts, parts_of
from engine.kafka.topics import Topics
from engine.wire.record_columns import VALUE_AT, VALUE_END, all_of

#: A record on the wire beside its value: its key, lengths and offsets, generously.
_BESIDE_VALUE_BYTES: Final = limits.AUDIT_CHAIN_CHARACTERS + 64

_UNBOUNDED: Final = 1 << 62

#: Told of events that are acknowledged together: how many of each, and when the first took effect.
Count = Callable[[Mapping[str, int], int], None]


class Delivers(Protocol):
    """The part of `engine.delivery.sink.Sink` that is used here."""

    async def partition_of(self, topic: str, key: bytes) -> int: ...
    async def deliver_in_order(self, records: Sequence[Outgoing], partition: int) -> object: ...


class Sealing:
    """A chain's records, in the order in which they must come to stand on the topic.

    `follows` is the record that the chain's first one names, None if there is none. `head` is the
    last record that the broker has acknowledged, None before the first.
    """

    def __init__(self, topics: Topics, chain: Chain, follows: AuditRecord | None = None) -> None:
        self.topic: Final = topics.audit
        self.key: Final = chain.id.encode()
        self._chain = chain
        self._follows = {} if follows is None else _named(follows)
        self.head: Head | None = None

    def records(self, events: Iterable[Event]) -> Iterator[Outgoing]:
        """Yield the chain's next records, each sealed when it is asked for."""
        if self._follows:
            events = self._following(events)
        topic, key = self.topic, self.key
        for value in self._chain.seal_each(events):
            yield Outgoing(topic, key, value)

    def some(self, events: Sequence[Event], room_bytes: int) -> tuple[Sequence[Outgoing], int]:
        """Return the chain's next records, of the first of these events, as many as fill so much;
        and how much that is."""
        if isinstance(events, WrittenEvents) and HAS_SHA256 and not self._follows:
            columns = seal_written(self._chain, events, room_bytes, _BESIDE_VALUE_BYTES)
            values = columns.spans[:, VALUE_END] - columns.spans[:, VALUE_AT]
            size_bytes = int(values.sum()) + _BESIDE_VALUE_BYTES * len(values)
            return WrittenRecords(self.topic, all_of(columns)), size_bytes
        records: list[Outgoing] = []
        size_bytes = 0
        for record in self.records(events):
            records.append(record)
            size_bytes += len(record.value) + _BESIDE_VALUE_BYTES
            if size_bytes >= room_bytes:
                break
        return records, size_bytes

    def every(self, events: Sequence[Event]) -> InParts[Outgoing]:
        """Return the chain's next records, of all of these events."""
        return InParts(self.some(part, _UNBOUNDED)[0] for part in parts_of(events))

    def _following(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield events, the first of them with what it follows."""
        for event in events:
            fields, follows = event.fields, self._follows
            if not follows:
                yield event
                continue
            self._follows = {}
            if isinstance(fields, bytes):
                fields = orjson.loads(fields)
            yield AuditedEvent(event.event, event.at_ms, {**fields, **follows})

    def end(self, at_ms: int) -> Outgoing:
        """The chain's last record. Nothing may be sealed after it."""
        value = self._chain.seal(CHAIN_ENDED, {}, at_ms)
        return Outgoing(self.topic, self.key, value)

    def acknowledged(self) -> None:
        """The broker has all records that were sealed."""
        if self._chain.sequence:
            self.head = Head(self._chain.id, self._chain.sequence - 1, self._chain.head)

    @property
    def can_end(self) -> bool:
        """Whether the chain has records, and the broker has all of them. Otherwise some may be
        missing, and nothing may be written after them."""
        return self.head is not None and self.head.sequence == self._chain.sequence - 1


#: Begins a chain that no other writer has.
BeginChain = Callable[[], Awaitable[Sealing]]


class AuditLog:
    """See the module. Only while `run` runs is anything sent; the first record begins the chain."""

    def __init__(self, sink: Delivers, begin_chain: BeginChain, count: Count) -> None:
        self._sink = sink
        self._begin_chain = begin_chain
        self._count = count
        self._queue: SendQueue[Sequence[Event]] = SendQueue()
        #: The chain and the partition that it goes to, once it has begun.
        self._sealing: Sealing | None = None
        self._partition: int | None = None

    def append(self, events: Sequence[Event]) -> asyncio.Future[None]:
        """Hand events over in order; the future is done when the broker has all their records.

        It fails with what ends `run`, and then so does all that is handed over later. Who stops
        waiting for it stops nothing.
        """
        return self._queue.add(events) if events else self._queue.nothing()

    async def run(self) -> None:
        """Send what is handed over, until `close`. Raises BrokerError where that fails."""
        await self._queue.run(self._send)

    def close(self) -> None:
        """End `run` once everything handed over is sent."""
        self._queue.close()

    async def _send(self) -> None:
        if self._sealing is None:
            self._sealing = await self._begin_chain()
        if self._partition is None:
            topic, key = self._sealing.topic, self._sealing.key
            self._partition = await self._sink.partition_of(topic, key)
        for records in self._batches(self._sealing):
            await self._sink.deliver_in_order(records, self._partition)
            self._sealing.acknowledged()

    def _batches(self, sealing: Sealing) -> Iterator[Sequence[Outgoing]]:
        """What waits, sealed, a batch at a time; it goes on when that is acknowledged."""
        records: list[Sequence[Outgoing]] = []
        room_bytes = limits.AUDIT_BATCH_BYTES
        while not self._queue.is_empty:
            events = self._queue.take()
            left = len(events)
            for part in parts_of(events):
                begin = 0
                while begin < len(part):
                    some, size_bytes = sealing.some(part[begin:], room_bytes)
                    records.append(some)
                    begin, left = begin + len(some), left - len(some)
                    room_bytes -= size_bytes
                    if room_bytes <= 0:
                        yield InParts(records)
                        records, room_bytes = [], limits.AUDIT_BATCH_BYTES
                        self._acknowledge(1 if left else 0)
        if records:
            yield InParts(records)
        self._acknowledge(0)

    def _acknowledge(self, unfinished: int) -> None:
        """Tell what is under way that it is acknowledged, but for the last that are not."""
        for events in self._queue.acknowledge(unfinished):
            tell(self._count, events)


def tell(count: Count, events: Sequence[Event]) -> None:
    """Tell of events that were acknowledged together, at least one."""
    by_event: Counter[str] = Counter()
    oldest_ms = []
    for part in parts_of(events):
        if isinstance(part, WrittenEvents):
            by_event[part.event] += len(part)
            oldest_ms.append(part.at_ms)
        else:
            by_event.update(map(attrgetter("event"), part))
            oldest_ms.append(min(map(attrgetter("at_ms"), part)))
    count(by_event, min(oldest_ms))


def _named(last: AuditRecord) -> dict[str, str | int]:
    return {
        "follows_chain": last.chain,
        "follows_sequence": last.sequence,
        "follows_hash": last.hash,
    }
