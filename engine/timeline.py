"""Which slots fall due by the clock, without looking at all of them.

Slots are filed by the minute in which their time lies. The minutes that have passed are due as
a whole; of the current minute, the slots are looked at one by one, and not before the earliest
of them is due. A slot whose time has changed since is recognised by its present time, so
nothing need ever be taken out.

Memory: four bytes a filed slot. Has no clock of its own.
"""

from __future__ import annotations

import heapq
from array import array

import numpy as np
import numpy.typing as npt

_MINUTE_MS = 60_000
_NEVER = 1 << 62


class Timeline:
    """See the module. Belongs to one thread."""

    def __init__(self) -> None:
        self._slots_by_minute: dict[int, array[int]] = {}
        self._minutes: list[int] = []
        self._next_ms = _NEVER

    def add(self, slot: int, at_ms: int) -> None:
        """File a slot for a time."""
        minute = at_ms // _MINUTE_MS
        slots = self._slots_by_minute.get(minute)
        if slots is None:
            slots = self._slots_by_minute[minute] = array("i")
            heapq.heappush(self._minutes, minute)
        slots.append(slot)
        self._next_ms = min(self._next_ms, at_ms)

    def due(self, now_ms: int, time_ms: npt.NDArray[np.int64]) -> list[int]:
        """Take out and return the slots whose time is `now_ms` or earlier.

        `time_ms[slot]` is each slot's present time. A slot may be returned more than once
        where it was filed more than once.
        """
        if now_ms < self._next_ms:
            return []
        due: list[int] = []
        while self._minutes and self._minutes[0] * _MINUTE_MS <= now_ms:
            minute = heapq.heappop(self._minutes)
            slots = np.frombuffer(self._slots_by_minute.pop(minute), dtype=np.int32)
            times = time_ms[slots]
            due.extend(slots[times <= now_ms].tolist())
            # What waits in this minute is filed again and ends the loop; what moved to
            # another minute has been filed there.
            waiting = slots[(times > now_ms) & (times // _MINUTE_MS == minute)]
            if len(waiting):
                self._slots_by_minute[minute] = array("i", waiting.tolist())
                heapq.heappush(self._minutes, minute)
                self._next_ms = int(times[times > now_ms].min())
                return due
        self._next_ms = self._minutes[0] * _MINUTE_MS if self._minutes else _NEVER
        return due
