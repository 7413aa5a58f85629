"""Topics copied as deploy/guides/second_cluster.md has it done, on the same brokers.

The copy has the committed records of each topic but the suppression's, at other offsets, as
MirrorMaker makes it: what was aborted is not in it, and its own transactions take offsets. A group
stands there at a translated offset that is rather too low.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from engine.kafka.topics import DECLARED, OWN, Topics
from tests.kafka.records import ToSend, committed_offsets, producing, read_topic, send_to_partition

#: The topics that are copied, by their names without prefix and version.
COPIED: Final = tuple(each.name for each in DECLARED if each.name != OWN)
#: The groups of the workers, behind the prefix, by the topics on which they stand.
GROUPS: Final = {"hotlist": "group.audit", "policies": "group.audit", "detections": "group"}
#: Offsets by which a group stands too low on the copy.
TOO_LOW: Final = 40
#: Records of one transaction of the copy.
_BATCH: Final = 500

#: By partition of the original, the offsets of its records on the copy.
_Copied = Mapping[TopicPartition, Mapping[int, int]]
#: By the name of a topic and partition, an offset.
Stands = dict[tuple[str, int], int]


async def copy_topics(bootstrap: str, original: Topics, copy: Topics) -> Stands:
    """Copy topics to those of another prefix, which exist. Return where the groups of the workers
    stand on the copy. Nothing may be written to either meanwhile."""
    stands: Stands = {}
    for name in COPIED:
        topics = original.name(name), copy.name(name)
        copied = await _copy(bootstrap, *topics)
        if name in GROUPS:
            suffix = GROUPS[name]
            groups = f"{original.prefix}{suffix}", f"{copy.prefix}{suffix}"
            for partition, offset in (await _translate(bootstrap, groups, topics, copied)).items():
                stands[name, partition] = offset
    return stands


async def _copy(bootstrap: str, topic: str, copy: str) -> _Copied:
    """Copy a topic's committed records; each transaction's end takes an offset of the copy."""
    offsets: dict[TopicPartition, dict[int, int]] = {}
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
    bootstrap: str, groups: tuple[str, str], topics: tuple[str, str], copied: _Copied
) -> dict[int, int]:
    """Commit on the copy what the group has committed, rather too low; return it by partition."""
    (group, copied_group), (topic, copy) = groups, topics
    found: dict[TopicPartition, int] = {}
    for tp, committed in (await committed_offsets(bootstrap, topic, group)).items():
        below = [at for offset, at in copied.get(tp, {}).items() if offset < committed]
        found[TopicPartition(copy, tp.partition)] = max(0, max(below, default=0) + 1 - TOO_LOW)
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
