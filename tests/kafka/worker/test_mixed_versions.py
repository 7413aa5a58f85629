"""A fleet of two versions, as it is while it is upgraded, and after an upgrade that is taken back.

The newer one writes fields of which this one knows nothing, into the states that go with the
partitions and into the audit. Partitions go from one to the other and back: what was suppressed
stays suppressed and counted, every match comes, and all chains are whole.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from engine.audit.verifier import Verifier
from engine.cli.audit.audit_reader import verify
from engine.clock import SystemClock, format_time
from engine.config import Settings
from engine.kafka.topics import Topics
from engine.matching.match import match_id
from tests.fakes.examples import a_policy, a_read
from tests.kafka.delivery.test_suppression import PLATES, Traffic, carried, entry_of, remembered
from tests.kafka.following import sent
from tests.kafka.older_worker import id_of
from tests.kafka.records import ToSend, produce, read_topic
from tests.kafka.worker.test_audit import _no_bar
from tests.kafka.worker.test_main_job import all_done
from tests.kafka.worker_process import WorkerProcess

READS = 25


async def test_partitions_go_from_a_newer_version_to_this_one_and_back(
    real_kafka: str, prefix: str, tmp_path: Path
) -> None:
    topics, traffic = Topics(prefix), Traffic()
    await produce(real_kafka, topics.hotlist, sent(*map(entry_of, PLATES)))
    await produce(real_kafka, topics.policies, sent(a_policy()))

    def newer(name: str) -> WorkerProcess:
        program = ("-m", "tests.kafka.newer_worker")
        return WorkerProcess(tmp_path / name, real_kafka, prefix, program=program)

    async with newer("newer.log") as first:
        await produce(real_kafka, topics.detections, traffic.reads(READS))
        await first.has_processed(traffic.count)
        async with WorkerProcess(tmp_path / "this.log", real_kafka, prefix) as second:
            await second.ready()
            await produce(real_kafka, topics.detections, traffic.reads(READS))
            await first.stop()
            await produce(real_kafka, topics.detections, traffic.reads(READS))
            async with newer("again.log") as third:
                await third.ready()
                await produce(real_kafka, topics.detections, traffic.reads(READS))
                await second.stop()
                await all_done(real_kafka, prefix, third)
                await third.stop()
    states = await read_topic(real_kafka, topics.suppression)
    audit = await read_topic(real_kafka, topics.audit)
    for records in (states, audit):
        written = [b"newer_reason" in record.value for record in records if record.value]
        assert any(written), "the newer version is one"
        assert not all(written), "and this one is another"
    assert await carried(real_kafka, prefix) == traffic.expected
    verifier = Verifier(topics.audit)
    await verify(Settings(bootstrap=real_kafka, prefix=prefix), verifier, _no_bar)
    assert verifier.problems.shown == []
    assert len(verifier.heads()) == 4


async def test_version_0_1_is_upgraded_and_the_upgrade_is_taken_back(
    real_kafka: str, prefix: str, tmp_path: Path
) -> None:
    """One worker at a time, each stopped in order: every read has one id, that of the version that
    processed it. Neither version's state suppresses the other's matches, and both are kept."""
    topics = Topics(prefix)
    await produce(real_kafka, topics.hotlist, sent(*map(entry_of, PLATES)))
    await produce(real_kafka, topics.policies, sent(a_policy()))
    now_ms = SystemClock().now_ms()
    programs = {"old": ("-m", "tests.kafka.older_worker"), "new": ("-m", "engine")}
    read_ids: list[list[str]] = []
    for phase, version in enumerate(("old", "new", "old", "new")):
        reads: dict[int, list[ToSend]] = {}
        for partition, plate in enumerate(PLATES):
            for number in range(3):
                read = a_read(
                    read_id=f"{phase}-{number}-{plate}",
                    plate=plate,
                    captured_at=format_time(now_ms + 3000 * phase + 1000 * number),
                )
                record = ToSend(plate.encode(), orjson.dumps(read))
                reads.setdefault(partition, []).append(record)
        await produce(real_kafka, topics.detections, reads)
        read_ids.append([f"{phase}-0-{plate}" for plate in PLATES])
        name = f"{phase}-{version}.log"
        program = programs[version]
        async with WorkerProcess(tmp_path / name, real_kafka, prefix, program=program) as worker:
            await all_done(real_kafka, prefix, worker)
            await worker.stop()
    matches = [orjson.loads(each.value) for each in await read_topic(real_kafka, topics.matches)]
    # The first read of a car makes a match by each version; all the others are repeats, also after
    # the upgrade was taken back and after the next one.
    assert sorted(each["read"]["read_id"] for each in matches) == sorted(read_ids[0] + read_ids[1])
    assert {each["suppressed"] for each in matches} == {0}
    for each in matches:
        formula = id_of if each["read"]["read_id"] in read_ids[0] else match_id
        read = each["read"]
        assert each["match_id"] == formula(
            each["entry"]["entry_id"], each["entry_revision"], read["source"], read["read_id"]
        )
    counted = [state["suppressed"] for state in (await remembered(real_kafka, prefix)).values()]
    assert sorted(counted) == [5] * 2 * len(PLATES), "two of its first phase, three of its second"
    records = await read_topic(real_kafka, topics.audit)
    audited = [orjson.loads(record.value)["fields"].get("match_id") for record in records]
    assert sorted(filter(None, audited)) == sorted(each["match_id"] for each in matches)
    verifier = Verifier(topics.audit)
    await verify(Settings(bootstrap=real_kafka, prefix=prefix), verifier, _no_bar)
    assert verifier.problems.shown == []
