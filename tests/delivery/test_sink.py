"""`engine.delivery.sink`: the records that go out, and when they count as delivered.

The producer here is made by the tests: it takes batches, and acknowledges or refuses them when
it is told to. That the real one does the same is tested on brokers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import orjson
import pytest
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NotLeaderForPartitionError,
    RequestTimedOutError,
)
from aiokafka.partitioner import murmur2

from engine import limits
from engine.delivery.batch import BuiltBatch
from engine.delivery.records import Outgoing, match_record, reject_record
from engine.delivery.sink import Sink
from engine.documents.codec import decode_match, decode_reject
from engine.documents.model import Reject
from engine.errors import BrokerError
from engine.kafka.topics import Topics
from engine.matching.match import found_match
from engine.wire.headers import headers_at
from engine.wire.trace_context import TraceContext
from tests.fakes.documents import NOW_MS, at, detection, entry, exact_match
from tests.fakes.event_loop import settle
from tests.fakes.record_batches import sent_in
from tests.fakes.runtime import CLUSTER
from tests.repository.schemas import validator

TOPICS = Topics("lpr.")
PARTITIONS = {0, 1, 2}
SinkWith = Callable[[Any], Sink]
#: Records that one of the tests' batches holds, if they have a value like this.
ROOM = 4
VALUE = b"%1000d" % 0
_ROOM_BYTES = 61 + ROOM * 1100


class Producer:
    """Takes batches; `answers` says what becomes of each in turn, then all go well.

    An answer is an error, or None for never.
    """

    def __init__(self, *answers: KafkaError | None) -> None:
        self.sent: list[tuple[str, int, list[bytes | None]]] = []
        #: Promises that wait for an answer.
        self.unanswered: list[asyncio.Future[object]] = []
        #: How often there is no room in aiokafka's buffer.
        self.full = 0
        self._answers = list(answers)
        self._message_accumulator = SimpleNamespace()
        self._txn_manager = SimpleNamespace(transactional_id=None)

    async def partitions_for(self, topic: str) -> set[int]:
        return PARTITIONS

    async def send_batch(self, batch: BuiltBatch, topic: str, *, partition: int) -> Any:
        if self.full:
            self.full -= 1
            raise KafkaTimeoutError
        self.sent.append((topic, partition, keys_of(batch)))
        acknowledgement = asyncio.get_running_loop().create_future()
        if not self._answers:
            acknowledgement.set_result(SimpleNamespace(offset=100 * len(self.sent)))
        elif (error := self._answers.pop(0)) is not None:
            acknowledgement.set_exception(error)
        else:
            self.unanswered.append(acknowledgement)
        return acknowledgement


def keys_of(batch: BuiltBatch) -> list[bytes | None]:
    """The keys of a batch's records, of which there are as many as it says."""
    keys = [record.key for record in sent_in(batch.build())]
    assert len(keys) == batch.record_count()
    return keys


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses, and batches of ROOM records."""
    monkeypatch.setattr(limits, "RETRY_PAUSE_S", 0)
    monkeypatch.setattr(limits, "SINK_BATCH_BYTES", _ROOM_BYTES)


@pytest.fixture
def sink_with(monkeypatch: pytest.MonkeyPatch) -> SinkWith:
    """Makes a sink of a producer."""

    def make(producer: Producer) -> Sink:
        monkeypatch.setattr("engine.kafka.cluster.close_whole", lambda *_, **__: None)
        monkeypatch.setattr("engine.kafka.cluster.AIOKafkaProducer", lambda **_: producer)
        return Sink(CLUSTER)

    return make


def headers_of(record: Outgoing) -> Any:
    return headers_at(memoryview(record.headers))


def outgoing(count: int, key: bytes | None = None) -> list[Outgoing]:
    return [Outgoing("matches", key or b"key-%d" % number, VALUE) for number in range(count)]


async def test_a_delivery_that_is_cancelled_leaves_its_batches_to_aiokafka(
    sink_with: SinkWith,
) -> None:
    """aiokafka sends a batch again that the broker has not taken. If it is cancelled by then, the
    producer's task fails and nothing is sent any more."""
    producer = Producer(None, None)
    sink = sink_with(producer)
    for delivery in (sink.deliver(outgoing(1)), sink.deliver_in_order(outgoing(1), 0)):
        task = asyncio.create_task(delivery)
        while not producer.unanswered:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        [acknowledgement] = producer.unanswered
        assert not acknowledgement.cancelled()
        acknowledgement.set_exception(RequestTimedOutError())
        producer.unanswered.clear()


