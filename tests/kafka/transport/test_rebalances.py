"""What stays with a worker goes on while its group rebalances, however long that takes.

A member by hand leads the group, and holds a rebalance open: before it joins, and after all have
joined. Meanwhile the reads of the workers' partitions are matched, and, as long as the broker takes
them, their offsets are committed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import orjson
import pytest

from engine.kafka.topics import Topics
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.following import sent
from tests.kafka.group_member import GroupMember, leading
from tests.kafka.records import (
    ToSend,
    committed_offsets,
    end_offsets,
    produce,
    read_topic,
    until,
)
from tests.kafka.worker_process import WorkerProcess

PARTITIONS = 4


class Reads:
    """Listed reads for each partition in turn, each of which makes a match."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._topics = Topics(prefix)
        self._group = f"{prefix}group"
        self._made = 0

    async def list(self) -> None:
        await produce(self._bootstrap, self._topics.hotlist, sent(an_entry()))
        await produce(self._bootstrap, self._topics.policies, sent(a_policy()))

    async def are_matched(self, member: GroupMember | None = None) -> None:
        """Produce a read for each partition, and wait for its match. The member stays alive."""
        self._made += 1
        reads = {
            partition: [
                ToSend(b"ABC1234", orjson.dumps(a_read(read_id=f"R-{self._made}-{partition}")))
            ]
            for partition in range(PARTITIONS)
        }
        await produce(self._bootstrap, self._topics.detections, reads)

        async def matched() -> bool:
            if member is not None:
                await member.is_rebalancing()
            return len(await self.matches()) == self._made * PARTITIONS

        await until(matched, f"round {self._made} is matched", lambda: f"{self._made}")

    async def are_committed(self, member: GroupMember) -> None:
        """Wait until all offsets are committed."""
        ends = await end_offsets(self._bootstrap, self._topics.detections)

        async def committed() -> bool:
            await member.is_rebalancing()
            found = await committed_offsets(self._bootstrap, self._topics.detections, self._group)
            return found == ends

        await until(committed, "all reads are committed")

    async def matches(self) -> Counter[str]:
        """How often each read's match came."""
        records = await read_topic(self._bootstrap, self._topics.matches)
        return Counter(orjson.loads(record.value)["read"]["read_id"] for record in records)


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
async def test_what_stays_goes_on_while_a_rebalance_is_held_open(
    real_kafka: str, prefix: str, tmp_path: Path, delivery: str
) -> None:
    reads, topic = Reads(real_kafka, prefix), Topics(prefix).detections
    await reads.list()

    def worker(name: str) -> WorkerProcess:
        flags = ("--delivery", delivery, "--rebalance", "cooperative")
        return WorkerProcess(tmp_path / name, real_kafka, prefix, *flags)

    async with (
        leading(real_kafka, f"{prefix}group", topic, PARTITIONS) as leader,
        worker("first.log") as first,
        worker("second.log") as second,
    ):
        async with asyncio.timeout(120):
            await leader.lead([2, 2])
        await first.ready()
        await second.ready()
        await reads.are_matched(leader)
        async with worker("third.log"):

            async def joins() -> bool:
                return await leader.is_rebalancing()

            await until(joins, "the third worker joins")
            for _ in range(3):  # the leader has not joined again, and the others have
                await reads.are_matched(leader)
                await reads.are_committed(leader)
            await leader.join()
            # All have joined, and none knows yet what it is assigned.
            for _ in range(3):
                await reads.are_matched(leader)
            await leader.assign()
            async with asyncio.timeout(120):
                await leader.lead([1, 1, 2])
            for _ in range(2):
                await reads.are_matched(leader)
                await reads.are_committed(leader)
    assert set((await reads.matches()).values()) == {1}
