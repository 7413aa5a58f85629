"""The lists as the Python peers hold them: plain dicts, loaded before the first read.

The one part that all of them share, so that each peer's file shows its own loop alone.
"""

from __future__ import annotations

from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.job import Job


class PlainLists:
    """Entries by plate in normal form, as reads are keyed, and rules by source."""

    def __init__(self) -> None:
        self.entries: dict[bytes, list[dict[str, Any]]] = {}
        self._rules: dict[str, list[dict[str, Any]]] = {}

    def allowed(self, entry: dict[str, Any], source: str) -> bool:
        """Whether the source's policy lets this entry match on its reads."""
        return any(
            (rule["agencies"] == "*" or entry["agency"] in rule["agencies"])
            and (rule["purposes"] == "*" or entry["purpose"] in rule["purposes"])
            for rule in self._rules.get(source, ())
        )

    def found(self, plate: bytes, read: dict[str, Any]) -> list[dict[str, Any]]:
        """The matches that a read of a plate gives."""
        return [
            {"entry": entry, "read": read}
            for entry in self.entries.get(plate, ())
            if self.allowed(entry, read["source"])
        ]

    def matches(self, plate: bytes, read: dict[str, Any]) -> list[tuple[bytes, bytes]]:
        """The same as keys and values of records."""
        return [
            (match["entry"]["entry_id"].encode(), orjson.dumps(match))
            for match in self.found(plate, read)
        ]

    def take_entry(self, value: bytes) -> None:
        entry = orjson.loads(value)
        self.entries.setdefault(entry["plate"].encode(), []).append(entry)

    def take_policy(self, value: bytes) -> None:
        policy = orjson.loads(value)
        self._rules[policy["source"]] = policy["rules"]


async def load_lists(job: Job) -> PlainLists:
    """Both control topics, from their beginning to their end as it is now."""
    lists = PlainLists()
    take = {job.hotlist: lists.take_entry, job.policies: lists.take_policy}
    partitions = [TopicPartition(topic, 0) for topic in take]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=job.bootstrap, group_id=None, max_partition_fetch_bytes=4 * 1024 * 1024
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        waiting = {tp for tp in partitions if ends[tp]}
        while waiting:
            for tp, records in (await consumer.getmany(*waiting, timeout_ms=500)).items():
                for record in records:
                    take[tp.topic](record.value)
            waiting = {tp for tp in waiting if await consumer.position(tp) < ends[tp]}
    finally:
        await consumer.stop()
    return lists
