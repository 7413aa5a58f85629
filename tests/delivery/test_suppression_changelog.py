"""`engine.delivery.suppression_changelog`: the last state of each key is what the topic holds, in
any weather."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.delivery.batch import batches
from engine.delivery.known_changelog import KnownChangelog
from engine.delivery.records import ProducerRecord
from engine.delivery.suppression_changelog import (
    SuppressionLog,
    key_in,
    state_records,
    written_records,
)
from engine.errors import BrokerError
from engine.in_parts import InParts
from engine.kafka.topics import Topics
from engine.matching.written_states import SuppressionRecord, WrittenStates
from engine.wire.record_encoder import NO_HEADERS
from tests.fakes.event_loop import settle
from tests.fakes.runtime import CLUSTER

TOPICS = Topics("lpr.")
PARTITIONS = 2
#: A batch's header up to what does not say when it was made.
_AFTER_TIMES = 43


class Sink:
    """Takes one round after the other for a partition; `hold` keeps it from being acknowledged.

    `topic` is what a compacted topic would have kept, by partition.
    """

    def __init__(self) -> None:
        self.topic: list[dict[bytes, bytes]] = [{} for _ in range(PARTITIONS)]
        self.rounds: list[list[ProducerRecord]] = []
        self.acknowledges = asyncio.Event()
        self.acknowledges.set()
        self.fails_with: Exception | None = None
        self.under_way = [0] * PARTITIONS

    async def partitions_of(self, topic: str) -> int:
        assert topic == TOPICS.suppression
        return PARTITIONS

    async def deliver_in_order(
        self, records: Sequence[ProducerRecord], partition: int, what: str
    ) -> list[range]:
        assert what == "the suppression's states"
        assert not self.under_way[partition], "what is sent again would come behind"
        self.under_way[partition] += 1
        self.rounds.append(list(records))
        await self.acknowledges.wait()
        await asyncio.sleep(0)
        self.under_way[partition] -= 1
        if self.fails_with is not None:
            raise self.fails_with
        for record in records:
            assert (record.topic, record.headers) == (TOPICS.suppression, NO_HEADERS)
            if record.value is None:
                self.topic[partition].pop(record.key, None)
            else:
                self.topic[partition][record.key] = record.value
        return []


@asynccontextmanager
async def running(sink: Sink) -> AsyncIterator[SuppressionLog]:
    """A log at work; at the end all that was handed over is sent."""
    log = SuppressionLog(CLUSTER, sink, KnownChangelog())
    task = asyncio.create_task(log.run())
    yield log
    log.close()
    await task


def changed(source: int, number: int, value: bytes | None) -> SuppressionRecord:
    return SuppressionRecord(source, number.to_bytes(16), value)


def written(source: int, *states: tuple[int, bytes]) -> WrittenStates:
    """States as compiled code writes them."""
    keys = b"".join(number.to_bytes(16) for number, _ in states)
    return WrittenStates(
        source,
        np.arange(len(states), dtype=np.int64),
        np.frombuffer(bytearray(keys), dtype=np.uint8).reshape(-1, 16),
        np.frombuffer(bytearray().join(value for _, value in states), dtype=np.uint8),
        np.cumsum(np.array([len(value) for _, value in states], dtype=np.int64)),
    )


@given(
    st.integers(0, 12),
    st.lists(st.tuples(st.integers(0, 2**128 - 1), st.binary(max_size=9)), min_size=1, max_size=5),
)
def test_records_of_written_states_are_those_of_their_objects(
    source: int, states: list[tuple[int, bytes]]
) -> None:
    some = written(source, *states)
    assert [*some] == [changed(source, number, value) for number, value in states]
    records = written_records(CLUSTER, some)
    assert [(record.topic, record.key, record.value, record.headers) for record in records] == [
        (record.topic, record.key, record.value, record.headers)
        for record in state_records(CLUSTER, [*some])
    ]
    one, other = (
        [batch.build()[_AFTER_TIMES:] for batch in batches(each, is_transactional=False)]
        for each in (records, state_records(CLUSTER, [*some]))
    )
    assert one == other


def as_written(changes: list[tuple[int, int, bytes | None]]) -> list[Sequence[SuppressionRecord]]:
    """Changes as compiled code and Python hand them over: written ones are never tombstones."""
    parts: list[Sequence[SuppressionRecord]] = []
    for source, number, value in changes:
        if value is None:
            parts.append([changed(source, number, None)])
        else:
            parts.append(written(source, (number, value)))
    return parts


def name(source: int, number: int) -> bytes:
    return b"group/%d/%032x" % (source, number)


async def test_a_key_lies_in_the_partition_of_its_reads() -> None:
    sink = Sink()
    async with running(sink) as log:
        await log.append([changed(source, 10, b"%d" % source) for source in range(5)])
    assert sink.topic == [
        {name(0, 10): b"0", name(2, 10): b"2", name(4, 10): b"4"},
        {name(1, 10): b"1", name(3, 10): b"3"},
    ]


async def test_only_the_latest_of_what_waits_is_sent() -> None:
    sink = Sink()
    sink.acknowledges.clear()
    async with running(sink) as log:
        first = log.append([changed(0, 1, b"a")])
        await settle()
        waiting = [log.append([changed(0, 1, value)]) for value in (b"b", None, b"c")]
        await settle()
        assert len(sink.rounds) == 1
        assert not any(promise.done() for promise in [first, *waiting])
        sink.acknowledges.set()
        await asyncio.gather(first, *waiting)
    assert [[record.value for record in each] for each in sink.rounds] == [[b"a"], [b"c"]]


async def test_nothing_to_send_waits_for_nothing() -> None:
    sink = Sink()
    async with running(sink) as log:
        assert log.append([]).done()
        await log.flushed()
    assert sink.rounds == []


async def test_flushed_waits_for_what_is_under_way_and_what_waits() -> None:
    sink = Sink()
    sink.acknowledges.clear()
    async with running(sink) as log:
        promises = [log.append([changed(0, 1, b"a")])]
        await settle()
        promises.append(log.append([changed(1, 2, b"b")]))
        flushing = asyncio.create_task(log.flushed())
        await settle()
        assert not flushing.done()
        sink.acknowledges.set()
        await flushing
        assert all(promise.done() for promise in promises)


async def test_who_stops_waiting_stops_nothing() -> None:
    sink = Sink()
    sink.acknowledges.clear()
    async with running(sink) as log:
        log.append([changed(0, 1, b"a")])
        await settle()
        flushing = asyncio.create_task(log.flushed())
        log.append([changed(0, 2, b"b")]).cancel()
        await settle()
        flushing.cancel()
        last = log.append([changed(0, 3, b"c")])
        sink.acknowledges.set()
        await last
    assert set(sink.topic[0].values()) == {b"a", b"b", b"c"}


async def test_a_failure_is_told_to_all_who_wait_and_who_come_later() -> None:
    sink = Sink()
    sink.acknowledges.clear()
    sink.fails_with = error = BrokerError("the suppression's states were not acknowledged")
    log = SuppressionLog(CLUSTER, sink, KnownChangelog())
    task = asyncio.create_task(log.run())
    promises = [log.append([changed(0, 1, b"a")])]
    await settle()
    promises.append(log.append([changed(1, 1, b"b")]))
    sink.acknowledges.set()
    with pytest.raises(BrokerError):
        await task
    promises.append(log.append([changed(0, 1, b"c")]))
    for promise in promises:
        assert promise.exception() is error


@given(
    st.lists(
        st.tuples(
            st.lists(
                st.tuples(st.integers(0, 3), st.integers(0, 2), st.none() | st.binary(max_size=1)),
                max_size=4,
            ),
            st.booleans(),
            st.booleans(),
            st.integers(0, 4),
        ),
        max_size=20,
    )
)
def test_the_topic_holds_what_was_said_last(
    said: list[tuple[list[tuple[int, int, bytes | None]], bool, bool, int]],
) -> None:
    async def run() -> None:
        sink = Sink()
        last: dict[bytes, bytes | None] = {}
        async with running(sink) as log:
            for changes, are_written, acknowledges, turns in said:
                if are_written:
                    log.append(InParts(as_written(changes)))
                else:
                    log.append([changed(*change) for change in changes])
                last |= {name(source, number): value for source, number, value in changes}
                if acknowledges:
                    sink.acknowledges.set()
                else:
                    sink.acknowledges.clear()
                for _ in range(turns):
                    await asyncio.sleep(0)
            sink.acknowledges.set()
        held = {key: value for part in sink.topic for key, value in part.items()}
        assert held == {key: value for key, value in last.items() if value is not None}

    asyncio.run(run())


def test_a_key_is_read_as_it_was_written() -> None:
    assert key_in(name(17, 5)) == (5).to_bytes(16)


@pytest.mark.parametrize("key", [b"", b"0", b"0/", b"0/" + b"x" * 32, b"0/ff", b"0/" + b"f" * 34])
def test_what_is_no_key_of_ours_is_none(key: bytes) -> None:
    assert key_in(key) is None
