"""`engine.delivery.transactional_producer`: what a transaction is made of, and what its failures
mean.

The producer here is made by the tests. That the real one does the same is tested on brokers.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    GroupLoadInProgressError,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTransactionTimeout,
    InvalidTxnState,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    NodeNotReadyError,
    ProducerFenced,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.protocol.commit import OffsetFetchResponse_v3
from aiokafka.structs import OffsetAndMetadata

from engine import limits
from engine.delivery.batch import BuiltBatch
from engine.delivery.producer import make_producer
from engine.delivery.records import Outgoing
from engine.delivery.suppression_changelog import state_records
from engine.delivery.transactional_producer import Fenced, GroupOffsets, TransactionalSink
from engine.errors import BrokerError
from engine.kafka.cluster import Cluster
from engine.kafka.offset_fetch import StableOffsetFetch
from engine.kafka.topics import Topics
from engine.matching.written_states import SuppressionRecord
from tests.delivery.test_sink import keys_of
from tests.fakes.committed_offsets import committed_answer
from tests.fakes.runtime import CLUSTER

TOPICS = Topics("lpr.")
READS = TopicPartition(TOPICS.detections, 7)
Made = Callable[..., TransactionalSink]


class Producer:
    """Notes what is done with it; `fails` has what a step ends with, None for never."""

    def __init__(self, **fails: BaseException | None) -> None:
        self.steps: list[Any] = []
        self.fails = fails
        self.dies_of: BaseException | None = None
        self._sender = SimpleNamespace(sender_task=None)
        self.client = SimpleNamespace(set_topics=lambda topics: self.topics.append(topics))
        self.topics: list[set[str]] = []
        self._txn_manager: Any = SimpleNamespace(
            transactional_id="id",
            wait_for_transaction_end=lambda: None,
            _pending_txn_offsets=(),
        )
        self._message_accumulator = SimpleNamespace(_batches={}, _pending_batches=())

    async def _step(self, name: str, *about: Any) -> None:
        self.steps.append((name, *about) if about else name)
        if name in self.fails:
            error = self.fails[name]
            if error is None:
                await asyncio.Event().wait()
            else:
                raise error

    async def start(self) -> None:
        await self._step("start")

    async def stop(self) -> None:
        await self._step("stop")

    async def partitions_for(self, topic: str) -> set[int]:
        return {0, 1, 2}

    async def begin_transaction(self) -> None:
        await self._step("begin")

    async def send_batch(self, batch: BuiltBatch, topic: str, *, partition: int) -> Any:
        self.steps.append(("send", topic, partition, keys_of(batch)))
        answer = asyncio.get_running_loop().create_future()
        if "send" not in self.fails:
            answer.set_result(SimpleNamespace(offset=40))
        elif (error := self.fails["send"]) is not None:
            answer.set_exception(error)
        return answer

    async def send_offsets_to_transaction(self, offsets: Any, group: str) -> None:
        await self._step("offsets", offsets, group)

    async def commit_transaction(self) -> None:
        await self._step("commit")

    async def abort_transaction(self) -> None:
        await self._step("abort")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Made:
    """Makes a sink of producers, the next one each time that one is asked for."""

    def make(*producers: Producer) -> TransactionalSink:
        waiting = list(producers)
        monkeypatch.setattr(
            "engine.delivery.transactional_producer.make_producer", lambda *_, **__: waiting.pop(0)
        )
        monkeypatch.setattr(limits, "COORDINATOR_PAUSE_S", 0)
        return TransactionalSink(CLUSTER, 7)

    return make


def outgoing(topic: str, *keys: bytes) -> list[Outgoing]:
    return [Outgoing(topic, key, b"{}") for key in keys]


async def test_records_and_offset_are_one_transaction(started: Made) -> None:
    producer = Producer()
    sink = started(producer)
    await sink.start()
    [state] = state_records(CLUSTER, [SuppressionRecord(7, b"k" * 16, b"{}")])
    records = outgoing(TOPICS.matches, b"a", b"b", b"a") + outgoing(TOPICS.audit, b"chain")
    await sink.transact(records, [state], 12)
    assert sink.id == "group/lpr.detections.v1/7"
    assert producer.steps[:2] == ["start", "begin"]
    assert producer.steps[-1] == "commit"
    sent = [step for step in producer.steps if step[0] == "send"]
    assert ("offsets", {READS: 12}, "group") in producer.steps
    matches = [(partition, keys) for _, topic, partition, keys in sent if topic == TOPICS.matches]
    assert sorted(key for _, keys in matches for key in keys) == [b"a", b"a", b"b"]
    assert ("send", TOPICS.suppression, 7 % 3, [state.key]) in sent
    await sink.stop()
    assert producer.steps[-1] == "stop"


async def test_it_asks_once_for_all_topics_that_it_writes_to(started: Made) -> None:
    producer = Producer()
    await started(producer).start()
    assert producer.topics == [
        {TOPICS.matches, TOPICS.rejects, TOPICS.audit, TOPICS.suppression},
    ]


async def test_nothing_is_said_of_offsets_where_there_is_none(started: Made) -> None:
    producer = Producer()
    sink = started(producer)
    await sink.start()
    await sink.transact(outgoing(TOPICS.rejects, b"a"), (), None)
    await sink.transact((), (), 3)
    names = [step if isinstance(step, str) else step[0] for step in producer.steps]
    assert names == ["start", "begin", "send", "commit", "begin", "offsets", "commit"]


@pytest.mark.parametrize("step", ["begin", "send", "offsets", "commit"])
@pytest.mark.parametrize(
    "error", [ProducerFenced, InvalidProducerEpoch, InvalidProducerIdMapping, InvalidTxnState]
)
async def test_whose_id_is_anothers_is_fenced(
    started: Made, step: str, error: type[KafkaError]
) -> None:
    sink = started(Producer(**{step: error()}))
    await sink.start()
    with pytest.raises(Fenced, match=r"^group/lpr\.detections\.v1/7$"):
        await sink.transact(outgoing(TOPICS.matches, b"a"), (), 3)


async def test_what_the_sender_died_of_is_the_reason(started: Made) -> None:
    """aiokafka says "unexpected error", and means what it came from."""

    async def dies() -> None:
        raise KafkaError("Unexpected error during batch delivery") from InvalidProducerIdMapping()

    producer = Producer(commit=KafkaError("not in the middle of a transaction"))
    sink = started(producer)
    await sink.start()
    producer._sender.sender_task = asyncio.create_task(dies())
    with pytest.raises(Fenced):
        await sink.transact((), (), 3)


@pytest.mark.parametrize("step", ["begin", "send", "offsets", "commit"])
async def test_any_other_failure_is_one_line(started: Made, step: str) -> None:
    producer = Producer(**{step: MessageSizeTooLargeError()})
    sink = started(producer)
    await sink.start()
    with pytest.raises(BrokerError) as caught:
        await sink.transact(outgoing(TOPICS.matches, b"a"), (), 3)
    assert str(caught.value) == (
        "matches were not delivered in a transaction (MessageSizeTooLargeError); "
        "no offset was committed, the reads will be processed again"
    )
    assert step == "commit" or "commit" not in producer.steps


@pytest.mark.parametrize("step", ["begin", "send", "offsets", "commit"])
async def test_a_broker_that_does_not_answer_in_time(
    started: Made, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DELIVERY_TIMEOUT_S", 0.01)
    sink = started(Producer(**{step: None}))
    await sink.start()
    with pytest.raises(BrokerError, match="TimeoutError"):
        await sink.transact(outgoing(TOPICS.matches, b"a"), (), 3)


class _LosesTheBroker(Producer):
    """Fails as aiokafka's does if its sender, while being stopped, loses the connection."""

    def __init__(self) -> None:
        super().__init__(abort=KafkaConnectionError())
        self._txn_manager = TransactionManager("group/lpr.detections.v1/7", 60_000)
        self._txn_manager.set_pid_and_epoch(1, 1)

    async def send_batch(self, batch: BuiltBatch, topic: str, *, partition: int) -> Any:
        self._txn_manager.begin_transaction()
        self._txn_manager.add_offsets_to_txn({READS: 12}, "group")
        return await super().send_batch(batch, topic, partition=partition)

    async def commit_transaction(self) -> None:
        raise KafkaConnectionError

    async def stop(self) -> None:
        self._txn_manager.fatal_error(KafkaConnectionError())
        raise KafkaConnectionError


