"""How a piece of code is timed.

Warm: the same work over and over, the fastest third's median. Cold: before each go, more memory
is written than any cache holds, so that what the work needs comes from memory again. Each go is
timed by itself, so a go must take microseconds at the least.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

_EVICT_BYTES = 256 * 1024 * 1024
_WARM_GOES = 30
_COLD_GOES = 9

_evictor = np.zeros(_EVICT_BYTES, dtype=np.uint8)


def warm_s(go: Callable[[], object], goes: int = _WARM_GOES) -> float:
    """Seconds of one go with warm caches."""
    go()
    return _typical([_timed(go) for _ in range(goes)])


def cold_s(
    go: Callable[[], object], prepare: Callable[[], object] | None = None, goes: int = _COLD_GOES
) -> float:
    """Seconds of one go with cold caches; `prepare` touches what is to be warm all the same."""
    times = []
    for _ in range(goes):
        _evictor[:] += np.uint8(1)
        if prepare is not None:
            prepare()
        times.append(_timed(go))
    return statistics.median(times)


def _typical(times: list[float]) -> float:
    return statistics.median(sorted(times)[: max(1, len(times) // 3)])


def _timed(go: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    go()
    return time.perf_counter() - started_s
