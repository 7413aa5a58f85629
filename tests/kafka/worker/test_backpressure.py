"""Memory stays bounded whatever comes and however little goes out, and everything arrives.

The worker is a process of its own, and what it takes is what the kernel says. It is held against
the limits, never against a time: what is too much today is too much on a slow machine too.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from engine import limits
from engine.delivery.at_least_once import AtLeastOnce
from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import create_topics
from engine.kafka.topics import Topics
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.fakes.faulty_proxy import FaultyProxy
from tests.fakes.record_batches import (
    GZIP,
    LZ4,
    SNAPPY,
    ZSTD,
    Sent,
    batch_bytes,
    compress,
    encoded_records,
)
from tests.kafka.following import matched_reads, reads, sent
from tests.kafka.own_broker import OwnBroker
from tests.kafka.records import produce, producing, read_topic, until
from tests.kafka.worker.test_bad_input import send_raw
from tests.kafka.worker_here import WorkerHere, worker_here
from tests.kafka.worker_process import WorkerProcess

MIB = limits.MIB
#: What Python's objects take beside what they take on the wire, and a copy on its way.
_TIMES = 4
#: Threads, buffers of sockets, garbage that nobody has looked for yet.
_BESIDE_BYTES = 32 * MIB
_HUGE_BYTES = 30 * MIB
#: Longer than an idle partition's next fetch takes to be answered on a busy machine.
_STUCK_S = 2.0


class Memory:
    """What a process holds in memory, and at the most since `begin`."""

    def __init__(self, pid: int) -> None:
        self._process = Path(f"/proc/{pid}")
        self.began_bytes = 0

    def begin(self) -> None:
        """Count from now."""
        (self._process / "clear_refs").write_text("5")
        self.began_bytes = self._of("VmRSS")

    def most_bytes(self) -> int:
        """What it has held at the most, beyond what it held then."""
        return self._of("VmHWM") - self.began_bytes

    def _of(self, name: str) -> int:
        status = (self._process / "status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None, status
        return 1024 * int(found[1])


async def take_large_records(bootstrap: str, topic: str) -> None:
    """Let the topic take records that are as large as an operator may allow."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        settings = {"max.message.bytes": str(64 * MIB)}
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=settings)
        await admin.alter_configs([resource])
    finally:
        await admin.close()


async def listed(bootstrap: str, prefix: str) -> Topics:
    """The topics, in which a plate is listed and its source's policy stands."""
    topics = Topics(prefix)
    await produce(bootstrap, topics.hotlist, sent(an_entry(instructions="x" * 2_000)))
    await produce(bootstrap, topics.policies, sent(a_policy()))
    return topics


