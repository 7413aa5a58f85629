"""What the demo's worker process runs: it warms up, runs the worker and reports its counts.

`python -m engine.demo.worker_side BOOTSTRAP PREFIX embedded|kafka`; see `worker_process`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from typing import Final

import msgspec

from engine import limits
from engine.clock import SystemClock
from engine.config import Settings
from engine.demo.embedded_broker import FETCH_WAIT_MS
from engine.demo.warm_up import warm_up
from engine.demo.worker_process import WorkerCounts, demo_settings
from engine.errors import HotlistError
from engine.observability.metrics import values_of
from engine.observability.status import buckets_of
from engine.worker.main import prepare_process
from engine.worker.worker import Worker, WorkerOptions

_REPORT_EVERY_S: Final = 0.025


def main(bootstrap: str, prefix: str, broker: str) -> None:
    """Run the worker until the input ends."""
    # Ctrl-C reaches every process of a terminal; the demo decides when the worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A warning would stand alone in the demo's output; what stops the worker is reported there.
    logging.basicConfig(level=logging.ERROR)
    prepare_process()
    warm_up(SystemClock().now_ms())
    if sys.stdin.readline():  # else the demo has ended already
        asyncio.run(_run(demo_settings(bootstrap, prefix), embedded=broker == "embedded"))


async def _run(settings: Settings, *, embedded: bool) -> None:
    wait_ms = FETCH_WAIT_MS if embedded else limits.FETCH_WAIT_MS
    options = WorkerOptions(SystemClock(), check_topics=not embedded, reads_wait_ms=wait_ms)
    worker = Worker(settings, options)
    beside = [asyncio.create_task(_report(worker)), asyncio.create_task(_stop_at_end(worker))]
    failure = ""
    try:
        await worker.run()
    except HotlistError as error:
        failure = str(error)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        _write(_counts_of(worker, failure))


async def _stop_at_end(worker: Worker) -> None:
    """Stop the worker when the input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    worker.stop()


async def _report(worker: Worker) -> None:
    while True:
        _write(_counts_of(worker))
        await asyncio.sleep(_REPORT_EVERY_S)


def _write(counts: WorkerCounts) -> None:
    with contextlib.suppress(BrokenPipeError):  # the end of the input follows
        sys.stdout.buffer.write(msgspec.json.encode(counts) + b"\n")
        sys.stdout.buffer.flush()


def _counts_of(worker: Worker, failure: str = "") -> WorkerCounts:
    metrics = worker.metrics
    delays = buckets_of(metrics.read_to_match_s)
    bounds_s = (*delays.bounds_s[:-1], sys.float_info.max)  # JSON knows no infinity
    return WorkerCounts(
        ready=not worker.not_ready_because,
        port=worker.http.port,
        processed=worker.reads_processed,
        suppressed=int(sum(values_of(metrics.suppressed).values())),
        rejects=int(sum(values_of(metrics.rejects).values())),
        other_vehicle=int(values_of(metrics.denied).get(("entry_vehicle",), 0)),
        denied=tuple(
            (source, reason, int(count))
            for (source, reason), count in values_of(metrics.denied_by_source).items()
        ),
        delays=tuple(
            (bound_s, int(count)) for bound_s, count in zip(bounds_s, delays.counts, strict=True)
        ),
        failure=failure,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
