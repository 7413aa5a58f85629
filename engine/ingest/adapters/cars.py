"""The last state of each car, if its camera reports the car several times.

Holds the latest read of each car until the car is gone, or was not reported for `settle_s`, or
there are too many cars; then the read is released. It is held for seconds and in memory only. A
camera reports the last state of a car when it leaves, so a process that starts in between misses
no car.

No clock and no I/O: the caller passes the time, in seconds of any clock that never goes back.
"""

from __future__ import annotations

from engine import limits
from engine.documents.model import Detection
from engine.ingest.adapters.message import Adapted


class Cars:
    """The held reads of cars; see the module. Reads without a car pass at once."""

    def __init__(self, settle_s: float = limits.CAR_SETTLES_S) -> None:
        self._settle_s = settle_s
        #: By car, the time of its last report and its latest read; the oldest report first.
        self._held: dict[str, tuple[float, Detection]] = {}

    def __len__(self) -> int:
        """The number of cars held."""
        return len(self._held)

    def take(self, adapted: Adapted, now_s: float) -> list[Detection]:
        """Take an adapted message; return the reads that count now."""
        car = adapted.car
        if car is None:
            return [*self.due(now_s), *adapted.reads]
        before = self._held.pop(car.key, None)
        latest = adapted.reads[-1] if adapted.reads else before and before[1]
        released = self.due(now_s)
        if latest is None:
            return released
        if car.gone:
            return [*released, latest]
        self._held[car.key] = now_s, latest
        if len(self._held) > limits.CARS_HELD:
            released.append(self._held.pop(next(iter(self._held)))[1])
        return released

    def due(self, now_s: float) -> list[Detection]:
        """Return the reads of cars that were not reported for long enough."""
        released = []
        while self._held:
            key, (heard_s, read) = next(iter(self._held.items()))
            if now_s - heard_s < self._settle_s:
                break
            del self._held[key]
            released.append(read)
        return released

    def all(self) -> list[Detection]:
        """Release all cars, because there are no more messages."""
        released = [read for _, read in self._held.values()]
        self._held.clear()
        return released
