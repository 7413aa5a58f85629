"""What the replica of the control topics does next, decided without I/O and without a clock.

`ControlReplica` reports which batches it has received and how far each partition has come;
`ControlState` answers with actions, which the replica carries out in their order:

- The load ends when every partition has been received to its end as it was at the start, and no
  transaction of the hot list in part only. It is then committed, and the gate opens.
- After the load, what was sent to the hot list in one transaction counts as a whole. From its
  first batch on, records are staged; they are committed when no transaction is received in part.
- The gate closes when a partition has been silent for too long. Whatever closed it, it opens again
  when all partitions have caught up with their ends as they are then.
- A control topic that was deleted, was recreated or has other partitions is not the one that was
  read. That ends the worker: it must read the lists again from their beginning.

Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from engine import limits
from engine.errors import BrokerError
from engine.matching.lists import Phase

#: A topic and the number of one of its partitions; Kafka clients' own types are such tuples.
ControlPartition = tuple[str, int]
Ends = Mapping[ControlPartition, int]


class Received(NamedTuple):
    """How far a partition has been received.

    `position` is the offset of the next record, `log_end` the end of the log by the broker's last
    answer, open transactions included. `answered_ms` is the time of that answer. `is_partial`: of
    a transaction, records have been received but no end.
    """

    position: int
    log_end: int
    answered_ms: int
    is_partial: bool

    @property
    def is_whole(self) -> bool:
        """Whether no transaction has been received in part.

        If all that the partition holds has been received, none is open: its end may be lost.
        """
        return not self.is_partial or self.position >= self.log_end


class SeenTopic(NamedTuple):
    """A topic as a broker describes it.

    `is_gone`: the broker does not know it. `is_anew`: it is surely not the one that was read, but a
    later one of its name.
    """

    name: str
    partitions: int
    is_gone: bool = False
    is_anew: bool = False


@dataclass(frozen=True, slots=True)
class HandOn:
    """Apply a partition's batches from index `first` up to `stop`, without it."""

    first: int
    stop: int
    phase: Phase


@dataclass(frozen=True, slots=True)
class CommitLists:
    """Let what was loaded or staged count."""


@dataclass(frozen=True, slots=True)
class OpenGate:
    """Let reads in."""


@dataclass(frozen=True, slots=True)
class CloseGate:
    """Take no reads, for a reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Ask for the ends of all partitions and report them to `caught_up`."""


Action = CommitLists | OpenGate | CloseGate | CatchUp


class ControlState:
    """See the module. All partitions of the topics are about to be read from their beginning: at
    least to `ends`, where they end now. `hotlist` is the topic whose transactions count as a whole.
    """

    def __init__(self, hotlist: str, ends: Ends, stale_s: float) -> None:
        assert ends, "a topic has a partition"
        self._hotlist: Final = hotlist
        self._ends: Final = ends
        self._partitions: Final = Counter(topic for topic, _ in ends)
        self._stale_s: Final = stale_s
        self._phase = Phase.LOADING
        self._gone_looks = 0
        #: By partition, the time of the broker's last answer, and when that was noticed.
        self._answers: dict[ControlPartition, tuple[int, float]] = {}

    @property
    def is_loading(self) -> bool:
        """Whether the topics are not yet read to the end that they had at the start."""
        return self._phase is Phase.LOADING

    def batches(self, partition: ControlPartition, transactional: Sequence[bool]) -> list[HandOn]:
        """Take note of batches that came of a partition, and whether each is transactional."""
        count = first_staged = len(transactional)
        if self._phase is Phase.FOLLOWING and partition[0] == self._hotlist and any(transactional):
            first_staged = transactional.index(True)
        actions = [HandOn(0, first_staged, self._phase)]
        if first_staged < count:
            self._phase = Phase.STAGED
            actions.append(HandOn(first_staged, count, self._phase))
        return [action for action in actions if action.first < action.stop]

    def turn(
        self, received: Mapping[ControlPartition, Received], now_s: float, *, is_open: bool
    ) -> list[Action]:
        """Take note of how far all partitions have come, before more is fetched. `is_open` says
        whether the gate is."""
        if self.is_loading:
            if not _have_reached(received, self._ends) or not self._is_whole(received):
                return []
            self._phase = Phase.FOLLOWING
            return [CommitLists(), OpenGate()]
        actions: list[Action] = []
        if self._phase is Phase.STAGED and self._is_whole(received):
            self._phase = Phase.FOLLOWING
            actions.append(CommitLists())
        silent = self._silent(received, now_s)
        if silent:
            names = ", ".join(f"{topic}/{number}" for topic, number in sorted(silent))
            actions.append(CloseGate(f"nothing heard of {names} for over {self._stale_s:g} s"))
        elif not is_open:
            actions.append(CatchUp())
        return actions

    def caught_up(self, received: Mapping[ControlPartition, Received], ends: Ends) -> list[Action]:
        """Take note of the partitions' ends, which the brokers were asked for just now."""
        return [OpenGate()] if _have_reached(received, ends) else []

    @property
    def look_again_s(self) -> float:
        """After what time to ask the brokers for the topics again."""
        return limits.RETRY_PAUSE_S if self._gone_looks else limits.METADATA_MAX_AGE_S

    def described(self, topics: Iterable[SeenTopic]) -> None:
        """Take note of topics as a broker describes them now.

        Raises BrokerError if they are not the ones that are read.
        """
        topics = list(topics)
        gone = [topic.name for topic in topics if topic.is_gone]
        self._gone_looks = self._gone_looks + 1 if gone else 0
        if self._gone_looks == limits.GONE_LOOKS:
            raise other_topic("the broker does not know the topic any more", *gone)
        for topic in topics:
            count, had = topic.partitions, self._partitions[topic.name]
            if topic.is_anew:
                raise other_topic("the topic was recreated", topic.name)
            if not topic.is_gone and count != had:
                raise other_topic(
                    f"the topic has {count} partitions now, and had {had}", topic.name
                )

    def _is_whole(self, received: Mapping[ControlPartition, Received]) -> bool:
        return all(
            of_partition.is_whole
            for (topic, _), of_partition in received.items()
            if topic == self._hotlist
        )

    def _silent(
        self, received: Mapping[ControlPartition, Received], now_s: float
    ) -> list[ControlPartition]:
        for partition, of_partition in received.items():
            known = self._answers.get(partition)
            if known is None or known[0] != of_partition.answered_ms:
                self._answers[partition] = of_partition.answered_ms, now_s
        return [
            partition
            for partition, (_, heard_s) in self._answers.items()
            if now_s - heard_s > self._stale_s
        ]


def _have_reached(received: Mapping[ControlPartition, Received], ends: Ends) -> bool:
    return all(received[partition].position >= end for partition, end in ends.items())


def other_topic(what: str, *where: str) -> BrokerError:
    """Return the error for a topic that is not the one that was read.

    The worker must restart and read the lists again, or entries of the old topic would stay listed.
    """
    return BrokerError(
        what,
        where=" and ".join(sorted(where)),
        hint="repair the topic, then restart the worker, which reads the lists again",
    )
