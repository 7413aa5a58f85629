"""`engine.delivery.suppression_reader`: the last record of each key, and no more than a worker
holds. `tests.properties.test_kept_states` has what is read of a topic, and what is not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
)

from engine import limits
from engine.delivery import suppression_reader
from engine.delivery.known_changelog import Incarnation, Known
from engine.delivery.suppression_reader import Latest, Left, SuppressionReader
from engine.errors import BrokerError
from engine.wire.record_batch import RawBatch
from tests.fakes.changelog import ChangelogTopic
from tests.fakes.record_batches import LZ4, Sent, batch_bytes, raw_batch
from tests.fakes.runtime import CLUSTER

KNOWN = Known(Incarnation(None, 2, 0), 0, 0)


def test_no_more_is_read_than_a_worker_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the partition that has the most, what was written longest ago goes first."""
    monkeypatch.setattr(limits, "SUPPRESSION_KEYS", 5)
    left = {source: Left({}, 0, KNOWN) for source in (0, 1)}
    latest = Latest("group", left, ())

    def write(source: int, *numbers: int, value: bytes | None = b"{}") -> None:
        for number in numbers:
            latest.take(b"group/%d/%032x" % (source, number), value, source)

    def kept() -> list[list[int]]:
        return [[int(key[-32:], 16) for key in each.written] for each in left.values()]

    write(1, 1, 2)
    write(0, 1, 2, 3)
    assert kept() == [[1, 2, 3], [1, 2]]
    write(0, 1)
    assert kept() == [[2, 3, 1], [1, 2]], "the latest state is the latest"
    write(0, 4)
    assert kept() == [[3, 1, 4], [1, 2]]
    write(0, 3, value=None)
    assert kept() == [[1, 4], [1, 2]], "one that is forgotten makes room"
    write(1, 3, 4)
    assert kept() == [[1, 4], [2, 3, 4]]
    latest.take(b"other/0/%032x" % 7, b"{}", 0)
    latest.take(b"group/0/7", b"{}", 0)
    latest.take(b"group/0/%032x" % 7, b"{}", 1)
    assert kept() == [[1, 4], [2, 3, 4]]


def test_changes_are_read_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SUPPRESSION_KEYS", 2)
    left = {source: Left({}, 0, KNOWN) for source in (0, 1)}
    latest = Latest("group", left, (0,))
    gone, other = b"group/0/%032x" % 1, b"group/1/%032x" % 1
    latest.take(gone, None, 0)
    latest.take(other, b"{}", 1)
    latest.take(other, None, 1)
    assert [each.written for each in left.values()] == [{gone: None}, {}]
    for number in range(2, 4):
        latest.take(b"group/0/%032x" % number, b"{}", 0)
    assert left.keys() == {1}
    latest.take(gone, b"{}", 0)
    latest.take(other, b"{}", 1)
    assert left[1].written == {other: b"{}"}


async def test_a_reading_that_was_cancelled_changes_nothing_in_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its thread cannot be cancelled: it finishes the batches that it has, beside the next one."""
    first_began, next_began, first_ended = (threading.Event() for _ in range(3))
    take, take_all, in_thread = Latest.take, SuppressionReader._take, asyncio.to_thread

    def keys(source: int) -> list[bytes]:
        return [b"%s/%d/%032x" % (CLUSTER.group.encode(), source, each) for each in range(200)]

    async def between(
        _: Any, __: Any, ends: Mapping[TopicPartition, int], **___: Any
    ) -> AsyncIterator[tuple[dict[TopicPartition, list[RawBatch]], int]]:
        [part] = ends
        batch = batch_bytes([Sent(key, b"{}") for key in keys(part.partition)], codec=LZ4)
        yield {part: [raw_batch(batch)] * (2 - part.partition)}, 0

    def pausing(latest: Latest, key: bytes, value: bytes | None, partition: int) -> None:
        mine, others = (next_began, first_ended) if partition else (first_began, next_began)
        mine.set()
        assert others.wait(60)
        take(latest, key, value, partition)

    def to_the_end(*arguments: Any) -> None:
        take_all(*arguments)
        first_ended.set()

    with ChangelogTopic(2).read_from(), monkeypatch.context() as patch:
        patch.setattr(Latest, "take", pausing)
        patch.setattr(SuppressionReader, "_take", to_the_end)
        patch.setattr(suppression_reader, "between", between)
        patch.setattr(asyncio, "to_thread", in_thread)
        reader = SuppressionReader(CLUSTER)
        first = asyncio.create_task(reader.states_of([0], 2))
        assert await in_thread(first_began.wait, 60)
        first.cancel()
        await asyncio.wait([first])
        left = await reader.states_of([1], 2)
    assert [*left[1].written] == keys(1)


async def test_the_end_of_a_transaction_is_not_waited_for() -> None:
    """It is no record, and so no fetch would return because of it."""
    topic = ChangelogTopic(2)
    key = b"%s/0/%032x" % (CLUSTER.group.encode(), 1)
    topic.append(0, [(key, b"{}")])
    with topic.read_from():
        reader = SuppressionReader(CLUSTER)
        known = (await reader.states_of([0], 2))[0].known
        topic.skip(0)
        ended = await reader.states_of([0], 2, {0: replace(known, marked_by=0)})
        assert (ended[0].written, ended[0].known.offset) == ({}, 2)
        assert topic.fetched == [0], "when all was read"
        topic.append(0, [(key, None)])
        changed = await reader.states_of([0], 2, {0: ended[0].known})
    assert changed[0].written == {key: None}
    assert topic.fetched == [0, 0]


@pytest.mark.parametrize("request_", ["begins", "ends", "topic"])
@pytest.mark.parametrize(
    "failure",
    [
        KafkaConnectionError("Connection at 127.0.0.1:9092 closed"),
        RequestTimedOutError(),
        KafkaTimeoutError("Failed to get offsets by times in 40000 ms"),
    ],
    ids=repr,
)
async def test_a_request_that_is_lost_is_sent_again(request_: str, failure: Exception) -> None:
    """aiokafka says that the last of them is not to be tried again: a leader is away."""
    topic = ChangelogTopic(1)
    key = b"%s/0/%032x" % (CLUSTER.group.encode(), 1)
    topic.append(0, [(key, b"{}")])
    topic.failures[request_] = failure
    with topic.read_from():
        left = await SuppressionReader(CLUSTER).states_of([0], 1)
    assert left[0].written == {key: b"{}"}


async def test_a_denied_request_is_not_sent_again() -> None:
    topic = ChangelogTopic(1)
    topic.failures["ends"] = TopicAuthorizationFailedError("lpr.suppression.v1")
    with topic.read_from(), pytest.raises(BrokerError, match="TopicAuthorizationFailedError"):
        await SuppressionReader(CLUSTER).states_of([0], 1)
