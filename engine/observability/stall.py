"""Which partitions of the reads are stuck, since when and why.

A partition is stuck if for `limits.STUCK_S` it had work and finished none, if its finished offset
could not be committed for that long, or if nothing was received from it, not even that there is
nothing new. Waiting for the lists does not count: no reads are taken then, and the gate says why.
Nor is a partition stuck if its fetches wait for those of other partitions, as long as these
progress. A partition whose reads an open transaction has held back for as long is stuck, too.

The caller looks every second and passes what it sees; what is stuck follows from what has not
changed between the looks. The worker `hangs` after `limits.HUNG_S` only if a new process may do
better: then its supervisor restarts it. A broker that does not answer, a partition without a
leader and a transaction that stays open are not such cases.

Pure: no clock of its own, no I/O, no thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from engine import limits
from engine.clock import duration

#: Where a partition's oldest fetch that is not done is: in the matcher, on its way to the broker,
#: or waiting for its turn.
Work = Literal["matching", "delivery", "waiting"]
#: What a partition is stuck at: one of these, its commit, its fetching, or a transaction that holds
#: its reads back.
At = Literal["matching", "delivery", "waiting", "commit", "fetch", "transaction"]

_WORDS: Final[Mapping[At, str]] = {
    "matching": "the matcher does not finish its reads",
    "delivery": "the broker does not acknowledge the results of its reads",
    "waiting": "its reads are fetched, but their turn does not come",
    "commit": "its reads are done, but the broker does not accept their offset",
    "fetch": "nothing is received from it; it may have no leader",
    "transaction": "an open transaction holds its reads back",
}


class Seen(NamedTuple):
    """What the worker sees of a partition that it owns: the offset below which everything is
    done and the committed one, None if there is none yet; where its oldest unfinished fetch is,
    None if there is none; when it was last heard from, None if never; and from which offset on
    reads wait to be done, None for the start of the log. `held_s` is since when an open transaction
    holds its reads back, None if none does, and `held_why` says so in words."""

    done_to: int | None
    committed_to: int | None
    work: Work | None
    heard_s: float | None
    next_offset: int | None = None
    held_s: float | None = None
    held_why: str = ""


class Stuck(NamedTuple):
    """A stuck partition: since when, by the clock of the looks, at what, and at which offset,
    None if nothing is done yet. `cause` has more about it than `at` says, in words."""

    partition: int
    since_s: float
    at: At
    offset: int | None
    cause: str = ""

    @property
    def why(self) -> str:
        """What it is stuck at, in words."""
        return self.cause or _WORDS[self.at]

    def describe(self, topic: str, now_s: float) -> str:
        """Describe it in one line."""
        where = "" if self.offset is None else f" at offset {self.offset}"
        for_s = now_s - self.since_s
        return f"{topic}/{self.partition} is stuck{where} for {duration(for_s)}: {self.why}"


class _Partition:
    """The last view of a partition, and the last time at which each aspect was all right."""

    __slots__ = ("begun_s", "committed_s", "heard_s", "moved_s", "seen")

    def __init__(self, seen: Seen, now_s: float) -> None:
        self.seen = seen
        self.begun_s = now_s
        self.moved_s = self.committed_s = self.heard_s = now_s


class StuckWatch:
    """The stuck partitions; see the module. Times are seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}
        #: When any partition last progressed, or none had work.
        self._moved_s = 0.0
        self._now_s = 0.0
        self._matcher_since_s: float | None = None
        #: What is stuck, by partition.
        self.stuck: tuple[Stuck, ...] = ()

    def look(
        self,
        now_s: float,
        seen: Mapping[int, Seen],
        *,
        is_taking: bool,
        matcher_since_s: float | None = None,
    ) -> None:
        """Look at all partitions that this worker owns.

        `is_taking` is False while reads wait for the lists; `matcher_since_s` is when the matcher
        began with what it does now, None if it does nothing.
        """
        self._now_s, self._matcher_since_s = now_s, matcher_since_s
        known = self._partitions if is_taking else {}
        self._partitions = {}
        if not any(each.work for each in seen.values()) or not known:
            self._moved_s = now_s
        for partition, each in seen.items():
            state = known.get(partition)
            if state is None:
                state = _Partition(each, now_s)
            else:
                self._note(state, each, now_s)
            self._partitions[partition] = state
        self.stuck = tuple(
            stuck
            for partition, state in sorted(self._partitions.items())
            if (stuck := self._judged(partition, state)) is not None
        )

    def hangs(self) -> str:
        """Return why a new process may do better than this one; empty if it would not."""
        now_s, oldest_s = self._now_s, self._now_s - limits.HUNG_S
        if self._matcher_since_s is not None and self._matcher_since_s <= oldest_s:
            for_s = now_s - self._matcher_since_s
            return f"the matcher has been busy with the same reads for {duration(for_s)}"
        at = {
            each.at
            for each in self.stuck
            if each.since_s <= oldest_s and each.at != "transaction"  # its producer's fault
        }
        if "delivery" in at and self._moved_s <= oldest_s:
            # Without an acknowledgement for so long, the delivery should have failed.
            return "deliveries neither succeed nor fail"
        if at == {"waiting"}:
            return "reads are fetched, and not processed"
        heard_s = max((state.heard_s for state in self._partitions.values()), default=now_s)
        if heard_s <= oldest_s:
            # The lists are up to date, or no reads would be taken.
            return f"nothing was received from any partition for {duration(now_s - heard_s)}"
        return ""

    def _note(self, state: _Partition, seen: Seen, now_s: float) -> None:
        before, state.seen = state.seen, seen
        if seen.work is None or seen.done_to != before.done_to:
            state.moved_s = now_s
        if seen.done_to != before.done_to:
            self._moved_s = now_s
        if seen.committed_to == seen.done_to or seen.committed_to != before.committed_to:
            state.committed_s = now_s
        if seen.heard_s is not None:
            state.heard_s = max(state.heard_s, seen.heard_s)

    def _judged(self, partition: int, state: _Partition) -> Stuck | None:
        seen, oldest_s = state.seen, self._now_s - limits.STUCK_S
        moved_s = state.moved_s
        if seen.work == "waiting":
            moved_s = max(moved_s, self._moved_s)
        if seen.work is not None and moved_s <= oldest_s:
            return Stuck(partition, moved_s, seen.work, seen.done_to)
        if state.committed_s <= oldest_s:
            return Stuck(partition, state.committed_s, "commit", seen.committed_to)
        if state.heard_s <= oldest_s:
            return Stuck(partition, state.heard_s, "fetch", seen.done_to)
        if seen.held_s is not None and (held_s := max(seen.held_s, state.begun_s)) <= oldest_s:
            return Stuck(partition, held_s, "transaction", seen.next_offset, seen.held_why)
        return None
