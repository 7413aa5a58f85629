"""Follows all topics and the group's commits, and says what has not drained yet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from engine.kafka.topics import Topics
from tests.torture.cluster import KINDS, ReadPartitions, all_records
from tests.torture.evidence import Evidence
from tests.torture.waits import CLIENT_S, StuckError, within
from tests.torture.workers import now_s

_POLL_MS: Final = 100
_PAUSE_S: Final = 0.1
_COMMITS_EVERY_S: Final = 0.3
_REQUEST_MS: Final = 3_000
#: A fetch that is not answered while the broker is away; the follower then goes on from where it
#: is, and what it has seen is seen.
_FETCH_S: Final = 60.0


class Follower:
    """See the module. It reaches the broker by no network that fails, and waits while the broker
    is away."""

    def __init__(
        self,
        bootstrap: str,
        topics: Topics,
        group: str,
        partitions: ReadPartitions,
        evidence: Evidence,
    ) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._group = group
        self._partitions = partitions
        self._evidence = evidence
        self._seen_to: dict[TopicPartition, int] = {}

    async def follow(self) -> None:
        """Note every record as it comes; until cancelled."""
        kind_of = {self._topics.name(kind): kind for kind in KINDS}
        async with all_records(self._bootstrap, self._partitions) as consumer:
            while True:
                self._follow_new(consumer)
                try:
                    async with within(_FETCH_S, "the follower's fetch"):
                        found = await consumer.getmany(timeout_ms=_POLL_MS)
                except (KafkaError, StuckError):
                    await asyncio.sleep(_PAUSE_S)
                    continue
                seen_s = now_s()
                for tp, records in found.items():
                    self._evidence.note(kind_of[tp.topic], records, seen_s)
                for tp in consumer.assignment():
                    with contextlib.suppress(KafkaError, StuckError):
                        async with within(_FETCH_S, f"the follower's position in {tp.topic}"):
                            self._seen_to[tp] = await consumer.position(tp)

    def _follow_new(self, consumer: Any) -> None:
        """Follow the partitions that were added too, the others from where it is."""
        followed = self._partitions.followed()
        if len(followed) > len(consumer.assignment()):
            consumer.assign(followed)
            for tp, offset in self._seen_to.items():
                consumer.seek(tp, offset)

    async def watch_commits(self) -> None:
        """Note which reads are known to be processed; until cancelled."""
        admin: AIOKafkaAdminClient | None = None
        is_started = False
        try:
            while True:
                await asyncio.sleep(_COMMITS_EVERY_S)
                try:
                    if admin is None:
                        admin = AIOKafkaAdminClient(
                            bootstrap_servers=self._bootstrap, request_timeout_ms=_REQUEST_MS
                        )
                    async with within(CLIENT_S, "the follower asks for the group's commits"):
                        if not is_started:
                            await admin.start()
                            is_started = True
                        offsets = await admin.list_consumer_group_offsets(self._group)
                except (KafkaError, OSError, AssertionError, TimeoutError, StuckError):
                    await _closed(admin)
                    admin, is_started = None, False
                    continue
                self._note_commits(offsets, now_s())
        finally:
            await _closed(admin)

    async def has_seen(self, kinds: Sequence[str], within_s: float) -> None:
        """Wait until everything that is on these topics now is seen."""
        async with (
            within(within_s, f"the follower has seen {', '.join(kinds)}"),
            all_records(self._bootstrap, self._partitions) as asking,
        ):
            names = [self._topics.name(kind) for kind in kinds]
            asked = [tp for tp in asking.assignment() if tp.topic in names]
            ends = await asking.end_offsets(asked)
            while any(self._seen_to.get(tp, 0) < end for tp, end in ends.items()):
                await asyncio.sleep(_PAUSE_S)

    async def drained(self, within_s: float) -> str:
        """Wait until every read is committed and everything is seen and audited; what has not
        come about in that time, or an empty string."""
        until_s = now_s() + within_s
        async with all_records(self._bootstrap, self._partitions) as asking:
            while missing := await self._missing(asking):
                if now_s() > until_s:
                    return missing
                await asyncio.sleep(_PAUSE_S)
        return ""

    async def _missing(self, asking: Any) -> str:
        try:
            async with within(CLIENT_S, "the ends of all topics"):
                ends = await asking.end_offsets(asking.assignment())
        except (KafkaError, StuckError) as error:
            return f"the broker does not answer ({type(error).__name__})"
        for tp, end in ends.items():
            if self._seen_to.get(tp, 0) < end:
                return f"{tp.topic}/{tp.partition} is not followed to {end}"
        # Behind the last read there may be the end of a transaction.
        for partition, end in self._evidence.read_ends.items():
            commits = self._evidence.commits[partition]
            done = commits[-1][0] if commits else 0
            if done < end:
                return f"reads, partition {partition}: committed to {done} of {end}"
        unaudited = self._evidence.changes - self._evidence.audited_changes.keys()
        if unaudited:
            return f"{len(unaudited)} changes are not audited, such as {min(unaudited)}"
        return ""

    def _note_commits(self, offsets: Any, seen_s: float) -> None:
        for tp, committed in offsets.items():
            if tp.topic == self._topics.detections:
                self._evidence.note_committed(tp.partition, committed.offset, seen_s)


async def _closed(admin: AIOKafkaAdminClient | None) -> None:
    if admin is not None:
        with contextlib.suppress(KafkaError, OSError, StuckError):
            async with within(CLIENT_S, "the follower's admin client is closed"):
                await admin.close()
