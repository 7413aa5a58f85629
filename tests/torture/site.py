"""The topics of one prefix, with all that looks at them, and a copy of them at which all goes on.

A copy is made as `deploy/guides/second_cluster.md` has it, under another prefix on the same
brokers. The original is judged before, and then deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Final

from engine.delivery.transactional_producer import TransactionalSink
from engine.kafka.cluster import Cluster
from engine.kafka.topic_admin import create_topics, delete_topics
from engine.kafka.topics import CONTROL, Topics
from tests.kafka.copied_topics import COPIED, GROUPS, copy_topics
from tests.kafka.records import committed_offsets, end_offsets
from tests.torture.cluster import KINDS, PARTITIONS, ReadPartitions
from tests.torture.evidence import Evidence, Place
from tests.torture.follower import Follower
from tests.torture.judge import Findings, Judge
from tests.torture.moving import Replicas
from tests.torture.waits import cancelled
from tests.torture.workers import now_s

#: What stands on the topics may take so long to be seen: an open transaction ends before.
_SEEN_S: Final = 180.0
#: Of these everything counts on the original that lies there, and is only kept on the copy.
_KEPT: Final = ("matches", "audit")


class Site:
    """See the module. The topics are there before it is made; `evidence` and `findings` are what it
    adds to."""

    def __init__(
        self, cluster: Cluster, evidence: Evidence, findings: Findings, *, is_exactly_once: bool
    ) -> None:
        self.cluster = cluster
        self.topics = topics = cluster.topics
        self.evidence = evidence
        self.partitions = ReadPartitions(cluster.bootstrap, topics)
        self.judge = Judge(evidence, is_exactly_once=is_exactly_once, findings=findings)
        self.replicas = Replicas(cluster.bootstrap, topics)
        self.follower = Follower(
            cluster.bootstrap, topics, cluster.group, self.partitions, evidence
        )
        self._is_exactly_once = is_exactly_once
        self._following: dict[str, asyncio.Task[None]] = {}

    async def follow(self, stack: AsyncExitStack) -> None:
        """Follow the topics and the commits, until there is a copy or the stack is closed. Returns
        when the lists as they begin are seen; no worker may start before."""
        for what, following in (
            ("the follower", self.follower.follow()),
            ("the follower of commits", self.follower.watch_commits()),
        ):
            self._following[what] = asyncio.create_task(following)
            stack.push_async_callback(cancelled, self._following[what], what)
        await self.follower.has_seen([*CONTROL], _SEEN_S)
        self.evidence.started_s = now_s()

    async def copied(self, prefix: str, replication: int) -> Site:
        """Judge what lies here, and copy it to topics of another prefix. No worker runs, and
        nothing is sent."""
        if self._is_exactly_once:
            await self._end_transactions()
        await self.follower.has_seen(KINDS, _SEEN_S)
        bootstrap, evidence = self.cluster.bootstrap, self.evidence
        evidence.left_from = left_from = await self._committed()
        for partition in range(self.partitions.count):
            offset = left_from.get(("detections", partition), 0)
            evidence.note_committed(partition, offset, now_s())
        left = evidence.left()
        self.judge.judge()
        self.judge.finish()
        for what, following in self._following.items():
            await cancelled(following, what)
        copy = Cluster(bootstrap, Topics(prefix), f"{prefix}group")
        await create_topics(copy, partitions=PARTITIONS, replication=replication)
        more = self.partitions.count - PARTITIONS
        if more:
            await ReadPartitions(bootstrap, copy.topics).add(more)
        stands = await copy_topics(bootstrap, self.topics, copy.topics)
        copied_to = await _ends(copy, COPIED)
        kept = {place: end for place, end in copied_to.items() if place[0] in _KEPT}
        site = Site(
            copy,
            evidence.of_copy({**stands, **kept}, copied_to, left),
            self.judge.findings,
            is_exactly_once=self._is_exactly_once,
        )
        site.partitions.count = self.partitions.count
        await delete_topics(self.cluster)
        return site

    async def _end_transactions(self) -> None:
        """End what killed workers have left open, as their successors would: the broker takes
        longer than a minute."""
        for partition in range(self.partitions.count):
            successor = TransactionalSink(self.cluster, partition)
            await successor.start()
            await successor.stop()

    async def _committed(self) -> dict[Place, int]:
        """Where the groups of the workers stand."""
        found: dict[Place, int] = {}
        for kind, group in GROUPS.items():
            name = self.topics.name(kind)
            committed = await committed_offsets(
                self.cluster.bootstrap, name, f"{self.topics.prefix}{group}"
            )
            found |= {(kind, tp.partition): offset for tp, offset in committed.items()}
        return found


async def _ends(cluster: Cluster, kinds: Iterable[str]) -> dict[Place, int]:
    return {
        (kind, tp.partition): end
        for kind in kinds
        for tp, end in (await end_offsets(cluster.bootstrap, cluster.topics.name(kind))).items()
    }
