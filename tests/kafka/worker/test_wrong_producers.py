"""Producers that get something wrong for all of their reads, beside right ones, on a real Kafka.

The worker takes frames of a schema registry. First no plate is listed that these producers read:
the worker and `hotlist doctor` name every fault all the same. Then one is, and the matches arrive
of all reads that can be matched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from confluent_kafka import Producer

from engine.cli.doctor.checks import Looking, examine
from engine.config import Settings
from engine.documents.producer_faults import DESCRIBED, PRODUCER_FAULTS
from engine.kafka.topics import Topics
from engine.wire.java_partitioner import murmur2_partition
from engine.wire.partitioners import crc32_partition
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.fakes.wrong_producers import PARTITIONS, RIGHT, WRONG, WrongProducer, reads_of
from tests.kafka.following import sent
from tests.kafka.records import ToSend, produce, read_topic, until
from tests.kafka.worker_here import worker_here

_FORMAT = "json-schema-registry"
#: In the normal form of a plate, as a key may be.
_SOURCE = "S1"
_LISTED = "ABC-1234"
_UNLISTED = {f"XYZ{number}": 1 for number in range(8)}
_ALL = (*WRONG, *RIGHT)
#: A value can be unframed only with a registry: tests/kafka/worker/test_schema_registry.py.
_FAULTS = [each for each in PRODUCER_FAULTS if each != "unframed"]


def is_matched(producer: WrongProducer) -> bool:
    """Whether a worker that takes frames matches the producer's reads of a listed plate."""
    return producer.matches or producer.name in ("framed", "framed with long ids")


def reads(producers: Iterable[WrongProducer], plates: dict[str, int]) -> dict[int, list[ToSend]]:
    """What the producers send, by partition; a read's id names its producer."""
    by_partition: dict[int, list[ToSend]] = {}
    for producer in producers:

        def make(plate: str, number: int, name: str = producer.name) -> dict[str, Any]:
            return a_read(plate=plate, read_id=f"{name} {number}", source=_SOURCE)

        for record in reads_of(producer, make, plates):
            by_partition.setdefault(record.partition, []).append(ToSend(record.key, record.value))
    return by_partition


def placed_by(bootstrap: str, topic: str, **settings: str) -> dict[bytes, int]:
    """Send reads of the plates with confluent-kafka; return the partition of each key."""
    places: dict[bytes, int] = {}

    def note(error: object, message: Any) -> None:
        assert error is None
        places[message.key()] = message.partition()

    producer = Producer({"bootstrap.servers": bootstrap, **settings})
    for plate in _UNLISTED:
        value = orjson.dumps(a_read(plate=plate, read_id=f"placed {plate}", source=_SOURCE))
        producer.produce(topic, key=plate.encode(), value=value, on_delivery=note)
    assert producer.flush(60) == 0
    return places


async def test_wrong_producers_are_named_and_right_reads_are_matched(
    real_kafka: str, prefix: str
) -> None:
    topics = Topics(prefix)
    await produce(real_kafka, topics.hotlist, sent(an_entry(plate="ABC1234")))
    await produce(real_kafka, topics.policies, sent(a_policy(source=_SOURCE)))
    unlisted = reads(_ALL, _UNLISTED)
    await produce(real_kafka, topics.detections, unlisted)
    assert placed_by(real_kafka, topics.detections) == {
        plate.encode(): crc32_partition(plate.encode(), PARTITIONS) for plate in _UNLISTED
    }
    assert placed_by(real_kafka, topics.detections, partitioner="murmur2_random") == {
        plate.encode(): murmur2_partition(plate.encode(), PARTITIONS) for plate in _UNLISTED
    }
    async with worker_here(real_kafka, prefix, value_format=_FORMAT) as here:
        await here.ready()
        processed = sum(map(len, unlisted.values())) + 2 * len(_UNLISTED)
        await here.has_processed(processed)
        for fault in _FAULTS:
            assert here.metric("hotlist_producer_faults_total", fault=fault) >= 1, fault
        assert here.metric("hotlist_matches_total") == 0

        await produce(real_kafka, topics.detections, reads(_ALL, {_LISTED: 1}))
        await here.has_processed(processed + len(_ALL))
        matching = sorted(f"{each.name} 1" for each in _ALL if is_matched(each))

        async def matched() -> bool:
            await here.alive()
            return here.metric("hotlist_matches_total") >= len(matching)

        await until(matched, f"{len(matching)} matches", here.log)
        settings = Settings(
            bootstrap=real_kafka, prefix=prefix, group=f"{prefix}group", value_format=_FORMAT
        )
        found = [each async for each in examine(settings, Looking())]
    matches = await read_topic(real_kafka, topics.matches)
    assert sorted(orjson.loads(each.value)["read"]["read_id"] for each in matches) == matching
    for fault in _FAULTS:
        what, todo = DESCRIBED[fault]
        [named] = [each for each in found if each.check == "reads" and what in each.what]
        assert named.state in ("warning", "problem")
        assert named.todo == todo
