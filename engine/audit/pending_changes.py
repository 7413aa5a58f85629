"""The changes of the lists that are not known to be in the audit, in order.

Every worker sees every change, and one of them audits it: the owner of the control partition
that it came from. All of them keep it until the group has committed that it is audited, so that
the next owner continues without a gap. If the owner stops between an acknowledgement and its
commit, a change is audited twice. It is never skipped.

An expiry has no offset. It belongs to the first partition of the entries, among the changes
there, and the group records the time until which all expiries are audited.

Pure bookkeeping: no clock, no I/O, no thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from engine.audit.added_entries import AddedEntries, Waiting
from engine.audit.changes import NO_RECORD, Change, ControlKind

#: A control topic's partition.
Part = tuple[ControlKind, int]

#: The partition that expiries belong to.
EXPIRIES: Final[Part] = (ControlKind.ENTRY, 0)


class Listed(NamedTuple):
    """How many entries and policies there are."""

    entries: int
    policies: int


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of the audit: by partition the offset below which all changes are audited,
    and the time up to which all expiries are. An absent partition has not begun. `listed` is what
    the lists held then, None if that is not known."""

    offsets: Mapping[Part, int] = field(default_factory=dict)
    expired_until_ms: int = 0
    listed: Listed | None = None


class _Queue:
    """The pending changes of one partition, and its known offsets."""

    __slots__ = ("applied_to", "changes", "committed")

    def __init__(self) -> None:
        self.changes: deque[Waiting] = deque()
        #: The offset after the last applied record, and the committed one.
        self.applied_to = 0
        self.committed = 0


class PendingChanges:
    """The changes that wait for the audit. `progress` was committed before the lists were read."""

    def __init__(self, progress: Progress) -> None:
        self._queues: dict[Part, _Queue] = {}
        self._size = self._opened = 0
        self._expiries = 0
        #: All expiries up to the first time were offered; up to the second it is committed.
        self._expired_seen_ms = 0
        self._expired_until_ms = 0
        self._has_audited_expiries = False
        self.learn(progress)

    def __len__(self) -> int:
        """The number of changes that wait."""
        return self._size

    @property
    def opened(self) -> int:
        """The number of those that are held one by one. `AddedEntries` take little memory."""
        return self._opened

    def offer(self, part: Part, applied_to: int, changes: Iterable[Waiting]) -> None:
        """Record that a partition was applied up to an offset, and what that changed.

        Changes that were offered before or are already committed are skipped.
        """
        queue = self._queue(part)
        known = max(queue.applied_to, queue.committed)
        for change in changes:
            if isinstance(change, AddedEntries):
                if (added := change.from_offset(known)) is not None:
                    queue.changes.append(added)
                    self._size += len(added)
            elif change.offset == NO_RECORD:
                self._add_expiry(change)
            elif change.offset >= known:
                self._add(queue, change)
        queue.applied_to = max(queue.applied_to, applied_to)

    def offer_expired(self, changes: Iterable[Change], until_ms: int) -> None:
        """Record what has expired, and that there are no other expiries up to a time."""
        for change in changes:
            self._add_expiry(change)
        self._expired_seen_ms = max(self._expired_seen_ms, until_ms)

    def first(self, parts: Collection[Part], count: int) -> list[Change]:
        """Return the first changes of some partitions, at most `count`. They stay in the queue."""
        found: list[Change] = []
        for part in parts:
            found += self._first_of(self._queue(part).changes, count - len(found))
        return found

    def _first_of(self, waiting: deque[Waiting], count: int) -> list[Change]:
        """Return the first changes of a queue, where they are then held one by one."""
        found: list[Change] = []
        for each in islice(waiting, count):
            if isinstance(each, AddedEntries):
                break
            found.append(each)
        if len(found) == min(count, len(waiting)):
            return found
        for _ in found:
            waiting.popleft()
        while len(found) < count and waiting:
            each = waiting.popleft()
            if not isinstance(each, AddedEntries):
                found.append(each)
                continue
            opened = each.changes(count - len(found))
            found += opened
            self._opened += len(opened)
            if (rest := each.after(len(opened))) is not None:
                waiting.appendleft(rest)
        waiting.extendleft(reversed(found))
        return found

    def audited(self, changes: Iterable[Change]) -> None:
        """Record that changes returned by `first` are in the audit."""
        for change in changes:
            waiting = self._queues[_part_of(change)].changes
            if waiting and waiting[0] is change:  # else a commit has removed it
                waiting.popleft()
                self._size -= 1
                self._opened -= 1
                if change.offset == NO_RECORD:
                    self._expiries -= 1
                    self._has_audited_expiries = True

    def learn(self, committed: Progress) -> None:
        """Record what the group has committed, and drop the changes that it covers."""
        self._note(committed)
        for queue in self._queues.values():
            new = (self._new_of(change, queue) for change in queue.changes)
            queue.changes = deque(change for change in new if change is not None)
        sizes = [
            len(each) if isinstance(each, AddedEntries) else 0
            for queue in self._queues.values()
            for each in queue.changes
        ]
        self._opened = sizes.count(0)
        self._size = self._opened + sum(sizes)
        expiries = self._queue(EXPIRIES).changes if self._expiries else ()
        self._expiries = sum(change.offset == NO_RECORD for change in expiries)

    def to_commit(self, parts: Collection[Part]) -> Progress | None:
        """Return what the owner of some partitions may commit for them; None if nothing is new.

        That is the offset below which nothing waits, for the partitions where it has grown; and,
        with the partition of the expiries, the time up to which all expiries are audited.
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
        """Record that a result of `to_commit` is committed. Nothing that it covers waits here."""
        if EXPIRIES in progress.offsets and not self._expiries:
            self._has_audited_expiries = False
        self._note(progress)

    def waits_beside(self, parts: Collection[Part]) -> bool:
        """Return whether changes of other partitions than these wait."""
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
        self._opened += 1

    def _add_expiry(self, change: Change) -> None:
        queue = self._queue(EXPIRIES)
        # An entry whose change is not audited yet was not among those that had expired by then.
        revision = change.fields["revision"]
        assert isinstance(revision, int)
        if change.at_ms > self._expired_until_ms or revision >= queue.committed:
            self._add(queue, change)
            self._expiries += 1

    def _new_of(self, change: Waiting, queue: _Queue) -> Waiting | None:
        """Return what of a change is not committed, or None."""
        if isinstance(change, AddedEntries):
            return change.from_offset(queue.committed)
        if change.offset == NO_RECORD:
            return change if change.at_ms > self._expired_until_ms else None
        return change if change.offset >= queue.committed else None

    def _audited_to(self, part: Part) -> int:
        queue = self._queue(part)
        waiting = next((c.offset for c in queue.changes if c.offset != NO_RECORD), queue.applied_to)
        return max(waiting, queue.committed)


def _part_of(change: Change) -> Part:
    return EXPIRIES if change.offset == NO_RECORD else (change.kind, change.partition)
