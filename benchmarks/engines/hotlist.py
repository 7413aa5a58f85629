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
from engine.clock import SystemClock
from engine.config import Settings
from engine.delivery.pipeline import DeliverSome
from engine.matching.outcome import Outcome
from engine.transport.fetch import Fetch
from engine.worker.main import prepare_process
from engine.worker.processor import Processor
from engine.worker.worker import Worker, WorkerOptions


class _Tally:
    """What a worker has done of a job."""

    def __init__(self, job: Job) -> None:
        self.watch = Stopwatch()
        self.reads = 0
        self.found = 0
        self.matches = 0
        self._job = job

    @property
    def is_drained(self) -> bool:
        """Whether all reads are processed and all matches delivered."""
        return self.reads >= self._job.reads and self.matches == self.found


def _watched(job: Job, delivery: str) -> tuple[Worker, _Tally]:
    """A worker that stops when the job's reads are processed and their matches delivered."""
    tally = _Tally(job)

    class Watched(Processor):
        async def process(self, fetch: Fetch, deliver_some: DeliverSome | None) -> Outcome | None:
            raw = fetch.raw
            tally.watch.reads_came(raw.last_offset + 1 - raw.first_offset)
            outcome = await super().process(fetch, deliver_some)
            if outcome is not None:
                tally.reads += outcome.reads
                tally.found += len(outcome.matches)
                stop_when_drained()
            return outcome

        def count_delivered(self, outcome: Outcome, took_s: float) -> None:
            super().count_delivered(outcome, took_s)
            tally.matches += len(outcome.matches)
            stop_when_drained()

    def stop_when_drained() -> None:
        if tally.is_drained:
            tally.watch.lap()
            worker.stop()

    settings = Settings(
        bootstrap=job.bootstrap,
        prefix=job.prefix,
        group=job.group,
        http_port=0,
        delivery=delivery,
    )
    worker = Worker(settings, WorkerOptions(SystemClock(), processor=Watched))
    return worker, tally


def main(delivery: str = "at_least_once") -> None:
    """Drain the job's topic with this delivery."""
    logging.basicConfig(level=logging.ERROR)
    prepare_process()
    job = job_from_arguments()
    mark_audited(job.bootstrap, job.prefix, job.group)
    worker, tally = _watched(job, delivery)
    asyncio.run(worker.run())
    libraries = ("aiokafka", "faust-streaming", "numba", "cramjam")
    tally.watch.answer(tally.reads, tally.matches, {name: version(name) for name in libraries})


if __name__ == "__main__":
    main()
