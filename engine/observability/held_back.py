"""Which partitions an open transaction holds back from this worker, since when and whose it is.

A worker reads committed records only. What lies behind the beginning of an open transaction waits,
and a transaction that stays open holds everything back until the broker aborts it. A transaction
that is open at one look and has ended at the next is ordinary. So a partition is held back for as
long as its last stable offset stays where it is, below the end of its log.

Pure: no clock of its own, no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from engine import limits
from engine.clock import duration
from engine.kafka.open_transactions import Ends, OpenTransaction, describe_holders
from engine.kafka.topics import Topics
from engine.observability.metric_families import HELD_TOPICS

#: A topic and the number of one of its partitions; Kafka clients' own types are such tuples.
TopicPart = tuple[str, int]


def watched_topics(topics: Topics) -> dict[str, str]:
    """Return the topics that a worker reads, with their labels."""
    names = (topics.detections, topics.hotlist, topics.policies, topics.suppression, topics.audit)
    return dict(zip(names, HELD_TOPICS, strict=True))


class HeldBack(NamedTuple):
    """A partition that is held back: from which offset on, how many offsets wait, since when by
    the clock of the looks, and the open transactions, none if the brokers do not tell them."""

    offset: int
    waiting: int
    since_s: float
    holders: tuple[OpenTransaction, ...]

    @property
    def why(self) -> str:
        """What holds it back, in words."""
        return f"{describe_holders(self.holders)} holds its records back"

    @property
    def waits(self) -> str:
        """How many records wait, and where they begin, in words."""
        many = "1 record waits" if self.waiting == 1 else f"{self.waiting:,} records wait"
        return f"{many} from offset {self.offset} on"

    def describe(self, topic: str, partition: int, now_s: float) -> str:
        """Describe it in one line."""
        for_s = now_s - self.since_s
        return f"{topic}/{partition}: {self.waits}, for {duration(for_s)}: {self.why}"


@dataclass(frozen=True, slots=True)
class Changes:
    """Which partitions are held back for long as of a look, and which are not any more, with how
    they were."""

    begun: Mapping[TopicPart, HeldBack]
    ended: Mapping[TopicPart, HeldBack]


class HeldBackWatch:
    """The partitions that are held back; see the module."""

    def __init__(self) -> None:
        #: Those that are held back now, by topic and partition.
        self.held: Mapping[TopicPart, HeldBack] = {}
        self._reported: dict[TopicPart, HeldBack] = {}

    def in_question(self, ends: Mapping[TopicPart, Ends]) -> list[TopicPart]:
        """Return the partitions that were held back at the last look and are so at these ends."""
        return [
            part
            for part, each in ends.items()
            if part in self.held and _is_held(each) and self.held[part].offset == each.stable
        ]

    def look(
        self,
        now_s: float,
        ends: Mapping[TopicPart, Ends],
        holders: Mapping[TopicPart, tuple[OpenTransaction, ...]],
    ) -> Changes:
        """Take note of all partitions' ends, and of the open transactions of those in question."""
        same = frozenset(self.in_question(ends))
        self.held = {
            part: HeldBack(
                each.stable,
                each.end - each.stable,
                self.held[part].since_s if part in same else now_s,
                holders.get(part, ()),
            )
            for part, each in ends.items()
            if _is_held(each)
        }
        ended = {part: each for part, each in self._reported.items() if part not in same}
        begun = {
            part: each
            for part, each in self.held.items()
            if now_s - each.since_s >= limits.HELD_BACK_S
            and (part in ended or part not in self._reported)
        }
        for part in ended:
            del self._reported[part]
        self._reported |= begun
        return Changes(begun, ended)


def _is_held(ends: Ends) -> bool:
    return ends.stable < ends.end
