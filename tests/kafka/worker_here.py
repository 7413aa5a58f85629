"""A worker in the test's own event loop, for tests that look inside or set its clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from engine.clock import Clock, SystemClock
from engine.config import Settings
from engine.worker.worker import Worker, WorkerOptions
from tests.kafka.records import WAIT_S, until


class WorkerHere:
    """A running worker and its end. What ends it too early is raised by `alive`."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._run = asyncio.create_task(worker.run())

    async def alive(self) -> None:
        """Raise what has ended the worker, if anything has."""
        if self._run.done():
            await self._run
            raise AssertionError("the worker has ended")

    async def ready(self) -> None:
        """Wait until it takes reads."""

        async def taking() -> bool:
            await self.alive()
            return not self.worker.not_ready_because

        await until(taking, "the worker is ready", lambda: self.worker.not_ready_because)

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value, summed over the labels that are not given."""
        return sum(
            sample.value
            for family in self.worker.metrics.registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def audit_pending(self) -> float:
        """Changes of the lists that wait to be audited, as it shows them."""
        self.worker.health.exposition()  # which is when gauges are set
        return self.metric("hotlist_audit_pending")

    async def has_processed(self, reads: int) -> None:
        """Wait until it has processed so many reads."""

        async def reached() -> bool:
            await self.alive()
            return self.metric("hotlist_reads_total") >= reads

        await until(reached, f"{reads} reads are processed", self.log)

    async def text(self, path: str) -> tuple[int, str]:
        """Status and body of what it serves."""
        url = f"http://127.0.0.1:{self.worker.http.port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status, await response.text()

    def log(self) -> str:
        """What there is to say when it does not do what it should."""
        reads = self.metric("hotlist_reads_total")
        return f"{reads:g} reads processed; not ready because: {self.worker.not_ready_because!r}"

    async def stop(self) -> None:
        """End it in order."""
        self.worker.stop()
        async with asyncio.timeout(WAIT_S):
            await self._run


@asynccontextmanager
async def worker_here(
    bootstrap: str,
    prefix: str,
    *,
    has_topics: bool = True,
    verify_keys: int = 1024,
    clock: Clock | None = None,
    **others: Any,
) -> AsyncIterator[WorkerHere]:
    """A worker of the group `<prefix>group`, stopped in order at the end.

    `has_topics` is False on the embedded broker, which cannot tell how a topic is set up. `others`
    are further settings.
    """
    settings = Settings(
        bootstrap=bootstrap,
        prefix=prefix,
        group=f"{prefix}group",
        http_port=0,
        verify_keys=verify_keys,
        **others,
    )
    options = WorkerOptions(clock or SystemClock(), check_topics=has_topics)
    here = WorkerHere(Worker(settings, options))
    try:
        yield here
    except BaseException:
        here._run.cancel()
        await asyncio.gather(here._run, return_exceptions=True)
        raise
    await here.stop()
