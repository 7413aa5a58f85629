"""A fleet of two versions, as it is while it is upgraded, and after an upgrade that is taken back.

The newer one writes fields of which this one knows nothing, into the states that go with the
partitions and into the audit. Partitions go from one to the other and back: what was folded stays
folded and counted, every match comes, and all chains are whole.
"""

from __future__ import annotations

from pathlib import Path

from engine.audit.verifier import Verifier
from engine.cli.audit.audit_reader import verify
from engine.config import Settings
from engine.kafka.topics import Topics
from tests.fakes.examples import a_policy
from tests.kafka.delivery.test_suppression import PLATES, Traffic, carried, entry_of
from tests.kafka.following import sent
from tests.kafka.records import produce, read_topic
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
    assert len(verifier.heads()) == 3
