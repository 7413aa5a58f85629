"""Two hotlist workers of one group, stopped when they have drained the topic between them.

`python -m benchmarks.engines.hotlist_two JOB`. Each is the worker of `benchmarks.engines.hotlist`
in a process of its own. The clock runs from the first reads of either to the last acknowledged
match of either, so the rebalance with which they begin is within it.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import time
from importlib.metadata import version
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.engines.hotlist import LIBRARIES, watched
from benchmarks.groups import mark_audited
from benchmarks.job import Answer, Job, give_up, job_from_arguments
from benchmarks.measure import high_water_bytes
from engine.worker.main import prepare_process

_WORKERS: Final = 2
_LOOK_EVERY_S: Final = 0.02

#: What each worker has done, in numbers that both of them read; each writes its own.
_READS, _FOUND, _MATCHES, _COUNTS = range(4)
#: And when: its first reads, by both clocks, and how many they were; its last event; and at its end
#: its peak of memory.
_FIRST_S, _FIRST_UNIX_S, _FIRST_READS, _LAST_S, _PEAK_BYTES, _TIMES = range(6)


def _work(job: Job, counts: Any, times: Any, number: int) -> None:
    """Be one of the workers until all reads are processed and their matches delivered."""
    logging.basicConfig(level=logging.ERROR)
    prepare_process()
    of_counts, of_times = number * _COUNTS, number * _TIMES

    def came(reads: int) -> None:
        if not times[of_times + _FIRST_S]:
            times[of_times + _FIRST_READS] = reads
            times[of_times + _FIRST_UNIX_S] = time.time()
            times[of_times + _FIRST_S] = time.perf_counter()

    def did(reads: int, found: int, matches: int) -> None:
        # What is found first: the job is done when all reads are processed and nothing is to come.
        counts[of_counts + _FOUND] += found
        counts[of_counts + _READS] += reads
        counts[of_counts + _MATCHES] += matches
        times[of_times + _LAST_S] = time.perf_counter()

    worker = watched(job, "at_least_once", came, did)

    async def stop_when_drained() -> None:
        while not _is_drained(job, counts):
            await asyncio.sleep(_LOOK_EVERY_S)
        worker.stop()

    async def run() -> None:
        watching = asyncio.create_task(stop_when_drained())
        try:
            await worker.run()
        finally:
            watching.cancel()

    asyncio.run(run())
    times[of_times + _PEAK_BYTES] = high_water_bytes(Path("/proc/self/status")) or 0


def _is_drained(job: Job, counts: Any) -> bool:
    reads, found, matches = (sum(counts[kind::_COUNTS]) for kind in (_READS, _FOUND, _MATCHES))
    return bool(reads >= job.reads and matches == found)


def main() -> None:
    """Drain the job's topic."""
    job = job_from_arguments()
    mark_audited(job.bootstrap, job.prefix, job.group)
    spawning = multiprocessing.get_context("spawn")
    counts = spawning.Array("q", _WORKERS * _COUNTS, lock=False)
    times = spawning.Array("d", _WORKERS * _TIMES, lock=False)
    workers = [
        spawning.Process(target=_work, args=(job, counts, times, number), daemon=True)
        for number in range(_WORKERS)
    ]
    for worker in workers:
        worker.start()
    left = {worker.sentinel for worker in workers}
    while left:
        left.difference_update(wait(list(left)))
        if any(worker.exitcode for worker in workers):
            give_up("a worker ended with an error")
    each = [times[at : at + _TIMES] for at in range(0, len(times), _TIMES)]
    first = min((of for of in each if of[_FIRST_S]), key=lambda of: of[_FIRST_S])
    answer = Answer(
        reads=sum(counts[_READS::_COUNTS]),
        matches=sum(counts[_MATCHES::_COUNTS]),
        drain_s=max(of[_LAST_S] for of in each) - first[_FIRST_S],
        first_reads=int(first[_FIRST_READS]),
        first_read_unix_s=first[_FIRST_UNIX_S],
        versions={name: version(name) for name in LIBRARIES},
        peak_memory_bytes=int(sum(of[_PEAK_BYTES] for of in each)) or None,
    )
    print(msgspec.json.encode(answer).decode(), flush=True)


if __name__ == "__main__":
    main()
