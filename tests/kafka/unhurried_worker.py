"""A worker that is slow to go on after a rebalance, as one on a busy machine may be.

Run as `python -m tests.kafka.unhurried_worker AT_MOST_S worker ...`: whenever it is assigned
partitions, its app hears of it late, by a time of chance up to that. Meanwhile its consumer, in a
thread of its own, has the partitions and fetches. Its session in the group is short, so that the
group soon gives it up when it is killed.
"""

from __future__ import annotations

import asyncio
import random
import sys
from typing import Any

from faust.app.base import App

from engine import limits
from engine.cli import main


def _hear_late(at_most_s: float) -> None:
    assigned = App._on_partitions_assigned

    async def on_partitions_assigned(self: Any, *args: Any, **options: Any) -> None:
        await asyncio.sleep(random.uniform(0, at_most_s))
        await assigned(self, *args, **options)

    App._on_partitions_assigned = on_partitions_assigned  # type: ignore[method-assign]


def run(at_most_s: str, *arguments: str) -> None:
    """Run the command line with a worker that hears late."""
    vars(limits).update(SESSION_S=6.0, HEARTBEAT_S=1.2)
    _hear_late(float(at_most_s))
    main(list(arguments))


if __name__ == "__main__":
    run(*sys.argv[1:])
