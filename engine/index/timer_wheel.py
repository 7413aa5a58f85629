"""Which slots fall due by the clock, without looking at all of them.

Slots are filed by the minute in which their time lies. The minutes that have passed are due as
a whole; of the current minute, the slots are looked at one by one, and not before the earliest
of them is due. A slot whose time has changed since is recognised by its present time, so
nothing need be taken out. What has become of no use that way is thrown out in pieces (`tidy`)
before it is more than what is of use.

Memory: four bytes a filed slot, and some hundred for each minute. Has no clock of its own.
"""

from __future__ import annotations

import heapq
from array import array
from typing import Final

import numpy as np
import numpy.typing as npt

#: A time that never falls due.
NEVER_MS: Final = 1 << 62

_MINUTE_MS = 60_000
#: What a look at a minute costs, in slots.
_MINUTE_COST = 16
#: So many slots of no use are nothing to throw out.
_SPARE = 4096
_NOTHING: Final = array("i")

Times = npt.NDArray[np.int64]
Due = npt.NDArray[np.int32]


class Timeline:
    """See the module. Belongs to one thread."""

    def __init__(self) -> None:
        self._slots_by_minute: dict[int, array[int]] = {}
        self._minutes: list[int] = []
        self._next_ms = NEVER_MS
        self._filed = 0
        self._to_tidy: list[int] = []

    def __len__(self) -> int:
        """Slots filed, a slot counting each time that it was."""
        return self._filed

    def copy(self) -> Timeline:
        """A timeline of its own with the same slots."""
        copied = Timeline()
        copied._slots_by_minute = {at: slots[:] for at, slots in self._slots_by_minute.items()}
        copied._minutes = self._minutes[:]
        copied._next_ms = self._next_ms
        copied._filed = self._filed
        copied._to_tidy = self._to_tidy[:]
        return copied

    def fill(self, slots: Due, time_ms: Times) -> None:
        """File many slots in an empty timeline, each for its `time_ms[slot]`."""
        assert not self._filed, "only an empty timeline is filled"
        if not len(slots):
            return
        times = time_ms[slots]
        order = np.argsort(times, kind="stable")
        minutes, begins = np.unique(times[order] // _MINUTE_MS, return_index=True)
        in_order = np.split(slots[order].astype(np.int32), begins[1:])
        for minute, of_minute in zip(minutes.tolist(), in_order, strict=True):
            self._file(minute, of_minute)
        self._minutes = minutes.tolist()  # ascending, so a heap
        self._next_ms = int(times.min())

    def add(self, slot: int, at_ms: int) -> None:
        """File a slot for a time."""
        minute = at_ms // _MINUTE_MS
        slots = self._slots_by_minute.get(minute)
        if slots is None:
            slots = self._slots_by_minute[minute] = array("i")
            heapq.heappush(self._minutes, minute)
        slots.append(slot)
        self._filed += 1
        if at_ms < self._next_ms:
            self._next_ms = at_ms

    def due(self, now_ms: int, time_ms: Times) -> Due:
        """Take out and return the slots whose time is `now_ms` or earlier.

        `time_ms[slot]` is each slot's present time, NEVER_MS where it has none. A slot may be
        returned more than once where it was filed more than once.
        """
        due: list[Due] = []
        while now_ms >= self._next_ms and self._minutes:
            if self._minutes[0] * _MINUTE_MS > now_ms:
                break
            minute = heapq.heappop(self._minutes)
            filed = self._slots_by_minute.pop(minute, _NOTHING)
            self._filed -= len(filed)
            slots = np.frombuffer(filed, dtype=np.int32)
            times = time_ms[slots]
            due.append(slots[times <= now_ms])
            # What waits in this minute is filed again and ends the loop; what moved to
            # another minute has been filed there.
            waiting = slots[(times > now_ms) & (times // _MINUTE_MS == minute)]
            if len(waiting):
                self._file(minute, waiting)
                heapq.heappush(self._minutes, minute)
                self._next_ms = int(time_ms[waiting].min())
            else:
                self._next_ms = self._minutes[0] * _MINUTE_MS if self._minutes else NEVER_MS
        return np.concatenate(due) if due else np.empty(0, dtype=np.int32)

    def tidy(self, time_ms: Times, in_use: int, most: int) -> None:
        """Throw out what is of no use, where that is much; looks at about `most` slots.

        `in_use` is how many slots have a time.
        """
        if not self._to_tidy and self._filed > 2 * in_use + _SPARE:
            self._to_tidy = list(self._slots_by_minute)
        elif not self._to_tidy:
            return
        while self._to_tidy and most > 0:
            minute = self._to_tidy.pop()
            filed = self._slots_by_minute.pop(minute, _NOTHING)
            most -= len(filed) + _MINUTE_COST
            self._filed -= len(filed)
            slots = np.frombuffer(filed, dtype=np.int32)
            useful = np.unique(slots[time_ms[slots] // _MINUTE_MS == minute])
            if len(useful):
                self._file(minute, useful)
        if not self._to_tidy:
            self._minutes = list(self._slots_by_minute)
            heapq.heapify(self._minutes)

    def _file(self, minute: int, slots: Due) -> None:
        self._slots_by_minute[minute] = array("i", slots.tobytes())
        self._filed += len(slots)
