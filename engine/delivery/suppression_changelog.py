"""The suppression state on Kafka: a compacted topic, `<prefix>suppression.v1`.

The key of a record is `<group>/<source partition>/<32 hex digits of the key>`, because every group
of workers has a state of its own. The value is the latest SuppressionState, or none if the key is
evicted. The state of a partition of the reads is in the partition of the same number (modulo their
number), so that its next owner finds it in one place.

One writer sends what has changed, the latest state of each key last, and nothing more of a
partition before that is acknowledged; so the records of a key come in their order, whatever has
to be sent again. What comes meanwhile is put together and goes with the next round. A state on
the topic may be ahead of the committed offset, never behind it: `engine.matching.suppression` knows
the reads in between again when they come a second time.

Why no Faust table: Faust sends changelog records without waiting for them, while a fetch here
must not be done before they are acknowledged; a table's state follows the partition of its own
key, while this must follow the partition that the read came from; and recovery of its tables has
stalled and looped (faust issues #283, #176 and #597).

With delivery exactly once there is no writer: the states go into the transactions of the partition
that they are of (`engine.delivery.transactions`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, Protocol

import msgspec
import numpy as np

from engine.delivery.known_changelog import Appended, KnownChangelog
from engine.delivery.records import ProducerRecord, WrittenRecords
from engine.delivery.send_queue import SendQueue
from engine.in_parts import PartsList, parts_of
from engine.kafka.cluster import Cluster
from engine.matching.written_states import SuppressionRecord, WrittenStates, partition_of_each
from engine.wire import record_columns as columns
from engine.wire.record_encoder import NO_HEADERS

KEY_DIGITS: Final = 32
_HEX: Final = np.frombuffer(bytearray(b"0123456789abcdef"), dtype=np.uint8)


class DeliversStates(Protocol):
    """The part of `engine.delivery.sink.Sink` that is used here."""

    async def partitions_of(self, topic: str) -> int: ...
    async def deliver_in_order(
        self, records: Sequence[ProducerRecord], partition: int, what: str
    ) -> Sequence[range]: ...


class StateRecord(msgspec.Struct, frozen=True, gc=False):
    """A record of the topic; without a value, a tombstone. `source` is the reads' partition."""

    topic: str
    key: bytes
    value: bytes | None
    source: int
    headers: bytes = NO_HEADERS


def state_records(cluster: Cluster, changes: Iterable[SuppressionRecord]) -> list[StateRecord]:
    """The records of changes."""
    topic, records = cluster.topics.suppression, []
    places: dict[int, bytes] = {}
    for partition, key, value in changes:
        place = places.get(partition)
        if place is None:
            place = places[partition] = place_of(cluster.group, partition)
        records.append(StateRecord(topic, place + key.hex().encode(), value, partition))
    return records


def written_records(cluster: Cluster, states: WrittenStates) -> WrittenRecords:
    """Do as `state_records` for states that compiled code has written; no object is made of one."""
    place = np.frombuffer(place_of(cluster.group, states.partition), dtype=np.uint8)
    keys = np.empty((len(states), len(place) + KEY_DIGITS), dtype=np.uint8)
    keys[:, : len(place)] = place
    keys[:, len(place) :: 2] = _HEX[states.keys >> 4]
    keys[:, len(place) + 1 :: 2] = _HEX[states.keys & 15]
    spans = np.full((len(states), columns.COLUMNS), columns.NONE, dtype=np.int64)
    spans[:, columns.VALUE_END] = states.ends
    spans[:1, columns.VALUE_AT] = 0
    spans[1:, columns.VALUE_AT] = states.ends[:-1]
    spans[:, columns.KEY_END] = len(states.text) + np.arange(1, len(states) + 1) * keys.shape[1]
    spans[:, columns.KEY_AT] = spans[:, columns.KEY_END] - keys.shape[1]
    data = np.concatenate([states.text, keys.reshape(-1)])
    records = columns.all_of(columns.RecordColumns(data, data, spans))
    return WrittenRecords(cluster.topics.suppression, records)


class SuppressionLog:
    """Sends changes, only while `run` runs. `known` learns what the broker has."""

    def __init__(self, cluster: Cluster, sink: DeliversStates, known: KnownChangelog) -> None:
        self._cluster = cluster
        self._sink = sink
        self._known = known
        self._queue: SendQueue[Sequence[SuppressionRecord]] = SendQueue()

    def append(self, records: Sequence[SuppressionRecord]) -> asyncio.Future[None]:
        """Hand changes over, in the order in which they came about; the future is done when the
        broker has them, or later states of the same keys.

        It fails with what ends `run`, and then so does all that is handed over later.
        """
        return self._queue.add(records) if records else self._queue.nothing()

    async def flushed(self) -> None:
        """Wait until every change is acknowledged. Raises the error that ended `run`."""
        await self._queue.flushed()

    async def run(self) -> None:
        """Send changes until `close`. Raises BrokerError if that fails."""
        await self._queue.run(self._send)

    def close(self) -> None:
        """End `run` once every change is sent."""
        self._queue.close()

    async def _send(self) -> None:
        parts = [part for some in self._queue.take_all() for part in parts_of(some)]
        partitions = await self._sink.partitions_of(self._cluster.topics.suppression)
        started_s = time.monotonic()
        by_partition: dict[int, PartsList[ProducerRecord]] = {}
        for source, records in self._latest(parts):
            by_partition.setdefault(source % partitions, PartsList()).add(records)
        written = await asyncio.gather(
            *(
                self._sink.deliver_in_order(records, partition, "the suppression's states")
                for partition, records in by_partition.items()
            )
        )
        for partition, batches in zip(by_partition, written, strict=True):
            self._known.appended(Appended(partition, partitions, batches, started_s))
        self._known.acknowledged(chain.from_iterable(map(partition_of_each, parts)))
        self._queue.acknowledge()

    def _latest(
        self, parts: Iterable[Sequence[SuppressionRecord]]
    ) -> Iterator[tuple[int, Sequence[ProducerRecord]]]:
        """Yield the records of changes with the reads' partition, in an order in which the latest
        state of each key is the last. Of those that are objects, only that one is sent."""
        latest: dict[tuple[int, bytes], SuppressionRecord] = {}
        for part in parts:
            if isinstance(part, WrittenStates):
                yield from self._by_source(latest.values())
                latest = {}
                yield part.partition, written_records(self._cluster, part)
            else:
                latest |= {(change.partition, change.key): change for change in part}
        yield from self._by_source(latest.values())

    def _by_source(
        self, changes: Iterable[SuppressionRecord]
    ) -> Iterator[tuple[int, Sequence[ProducerRecord]]]:
        by_source: dict[int, list[StateRecord]] = {}
        for record in state_records(self._cluster, changes):
            by_source.setdefault(record.source, []).append(record)
        yield from by_source.items()


def place_of(group: str, source: int) -> bytes:
    """Return the part of a record's key before the digits: the group and the reads' partition."""
    return f"{group}/{source}/".encode()


def key_in(key: bytes) -> bytes | None:
    """Return the state's key from a record's key; None if the record is not ours."""
    digits = key.rpartition(b"/")[2]
    try:
        return bytes.fromhex(digits.decode()) if len(digits) == KEY_DIGITS else None
    except ValueError:
        return None
