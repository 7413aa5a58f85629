"""Of a car that is told of several times, the last state counts, once.

Holds the latest read of each car until the car is gone, or nothing was heard of it for
`settle_s`, or there are too many; then it is let go. That is all that is held, for seconds, and
none of it outlives the process: a camera tells the last state of a car when it goes, so a process
that begins in between misses no car.

No clock and no I/O: who calls says what time it is, in seconds of any clock that never goes back.
"""

from __future__ import annotations

from engine import limits
from engine.documents.model import Detection
from engine.ingest.adapters.message import Adapted


class Cars:
    """See the module. Reads without a car pass at once."""

    def __init__(self, settle_s: float = limits.CAR_SETTLES_S) -> None:
        self._settle_s = settle_s
        #: By car, when it was last heard of and its latest read; the longest ago in front.
        self._held: dict[str, tuple[float, Detection]] = {}

    def __len__(self) -> int:
        """Cars that are held."""
        return len(self._held)

    def take(self, adapted: Adapted, now_s: float) -> list[Detection]:
        """Take what a message came to; the reads that count now."""
        car = adapted.car
        if car is None:
            return [*self.due(now_s), *adapted.reads]
        before = self._held.pop(car.key, None)
        latest = adapted.reads[-1] if adapted.reads else before and before[1]
        let_go = self.due(now_s)
        if latest is None:
            return let_go
        if car.gone:
            return [*let_go, latest]
        self._held[car.key] = now_s, latest
        if len(self._held) > limits.CARS_HELD:
            let_go.append(self._held.pop(next(iter(self._held)))[1])
        return let_go

    def due(self, now_s: float) -> list[Detection]:
        """The reads of cars of which nothing was heard for long enough."""
        let_go = []
        while self._held:
            key, (heard_s, read) = next(iter(self._held.items()))
            if now_s - heard_s < self._settle_s:
                break
            del self._held[key]
            let_go.append(read)
        return let_go

    def all(self) -> list[Detection]:
        """Let go of every car: there will be no more messages."""
        let_go = [read for _, read in self._held.values()]
        self._held.clear()
        return let_go
