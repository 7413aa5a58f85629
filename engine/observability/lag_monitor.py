"""The reads that wait, and what open transactions hold back, as the brokers see it.

Every `limits.LAG_LOOK_S` a worker asks the brokers where the logs that it reads end. So its lag is
current while nothing is fetched, too, and counts the reads behind an open transaction, which a
reader of committed records does not get to see. `engine.observability.held_back` says which
partitions such transactions hold back; the brokers are asked whose they are. The control topics,
the audit's and the suppression's are looked at as well: a sync that was killed holds the lists
back until the broker aborts its transaction.

A worker shows the lag of its own partitions. After partitions were added to the reads, and until
the group has assigned them, their reads wait and no worker counts them. One worker shows the lag of
these, so that sums do not count them twice: the owner of the lowest assigned partition. As soon as
such a partition has an owner elsewhere, or another worker shows them, the label goes.

A broker that does not answer ends nothing: the gauges stay as they were.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple, Protocol

from aiokafka.errors import IncompatibleBrokerVersion

from engine import limits
from engine.clock import duration
from engine.kafka.open_transactions import Ends, OpenTransaction
from engine.kafka.topics import Topics
from engine.observability.held_back import HeldBack, HeldBackWatch, TopicPart, watched_topics
from engine.observability.metrics import Metrics
from engine.observability.stall import Seen

log = logging.getLogger(__name__)


class Offsets(NamedTuple):
    """Where a partition of the reads goes on, None for the start of its log, and its ends."""

    next_offset: int | None
    ends: Ends


def to_show(
    partitions: Collection[int], owners: Collection[int], own: Collection[int]
) -> set[int] | None:
    """Return the partitions without an owner whose lag this worker must show.

    `partitions` exist, `owners` are those that the group has assigned, `own` those that this worker
    has. None if group and worker do not agree: the group has just rebalanced.
    """
    if not set(own) <= set(owners):
        return None
    if not own or min(own) != min(owners):
        return set()
    return set(partitions) - set(owners)


def reads_waiting(offsets: Mapping[int, Offsets]) -> dict[int, int]:
    """Return by partition how many reads wait to be processed, open transactions included.

    They begin at the next offset, or at the oldest read that is kept if there is none or the
    partition does not hold that offset any more.
    """
    return {
        partition: each.ends.end - (each.ends.begin if is_lost(each) else each.next_offset or 0)
        for partition, each in offsets.items()
    }


def is_lost(offsets: Offsets) -> bool:
    """Return whether there is no offset at which a partition could go on."""
    next_offset, ends = offsets
    return next_offset is None or not ends.begin <= next_offset <= ends.end


class GroupBrokers(Protocol):
    """What is asked of the brokers. Any of it may raise KafkaError, TimeoutError or OSError."""

    async def owners(self) -> Collection[int] | None: ...
    async def partitions(self, topics: Collection[str]) -> Mapping[str, Collection[int]]: ...
    async def committed(self, partitions: Collection[int]) -> Mapping[int, int | None]: ...
    async def ends(self, partitions: Collection[TopicPart]) -> Mapping[TopicPart, Ends]: ...
    async def open_transactions(
        self, partitions: Collection[TopicPart]
    ) -> Mapping[TopicPart, tuple[OpenTransaction, ...]]: ...
    async def close(self) -> None: ...


class LagMonitor:
    """See the module.

    `seen` gives what the worker sees of the partitions that it owns now. `note_held` is called
    with the partitions that are held back, `since_s` by `now_s`.
    """

    def __init__(
        self,
        topics: Topics,
        brokers: GroupBrokers,
        metrics: Metrics,
        seen: Callable[[], Mapping[int, Seen]],
        note_held: Callable[[Mapping[TopicPart, HeldBack]], None] = lambda _: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reads: Final = topics.detections
        self._kinds: Final = watched_topics(topics)
        self._brokers = brokers
        self._metrics = metrics
        self._seen = seen
        self._note_held = note_held
        self._now_s = now_s
        self._watch = HeldBackWatch()
        self._unowned: set[int] = set()
        self._tells_owners = True
        self._is_known = True

    @property
    def held(self) -> Mapping[TopicPart, HeldBack]:
        """The partitions that are held back, `since_s` by the monotonic clock."""
        return self._watch.held

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        try:
            while True:
                await asyncio.sleep(limits.LAG_LOOK_S)
                try:
                    async with asyncio.timeout(limits.CONNECT_S):
                        await self.look()
                except Exception as error:  # noqa: BLE001 - a gauge is worth no worker
                    self._note_known(False, type(error).__name__)
                else:
                    self._note_known(True)
        finally:
            await self._brokers.close()

    async def look(self) -> None:
        """Ask once, and set the gauges. Raises what the brokers raise."""
        own = frozenset(self._seen())
        existing = await self._brokers.partitions(self._kinds)
        of_reads = existing.get(self._reads, ())
        unowned = await self._unowned_now(of_reads, own)
        shown = (own & set(of_reads)) | (unowned or set())
        ends = await self._brokers.ends(
            [
                (topic, number)
                for topic, numbers in existing.items()
                for number in (shown if topic == self._reads else numbers)
            ]
        )
        committed = await self._brokers.committed(unowned) if unowned else {}
        await self._note_held_back(ends)
        seen = self._seen()
        if unowned is None or own != frozenset(seen):
            return  # the group rebalances, or has done so meanwhile
        self._note_unowned(unowned)
        next_offsets = {number: seen[number].next_offset for number in own} | dict(committed)
        waiting = reads_waiting(
            {number: Offsets(next_offsets[number], ends[self._reads, number]) for number in shown}
        )
        self._metrics.show_lag(waiting, own)

    async def _unowned_now(
        self, partitions: Collection[int], own: Collection[int]
    ) -> set[int] | None:
        """Return the partitions without an owner that this worker shows; None if that is not
        known now."""
        if not own or not self._tells_owners:
            return set()
        try:
            owners = await self._brokers.owners()
        except (IncompatibleBrokerVersion, NotImplementedError):
            log.info("the brokers do not say which partitions have an owner")
            self._tells_owners = False
            return set()
        return None if owners is None else to_show(partitions, owners, own)

    async def _note_held_back(self, ends: Mapping[TopicPart, Ends]) -> None:
        asked = self._watch.in_question(ends)
        holders = await self._brokers.open_transactions(asked) if asked else {}
        now_s = self._now_s()
        changes = self._watch.look(now_s, ends, holders)
        self._note_held(self.held)
        for (topic, partition), each in changes.ended.items():
            log.info(
                "%s/%d is not held back any more, after %s",
                *(topic, partition, duration(now_s - each.since_s)),
            )
        for (topic, partition), each in changes.begun.items():
            log.warning(
                "held back: %s",
                each.describe(topic, partition, now_s),
                extra={"topic": topic, "partition": partition, "offset": each.offset},
            )
        self._metrics.show_held_back(
            {
                (self._kinds[topic], partition): now_s - each.since_s
                for (topic, partition), each in self.held.items()
            }
        )

    def _note_unowned(self, unowned: set[int]) -> None:
        if unowned and unowned != self._unowned:
            numbers = ", ".join(map(str, sorted(unowned)))
            log.warning("no worker owns %s/%s; their reads wait", self._reads, numbers)
        elif self._unowned and not unowned:
            log.info("each partition of %s has an owner again", self._reads)
        self._unowned = unowned

    def _note_known(self, is_known: bool, why: str = "") -> None:
        if self._is_known and not is_known:
            log.warning("the lag of partitions is not known (%s)", why)
        elif is_known and not self._is_known:
            log.info("the lag of partitions is known again")
        self._is_known = is_known
