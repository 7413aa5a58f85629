"""A bad record never stops the stream: it is counted, pointed to, and passed.

What a producer can send goes through both brokers. Batches that are broken as a whole, a real
Kafka refuses to take in (the last test here holds that it still does); the embedded broker
takes anything, so they go through that one. On a real cluster they come from a disk or a
network, and reach the worker in the same way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.protocol.produce import ProduceRequest

from engine import limits
from engine.kafka.topics import Topics
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.fakes.record_batches import LZ4, NONE, ZSTD, Sent, batch_bytes, compress, encoded_records
from tests.kafka.conftest import Broker
from tests.kafka.records import ToSend, produce, producing, read_topic, until
from tests.kafka.worker_here import WorkerHere, worker_here
from tests.repository.schemas import validator

#: Stands in every bad record, and may come out nowhere.
SECRET = "SECRET7"
LISTED = b"ABC1234"


class Bad(NamedTuple):
    """A record that must be rejected, and how."""

    record: ToSend
    reason: str
    field: str | None = None


def value(**fields: Any) -> bytes:
    """A read with some fields different, and some left out (None)."""
    document = a_read(read_id=SECRET, camera=SECRET, **fields)
    return orjson.dumps({key: field for key, field in document.items() if field is not None})


BAD = {
    "no_json": Bad(ToSend(LISTED, SECRET.encode()), "invalid_json"),
    "cut_off": Bad(ToSend(LISTED, value()[:-1]), "invalid_json"),
    "empty": Bad(ToSend(LISTED, b""), "invalid_json"),
    "not_utf8": Bad(ToSend(LISTED, value().replace(b"SECRET7", b"SECRET7\xff")), "invalid_json"),
    "deep": Bad(ToSend(LISTED, b'{"x": ' + b"[" * 30_000), "invalid_json"),
    "no_object": Bad(ToSend(LISTED, b'["SECRET7"]'), "schema", "$"),
    "missing_field": Bad(ToSend(LISTED, value(source=None)), "schema", "$.source"),
    "wrong_type": Bad(ToSend(LISTED, value(plate=1234)), "schema", "$.plate"),
    "wrong_time": Bad(ToSend(LISTED, value(captured_at=SECRET)), "schema", "$.captured_at"),
    "no_key_no_json": Bad(ToSend(None, SECRET.encode()), "invalid_json"),
    "long_plate": Bad(ToSend(None, value(plate="SECRET7" * 4)), "plate_length", "$.plate"),
    "absurd_plate": Bad(ToSend(b"SECRET7" * 3_000, value(plate="SECRET7" * 3_000)), "schema"),
    "no_plate": Bad(ToSend(b"", value(plate="---")), "plate_length", "$.plate"),
    "other_plate": Bad(ToSend(LISTED, value(plate=SECRET)), "key_mismatch"),
    "null_value": Bad(ToSend(LISTED, None), "value_missing"),
    "null_both": Bad(ToSend(None, None), "value_missing"),
    "megabyte": Bad(
        ToSend(LISTED, value(vendor=SECRET * (900_000 // len(SECRET)))), "value_too_large"
    ),
    "megabyte_unlisted": Bad(ToSend(b"XYZ9999", b"x" * 900_000), "value_too_large"),
}


async def listed(broker: Broker | str, prefix: str) -> str:
    """A listed plate, and its source's policy; returns the broker's address."""
    bootstrap = broker if isinstance(broker, str) else broker.bootstrap
    topics = Topics(prefix)
    entry, policy = an_entry(), a_policy()
    await produce(bootstrap, topics.hotlist, {0: [ToSend(b"E-1", orjson.dumps(entry))]})
    await produce(bootstrap, topics.policies, {0: [ToSend(b"city", orjson.dumps(policy))]})
    return bootstrap


def good(number: int) -> ToSend:
    """A read that matches."""
    return ToSend(LISTED, orjson.dumps(a_read(read_id=f"good-{number}")))


async def good_reads_match(bootstrap: str, prefix: str, count: int) -> None:
    records = await read_topic(bootstrap, Topics(prefix).matches)
    found = sorted(orjson.loads(record.value)["read"]["read_id"] for record in records)
    assert found == sorted(f"good-{number}" for number in range(count))


async def rejects_point_to(
    bootstrap: str, prefix: str, wanted: list[tuple[int, str, str | None]]
) -> None:
    """The rejects topic points to offsets of partition 0, in order, and holds no payload."""
    topic = Topics(prefix).detections
    records = await read_topic(bootstrap, Topics(prefix).rejects)
    found = []
    for record in records:
        reject = orjson.loads(record.value)
        validator("reject").validate(reject)
        assert record.key.decode() == f"{topic}/0/{reject['offset']}"
        assert (reject["topic"], reject["partition"]) == (topic, 0)
        assert SECRET not in f"{record.key!r} {record.value!r} {record.headers!r}"
        found.append((reject["offset"], reject["reason"], reject.get("field")))
    for (offset, reason, field), (wanted_offset, wanted_reason, wanted_field) in zip(
        sorted(found), wanted, strict=True
    ):
        assert (offset, reason) == (wanted_offset, wanted_reason)
        assert wanted_field in (None, field)


def counted(here: WorkerHere) -> dict[str, float]:
    """What the worker counted as rejected, by reason, without zeros."""
    metric = here.worker.metrics.rejects
    samples = [sample for family in metric.collect() for sample in family.samples]
    return {
        sample.labels["reason"]: sample.value
        for sample in samples
        if sample.name == "hotlist_rejects_total" and sample.value
    }


async def has_counted(here: WorkerHere, wanted: dict[str, float]) -> None:
    """Wait until the worker has counted exactly these rejects."""

    async def so() -> bool:
        await here.alive()
        return sum(counted(here).values()) >= sum(wanted.values())

    await until(so, f"rejects {wanted}", lambda: f"{counted(here)}; {here.log()}")
    assert counted(here) == wanted


@pytest.mark.parametrize("name", BAD)
def test_each_is_bad_in_its_own_way(name: str) -> None:
    """The payloads hold what must not come out, so that its absence says something."""
    record, reason, _ = BAD[name]
    if reason != "value_missing" and name not in ("empty", "deep", "megabyte_unlisted"):
        assert SECRET.encode() in (record.value or b"")


async def test_every_bad_record_is_counted_pointed_to_and_passed(
    broker: Broker, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    bootstrap = await listed(broker, prefix)
    records: list[ToSend] = []
    wanted: list[tuple[int, str, str | None]] = []
    by_reason: dict[str, float] = {}
    for number, bad in enumerate(BAD.values()):
        wanted.append((len(records), bad.reason, bad.field))
        by_reason[bad.reason] = by_reason.get(bad.reason, 0) + 1
        records += [bad.record, good(number)]
    async with worker_here(bootstrap, prefix, has_topics=broker.is_real) as here:
        await here.ready()
        await produce(bootstrap, Topics(prefix).detections, {0: records})
        await here.has_processed(len(records))
        await has_counted(here, by_reason)
        _, exposition = await here.text("/metrics")
    await rejects_point_to(bootstrap, prefix, wanted)
    await good_reads_match(bootstrap, prefix, len(BAD))
    assert SECRET not in exposition
    assert SECRET not in caplog.text


async def test_unlisted_reads_are_checked_as_often_as_asked(broker: Broker, prefix: str) -> None:
    """A key that disagrees is found by the sample too; with one in one, everywhere."""
    bootstrap = await listed(broker, prefix)
    wrong = ToSend(b"XYZ9999", value(plate=SECRET))
    right = ToSend(SECRET.encode(), value(plate=SECRET))
    async with worker_here(bootstrap, prefix, has_topics=broker.is_real, verify_keys=1) as here:
        await here.ready()
        await produce(bootstrap, Topics(prefix).detections, {0: [wrong, right, good(0)]})
        await has_counted(here, {"key_mismatch": 1})
    await rejects_point_to(bootstrap, prefix, [(0, "key_mismatch", None)])
    await good_reads_match(bootstrap, prefix, 1)


def two_reads() -> list[Sent]:
    return [Sent(b"ABC1234", value()), Sent(b"ABC1234", value())]


def wrong_checksum() -> bytes:
    data = bytearray(batch_bytes(two_reads()))
    data[-1] ^= 0xFF
    return bytes(data)


BAD_BATCHES = {
    "unknown_codec": (batch_bytes(two_reads(), codec=5, body=b"SECRET7" * 20), "unknown_codec"),
    "wrong_checksum": (wrong_checksum(), "corrupt_batch"),
    "garbage_behind_lz4": (
        batch_bytes(two_reads(), codec=LZ4, body=b"SECRET7" * 20),
        "corrupt_batch",
    ),
    "records_cut_off": (
        batch_bytes(two_reads(), codec=NONE, body=encoded_records(two_reads())[:40]),
        "corrupt_batch",
    ),
    "decompression_bomb": (
        batch_bytes(two_reads(), codec=ZSTD, body=compress(ZSTD, bytes(limits.BATCH_BYTES + 1))),
        "batch_too_large",
    ),
}


async def send_raw(bootstrap: str, topic: str, batch: bytes) -> int:
    """Produce bytes as they are to partition 0; the broker's error code."""
    async with producing(bootstrap) as producer:
        await producer.partitions_for(topic)
        return await _send_raw(producer, topic, batch)


