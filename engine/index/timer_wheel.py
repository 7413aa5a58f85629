"""A timer wheel: which slots fall due by the clock, without looking at all of them.

Slots are filed by the minute of their time. Minutes that have passed are due as a whole. In the
current minute, each slot is checked, but not before the earliest one is due. A slot's present time
decides, so a slot whose time changes need not be removed. `tidy` removes such stale slots in
pieces, before they outnumber the others.

A filed slot takes four bytes, and a minute takes about a hundred. The caller provides the time.
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
#: The cost of checking a minute, in slots.
_MINUTE_COST = 16
#: The number of stale slots that is not worth tidying.
_SPARE = 4096
_NOTHING: Final = array("i")

Times = npt.NDArray[np.int64]
Due = npt.NDArray[np.int32]


class Timeline:
    """A timer wheel; see the module. Belongs to one thread."""

    def __init__(self) -> None:
        self._slots_by_minute: dict[int, array[int]] = {}
        self._minutes: list[int] = []
        self._next_ms = NEVER_MS
        self._filed = 0
        self._to_tidy: list[int] = []
        #: Slots that are not filed yet, their number, and the earliest of their times.
        self._unfiled: list[Due] = []
        self._unfiled_count = 0
        self._unfiled_ms = NEVER_MS

    def __len__(self) -> int:
        """Return the number of filed slots; a slot filed twice counts twice."""
        return self._filed + self._unfiled_count

    def copy(self) -> Timeline:
        """Return an independent copy."""
        copied = Timeline()
        copied._slots_by_minute = {at: slots[:] for at, slots in self._slots_by_minute.items()}
        copied._minutes = self._minutes[:]
        copied._next_ms = self._next_ms
        copied._filed = self._filed
        copied._to_tidy = self._to_tidy[:]
        copied._unfiled = self._unfiled[:]
        copied._unfiled_count, copied._unfiled_ms = self._unfiled_count, self._unfiled_ms
        return copied

    def add_many(self, slots: Due, times: Times) -> None:
        """File slots for their times, later: with `file_waiting`, or when the first one is due."""
        if len(slots):
            self._unfiled.append(slots)
            self._unfiled_count += len(slots)
            self._unfiled_ms = min(self._unfiled_ms, int(times.min()))

    def file_waiting(self, time_ms: Times) -> None:
        """File the slots that `add_many` was given, each for its present time.

        That takes long for millions of them, so it is called at the end of a load.
        """
        is_unfiled = np.zeros(len(time_ms), dtype=np.bool_)
        for some in self._unfiled:
            is_unfiled[some] = True
        self._unfiled, self._unfiled_count, self._unfiled_ms = [], 0, NEVER_MS
        slots = np.flatnonzero(is_unfiled & (time_ms != NEVER_MS))
        if not len(slots):
            return
        minutes_of = time_ms[slots] // _MINUTE_MS
        order = np.argsort(minutes_of, kind="stable")
        minutes, begins = np.unique(minutes_of[order], return_index=True)
        in_order = np.split(slots[order].astype(np.int32), begins[1:])
        for minute, of_minute in zip(minutes.tolist(), in_order, strict=True):
            filed = self._slots_by_minute.get(minute)
            if filed is None:
                self._file(minute, of_minute)
                heapq.heappush(self._minutes, minute)
            else:
                filed.frombytes(of_minute.tobytes())
                self._filed += len(of_minute)
        self._next_ms = min(self._next_ms, int(time_ms[slots].min()))

    def fill(self, slots: Due, time_ms: Times) -> None:
        """File many slots in an empty timeline, each for its `time_ms[slot]`."""
        assert not len(self), "only an empty timeline is filled"
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
        """Remove and return the slots whose time is `now_ms` or earlier.

        `time_ms[slot]` is each slot's present time, or NEVER_MS if it has none. A slot that was
        filed more than once may be returned more than once.
        """
        if now_ms >= self._unfiled_ms:
            self.file_waiting(time_ms)
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
            # Slots that wait in this minute are filed again and end the loop; a slot that moved
            # to another minute has been filed there.
            waiting = slots[(times > now_ms) & (times // _MINUTE_MS == minute)]
            if len(waiting):
                self._file(minute, waiting)
                heapq.heappush(self._minutes, minute)
                self._next_ms = int(time_ms[waiting].min())
            else:
                self._next_ms = self._minutes[0] * _MINUTE_MS if self._minutes else NEVER_MS
        return np.concatenate(due) if due else np.empty(0, dtype=np.int32)

    def tidy(self, time_ms: Times, in_use: int, most: int) -> None:
        """Remove stale slots if there are many; check about `most` slots.

        `in_use` is the number of slots that have a time.
        """
        if not self._to_tidy and len(self) > 2 * in_use + _SPARE:
            self.file_waiting(time_ms)
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