def test_a_match_is_a_cloudevent() -> None:
    match = exact_match(entry(entry_id="É-1"), detection())
    record = match_record(TOPICS.matches, found_match(match, NOW_MS))
    assert (record.topic, record.key) == ("lpr.matches.v1", "É-1".encode())
    document = orjson.loads(record.value)
    validator("match").validate(document)
    assert decode_match(record.value) == match
    assert headers_of(record) == [
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_id", match.match_id.encode()),
        ("ce_source", b"/hotlist-engine"),
        ("ce_type", b"lpr.match.v1"),
        ("ce_time", at(0).encode()),
        ("ce_subject", "É-1".encode()),
    ]


def test_a_match_carries_its_trace_on() -> None:
    match = exact_match(entry(), detection())
    found = found_match(match, NOW_MS)
    plain = match_record(TOPICS.matches, found)
    trace = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1)
    record = match_record(TOPICS.matches, msgspec.structs.replace(found, trace=trace))
    parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    both = [("traceparent", parent), ("ce_traceparent", parent)]
    assert headers_of(record) == headers_of(plain) + both
    assert record == msgspec.structs.replace(plain, headers=record.headers)
    stated = trace._replace(state="a=1")
    record = match_record(TOPICS.matches, msgspec.structs.replace(found, trace=stated))
    state = [("tracestate", b"a=1"), ("ce_tracestate", b"a=1")]
    assert headers_of(record) == headers_of(plain) + both + state


def test_a_reject_points_to_its_record() -> None:
    reject = Reject(
        topic="lpr.detections.v1",
        partition=3,
        offset=99,
        reason="schema",
        field="$.plate",
        rule="is required",
        rejected_at=at(0),
    )
    record = reject_record(TOPICS, reject)
    assert (record.topic, record.key) == ("lpr.rejects.v1", b"lpr.detections.v1/3/99")
    validator("reject").validate(orjson.loads(record.value))
    assert decode_reject(record.value) == reject


async def test_keys_go_where_other_producers_put_them(sink_with: SinkWith) -> None:
    """Kafka's own partitioner, so that a key stays in its partition whoever writes it."""
    producer = Producer()
    records = outgoing(30)
    await sink_with(producer).deliver(records)
    for _, partition, keys in producer.sent:
        for key in filter(None, keys):
            assert partition == (murmur2(key) & 0x7FFFFFFF) % len(PARTITIONS)
    delivered = [key for _, _, keys in producer.sent for key in keys if key is not None]
    assert sorted(delivered) == sorted(record.key for record in records)
    assert {partition for _, partition, _ in producer.sent} == PARTITIONS


async def test_a_partitions_records_keep_their_order_in_full_batches(sink_with: SinkWith) -> None:
    producer = Producer()
    records = [Outgoing("matches", b"K", b"%1000d" % n) for n in range(2 * ROOM + 1)]
    await sink_with(producer).deliver(records)
    assert [len(keys) for _, _, keys in producer.sent] == [ROOM, ROOM, 1]


async def test_topics_are_kept_apart(sink_with: SinkWith) -> None:
    producer = Producer()
    await sink_with(producer).deliver(
        [Outgoing("matches", b"K", VALUE), Outgoing("rejects", b"K", VALUE)]
    )
    assert sorted(topic for topic, _, _ in producer.sent) == ["matches", "rejects"]


async def test_nothing_to_deliver_is_delivered(sink_with: SinkWith) -> None:
    producer = Producer()
    await sink_with(producer).deliver([])
    assert producer.sent == []


@pytest.mark.parametrize("error", [NotLeaderForPartitionError(), RequestTimedOutError()])
async def test_a_passing_failure_is_tried_again(sink_with: SinkWith, error: KafkaError) -> None:
    producer = Producer(error)
    await sink_with(producer).deliver(outgoing(1))
    assert len(producer.sent) == 2
    assert producer.sent[0] == producer.sent[1]


async def test_one_failed_batch_sends_all_again(sink_with: SinkWith) -> None:
    """Some come twice, none never: a consumer drops repeats by their id."""
    producer = Producer(NotLeaderForPartitionError())
    records = outgoing(3 * ROOM, key=b"K")
    await sink_with(producer).deliver(records)
    assert len(producer.sent) == 6


