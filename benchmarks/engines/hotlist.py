"""The hotlist worker as it is started by `hotlist worker`, stopped when it has drained the topic.

`python -m benchmarks.engines.hotlist JOB`. Everything is on: schema checks, sampled key checks,
policies, audit, metrics, offset commits. Counted are reads processed and matches acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import Final

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

#: Their versions are part of the answer.
LIBRARIES: Final = ("aiokafka", "faust-streaming", "numba", "cramjam")


def watched(
    job: Job,
    delivery: str,
    came: Callable[[int], None],
    did: Callable[[int, int, int], None],
) -> Worker:
    """Return a worker of the job's group that says what it does.

    `came` gets the number of reads of a fetch that has come; `did` how many reads were processed,
    matches found in them, and matches delivered.
    """

    class Watched(Processor):
        async def process(self, fetch: Fetch, deliver_some: DeliverSome | None) -> Outcome | None:
            raw = fetch.raw
            came(raw.last_offset + 1 - raw.first_offset)
            outcome = await super().process(fetch, deliver_some)
            if outcome is not None:
                did(outcome.reads, len(outcome.matches), 0)
            return outcome

        def count_delivered(self, outcome: Outcome, took_s: float) -> None:
            super().count_delivered(outcome, took_s)
            did(0, 0, len(outcome.matches))

    settings = Settings(
        bootstrap=job.bootstrap,
        prefix=job.prefix,
        group=job.group,
        http_port=0,
        delivery=delivery,
    )
    return Worker(settings, WorkerOptions(SystemClock(), processor=Watched))


def main(delivery: str = "at_least_once") -> None:
    """Drain the job's topic with this delivery."""
    logging.basicConfig(level=logging.ERROR)
    prepare_process()
    job = job_from_arguments()
    mark_audited(job.bootstrap, job.prefix, job.group)
    watch = Stopwatch()
    done = found_so_far = delivered = 0

    def did(reads: int, found: int, matches: int) -> None:
        nonlocal done, found_so_far, delivered
        done, found_so_far, delivered = done + reads, found_so_far + found, delivered + matches
        if done >= job.reads and delivered == found_so_far:
            watch.lap()
            worker.stop()

    worker = watched(job, delivery, watch.reads_came, did)
    asyncio.run(worker.run())
    watch.answer(done, delivered, {name: version(name) for name in LIBRARIES})


if __name__ == "__main__":
    main()
