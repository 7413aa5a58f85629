"""A worker's own chain of audit records, and its way to the audit topic.

Each worker process writes one chain. No other process writes to it, so no fencing is needed, and a
crash ends a chain without breaking it. The first record names the last record on the topic when the
chain began (`follows_*`), so a chain that is removed completely is missed.

Records are sealed in the order in which they are sent, one batch in flight at a time. Records that
arrive meanwhile go with the next batch. What is sealed is sent, even if no caller waits for it any
more: a chain has no gaps. The callers that make the events decide what a record may contain.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from aiokafka.errors import KafkaError

from engine import limits
from engine.audit.chain import Chain
from engine.clock import format_time
from engine.delivery.records import Headers, Outgoing
from engine.delivery.send_queue import SendQueue
from engine.documents.codec import read_audit
from engine.documents.model import AuditRecord
from engine.errors import BrokerError, DocumentError
from engine.kafka.cluster import Cluster
from engine.kafka.reader import between
from engine.kafka.topics import Topics

#: A record on the wire beside its value: its key, lengths and offsets, generously.
_BESIDE_VALUE_BYTES: Final = limits.AUDIT_CHAIN_CHARACTERS + 64
#: Where the last record of a partition is looked for first: it, and the end of its transaction.
_LOOKED_BACK: Final = 2
_FURTHER_BACK: Final = 16
_NO_HEADERS: Final[Headers] = []

Fields = Mapping[str, str | int]
#: Told of events that are acknowledged together: how many of each, and when the first took effect.
Count = Callable[[Mapping[str, int], int], None]


class Event(Protocol):
    """What a record is made of: an AuditEvent, when it took effect, and what it is about."""

    @property
    def event(self) -> str: ...
    @property
    def at_ms(self) -> int: ...
    @property
    def fields(self) -> Fields: ...


class Delivers(Protocol):
    """The part of `engine.delivery.sink.Sink` that is used here."""

    async def partition_of(self, topic: str, key: bytes) -> int: ...
    async def deliver_in_order(self, records: list[Outgoing], partition: int) -> None: ...


class Sealing:
    """A chain's records, in the order in which they must come to stand on the topic.

    `follows` is the record that the chain's first one names, None where there is none.
    """

    def __init__(self, topics: Topics, chain: Chain, follows: AuditRecord | None = None) -> None:
        self.topic: Final = topics.audit
        self.key: Final = chain.id.encode()
        self._chain = chain
        self._follows = {} if follows is None else _named(follows)

    def record(self, event: Event) -> Outgoing:
        """The chain's next record."""
        fields = event.fields
        if self._follows:
            fields, self._follows = {**fields, **self._follows}, {}
        value = self._chain.seal(event.event, fields, event.at_ms)
        return Outgoing(self.topic, self.key, value, _NO_HEADERS)


class AuditLog:
    """See the module. Only while `run` runs is anything sent."""

    def __init__(self, sink: Delivers, sealing: Sealing, count: Count) -> None:
        self._sink = sink
        self._sealing = sealing
        self._count = count
        self._queue: SendQueue[Sequence[Event]] = SendQueue()
        #: The partition that the chain goes to, once it is known.
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
        if self._partition is None:
            topic, key = self._sealing.topic, self._sealing.key
            self._partition = await self._sink.partition_of(topic, key)
        for records in self._batches():
            await self._sink.deliver_in_order(records, self._partition)

    def _batches(self) -> Iterator[list[Outgoing]]:
        """What waits, sealed, a batch at a time; it goes on when that is acknowledged."""
        records: list[Outgoing] = []
        size_bytes = 0
        while not self._queue.is_empty:
            events = self._queue.take()
            for position, event in enumerate(events, 1):
                records.append(self._sealing.record(event))
                size_bytes += len(records[-1].value) + _BESIDE_VALUE_BYTES
                if size_bytes >= limits.AUDIT_BATCH_BYTES:
                    yield records
                    records, size_bytes = [], 0
                    self._acknowledge(1 if position < len(events) else 0)
        if records:
            yield records
        self._acknowledge(0)

    def _acknowledge(self, unfinished: int) -> None:
        """Tell what is under way that it is acknowledged, but for the last that are not."""
        for events in self._queue.acknowledge(unfinished):
            tell(self._count, events)


def tell(count: Count, events: Sequence[Event]) -> None:
    """Tell of events that were acknowledged together, at least one."""
    by_event = Counter(event.event for event in events)
    count(by_event, min(event.at_ms for event in events))


def new_chain_id(group: str, now_ms: int) -> str:
    """Return a unique id for a chain that a worker of a group begins now."""
    own = f"/{format_time(now_ms)}-{secrets.token_hex(4)}"
    return group[: limits.AUDIT_CHAIN_CHARACTERS - len(own)] + own


async def last_record(cluster: Cluster) -> AuditRecord | None:
    """The newest of the last committed records of the audit topic's partitions; None where it has
    none.

    What is no audit record is passed over: to find it is for those who verify. Raises
    BrokerError where the topic is not to be read.
    """
    topic = cluster.topics.audit
    consumer = cluster.reader()
    try:
        async with asyncio.timeout(limits.CONNECT_S):
            await consumer.start()
            return await _last_of(consumer, topic)
    except (KafkaError, TimeoutError, OSError) as error:
        raise BrokerError(
            f"the audit topic cannot be read ({type(error).__name__})",
            where=f"topic {topic}",
        ) from error
    finally:
        await consumer.stop()


async def _last_of(consumer: Any, topic: str) -> AuditRecord | None:
    consumer.subscribe([topic])  # with no group, this assigns all partitions
    while not consumer.assignment():
        await asyncio.sleep(limits.METADATA_PAUSE_S)
    ends = await consumer.end_offsets(consumer.assignment())
    begins = await consumer.beginning_offsets(consumer.assignment())
    newest: tuple[int, AuditRecord] | None = None
    span = _LOOKED_BACK
    while unseen := {tp: end for tp, end in ends.items() if end > begins[tp]}:
        # Behind the last record there are the ends of transactions and what was aborted, which are
        # none: looked for further and further back.
        starts = {tp: max(begins[tp], end - span) for tp, end in unseen.items()}
        found = await _last_between(consumer, starts, unseen)
        for last in found.values():
            record = _opened(last.value)
            if record is not None and (newest is None or newest[0] < last.timestamp):
                newest = last.timestamp, record
        ends = {tp: start for tp, start in starts.items() if tp not in found}
        span *= _FURTHER_BACK
    return None if newest is None else newest[1]


async def _last_between(consumer: Any, starts: dict[Any, int], ends: dict[Any, int]) -> Any:
    """The last record between these offsets, by partition; none where there is none."""
    last: dict[Any, Any] = {}
    async for found, _ in between(consumer, starts, ends):
        for tp, records in found.items():
            for record in records:
                if record.offset < ends[tp]:
                    last[tp] = record
    return last


def _opened(value: bytes | None) -> AuditRecord | None:
    try:
        return None if value is None else read_audit(value)
    except DocumentError:
        return None


def _named(last: AuditRecord) -> dict[str, str | int]:
    return {
        "follows_chain": last.chain,
        "follows_sequence": last.sequence,
        "follows_hash": last.hash,
    }
