"""Delivery exactly once: whoever reads committed sees every match once, whatever happens.

On a real Kafka, with workers in processes of their own that are killed, or stopped past their
session, at the steps of a transaction where it hurts (`tests.kafka.faulty_worker`).
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from engine.audit.chain import Chain
from engine.clock import SystemClock
from engine.config import Settings
from engine.delivery.audit_chains import last_record
from engine.delivery.suppression_changelog import state_records
from engine.delivery.suppression_reader import SuppressionReader
from engine.errors import ConfigError
from engine.kafka.cluster import Cluster
from engine.kafka.topics import Topics
from engine.matching.written_states import SuppressionRecord
from engine.worker.worker import Worker, WorkerOptions
from tests.kafka.delivery.test_suppression import remembered
from tests.kafka.records import (
    ToSend,
    produce,
    producing,
    read_topic,
    send_to_partition,
    until,
)
from tests.kafka.town import Town, found_matches
from tests.kafka.worker.test_audit import named, the_audit
from tests.kafka.worker.test_main_job import all_done, check_likeness, matches_on
from tests.kafka.worker_process import WorkerProcess


@pytest.fixture(scope="module")
def hamlet() -> Town:
    return Town(entries=2_000, sources=8, reads=40_000, hit_rate=0.05)


def worker(
    log_file: Path,
    bootstrap: str,
    prefix: str,
    fault: str = "KILL",
    step: str = "",
    number: int = 0,
) -> WorkerProcess:
    program = ("-m", "tests.kafka.faulty_worker", fault, step, str(number))
    arguments = ("--delivery", "exactly_once")
    return WorkerProcess(log_file, bootstrap, prefix, *arguments, program=program)


async def check_once(bootstrap: str, prefix: str, town: Town) -> None:
    """Every expected match once and no other, with what it carries; each audited once, in whole
    chains; and what is folded and not carried yet is remembered."""
    topics = Topics(prefix)
    records = await matches_on(bootstrap, prefix)
    found = found_matches(records)
    assert set(found) == town.expected
    assert len(found) == len(town.expected), "a match came twice"
    check_likeness(records, town)
    assert await read_topic(bootstrap, topics.rejects) == []
    audited = [
        str(record.fields["match_id"])
        for record in named(await the_audit(bootstrap, prefix), "match")
    ]
    assert sorted(audited) == sorted(match.match_id for match in found)
    carried = sum(orjson.loads(record.value)["suppressed"] for record in records)
    states = await remembered(bootstrap, prefix)
    assert carried + sum(each["suppressed"] for each in states.values()) == town.folded_count


async def test_killed_in_the_middle_of_transactions(
    real_kafka: str, prefix: str, hamlet: Town, tmp_path: Path
) -> None:
    topics = Topics(prefix)
    await hamlet.produce_control(real_kafka, topics.hotlist, topics.policies)
    await produce(real_kafka, topics.detections, hamlet.reads)
    for step, number in (("sent", 3), ("committing", 4)):
        async with worker(
            tmp_path / f"{step}.log", real_kafka, prefix, "KILL", step, number
        ) as one:
            assert await one.ends() == -signal.SIGKILL, one.log()
    async with worker(tmp_path / "last.log", real_kafka, prefix) as last:
        await all_done(real_kafka, prefix, last)
        await last.stop()
    await check_once(real_kafka, prefix, hamlet)


async def test_one_that_was_stopped_comes_back(
    real_kafka: str, prefix: str, hamlet: Town, tmp_path: Path
) -> None:
    """Another has long done its work when it goes on, in the middle of a transaction."""
    topics = Topics(prefix)
    await hamlet.produce_control(real_kafka, topics.hotlist, topics.policies)
    await produce(real_kafka, topics.detections, hamlet.reads_between(0, 0.7))
    async with worker(tmp_path / "stops", real_kafka, prefix, "STOP", "sent", 5) as stops:
        await until(lambda: is_stopped(stops.pid), "one has stopped", stops.log)
        async with worker(tmp_path / "stays", real_kafka, prefix) as stays:
            await all_done(real_kafka, prefix, stays)
            os.kill(stops.pid, signal.SIGCONT)

            async def has_noticed() -> bool:
                await stops.alive()
                # Of the group, or of the broker that fences its transactions, whichever is first.
                return any(
                    told in stops.log()
                    for told in ("the group has dropped this worker", "the group rebalances")
                )

            await until(has_noticed, "it has noticed", stops.log)
            await produce(real_kafka, topics.detections, hamlet.reads_between(0.7, 1))
            await all_done(real_kafka, prefix, stays)
            await stops.stop()
            await stays.stop()
    await check_once(real_kafka, prefix, hamlet)


async def test_a_chain_follows_a_record_that_counts(real_kafka: str, prefix: str) -> None:
    """What is aborted behind it, or open, is not looked at, however much of it there is."""
    topics = Topics(prefix)
    chain = Chain("group/1")
    first, second, third = (chain.seal("match", {"number": number}, 0) for number in range(3))

    async def send(producer: AIOKafkaProducer, *values: bytes) -> None:
        records = [ToSend(b"group/1", value) for value in values]
        await producer.begin_transaction()
        await send_to_partition(producer, topics.audit, 2, records)

    assert await last_record(Cluster(real_kafka, topics)) is None
    async with producing(real_kafka, acks="all", transactional_id=f"{prefix}a") as producer:
        await send(producer, first, second)
        await producer.commit_transaction()
        await send(producer, *100 * [third])
        await producer.abort_transaction()
        await send(producer, third)
        last = await last_record(Cluster(real_kafka, topics))
        assert last is not None
        assert last.sequence == 1
        await producer.abort_transaction()


async def test_a_state_behind_an_open_transaction_is_waited_for(
    real_kafka: str, prefix: str
) -> None:
    """Partitions 0 and 4 of the reads have their states in one partition."""
    topics = Topics(prefix)
    cluster = Cluster(real_kafka, topics, "group")
    number = iter(range(100))

    async def send(producer: AIOKafkaProducer, source: int, value: bytes) -> bytes:
        change = SuppressionRecord(source, b"%016d" % next(number), value)
        [record] = state_records(cluster, [change])
        await producer.begin_transaction()
        states = [ToSend(record.key, record.value)]
        await send_to_partition(producer, topics.suppression, 0, states)
        return record.key

    reader = SuppressionReader(cluster)
    await reader.start()
    try:
        async with (
            producing(real_kafka, acks="all", transactional_id=f"{prefix}0") as one,
            producing(real_kafka, acks="all", transactional_id=f"{prefix}4") as other,
        ):
            await send(one, 0, b"aborted")
            await one.abort_transaction()
            await send(other, 4, b"other's")
            held = await send(one, 0, b"held")
            await one.commit_transaction()
            reading = asyncio.create_task(reader.states_of([0], 4))
            await asyncio.wait({reading}, timeout=1)
            assert not reading.done()
            await other.commit_transaction()
            assert (await reading)[0].written == {held: b"held"}
    finally:
        await reader.stop()


def test_the_embedded_broker_is_refused() -> None:
    settings = Settings(delivery="exactly_once")
    with pytest.raises(ConfigError) as caught:
        Worker(settings, WorkerOptions(SystemClock(), check_topics=False))
    assert str(caught.value) == (
        "delivery: exactly_once is not possible: the embedded broker keeps no transactions apart; "
        "use a Kafka, or at_least_once"
    )


async def is_stopped(pid: int) -> bool:
    stat = await asyncio.to_thread(Path(f"/proc/{pid}/stat").read_text)
    return stat.rpartition(")")[2].split()[0] == "T"