async def test_a_lasting_failure_is_an_error(sink_with: SinkWith) -> None:
    producer = Producer(MessageSizeTooLargeError())
    with pytest.raises(BrokerError, match=r"not acknowledged \(MessageSizeTooLargeError\)"):
        await sink_with(producer).deliver(outgoing(1))
    assert len(producer.sent) == 1


async def test_silence_is_an_error_in_the_end(
    sink_with: SinkWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DELIVERY_TIMEOUT_S", 0.05)
    with pytest.raises(BrokerError, match="the reads will be processed again"):
        await sink_with(Producer(None)).deliver(outgoing(1))


async def test_a_slow_broker_is_waited_for(
    sink_with: SinkWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it acknowledges anything, whosever that is; and no longer."""
    now_s = 1_000.0
    monkeypatch.setattr("engine.delivery.sink.time", SimpleNamespace(monotonic=lambda: now_s))
    monkeypatch.setattr(limits, "DELIVERY_TIMEOUT_S", 0.02)
    producer = Producer(*10 * [None])
    sink = sink_with(producer)
    waiting = asyncio.create_task(sink.deliver(outgoing(1)))
    for _ in range(5):
        others = asyncio.create_task(sink.deliver(outgoing(1)))
        while len(producer.unanswered) < 2:
            await asyncio.sleep(0)
        now_s += 0.015
        await asyncio.sleep(0.06)  # it looks at the clock more than once
        producer.unanswered.pop().set_result(SimpleNamespace(offset=0))
        await others
        assert not waiting.done()
    now_s += 0.025
    with pytest.raises(BrokerError, match=r"not acknowledged \(TimeoutError\)"):
        await waiting
    assert not producer.unanswered[0].cancelled()


async def test_the_producer_has_no_room_for_a_while(sink_with: SinkWith) -> None:
    """Which says nothing of what was sent: that is not sent again."""
    producer = Producer()
    producer.full = 3
    records = outgoing(2 * ROOM, key=b"K")
    await sink_with(producer).deliver(records)
    assert [len(keys) for _, _, keys in producer.sent] == [ROOM, ROOM]
    producer.full = 3
    await sink_with(producer).deliver_in_order(records, 1)
    assert len(producer.sent) == 4


async def test_delivered_means_acknowledged_and_not_sent(sink_with: SinkWith) -> None:
    producer = Producer(None)
    delivery = asyncio.create_task(sink_with(producer).deliver(outgoing(1)))
    while not producer.sent:
        await asyncio.sleep(0)
    await settle()
    assert not delivery.done()
    delivery.cancel()
    await asyncio.gather(delivery, return_exceptions=True)


async def test_in_order_means_one_batch_after_the_other(sink_with: SinkWith) -> None:
    """What stands behind a batch that must be sent again would else stand in front of it."""
    producer = Producer(NotLeaderForPartitionError(), None)
    records = [Outgoing("audit", b"chain", b"%1000d" % number) for number in range(2 * ROOM)]
    delivery = asyncio.create_task(sink_with(producer).deliver_in_order(records, 2))
    while len(producer.sent) < 2:
        await asyncio.sleep(0)
    await settle()
    first, again = producer.sent
    assert first == again == ("audit", 2, [b"chain"] * ROOM)
    delivery.cancel()
    await asyncio.gather(delivery, return_exceptions=True)


async def test_all_of_it_in_order(sink_with: SinkWith) -> None:
    producer = Producer()
    records = [Outgoing("audit", b"%d" % number, VALUE) for number in range(2 * ROOM + 1)]
    offsets = await sink_with(producer).deliver_in_order(records, 1)
    assert offsets == [range(100, 104), range(200, 204), range(300, 301)]
    assert [partition for _, partition, _ in producer.sent] == [1, 1, 1]
    assert [key for _, _, keys in producer.sent for key in keys] == [r.key for r in records]


async def test_a_lasting_failure_of_the_audit_is_an_error(sink_with: SinkWith) -> None:
    sink = sink_with(Producer(MessageSizeTooLargeError()))
    message = (
        "^audit records were not acknowledged \\(MessageSizeTooLargeError\\); "
        "no offset was committed, the reads will be processed again$"
    )
    with pytest.raises(BrokerError, match=message):
        await sink.deliver_in_order(outgoing(1), 0)


async def test_a_key_has_its_partition(sink_with: SinkWith) -> None:
    for key in (b"a", b"b", b"group/1"):
        partition = await sink_with(Producer()).partition_of("audit", key)
        assert partition == (murmur2(key) & 0x7FFFFFFF) % len(PARTITIONS)
