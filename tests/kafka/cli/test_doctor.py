"""`hotlist doctor` on real deployments, well and ailing."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition

from engine import limits
from engine.cli.doctor.checks import Looking, examine, positions
from engine.cli.doctor.findings import Finding
from engine.cli.doctor.ingest_checks import Planned, examine_ingest
from engine.clock import SystemClock, parse_time
from engine.config import Settings
from engine.errors import BrokerError
from engine.kafka import controller_clock
from engine.kafka.acls import roles
from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import check_topics, create_topics
from engine.kafka.topic_config import change_settings, connected_admin
from engine.kafka.topics import Topics
from engine.wire.java_partitioner import murmur2_partition
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.broker import RealBroker
from tests.kafka.cli.test_cli import Commands
from tests.kafka.guarded import Rights, Way, rights_of, user
from tests.kafka.jars import release
from tests.kafka.records import ToSend, add_partitions, member, produce, producing
from tests.kafka.worker_here import worker_here


@pytest.fixture(autouse=True)
def _watch_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOCTOR_WATCH_S", 0.2)


async def look(bootstrap: str, prefix: str, looking: Looking | None = None) -> list[Finding]:
    settings = Settings(bootstrap=bootstrap, prefix=prefix, group=f"{prefix}group")
    return [finding async for finding in examine(settings, looking or Looking())]


async def look_before_ingest(bootstrap: str, prefix: str) -> Sequence[tuple[str, str, str]]:
    """What `hotlist ingest --source city --mqtt --check` finds out about the brokers."""
    settings = Settings(bootstrap=bootstrap, prefix=prefix)
    findings = examine_ingest(settings, Planned("city", None, is_mqtt=True))
    return [(each.check, each.state, each.what) async for each in findings][1:]


def of(findings: list[Finding], check: str, *states: str) -> list[str]:
    """What was found by a check, in these states."""
    return [each.what for each in findings if each.check == check and each.state in states]


def record(document: Any) -> ToSend:
    return ToSend(b"ABC1234", json.dumps(document).encode())


async def test_a_deployment_that_is_well(real_kafka: str, prefix: str) -> None:
    topics = Topics(prefix)
    await produce(real_kafka, topics.hotlist, {0: [ToSend(b"E-1", record(an_entry()).value)]})
    await produce(real_kafka, topics.policies, {0: [ToSend(b"city", record(a_policy()).value)]})
    async with worker_here(real_kafka, prefix) as worker:
        await worker.ready()
        await produce(real_kafka, topics.detections, {1: [record(a_read())] * 3})
        await worker.has_processed(3)
        url = f"http://127.0.0.1:{worker.worker.http.port}"
        found = await look(real_kafka, prefix, Looking(workers=(url, "http://127.0.0.1:1")))
    assert [each for each in found if each.state == "problem"] == [
        Finding(
            "workers",
            "problem",
            "worker http://127.0.0.1:1 does not answer (ClientConnectorError)",
            "check that it runs and that this is its port",
        )
    ]
    brokers = len(real_kafka.split(","))
    lone = "there is one replica of everything: if a broker is lost, its records are lost"
    assert await look_before_ingest(real_kafka, prefix) == [
        ("brokers", "ok", f"{brokers} answer at {real_kafka}"),
        *([("topics", "note", lone)] if brokers == 1 else []),
        ("topics", "ok", "1 topic, 4 partitions, all with a leader"),
        ("rights", "ok", "this login has the rights of the role ingest"),
        ("topics", "ok", f"topic {topics.detections}: max.message.bytes is 1048588"),
        ("policies", "ok", "source city has a policy"),
    ]
    assert of(found, "workers", "ok") == [
        f"1 in the group {prefix}group",
        f"worker {url} takes reads",
    ]
    assert len(of(found, "lists", "ok")) == 2
    [good] = of(found, "reads", "ok")
    assert good.startswith("3 of the latest 3 are good")
    # The broker of the tests refuses nobody anything, and that is said.
    assert len(of(found, "rights", "warning")) == 1


async def test_partitions_that_were_added(real_kafka: str, prefix: str) -> None:
    """No worker has them, and they have no commit; their reads are counted all the same."""
    topics = Topics(prefix)
    async with member(real_kafka, topics.detections, f"{prefix}group"):
        await add_partitions(real_kafka, topics.detections, 6)
        await produce(real_kafka, topics.detections, {5: [record(a_read())] * 3})
        found = await look(real_kafka, prefix)
    assert of(found, "workers", "warning") == [
        f"no worker in the group {prefix}group owns partition 4, 5"
    ]
    assert of(found, "lag", "ok") == ["3 reads wait"]


async def test_what_a_group_does_not_say() -> None:
    """While its coordinator loads it leaves partitions out; that is no commit at the beginning."""

    class Admin:
        async def list_consumer_group_offsets(self, *_: Any, **__: Any) -> dict[Any, Any]:
            return {}

    class Consumer:
        async def end_offsets(self, parts: Any) -> dict[Any, int]:
            return dict.fromkeys(parts, 7)

    with pytest.raises(BrokerError, match="does not report its committed offsets"):
        await positions(Admin(), "g", Consumer(), [TopicPartition("t", 0)])


async def test_what_ails(real_kafka: str, prefix: str) -> None:
    """No worker, a bad read, a read of the future, an open transaction, reads that are kept."""
    topics = Topics(prefix)
    async with connected_admin(Cluster(real_kafka, topics)) as admin:
        wrong = {"retention.ms": "-1", "max.message.bytes": "65536"}
        await change_settings(admin, topics.detections, wrong)
    read = a_read()
    late = parse_time(read["captured_at"]) + 3_600_000
    await produce(
        real_kafka,
        topics.detections,
        {
            murmur2_partition(b"ABC1234", 4): [
                record(read),
                record({**read, "captured_at": "noon"}),
                ToSend(None, record(read).value),
            ]
        },
    )
    async with producing(real_kafka) as producer:
        await producer.send_and_wait(
            topics.detections, record(read).value, b"ABC1234", timestamp_ms=late
        )
    async with producing(real_kafka, transactional_id=f"{prefix}open", acks="all") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topics.hotlist, record(an_entry()).value, b"E-1")
        found = await look(real_kafka, prefix)
        await producer.abort_transaction()
    before = await look_before_ingest(real_kafka, prefix)
    small = "max.message.bytes is 65536, and a read may have up to 131072 bytes"
    assert before[-2:] == [
        ("topics", "warning", f"topic {topics.detections}: {small}"),
        (
            "policies",
            "note",
            "source city has no policy: its reads match nothing until it has one",
        ),
    ]
    assert of(found, "topics", "problem") == []
    kept, small_batches = of(found, "topics", "warning")
    assert kept.startswith(f"topic {topics.detections}: retention.ms is -1")
    assert "max.message.bytes is 65536" in small_batches
    assert of(found, "workers", "problem") == [f"no worker is in the group {prefix}group"]
    assert of(found, "lag", "problem") == ["4 reads wait"]
    assert of(found, "reads", "problem") == [
        (
            "1 of 4 are rejected: schema, $.captured_at must be a time of RFC 3339 such as "
            "2026-01-31T12:00:00.000Z"
        )
    ]
    assert of(found, "reads", "warning") == ["1 of 4 have odd keys (1 missing)"]
    [skew] = of(found, "clocks", "warning")
    assert skew.startswith("the clock of a producer of reads is ")
    assert " min " in skew  # of the hour, some seconds of this test have passed
    assert skew.endswith(" ahead of the local one")
    assert of(found, "lists", "warning") == [
        f"topic {topics.hotlist}: a transaction is open, offsets from 0 on have no effect",
        f"topic {topics.policies} is empty: nothing can match",
    ]


def test_without_topics(real_kafka: str) -> None:
    """One problem and what to do; the other checks say that they could not be made."""
    prefix = f"test-{uuid.uuid4().hex[:12]}."
    commands = Commands(real_kafka, prefix)
    result = commands.run("doctor")
    assert result.exit_code == 1
    assert f"{prefix}detections.v1" in result.stdout
    assert "hotlist topics create" in result.stdout
    missing = ("topics", "problem", f"topic {prefix}detections.v1 missing")
    assert missing in asyncio.run(look_before_ingest(real_kafka, prefix))
    assert result.stderr.startswith(f"hotlist: {real_kafka}: found ")
    lines = [json.loads(line) for line in commands.run("doctor", "--json").stdout.splitlines()]
    assert all(line.keys() == {"check", "state", "what", "todo"} for line in lines)


def test_no_broker() -> None:
    result = Commands("127.0.0.1:1", "x.").run("doctor")
    assert result.exit_code == 1
    assert result.stderr.startswith("hotlist: 127.0.0.1:1: ")
    assert result.stderr.count("\n") == 1


def test_a_role_that_is_none() -> None:
    result = Commands("127.0.0.1:1", "x.").run("doctor", "--role", "boss")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def _check_ingest(rights: Rights, name: str, way: Way, prefix: str) -> None:
    """`hotlist ingest --check` names what a user lacks, and what the role does not let it see."""
    topics = Topics(prefix)
    options = ("--source", "city", "--listen", "127.0.0.1:0", "--check", "--json")

    def found() -> list[tuple[str, str, str]]:
        token = "a-token-of-the-tests"
        said = way.run(prefix, "ingest", "axis", *options, HOTLIST_INGEST_TOKEN=token).stdout
        each = map(json.loads, said.splitlines())
        return [(one["check"], one["state"], one["what"]) for one in each]

    rights.take(name)
    lacks = f"for the role ingest this login lacks Write on topic {topics.detections}"
    assert ("rights", "problem", lacks) in found()
    rights.give(name, rights_of(roles(topics, "")["ingest"]))
    said = found()
    assert ("rights", "ok", "this login has the rights of the role ingest") in said
    assert ("policies", "note", "this login may not see whether source city has a policy") in said
    hidden = f"the brokers do not show whether max.message.bytes of topic {topics.detections} is"
    assert [what for _, state, what in said if state == "note" and what.startswith(hidden)]
    assert "problem" not in {state for _, state, _ in said}


def test_rights(guarded: RealBroker) -> None:
    """A login with a role's rights can do its work; one right less, and it is named."""
    prefix = f"test-{uuid.uuid4().hex[:12]}."
    asyncio.run(
        create_topics(Cluster(guarded.bootstrap, Topics(prefix)), partitions=1, replication=1)
    )
    engine = roles(Topics(prefix), f"{prefix}group")["engine"]
    rights = Rights(guarded)
    name = "trainee-23"
    way = user(guarded, name)
    arguments = ("doctor", "--role", "engine", "--group", f"{prefix}group")
    rights.give(name, rights_of(engine))
    try:
        said = way.run(prefix, *arguments).stdout
        assert "this login has the rights of the role engine" in said, said
        assert "do not show the settings" not in said, said
        rights.take(name)
        write = next(right for right in rights_of(engine) if right.operation == "Write")
        rights.give(name, [right for right in rights_of(engine) if right != write])
        said = way.run(prefix, *arguments).stdout
        # Without Write the login does not see the topic, so no right on it is known.
        lacks = (
            f"for the role engine this login lacks Write and DescribeConfigs on topic {write.name}"
        )
        assert lacks in said, said
        _check_ingest(rights, name, way, prefix)
    finally:
        rights.take(name)


class _Behind(SystemClock):
    """The local clock, two hours behind."""

    def now_ms(self) -> int:
        return super().now_ms() - 7_200_000


@pytest.mark.skipif(release() < (3, 3), reason="the controller does not tell its time (KIP-836)")
async def test_a_controller_whose_clock_is_another(
    real_kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert of(await look(real_kafka, prefix), "clocks", "note", "warning") == []
    monkeypatch.setattr(controller_clock, "SystemClock", _Behind)
    assert of(await look(real_kafka, prefix), "clocks", "warning") == [
        "the clock of the cluster's controller is 2 h ahead of the local one"
    ]


async def test_a_rack_that_no_broker_is_in(real_kafka: str, prefix: str) -> None:
    settings = Settings(bootstrap=real_kafka, prefix=prefix, client_rack="zone-c")
    findings = [finding async for finding in examine(settings, Looking())]
    # Only a cluster's brokers have racks.
    racks = "are in zone-1, zone-2, zone-3" if "," in real_kafka else "have none"
    said = f"no broker is in the rack zone-c: they {racks}"
    assert of(findings, "brokers", "warning") == [said]
    assert await check_topics(Cluster.of(settings)) == [said]
