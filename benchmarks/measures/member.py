"""A worker of a group that holds its first fetch until a line of input arrives.

`python -m benchmarks.measures.member MEMBER`. It joins the group while the topic is still empty,
so that no rebalance disturbs the measurement. A line of input starts it, and the end of its input
stops it in order.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time

import msgspec

from benchmarks.measures.children import argument, say
from engine.clock import SystemClock
from engine.config import Settings
from engine.delivery.pipeline import DeliverSome
from engine.matching.outcome import Outcome
from engine.transport.fetch import Fetch
from engine.worker.processor import Processor
from engine.worker.worker import Worker, WorkerOptions


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """Which group to join."""

    bootstrap: str
    prefix: str
    group: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """All so far: reads processed, matches found and matches acknowledged. `at_s` is the
    machine's monotonic clock, which all processes share."""

    at_s: float
    reads: int
    found: int
    delivered: int


class _Held(Processor):
    """Holds the first fetch until it may `go`."""

    go = asyncio.Event()
    _reads = _found = _delivered = 0

    async def process(self, fetch: Fetch, deliver_some: DeliverSome | None) -> Outcome | None:
        await self.go.wait()
        outcome = await super().process(fetch, deliver_some)
        if outcome is not None:
            self._reads += outcome.reads
            self._found += len(outcome.matches)
            self._say()
        return outcome

    def count_delivered(self, outcome: Outcome, took_s: float) -> None:
        super().count_delivered(outcome, took_s)
        self._delivered += len(outcome.matches)
        self._say()

    def _say(self) -> None:
        say(
            Progress(
                at_s=time.monotonic(),
                reads=self._reads,
                found=self._found,
                delivered=self._delivered,
            )
        )


async def _run(member: Member) -> None:
    settings = Settings(
        bootstrap=member.bootstrap, prefix=member.prefix, group=member.group, http_port=0
    )
    worker = Worker(settings, WorkerOptions(SystemClock(), processor=_Held))

    async def follow_input() -> None:
        if await asyncio.to_thread(sys.stdin.readline):
            _Held.go.set()
            await asyncio.to_thread(sys.stdin.readline)
        worker.stop()

    following = asyncio.create_task(follow_input())
    await worker.run()
    await following


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(_run(argument(Member)))