async def test_a_producer_that_fails_while_it_is_stopped_logs_no_error(started: Made) -> None:
    logged: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
    sink = started(_LosesTheBroker())
    await sink.start()
    with pytest.raises(BrokerError):
        await sink.transact(outgoing(TOPICS.matches, b"a"), (), 12)
    await sink.stop()
    del sink
    gc.collect()
    await asyncio.sleep(0)
    assert logged == []


async def test_a_missing_right_is_told_as_such(started: Made) -> None:
    sink = started(Producer(send=TopicAuthorizationFailedError(TOPICS.matches)))
    await sink.start()
    with pytest.raises(TopicAuthorizationFailedError):
        await sink.transact(outgoing(TOPICS.matches, b"a"), (), 3)


async def test_it_is_tried_again_until_the_broker_is_there(started: Made) -> None:
    gone = [Producer(start=KafkaConnectionError()) for _ in range(2)]
    sink = started(*gone, there := Producer())
    await sink.start()
    assert [producer.steps[-1] for producer in gone] == ["stop", "stop"]
    assert there.steps == ["start"]


async def test_but_not_for_ever(started: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DELIVERY_TIMEOUT_S", -1.0)
    sink = started(Producer(start=KafkaConnectionError()))
    with pytest.raises(BrokerError) as caught:
        await sink.start()
    assert str(caught.value) == (
        "transactional id group/lpr.detections.v1/7: the broker does not answer "
        "(KafkaConnectionError); start the worker again when the cluster is well"
    )


async def test_what_the_brokers_do_not_allow(started: Made) -> None:
    sink = started(Producer(start=InvalidTransactionTimeout()))
    with pytest.raises(BrokerError) as caught:
        await sink.start()
    assert str(caught.value) == (
        "transactional id group/lpr.detections.v1/7: the brokers allow no transaction of 75 s; "
        "ask the cluster's operator to raise transaction.max.timeout.ms"
    )
    sink = started(Producer(start=TransactionalIdAuthorizationFailed()))
    with pytest.raises(TransactionalIdAuthorizationFailed):
        await sink.start()


class Admin:
    """Answers with what it is told, one after the other."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self._client = self

    async def find_coordinator(self, group: str) -> int:
        assert group == "group"
        return 1

    async def send(self, node: int, request: StableOffsetFetch) -> Any:
        assert request.topics == [(READS.topic, [READS.partition])]
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            return OffsetFetchResponse_v3(0, [], GroupLoadInProgressError.errno)
        return committed_answer({READS: OffsetAndMetadata(answer, "")})


@pytest.mark.parametrize(
    ("answers", "committed"),
    [([5], 5), ([0], 0), ([-1], None), ([None, KafkaConnectionError(), None, 9], 9)],
)
async def test_a_group_that_says_nothing_is_asked_again(
    answers: list[Any], committed: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To take silence for "nothing" would be to match all reads once more."""
    monkeypatch.setattr(limits, "COORDINATOR_PAUSE_S", 0)
    monkeypatch.setattr("engine.kafka.cluster.close_whole", lambda *_, **__: None)
    monkeypatch.setattr("engine.kafka.cluster.AIOKafkaAdminClient", lambda **_: Admin(*answers))
    assert await GroupOffsets(CLUSTER).committed(7) == committed


class Coordinators:
    """Brokers of which one is lost: what aiokafka's own producer asks, and what it is answered.

    The answers have the fields of Kafka's protocol guide (https://kafka.apache.org/protocol).
    """

    def __init__(self, **lost: KafkaError) -> None:
        self.asked: list[str] = []
        self._lost = lost

    async def send(self, _node: int, request: Any, **_: Any) -> Any:
        name = type(request).__name__.removesuffix("Request")
        self.asked.append(name)
        if len(self.asked) > 2 and (error := self._lost.pop(name, None)) is not None:
            raise error
        answer = {"error_code": 0, "coordinator_id": 1, "producer_id": 7, "producer_epoch": 0}
        partitions = [(READS.partition, 0)]
        return SimpleNamespace(**answer, errors=[(READS.topic, partitions)])


@pytest.mark.parametrize(
    "error",
    [
        KafkaConnectionError("closed"),
        GroupLoadInProgressError(),
        NodeNotReadyError(),
        RequestTimedOutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_coordinator_that_is_lost_is_looked_for_until_it_is_there(
    error: KafkaError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka's sender ends if the connection breaks on which it looks for a coordinator."""
    brokers = Coordinators(AddOffsetsToTxn=NodeNotReadyError(), FindCoordinator=error)

    async def yes(*_: Any, **__: Any) -> bool:
        return True

    def make(cluster: Cluster, **options: Any) -> Any:
        made = make_producer(cluster, **options)
        made.client.send = brokers.send
        made.client.bootstrap = made.client.ready = made.client.force_metadata_update = yes
        made.client.get_random_node = lambda: 1
        made.client.set_topics = lambda topics: None
        return made

    monkeypatch.setattr("engine.delivery.transactional_producer.make_producer", make)
    monkeypatch.setattr(limits, "TRANSACTION_BACKOFF_MS", 1)
    sink = TransactionalSink(CLUSTER, READS.partition)
    await sink.start()
    await sink.transact((), (), 5)
    assert brokers.asked[-2:] == ["TxnOffsetCommit", "EndTxn"]
    assert brokers.asked.count("FindCoordinator") == 4  # two of them were lost, or of the lost one
    await sink.stop()
