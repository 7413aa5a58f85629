"""Reads in Avro and Protobuf on a real Kafka, with a schema registry that is down at first.

The worker takes no reads while it waits for a schema, and loses none. Beside Avro lie plain and
framed JSON, a schema that is not registered, and a value without a frame.
"""

from __future__ import annotations

import time
from typing import Any

import orjson
from google.protobuf import json_format

from engine.cli.doctor.checks import Looking, examine
from engine.config import Settings
from engine.documents.producer_faults import DESCRIBED
from engine.kafka.topics import Topics
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.fakes.proto_files import DETECTION_PROTO, descriptor_of, in_base64, message_class
from tests.fakes.schema_registry import DETECTION, FakeRegistry, avro, fake_registry, framed
from tests.kafka.following import sent
from tests.kafka.records import ToSend, produce, read_topic, until
from tests.kafka.worker_here import worker_here

_LISTED, _PARTITIONS = "ABC-1234", 4
_FILE = descriptor_of(DETECTION_PROTO)


def values() -> dict[str, bytes]:
    """A value of each kind by its read's id."""

    def read(read_id: str) -> dict[str, Any]:
        return a_read(plate=_LISTED, read_id=read_id, source="S1", camera=read_id)

    def in_avro(read_id: str) -> bytes:
        return avro(DETECTION, read(read_id) | {"captured_at": int(1000 * time.time())})

    def in_protobuf(read_id: str) -> bytes:
        message = json_format.ParseDict(read(read_id), message_class(_FILE, "lpr.v1.Detection")())
        return bytes(message.SerializeToString())

    return {
        **{f"avro {number}": framed(7, in_avro(f"avro {number}")) for number in range(20)},
        "protobuf": framed(10, b"\0" + in_protobuf("protobuf")),
        "plain": orjson.dumps(read("plain")),
        "json": framed(8, orjson.dumps(read("json"))),
        "unknown": framed(9, in_avro("unknown")),
        "unframed": in_avro("unframed"),
    }


async def test_reads_in_avro_wait_for_their_schema_and_are_all_matched(
    real_kafka: str, prefix: str
) -> None:
    topics = Topics(prefix)
    async with fake_registry(FakeRegistry()) as registry:
        port = int(registry.url.rpartition(":")[2])
    await produce(real_kafka, topics.hotlist, sent(an_entry(plate="ABC1234", suppress_s=0)))
    await produce(real_kafka, topics.policies, sent(a_policy(source="S1")))
    by_partition: dict[int, list[ToSend]] = {}
    for number, value in enumerate(values().values()):
        record = ToSend(b"ABC1234", value)
        by_partition.setdefault(number % _PARTITIONS, []).append(record)
    await produce(real_kafka, topics.detections, by_partition)
    settings: dict[str, Any] = {
        "value_format": "schema-registry",
        "schema_registry_url": registry.url,
    }
    async with worker_here(real_kafka, prefix, **settings) as here:

        async def waits() -> bool:
            await here.alive()
            return here.worker.not_ready_because.startswith("reads wait for their schema: ")

        await until(waits, "the worker waits for the registry", here.log)
        status, why = await here.text("/readyz")
        assert status == 503
        assert registry.url in why
        assert here.metric("hotlist_schema_fetches_total", result="failed") >= 1

        registry.add(7, DETECTION)
        registry.add(8, "{}", schemaType="JSON")
        registry.add(10, DETECTION_PROTO, schemaType="PROTOBUF", base64=in_base64(_FILE))
        async with fake_registry(registry, port):
            await here.has_processed(len(values()))
            await here.ready()
            matching = sorted(values().keys() - {"unknown", "unframed"})

            async def matched() -> bool:
                await here.alive()
                return here.metric("hotlist_matches_total") >= len(matching)

            await until(matched, f"{len(matching)} matches", here.log)
            found = [
                each
                async for each in examine(
                    Settings(
                        bootstrap=real_kafka, prefix=prefix, group=f"{prefix}group", **settings
                    ),
                    Looking(),
                )
            ]
        assert here.metric("hotlist_schema_fetches_total", result="ok") == 3
        assert here.metric("hotlist_rejects_total", reason="unknown_schema") == 1
        assert here.metric("hotlist_producer_faults_total", fault="unframed") >= 1
    matches = await read_topic(real_kafka, topics.matches)
    assert sorted(orjson.loads(each.value)["read"]["read_id"] for each in matches) == matching
    assert [each.state for each in found if each.check == "schemas"] == ["ok"]
    reads = [each.what for each in found if each.check == "reads"]
    assert any("rejected: unknown_schema" in each for each in reads)
    assert f"1 of 25 {DESCRIBED['unframed'].what}" in reads
    assert any(each.startswith("23 of the latest 25 are good") for each in reads)
