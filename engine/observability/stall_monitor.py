"""Stuck partitions in a worker: checked every second, logged once, shown and reported.

What is stuck, and whether a new process would help, is for `engine.observability.stall` to say.
Belongs to the event loop, but for what the matcher thread tells.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from engine import limits
from engine.clock import duration
from engine.observability.held_back import HeldBack, TopicPart
from engine.observability.metrics import Metrics
from engine.observability.stall import Seen, Stuck, StuckWatch

log = logging.getLogger(__name__)

#: Returns what the worker sees of each partition.
See = Callable[[], Mapping[int, Seen]]


class Watching:
    """The stuck partitions of a worker; see the module. `topic` is that of the reads."""

    def __init__(self, topic: str, metrics: Metrics) -> None:
        self._topic: Final = topic
        self._metrics = metrics
        self._watch = StuckWatch()
        self._named: dict[int, Stuck] = {}
        self._held: Mapping[TopicPart, HeldBack] = {}
        self._matching: set[int] = set()
        self._matcher_since_s: float | None = None

    @property
    def stuck(self) -> tuple[Stuck, ...]:
        """The partitions that are stuck, `since_s` by the monotonic clock."""
        return self._watch.stuck

    def note_held(self, held: Mapping[TopicPart, HeldBack]) -> None:
        """Take note of the partitions that open transactions hold back now."""
        self._held = held

    @property
    def held_elsewhere(self) -> Mapping[TopicPart, HeldBack]:
        """The partitions of other topics than the reads that are held back for long, `since_s` by
        the monotonic clock."""
        until_s = time.monotonic() - limits.HELD_BACK_S
        return {
            (topic, partition): each
            for (topic, partition), each in self._held.items()
            if topic != self._topic and each.since_s <= until_s
        }

    def says(self) -> list[str]:
        """Return a line for each stuck partition."""
        now_s = time.monotonic()
        return [each.describe(self._topic, now_s) for each in self.stuck]

    def unhealthy(self) -> str:
        """Return why this process should be restarted, and what it is stuck at; else empty."""
        hangs = self._watch.hangs()
        return "; ".join([hangs, *self.says()]) if hangs else ""

    def unready(self) -> str:
        """Return what is stuck, whether or not a new process would help; else empty."""
        return "; ".join(self.says())

    @contextmanager
    def matching(self, partition: int) -> Iterator[None]:
        """While the reads of a partition are with the matcher."""
        self._matching.add(partition)
        try:
            yield
        finally:
            self._matching.discard(partition)

    @contextmanager
    def in_matcher(self) -> Iterator[None]:
        """While the matcher does something, by its own thread. A change of the lists may come
        within a fetch, which goes on afterwards."""
        before_s, self._matcher_since_s = self._matcher_since_s, time.monotonic()
        try:
            yield
        finally:
            self._matcher_since_s = before_s

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While the matcher waits for room, by its own thread: that is not its fault."""
        self._matcher_since_s = None
        try:
            yield
        finally:
            self._matcher_since_s = time.monotonic()

    async def run(self, see: See, is_taking: Callable[[], bool]) -> None:
        """Look repeatedly until cancelled. `is_taking` returns False while reads wait for the
        lists."""
        while True:
            await asyncio.sleep(limits.STUCK_LOOK_S)
            self.look(see(), is_taking=is_taking())

    def _seen(self, partition: int, seen: Seen) -> Seen:
        """Return what is seen of a partition, with what is only known here."""
        if partition in self._matching and seen.work == "delivery":
            seen = seen._replace(work="matching")
        held = self._held.get((self._topic, partition))
        return seen if held is None else seen._replace(held_s=held.since_s, held_why=held.why)

    def look(self, seen: Mapping[int, Seen], *, is_taking: bool) -> None:
        """Look once."""
        seen = {partition: self._seen(partition, each) for partition, each in seen.items()}
        now_s = time.monotonic()
        self._watch.look(now_s, seen, is_taking=is_taking, matcher_since_s=self._matcher_since_s)
        named = {each.partition: each for each in self._watch.stuck}
        for partition, each in named.items():
            if partition not in self._named:
                where = {"topic": self._topic, "partition": partition, "offset": each.offset}
                log.warning("stuck: %s", each.describe(self._topic, now_s), extra=where)
        for partition, each in self._named.items():
            if partition in seen and partition not in named:
                for_s = duration(now_s - each.since_s)
                log.info("%s/%d moves again, after %s", self._topic, partition, for_s)
        self._named = named
        self._metrics.show_stuck(
            {
                partition: now_s - named[partition].since_s if partition in named else 0.0
                for partition in seen
            }
        )
