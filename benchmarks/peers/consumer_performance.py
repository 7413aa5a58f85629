"""Kafka's own ConsumerPerformance: reads the topic with the Java client and does nothing.

`python -m benchmarks.peers.consumer_performance JOB`. Started from the broker's own jars. Its
clock is its own too: the time spent fetching, without the time to join the group.
"""

from __future__ import annotations

import time

import msgspec

from benchmarks.job import Answer, give_up, job_from_arguments
from benchmarks.measure import ProcessFailedError, run_measured
from tests.kafka.jars import fetch

_TIMEOUT_S = 280.0
#: Columns of its one line of output.
_RECORDS, _REBALANCE_MS, _FETCH_MS = 4, 6, 7


def main() -> None:
    job = job_from_arguments()
    command = [
        *("java", "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"),
        *("-cp", f"{fetch()}/*", "org.apache.kafka.tools.ConsumerPerformance"),
        *("--bootstrap-server", job.bootstrap, "--topic", job.detections, "--group", job.group),
        *("--messages", str(job.reads), "--fetch-size", str(4 * 1024 * 1024)),
        *("--timeout", "60000", "--hide-header"),
    ]
    try:
        measured = run_measured(command, timeout_s=_TIMEOUT_S)
    except ProcessFailedError as error:
        give_up(str(error))
    columns = [column.strip() for column in measured.output.splitlines()[-1].split(",")]
    drain_s = int(columns[_FETCH_MS]) / 1000
    answer = Answer(
        reads=int(columns[_RECORDS]),
        matches=0,
        first_reads=0,
        drain_s=drain_s,
        first_read_unix_s=time.time() - drain_s,
        peak_memory_bytes=measured.peak_memory_bytes,
    )
    print(msgspec.json.encode(answer).decode())


if __name__ == "__main__":
    main()
