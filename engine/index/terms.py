"""Terms: from when until when the entry in each slot counts.

Flat arrays by slot hold the start and the end, and two timelines say which slots start or end by
the clock. A slot is `scheduled` until it has started, whether it is visible or not.

Belongs to one thread. The caller provides the time, and makes room before it adds slots.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from pyroaring import BitMap

from engine import limits
from engine.index.hash_table import Slots
from engine.index.timer_wheel import NEVER_MS, Timeline, Times


class Terms:
    """The terms of slots; see the module.

    `starts_ms` and `expires_ms` are in ms since 1970. A free slot has NEVER_MS in both, and so has
    one without a start in `starts_ms`. There is `room` for so many slots at first. Callers must not
    change the arrays or the set.
    """

    def __init__(self, room: int) -> None:
        self.starts_ms: Times = np.full(room, NEVER_MS, dtype=np.int64)
        self.expires_ms: Times = np.full(room, NEVER_MS, dtype=np.int64)
        #: Slots in use that have not started yet.
        self.scheduled: BitMap = BitMap()
        self._starts = Timeline()
        self._ends = Timeline()

    def copy(self) -> Terms:
        """Return an independent copy."""
        copied = Terms(0)
        copied.starts_ms, copied.expires_ms = self.starts_ms.copy(), self.expires_ms.copy()
        copied.scheduled = self.scheduled.copy()
        copied._starts, copied._ends = self._starts.copy(), self._ends.copy()
        return copied

    def make_room(self, slots: int) -> None:
        """Make room for so many slots in all."""
        more = np.full(slots - len(self.starts_ms), NEVER_MS, dtype=np.int64)
        self.starts_ms = np.concatenate([self.starts_ms, more])
        self.expires_ms = np.concatenate([self.expires_ms, more])

    def put(
        self, slots: Sequence[int], terms: Sequence[tuple[int | None, int]], now_ms: int
    ) -> None:
        """File slots, newly in use, by start and end in ms since 1970.

        One without a start, or with one that is not after `now_ms`, has started.
        """
        scheduled: list[int] = []
        for slot, (starts_ms, expires_ms) in zip(slots, terms, strict=True):
            self._ends.add(slot, expires_ms)
            if starts_ms is not None and starts_ms > now_ms:
                scheduled.append(slot)
                self.starts_ms[slot] = starts_ms
                self._starts.add(slot, starts_ms)
        self.scheduled.update(scheduled)
        self.expires_ms[np.array(slots, dtype=np.int32)] = [expires_ms for _, expires_ms in terms]

    def put_many(self, slots: Slots, starts_ms: Times, expires_ms: Times, now_ms: int) -> None:
        """Do as `put` does for many slots; one without a start has NEVER_MS."""
        self.expires_ms[slots] = expires_ms
        self._ends.add_many(slots, expires_ms)
        is_scheduled = (starts_ms > now_ms) & (starts_ms != NEVER_MS)
        if is_scheduled.any():
            scheduled = slots[is_scheduled]
            self.starts_ms[scheduled] = starts_ms[is_scheduled]
            self._starts.add_many(scheduled, starts_ms[is_scheduled])
            self.scheduled.update(scheduled.tolist())

    def file_waiting(self) -> None:
        """File what `put_many` was given; see `Timeline.file_waiting`."""
        self._ends.file_waiting(self.expires_ms)
        self._starts.file_waiting(self.starts_ms)

    def fill(self, slots: Slots, starts_ms: Times, expires_ms: Times) -> None:
        """File many slots, in ascending order, where none is filed yet.

        A slot with a start, which is not NEVER_MS, is scheduled.
        """
        self.starts_ms[slots], self.expires_ms[slots] = starts_ms, expires_ms
        self._ends.fill(slots, self.expires_ms)
        scheduled = slots[starts_ms != NEVER_MS]
        self._starts.fill(scheduled, self.starts_ms)
        self.scheduled = set_of(scheduled)

    def start(self, now_ms: int) -> BitMap:
        """Start the slots whose start is `now_ms` or earlier; return them."""
        due = self._starts.due(now_ms, self.starts_ms)
        if not len(due):
            return BitMap()
        started = set_of(np.sort(due)) & self.scheduled
        self.scheduled -= started
        return started

    def end(self, now_ms: int) -> BitMap:
        """Return the slots whose end is `now_ms` or earlier; some may be returned once more."""
        due = self._ends.due(now_ms, self.expires_ms)
        return set_of(np.sort(due)) if len(due) else BitMap()

    def drop(self, slots: BitMap) -> None:
        """Remove slots that are no longer in use."""
        self.scheduled -= slots
        as_array = np.array(slots.to_array(), dtype=np.int64)
        self.starts_ms[as_array] = self.expires_ms[as_array] = NEVER_MS

    def tidy(self, in_use: int) -> None:
        """Remove what slots that are no longer in use have left, a bounded number at a time."""
        self._ends.tidy(self.expires_ms, in_use, limits.SLOTS_A_TIDYING)
        self._starts.tidy(self.starts_ms, len(self.scheduled), limits.SLOTS_A_TIDYING)


def set_of(slots: np.ndarray[tuple[int], np.dtype[np.signedinteger]]) -> BitMap:
    """Return slots, given in ascending order, as a set; that is several times faster so."""
    return BitMap(array("I", slots.astype(np.uint32).tobytes()))