async def test_a_sink_that_takes_little_and_records_that_are_huge(
    own_broker: OwnBroker, tmp_path: Path
) -> None:
    """One hot partition makes thousands of matches that hardly leave, while in all partitions
    records wait that are larger than any fetch."""
    bootstrap, prefix = own_broker.straight, f"own-{os.urandom(4).hex()}."
    await create_topics(Cluster(bootstrap, Topics(prefix)), partitions=4, replication=1)
    topics = await listed(bootstrap, prefix)
    await take_large_records(bootstrap, topics.detections)
    flood = [a_read(read_id=f"R-{number}") for number in range(6_000)]
    huge_count = 12
    async with (
        FaultyProxy(own_broker.proxy_port, own_broker.proxy_target) as network,
        WorkerProcess(tmp_path / "log", own_broker.behind_proxy, prefix) as worker,
    ):
        await worker.ready()
        memory = Memory(worker.pid)
        memory.begin()
        network.slow(20_000, 0.0, answers_flow=True)
        await produce(bootstrap, topics.detections, reads(*flood))
        huge = os.urandom(_HUGE_BYTES)
        async with producing(bootstrap, max_request_size=64 * MIB) as producer:
            for number in range(huge_count):
                await producer.send_and_wait(
                    topics.detections, key=b"XYZ", value=huge, partition=number % 4
                )

        async def is_full() -> bool:
            return (
                await worker.metric("hotlist_fetched_bytes") >= limits.FETCHED_BYTES
                and await worker.metric("hotlist_fetches_in_delivery") == limits.FETCHES_IN_DELIVERY
            )

        await until(is_full, "all that may wait in the worker waits there", worker.log)
        assert await worker.metric("hotlist_reads_total") < len(flood)
        held_bytes = await worker.metric("hotlist_fetched_bytes")
        assert held_bytes <= limits.FETCHED_BYTES + _HUGE_BYTES + limits.FETCH_BYTES

        network.mend()

        async def all_is_through() -> bool:
            return await worker.metric("hotlist_rejects_total") >= huge_count

        await until(all_is_through, "the huge records are rejected", worker.log)
        fetched = limits.FETCHED_BYTES + 3 * max(limits.FETCH_BYTES, _HUGE_BYTES)
        outcomes = (limits.FETCHES_IN_DELIVERY + 2) * limits.OUTCOME_BYTES
        assert memory.most_bytes() < fetched + _TIMES * outcomes + _BESIDE_BYTES
        await worker.stop()
    found = await matched_reads(bootstrap, prefix)
    assert sorted(found) == sorted(read["read_id"] for read in flood), "each once"
    rejects = await rejected(bootstrap, topics)
    assert Counter(reject["reason"] for reject in rejects) == {"value_too_large": huge_count}


async def rejected(bootstrap: str, topics: Topics) -> list[dict[str, Any]]:
    return [orjson.loads(record.value) for record in await read_topic(bootstrap, topics.rejects)]


def empty_records(count: int) -> bytes:
    """So many records without key and value, as they lie behind a batch's header."""
    parts = []
    for delta in range(count):
        raw, place = 2 * delta, bytearray()
        while raw > 0x7F:
            place.append(raw & 0x7F | 0x80)
            raw >>= 7
        place.append(raw)
        # Attributes, time, place, no key, no value, no headers; before them, their length.
        body = b"\0\0" + bytes(place) + b"\1\1\0"
        parts.append(bytes([2 * len(body)]) + body)
    return b"".join(parts)


async def test_batches_that_are_small_on_the_wire_and_huge_unpacked(
    real_kafka: str, prefix: str, tmp_path: Path
) -> None:
    """For every codec one batch just within the limit and one beyond it, and a batch of more
    records than may be; good reads between them."""
    topics = await listed(real_kafka, prefix)
    await take_large_records(real_kafka, topics.detections)
    bombs: list[tuple[bytes, str]] = []
    for beside, reason in ((-100, "value_too_large"), (100, "batch_too_large")):
        plain = encoded_records([Sent(b"ABC1234", bytes(limits.BATCH_BYTES + beside))])
        for codec in (GZIP, SNAPPY, LZ4, ZSTD):
            body = compress(codec, plain)
            bombs.append((batch_bytes(codec=codec, body=body, record_count=1), reason))
    many = limits.BATCH_RECORDS + 1
    body = compress(ZSTD, empty_records(many))
    bombs.append(
        (
            batch_bytes(codec=ZSTD, body=body, record_count=many, last_delta=many - 1),
            "batch_too_large",
        )
    )
    async with WorkerProcess(tmp_path / "log", real_kafka, prefix) as worker:
        await worker.ready()
        memory = Memory(worker.pid)
        memory.begin()
        for number, (bomb, _) in enumerate(bombs):
            assert len(bomb) < limits.FETCH_PARTITION_BYTES
            await produce(real_kafka, topics.detections, reads(a_read(read_id=f"R-{number}")))
            assert await send_raw(real_kafka, topics.detections, bomb) == 0

        async def all_is_through() -> bool:
            return await worker.metric("hotlist_rejects_total") >= len(bombs)

        await until(all_is_through, "all bombs are rejected", worker.log)
        # What is unpacked, while it grows and is taken out; a row for each record; and what the
        # thread that scans ahead has tried.
        unpacked = 3 * limits.BATCH_BYTES + 64 * limits.BATCH_RECORDS
        ahead = (limits.GROUPS_AHEAD + 1) * (limits.AHEAD_BYTES + 64 * limits.AHEAD_RECORDS)
        assert memory.most_bytes() < unpacked + ahead + _BESIDE_BYTES
        await worker.stop()
    rejects = sorted(await rejected(real_kafka, topics), key=lambda reject: reject["offset"])
    assert [reject["reason"] for reject in rejects] == [reason for _, reason in bombs]
    assert sorted(await matched_reads(real_kafka, prefix)) == sorted(
        f"R-{number}" for number in range(len(bombs))
    )


