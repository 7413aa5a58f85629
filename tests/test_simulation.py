"""Hundreds of deployments with faults from a seed: nothing lost, nothing invented, all counted.

`HOTLIST_SEEDS=FIRST:COUNT` runs others; a seed that fails fails again.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter

from tests.simulation import Deployment

_FIRST, _COUNT = map(int, os.environ.get("HOTLIST_SEEDS", "0:400").split(":"))


def test_nothing_is_lost_and_nothing_invented_whatever_fails() -> None:
    faults: Counter[str] = Counter()
    folded = repeated = 0
    for seed in range(_FIRST, _FIRST + _COUNT):
        deployment = Deployment(seed)
        asyncio.run(deployment.run())
        assert not deployment.problems(), f"seed {seed}: {deployment.problems()}"
        faults += deployment.faults
        folded += deployment.expected_folded
        repeated += len(deployment.matches) - len(deployment.expected)
    if _COUNT >= 100:  # the runs are about something
        kinds = ("join", "leave", "crash", "silence", "wake")
        assert all(faults[kind] > _COUNT // 4 for kind in kinds), faults
        assert folded > _COUNT
        assert repeated > _COUNT
