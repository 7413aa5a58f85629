"""Workers that go on at a copy of the topics, as deploy/guides/second_cluster.md has it made.

The copy has the committed records of each topic but the suppression's, at other offsets, as
MirrorMaker makes it: what was aborted is not in it, and its own transactions take offsets. The
group stands there at a translated offset that is rather too low. Here the copy lies on the same
broker under another prefix.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from engine.audit.verifier import Verifier
from engine.cli.audit.audit_reader import verify
from engine.config import Settings
from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import create_topics
from engine.kafka.topics import DECLARED, OWN, Topics
from tests.kafka.conftest import replicas
from tests.kafka.records import (
    ToSend,
    committed_offsets,
    produce,
    producing,
    read_topic,
    send_to_partition,
)
from tests.kafka.town import Town, sizes
from tests.kafka.worker.test_main_job import all_done
from tests.kafka.worker_here import worker_here

_COPIED: Final = tuple(each.name for each in DECLARED if each.name != OWN)
#: Offsets by which a group stands too low on the copy.
_TOO_LOW: Final = 40
_BATCH: Final = 500

#: By partition of the original, the offsets of its records on the copy.
Copied = dict[TopicPartition, dict[int, int]]


async def _copied(bootstrap: str, topic: str, copy: str) -> Copied:
    """Copy a topic's committed records; each transaction's end takes an offset of the copy."""
    offsets: Copied = {}
    by_partition: dict[int, list[Any]] = {}
    for record in await read_topic(bootstrap, topic):
        by_partition.setdefault(record.partition, []).append(record)
    async with producing(bootstrap, transactional_id=f"{copy}copier") as producer:
        for partition, records in by_partition.items():
            await producer.begin_transaction()
            await send_to_partition(producer, copy, partition, [ToSend(b"not", b"copied")])
            await producer.abort_transaction()
            known = offsets[TopicPartition(topic, partition)] = {}
            for start in range(0, len(records), _BATCH):
                batch = records[start : start + _BATCH]
                await producer.begin_transaction()
                first = await send_to_partition(
                    producer, copy, partition, [ToSend(r.key, r.value, r.headers) for r in batch]
                )
                await producer.commit_transaction()
                known |= {record.offset: first + at for at, record in enumerate(batch)}
    return offsets


async def _translate(
    bootstrap: str, group: str, copied_group: str, topic: str, copy: str, copied: Copied
) -> dict[int, int]:
    """Commit on the copy what the group has committed, rather too low; return it by partition."""
    found: dict[TopicPartition, int] = {}
    for tp, committed in (await committed_offsets(bootstrap, topic, group)).items():
        below = [at for offset, at in copied.get(tp, {}).items() if offset < committed]
        found[TopicPartition(copy, tp.partition)] = max(0, max(below, default=0) + 1 - _TOO_LOW)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=copied_group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign(list(found))
        await consumer.commit(found)
    finally:
        await consumer.stop()
    return {tp.partition: offset for tp, offset in found.items()}


@contextlib.contextmanager
def _no_bar(total: int) -> Iterator[Any]:
    yield lambda steps: None


async def _told(bootstrap: str, topics: Topics) -> Counter[tuple[str, str]]:
    """How often each pair of entry and read was told; one match id is told once."""
    by_id = {}
    for record in await read_topic(bootstrap, topics.matches):
        match = orjson.loads(record.value)
        by_id[match["match_id"]] = match["entry"]["entry_id"], match["read"]["read_id"]
    return Counter(by_id.values())


async def test_a_copy_loses_nothing_and_tells_twice_what_the_guide_says(
    real_kafka: str, prefix: str
) -> None:
    town = Town(entries=2_000, sources=20, reads=20_000, hit_rate=0.1, seed=11)
    primary, backup = Topics(prefix), Topics(f"{prefix}backup.")
    await town.produce_control(real_kafka, primary.hotlist, primary.policies)
    await produce(real_kafka, primary.detections, town.reads_between(0, 0.5))
    async with worker_here(real_kafka, primary.prefix) as here:
        await here.ready()
        await all_done(real_kafka, primary.prefix, here)
    await produce(real_kafka, primary.detections, town.reads_between(0.5, 0.7))  # these wait

    cluster = Cluster(real_kafka, backup)
    await create_topics(cluster, partitions=4, replication=replicas())
    copied = {
        name: await _copied(real_kafka, primary.name(name), backup.name(name)) for name in _COPIED
    }
    stands: dict[int, int] = {}
    for name, suffix in (("hotlist", ".audit"), ("policies", ".audit"), ("detections", "")):
        groups = f"{primary.prefix}group{suffix}", f"{backup.prefix}group{suffix}"
        names = primary.name(name), backup.name(name)
        stands = await _translate(real_kafka, *groups, *names, copied[name])

    await produce(real_kafka, backup.detections, town.reads_between(0.7, 1))
    async with worker_here(real_kafka, backup.prefix) as here:
        await here.ready()
        await all_done(real_kafka, backup.prefix, here)
        assert here.metric("hotlist_reads_total") < 0.6 * sizes(town.reads)

    first, second = await _told(real_kafka, primary), await _told(real_kafka, backup)
    # The copy holds what the original told, with its ids.
    again = second - first
    told = first + again
    wanted = {(match.entry_id, match.read_id) for match in town.matches.values()}
    assert wanted - told.keys() == set(), "matches lost"
    suppressing = {
        entry["entry_id"]
        for entry in (orjson.loads(record.value or b"") for record in town.entries[0])
        if entry.get("suppress_s") != 0
    }
    assert {pair for pair in told.keys() - wanted if pair[0] not in suppressing} == set()
    repeated = {pair[1] for pair, count in told.items() if count > 1}
    low = {
        orjson.loads(record.value)["read_id"]
        for record in await read_topic(real_kafka, backup.detections)
        if record.offset < stands[record.partition] + 2 * _TOO_LOW
        and record.offset >= stands[record.partition]
    }
    assert repeated <= low
    assert repeated, "the group stood too low"

    verifier = Verifier(backup.audit)
    await verify(Settings(bootstrap=real_kafka, prefix=backup.prefix), verifier, _no_bar)
    assert list(map(str, verifier.problems.shown)) == []
