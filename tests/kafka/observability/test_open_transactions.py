"""A producer opens a transaction and stalls: what waits behind it is counted, and it is named."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from aiokafka import TopicPartition

from engine import limits
from engine.cli.doctor.checks import Looking, examine
from engine.cli.doctor.findings import Finding
from engine.config import Settings
from engine.kafka.cluster import Cluster
from engine.kafka.open_transactions import OpenTransaction, open_transactions
from engine.kafka.topics import Topics
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.following import sent
from tests.kafka.records import ToSend, produce, producing, send_to_partition, until
from tests.kafka.worker_here import WorkerHere, worker_here


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks are frequent, and what they find is reported soon."""
    for name, value in (
        ("LAG_LOOK_S", 0.2),
        ("HELD_BACK_S", 0.4),
        ("STUCK_S", 2.0),
        ("DOCTOR_WATCH_S", 0.5),
    ):
        monkeypatch.setattr(limits, name, value)
    monkeypatch.setattr(limits, "check", lambda: None)


def a_record(number: int) -> ToSend:
    read = a_read(plate="ABC1234", read_id=f"r-{number}", camera=f"c-{number}")
    return ToSend(b"ABC1234", json.dumps(read).encode())


async def examined(bootstrap: str, prefix: str, check: str) -> list[Finding]:
    settings = Settings(bootstrap=bootstrap, prefix=prefix, group=f"{prefix}group")
    return [finding async for finding in examine(settings, Looking()) if finding.check == check]


async def shows(worker: WorkerHere, what: str, wanted: float, **labels: str) -> None:
    async def so() -> bool:
        await worker.alive()
        return worker.metric(what, **labels) == wanted

    await until(so, f"{what} is {wanted}", lambda: str(worker.metric(what, **labels)))


