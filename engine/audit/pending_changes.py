"""The changes of the lists that are not known to stand in the audit, in order.

Every worker sees every change, and one of them audits it: the owner of the control partition
that it came from. All of them keep it until the group has committed that it is audited, so that
whoever becomes the owner goes on without a gap. Between an acknowledgement and its commit the
owner may go; then a change is audited twice. It is never passed over.

An expiry has no offset. It goes with the first partition of the entries, among the changes
there, and the group notes until which time all expiries are audited.

Pure book-keeping: no clock, no I/O, no thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from engine.audit.changes import NO_RECORD, Change, ControlKind

#: A control topic's partition.
Part = tuple[ControlKind, int]

#: The partition that the expiries go with.
EXPIRIES: Final[Part] = (ControlKind.ENTRY, 0)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the audit has come: by partition the offset below which all changes are audited,
    and the time up to which all expiries are. What is absent has not begun."""

    offsets: Mapping[Part, int] = field(default_factory=dict)
    expired_until_ms: int = 0


class _Queue:
    """What waits of one partition, and what is known of the partition."""

    __slots__ = ("applied_to", "changes", "committed")

    def __init__(self) -> None:
        self.changes: deque[Change] = deque()
        #: The offset after the last record that was applied, and the one that is committed.
        self.applied_to = 0
        self.committed = 0


class PendingChanges:
    """See the module. `progress` is what was committed before the lists were read."""

    def __init__(self, progress: Progress) -> None:
        self._queues: dict[Part, _Queue] = {}
        self._size = 0
        self._expiries = 0
        #: All that expired up to the one time was offered, up to the other it is committed.
        self._expired_seen_ms = 0
        self._expired_until_ms = 0
        self._has_audited_expiries = False
        self.learn(progress)

    def __len__(self) -> int:
        """Changes that wait."""
        return self._size

    def offer(self, part: Part, applied_to: int, changes: Iterable[Change]) -> None:
        """Note that a partition was applied up to an offset, and what changed by that.

        What was offered before or is committed already is passed over.
        """
        queue = self._queue(part)
        known = max(queue.applied_to, queue.committed)
        for change in changes:
            if change.offset == NO_RECORD:
                self._add_expiry(change)
            elif change.offset >= known:
                self._add(queue, change)
        queue.applied_to = max(queue.applied_to, applied_to)

    def offer_expired(self, changes: Iterable[Change], until_ms: int) -> None:
        """Note what has expired, and that this is all that has up to a time."""
        for change in changes:
            self._add_expiry(change)
        self._expired_seen_ms = max(self._expired_seen_ms, until_ms)

    def first(self, parts: Collection[Part], count: int) -> list[Change]:
        """The first changes of some partitions, at most so many. They go on waiting."""
        found: list[Change] = []
        for part in parts:
            found += islice(self._queue(part).changes, count - len(found))
        return found

    def audited(self, changes: Iterable[Change]) -> None:
        """Note that what `first` gave stands in the audit."""
        for change in changes:
            waiting = self._queues[_part_of(change)].changes
            if waiting and waiting[0] is change:  # else somebody was faster
                waiting.popleft()
                self._size -= 1
                if change.offset == NO_RECORD:
                    self._expiries -= 1
                    self._has_audited_expiries = True

    def learn(self, committed: Progress) -> None:
        """Note what the group has committed: nobody needs to keep that any longer."""
        self._note(committed)
        for queue in self._queues.values():
            queue.changes = deque(c for c in queue.changes if self._is_news(c, queue))
        self._size = sum(len(queue.changes) for queue in self._queues.values())
        expiries = self._queue(EXPIRIES).changes if self._expiries else ()
        self._expiries = sum(change.offset == NO_RECORD for change in expiries)

    def to_commit(self, parts: Collection[Part]) -> Progress | None:
        """What the owner of some partitions may commit for them; None where that is no news.

        The offset below which nothing waits, for the partitions where it has grown; and, with
        the partition that they go with, the time up to which all expiries are audited.
        """
        offsets = {
            part: offset
            for part in parts
            if (offset := self._audited_to(part)) > self._queue(part).committed
        }
        if self._has_audited_expiries and not self._expiries and EXPIRIES in parts:
            offsets[EXPIRIES] = self._audited_to(EXPIRIES)
        if not offsets:
            return None
        is_until_now = EXPIRIES in offsets and not self._expiries
        until_ms = self._expired_seen_ms if is_until_now else 0
        return Progress(offsets, max(until_ms, self._expired_until_ms))

    def committed(self, progress: Progress) -> None:
        """Note that what `to_commit` gave is committed. None of that waits here any more."""
        if EXPIRIES in progress.offsets and not self._expiries:
            self._has_audited_expiries = False
        self._note(progress)

    def waits_beside(self, parts: Collection[Part]) -> bool:
        """Whether changes of other partitions than these wait."""
        return any(queue.changes for part, queue in self._queues.items() if part not in parts)

    def _queue(self, part: Part) -> _Queue:
        queue = self._queues.get(part)
        if queue is None:
            queue = self._queues[part] = _Queue()
        return queue

    def _note(self, committed: Progress) -> None:
        self._expired_until_ms = max(self._expired_until_ms, committed.expired_until_ms)
        for part, offset in committed.offsets.items():
            queue = self._queue(part)
            queue.committed = max(queue.committed, offset)

    def _add(self, queue: _Queue, change: Change) -> None:
        queue.changes.append(change)
        self._size += 1

    def _add_expiry(self, change: Change) -> None:
        queue = self._queue(EXPIRIES)
        # An entry that nobody has audited yet was not among those that had expired by then.
        revision = change.fields["revision"]
        assert isinstance(revision, int)
        if change.at_ms > self._expired_until_ms or revision >= queue.committed:
            self._add(queue, change)
            self._expiries += 1

    def _is_news(self, change: Change, queue: _Queue) -> bool:
        if change.offset == NO_RECORD:
            return change.at_ms > self._expired_until_ms
        return change.offset >= queue.committed

    def _audited_to(self, part: Part) -> int:
        queue = self._queue(part)
        waiting = next((c.offset for c in queue.changes if c.offset != NO_RECORD), queue.applied_to)
        return max(waiting, queue.committed)


def _part_of(change: Change) -> Part:
    return EXPIRIES if change.offset == NO_RECORD else (change.kind, change.partition)