async def _send_raw(producer: AIOKafkaProducer, topic: str, batch: bytes) -> int:
    request = ProduceRequest(
        transactional_id=None, required_acks=1, timeout=10_000, topics=[(topic, [(0, batch)])]
    )
    node = producer.client.cluster.leader_for_partition(TopicPartition(topic, 0))
    response = await producer.client.send(node, request)
    ((_, ((_, code, *_),)),) = response.topics
    return int(code)


@pytest.mark.parametrize("name", BAD_BATCHES)
async def test_a_bad_batch_is_passed(embedded_kafka: str, prefix: str, name: str) -> None:
    batch, reason = BAD_BATCHES[name]
    await listed(embedded_kafka, prefix)
    topic = Topics(prefix).detections
    async with worker_here(embedded_kafka, prefix, has_topics=False) as here:
        await here.ready()
        await produce(embedded_kafka, topic, {0: [good(0)]})
        assert await send_raw(embedded_kafka, topic, batch) == 0
        await produce(embedded_kafka, topic, {0: [good(1)]})
        await has_counted(here, {reason: 1})

        async def both_good_are_processed() -> bool:
            await here.alive()
            return here.metric("hotlist_matches_total") >= 2

        await until(both_good_are_processed, "the reads around the bad batch match", here.log)
    await rejects_point_to(embedded_kafka, prefix, [(1, reason, None)])
    await good_reads_match(embedded_kafka, prefix, 2)


@pytest.mark.parametrize("name", ["unknown_codec", "wrong_checksum", "garbage_behind_lz4"])
async def test_a_real_broker_refuses_bad_batches(real_kafka: str, prefix: str, name: str) -> None:
    batch, _ = BAD_BATCHES[name]
    assert await send_raw(real_kafka, Topics(prefix).detections, batch) != 0