@pytest.mark.parametrize("end", ["commit", "abort"])
async def test_reads_behind_an_open_transaction(
    real_kafka: str, prefix: str, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    topics = Topics(prefix)
    await produce(real_kafka, topics.hotlist, sent(an_entry(plate="ABC1234")))
    await produce(real_kafka, topics.policies, sent(a_policy()))
    async with (
        worker_here(real_kafka, prefix) as worker,
        producing(real_kafka, transactional_id=f"{prefix}feed", acks="all") as producer,
    ):
        await worker.ready()
        await produce(real_kafka, topics.detections, {1: [a_record(0)]})
        await worker.has_processed(1)
        await producer.begin_transaction()
        await send_to_partition(producer, topics.detections, 1, map(a_record, range(1, 4)))
        # Reads of other producers wait, too.
        await produce(real_kafka, topics.detections, {1: map(a_record, range(4, 9))})
        await shows(worker, "hotlist_consumer_lag", 8, partition="1")
        assert worker.metric("hotlist_reads_total") == 1

        async def stuck() -> bool:
            await worker.alive()
            return bool(worker.worker.stuck)

        await until(stuck, "the partition counts as stuck", lambda: caplog.text)
        [line] = worker.worker.stuck
        assert f"{topics.detections}/1 is stuck at offset 1 " in line
        named = f"an open transaction of producer {producer._txn_manager.producer_id} "
        named += f"({prefix}feed) since 20"
        assert named in line
        status, why = await worker.text("/readyz")
        assert status == 503
        assert named in why
        assert worker.metric("hotlist_held_back_seconds", topic="reads", partition="1") > 0
        assert worker.metric("hotlist_partition_stuck_seconds", partition="1") > 0
        _, page = await worker.text("/status.json")
        assert named in page
        held = [line for line in logged(caplog) if line.startswith("held back")]
        assert len(held) == 1
        assert named in held[0]

        [found] = await examined(real_kafka, prefix, "transactions")
        assert found.state == "problem"
        assert found.what.startswith(
            f"{topics.detections}/1: 8 records wait from offset 1 on: {named}"
        )
        [lag] = await examined(real_kafka, prefix, "lag")
        assert lag.what == "8 reads wait"

        if end == "commit":
            await producer.commit_transaction()
            await worker.has_processed(9)
        else:
            await producer.abort_transaction()
            await worker.has_processed(6)
        await shows(worker, "hotlist_consumer_lag", 0, partition="1")
        await shows(worker, "hotlist_held_back_seconds", 0)

        async def moves() -> bool:
            return not worker.worker.stuck

        await until(moves, "the partition is not stuck any more")
        assert (await worker.text("/readyz"))[0] == 200
        [found] = await examined(real_kafka, prefix, "transactions")
        assert found.state == "ok"
        assert any("is not held back any more" in line for line in logged(caplog))


async def test_lists_behind_an_open_transaction(
    real_kafka: str, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As a sync leaves them that was killed: an entry added meanwhile has no effect yet."""
    topics = Topics(prefix)
    async with (
        worker_here(real_kafka, prefix) as worker,
        producing(real_kafka, transactional_id=f"{prefix}sync", acks="all") as producer,
    ):
        await worker.ready()
        await producer.begin_transaction()
        await send_to_partition(producer, topics.hotlist, 0, sent(an_entry(entry_id="E-1"))[0])
        await send_to_partition(producer, topics.audit, 0, [ToSend(b"chain", b"{}")])
        await send_to_partition(producer, topics.suppression, 2, [ToSend(b"key", b"{}")])
        await produce(real_kafka, topics.hotlist, sent(an_entry(entry_id="E-2")))

        async def held() -> bool:
            await worker.alive()
            return all(
                worker.metric("hotlist_held_back_seconds", topic=topic, partition=partition) > 0.4
                for topic, partition in (("entries", "0"), ("audit", "0"), ("suppression", "2"))
            )

        await until(held, "the topics are held back")
        lines = [line for line in logged(caplog) if line.startswith("held back")]
        assert len(lines) == 3
        assert all(f"({prefix}sync) since 20" in line for line in lines)
        of_entries = [line for line in lines if f"{topics.hotlist}/0: " in line]
        assert "from offset 0 on, for " in of_entries[0]
        _, page = await worker.text("/status.json")
        assert f"({prefix}sync) since 20" in page
        found = await examined(real_kafka, prefix, "transactions")
        assert [each.what.split(" from ")[0] for each in found] == [
            f"{topics.audit}/0: 1 record waits",
            f"{topics.hotlist}/0: 2 records wait",
            f"{topics.suppression}/2: 1 record waits",
        ]
        assert worker.metric("hotlist_control_records_total") == 0
        await producer.abort_transaction()
        await shows(worker, "hotlist_held_back_seconds", 0)
        await shows(worker, "hotlist_control_records_total", 1)


async def test_what_the_brokers_tell(real_kafka: str, prefix: str) -> None:
    topic = Topics(prefix).detections
    parts = [TopicPartition(topic, number) for number in (0, 1, 2)]
    client = Cluster(real_kafka, Topics(prefix)).client()
    await client.bootstrap()
    try:
        await client.set_topics([topic])
        async with (
            producing(real_kafka, transactional_id=f"{prefix}a", acks="all") as one,
            producing(real_kafka, transactional_id=f"{prefix}b", acks="all") as other,
        ):
            await produce(real_kafka, topic, {0: [a_record(1)] * 5})
            for producer in (one, other):
                await producer.begin_transaction()
                await send_to_partition(producer, topic, 0, [a_record(2)] * 2)
            await send_to_partition(other, topic, 1, [a_record(2)])

            async def all_tell() -> bool:
                # A broker names itself as a new partition's leader before it is ready to lead it.
                return (await open_transactions(client, parts)).keys() == set(parts)

            await until(all_tell, "each partition's leader tells its transactions")
            found = await open_transactions(client, parts)
            shown = {
                part.partition: [(each.first_offset, each.transactional_id) for each in of_part]
                for part, of_part in found.items()
            }
            assert shown == {
                0: [(5, f"{prefix}a"), (7, f"{prefix}b")],
                1: [(0, f"{prefix}b")],
                2: [],
            }
            each: OpenTransaction
            for each in found[parts[0]]:
                assert each.started_ms is not None
                assert each.started_ms <= each.wrote_ms + 60_000
            await one.commit_transaction()
            await other.abort_transaction()

            async def ended() -> bool:
                return not any((await open_transactions(client, parts)).values())

            await until(ended, "none is open")
    finally:
        await client.close()


def logged(caplog: Any) -> list[str]:
    return [record.getMessage() for record in caplog.records]
