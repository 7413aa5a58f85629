"""The hotlist worker as it is started by `hotlist worker`, stopped when it has drained the topic.

`python -m benchmarks.engines.hotlist JOB`. Everything is on: schema checks, sampled key checks,
policies, audit, metrics, offset commits. Counted are reads processed and matches acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
from importlib.metadata import version

from benchmarks.groups import mark_audited
from benchmarks.job import Job, Stopwatch, job_from_arguments
from engine.config import Settings
from engine.matching.matcher import Outcome
from engine.transport.consumer import Fetch
from engine.transport.memory import settle_memory
from engine.worker.worker import Worker, use_uvloop


class _Watched(Worker):
    """A worker that stops when the job's reads are processed and their matches delivered."""

    def __init__(self, job: Job, delivery: str) -> None:
        super().__init__(
            Settings(
                bootstrap=job.bootstrap,
                prefix=job.prefix,
                group=job.group,
                http_port=0,
                delivery=delivery,
            )
        )
        self.watch = Stopwatch()
        self.reads = 0
        self.matches = 0
        self._job = job
        self._found = 0

    async def process(self, fetch: Fetch) -> Outcome | None:
        raw = fetch.raw
        self.watch.reads_came(raw.last_offset + 1 - raw.first_offset)
        outcome = await super().process(fetch)
        if outcome is not None:
            self.reads += outcome.reads
            self._found += len(outcome.matches)
            self._stop_when_drained()
        return outcome

    def count_delivered(self, outcome: Outcome, took_s: float) -> None:
        super().count_delivered(outcome, took_s)
        self.matches += len(outcome.matches)
        self._stop_when_drained()

    def _stop_when_drained(self) -> None:
        if self.reads >= self._job.reads and self.matches == self._found:
            self.watch.lap()
            self.stop()


def main(delivery: str = "at_least_once") -> None:
    """Drain the job's topic with this delivery."""
    logging.basicConfig(level=logging.ERROR)
    use_uvloop()
    settle_memory()
    job = job_from_arguments()
    mark_audited(job.bootstrap, job.prefix, job.group)
    worker = _Watched(job, delivery)
    asyncio.run(worker.run())
    libraries = ("aiokafka", "faust-streaming", "numba", "cramjam")
    worker.watch.answer(worker.reads, worker.matches, {name: version(name) for name in libraries})


if __name__ == "__main__":
    main()
