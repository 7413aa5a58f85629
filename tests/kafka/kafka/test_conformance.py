"""What the engine asks of a broker, on the real Kafka and on the embedded one alike.

The tests at the end ask for what only the real one does; the promises rest on those.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from engine.kafka.topics import DECLARED, Topics
from tests.kafka.conftest import Broker

#: Longer than any of this takes on a slow machine; a test that meets it has failed.
WAIT_S = 60.0

CODECS = [None, "gzip", "snappy", "lz4", "zstd"]


@asynccontextmanager
async def producing(bootstrap: str, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    # Acknowledged by all replicas, it can be read; by the leader alone, it may be a little later.
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **{"acks": "all", **options})
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def reading(
    bootstrap: str, partition: TopicPartition, **options: Any
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of one partition, at the group's offset or else at the earliest."""
    options = {"auto_offset_reset": "earliest", "enable_auto_commit": False, **options}
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, **options)
    await consumer.start()
    try:
        consumer.assign([partition])
        yield consumer
    finally:
        await consumer.stop()


async def take(consumer: AIOKafkaConsumer, count: int) -> list[Any]:
    async with asyncio.timeout(WAIT_S):
        return [await consumer.getone() for _ in range(count)]


async def test_a_record_comes_back_whole(broker: Broker, prefix: str) -> None:
    partition = TopicPartition(Topics(prefix).detections, 0)
    headers = [("ce_id", b"1"), ("ce_id", b"2"), ("empty", b"")]
    async with producing(broker.bootstrap) as producer:
        await producer.send_and_wait(
            partition.topic, b"value", key=b"KEY", partition=0, headers=headers, timestamp_ms=1_234
        )
    async with reading(broker.bootstrap, partition) as consumer:
        (record,) = await take(consumer, 1)
    assert (record.key, record.value, record.offset) == (b"KEY", b"value", 0)
    assert list(record.headers) == headers
    assert record.timestamp == 1_234


@pytest.mark.parametrize(
    ("key", "value"), [(None, b"v"), (b"k", None), (b"", b"v"), (b"k", b""), (b"", b"")]
)
async def test_a_null_is_not_an_empty_string(
    broker: Broker, prefix: str, key: bytes | None, value: bytes | None
) -> None:
    partition = TopicPartition(Topics(prefix).detections, 0)
    async with producing(broker.bootstrap) as producer:
        await producer.send_and_wait(partition.topic, value, key=key, partition=0)
    async with reading(broker.bootstrap, partition) as consumer:
        (record,) = await take(consumer, 1)
    assert (record.key, record.value) == (key, value)


@pytest.mark.parametrize("codec", CODECS)
async def test_every_codec(broker: Broker, prefix: str, codec: str | None) -> None:
    partition = TopicPartition(Topics(prefix).detections, 0)
    values = [b"%d " % number * 50 for number in range(500)]
    async with producing(broker.bootstrap, compression_type=codec, linger_ms=50) as producer:
        sent = [await producer.send(partition.topic, value, partition=0) for value in values]
        await asyncio.gather(*sent)
    async with reading(broker.bootstrap, partition) as consumer:
        records = await take(consumer, len(values))
    assert [record.value for record in records] == values
    assert [record.offset for record in records] == list(range(len(values)))


async def test_a_group_goes_on_where_it_committed(broker: Broker, prefix: str) -> None:
    partition = TopicPartition(Topics(prefix).detections, 0)
    async with producing(broker.bootstrap) as producer:
        for number in range(10):
            await producer.send_and_wait(partition.topic, b"%d" % number, partition=0)
    group = f"{prefix}group"
    async with reading(broker.bootstrap, partition, group_id=group) as consumer:
        await take(consumer, 6)
        await consumer.commit({partition: 4})
    async with reading(broker.bootstrap, partition, group_id=group) as consumer:
        assert await consumer.committed(partition) == 4
        records = await take(consumer, 6)
    assert [record.value for record in records] == [b"%d" % number for number in range(4, 10)]


async def test_the_end_of_a_partition_is_known(broker: Broker, prefix: str) -> None:
    partition = TopicPartition(Topics(prefix).policies, 0)
    async with producing(broker.bootstrap) as producer:
        await producer.send_and_wait(partition.topic, b"one", key=b"source", partition=0)
    async with reading(broker.bootstrap, partition) as consumer:
        assert await consumer.end_offsets([partition]) == {partition: 1}
        assert await consumer.beginning_offsets([partition]) == {partition: 0}


async def test_a_group_shares_the_partitions(real_kafka: str, prefix: str) -> None:
    topic = Topics(prefix).detections
    async with producing(real_kafka) as producer:
        for partition in range(4):
            await producer.send_and_wait(topic, b"%d" % partition, partition=partition)
    options = {
        "bootstrap_servers": real_kafka,
        "group_id": f"{prefix}group",
        "auto_offset_reset": "earliest",
    }
    first, second = AIOKafkaConsumer(topic, **options), AIOKafkaConsumer(topic, **options)
    await asyncio.gather(first.start(), second.start())
    try:
        async with asyncio.timeout(WAIT_S):
            while not (len(first.assignment()) == len(second.assignment()) == 2):
                await asyncio.gather(first.getmany(timeout_ms=50), second.getmany(timeout_ms=50))
        assert first.assignment() | second.assignment() == {
            TopicPartition(topic, partition) for partition in range(4)
        }
    finally:
        await asyncio.gather(first.stop(), second.stop())


async def test_an_aborted_transaction_is_not_read(real_kafka: str, prefix: str) -> None:
    partition = TopicPartition(Topics(prefix).matches, 0)
    async with producing(real_kafka, transactional_id=f"{prefix}one") as producer:
        for value, commit in [(b"first", True), (b"aborted", False), (b"last", True)]:
            await producer.begin_transaction()
            await producer.send_and_wait(partition.topic, value, partition=0)
            await (producer.commit_transaction() if commit else producer.abort_transaction())
    async with reading(real_kafka, partition, isolation_level="read_committed") as consumer:
        committed = await take(consumer, 2)
    async with reading(real_kafka, partition) as consumer:
        everything = await take(consumer, 3)
    assert [record.value for record in committed] == [b"first", b"last"]
    assert [record.value for record in everything] == [b"first", b"aborted", b"last"]


async def test_a_control_topic_is_compacted(real_kafka: str, prefix: str) -> None:
    """The declared settings, hurried, leave the last value of each key, and gaps."""
    topic = f"{prefix}compacted"
    (declared,) = (topic.settings for topic in DECLARED if topic.name == "hotlist")
    settings = {**declared, "segment.ms": "100", "max.compaction.lag.ms": "100"}
    admin = AIOKafkaAdminClient(bootstrap_servers=real_kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=settings)])
    finally:
        await admin.close()
    partition = TopicPartition(topic, 0)
    async with producing(real_kafka) as producer, asyncio.timeout(WAIT_S):
        for number in range(20):
            await producer.send_and_wait(topic, b"%d" % number, key=b"K", partition=0)
        while True:
            # The active segment is never compacted: each further record may open a new one.
            last = await producer.send_and_wait(topic, b"last", key=b"L", partition=0)
            async with reading(real_kafka, partition) as consumer:
                records = [await consumer.getone()]
                while records[-1].offset < last.offset:
                    records.append(await consumer.getone())
            of_k = [record for record in records if record.key == b"K"]
            if len(of_k) == 1:
                break
            await asyncio.sleep(0.2)
    assert (of_k[0].value, of_k[0].offset) == (b"19", 19)