async def test_a_stuck_partition_is_named_until_it_moves(
    real_kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matches that are not acknowledged: for /readyz, because a new process would fare no better.
    A matcher that does not finish: for /healthz, so that one is started."""
    monkeypatch.setattr(limits, "STUCK_LOOK_S", 0.05)
    topics = await listed(real_kafka, prefix)
    acknowledged, beats = asyncio.Event(), threading.Event()
    finish = AtLeastOnce.finish

    async def late(self: AtLeastOnce, *arguments: Any) -> None:
        await acknowledged.wait()
        await finish(self, *arguments)

    monkeypatch.setattr(AtLeastOnce, "finish", late)
    async with worker_here(real_kafka, prefix) as here:
        await here.ready()
        await produce(real_kafka, topics.detections, {2: reads(a_read())[0]})
        await here.has_processed(1)
        assert here.metric("hotlist_partition_stuck_seconds") == 0
        monkeypatch.setattr(limits, "STUCK_S", _STUCK_S)
        _, reason = await answer(here, "/readyz", 503)
        stuck = re.compile(
            rf"{re.escape(topics.detections)}/2 is stuck for [\d.]+ m?s: the broker does not "
            r"acknowledge the results of its reads$"
        )
        assert stuck.match(reason)
        [named] = here.worker.stuck
        assert stuck.match(named)
        assert here.metric("hotlist_partition_stuck_seconds", partition="2") > 0
        assert here.metric("hotlist_partition_stuck_seconds", partition="1") == 0
        assert (await here.text("/healthz"))[0] == 200, "a restart would not help"
        monkeypatch.setattr(limits, "STUCK_S", 30.0)
        acknowledged.set()
        await answer(here, "/readyz", 200)

        process = here.worker.matcher.process

        def hangs(*arguments: Any) -> Any:
            beats.wait()
            return process(*arguments)

        monkeypatch.setattr(here.worker.matcher, "process", hangs)
        try:
            await produce(real_kafka, topics.detections, {2: reads(a_read(read_id="R-2"))[0]})
            monkeypatch.setattr(limits, "STUCK_S", _STUCK_S)
            monkeypatch.setattr(limits, "HUNG_S", 2 * _STUCK_S)
            _, reason = await answer(here, "/healthz", 503)
            assert re.match(
                rf"the matcher has been busy with the same reads for [\d.]+ m?s; "
                rf"{re.escape(topics.detections)}/2 is stuck at offset 1 for [\d.]+ m?s: "
                r"the matcher does not finish its reads$",
                reason,
            ), reason
        finally:
            monkeypatch.setattr(limits, "STUCK_S", 30.0)
            monkeypatch.setattr(limits, "HUNG_S", 180.0)
            beats.set()
        await answer(here, "/healthz", 200)
        await here.has_processed(2)
    assert sorted(await matched_reads(real_kafka, prefix)) == ["R-1", "R-2"]


async def answer(here: WorkerHere, path: str, wanted: int) -> tuple[int, str]:
    """Wait until it answers so, and what it says then."""
    last = (0, "")

    async def so() -> bool:
        nonlocal last
        await here.alive()
        last = await here.text(path)
        return last[0] == wanted

    await until(so, f"{path} answers {wanted}", lambda: repr(last))
    return last
