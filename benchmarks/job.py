"""The job that an engine's process gets, and its answer.

The harness gives a `Job` as one JSON argument. The engine reads the topic from its beginning
with the group it is given, and when every read is processed and every match is acknowledged
by the broker it prints one JSON line (`Answer`) on standard output, its last, and ends. What
it writes on standard error is shown if it fails.

The clock of an engine runs from the moment at which its code has the first reads in hand to
the last acknowledgement. Those first reads are not counted into its rate: one that takes
reads by the hundred thousand would have fetched a good part before its clock began. Peers use
this module and nothing else of ours.
"""

from __future__ import annotations

import sys
import time
from typing import NoReturn

import msgspec


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Where to read, how much there is, and where the matches go."""

    bootstrap: str
    prefix: str
    group: str
    detections: str
    hotlist: str
    policies: str
    entries_by_plate: str
    matches: str
    reads: int
    partitions: int


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    `drain_s` is the time from the first reads to the last acknowledged match, `first_reads` how
    many these were, `first_read_unix_s` when they came, `versions` the libraries that did the
    work.
    `cpu_s` and `peak_memory_bytes` are set only where the work was done by a process that the
    harness does not see.
    """

    reads: int
    matches: int
    drain_s: float
    first_reads: int
    first_read_unix_s: float
    versions: dict[str, str] = {}
    cpu_s: float | None = None
    peak_memory_bytes: int | None = None


def job_from_arguments() -> Job:
    """The job of this process. Raises msgspec.ValidationError."""
    return msgspec.json.decode(sys.argv[1], type=Job)


class Stopwatch:
    """The clock of one run, and the answer at its end."""

    def __init__(self) -> None:
        self._first_s: float | None = None
        self._first_unix_s = 0.0
        self._first_reads = 0
        self._last_s = 0.0

    def reads_came(self, count: int) -> None:
        """Note that so many reads are in hand; the first time starts the clock."""
        if self._first_s is None:
            self._first_reads = count
            self._first_s = time.perf_counter()
            self._first_unix_s = time.time()

    def lap(self) -> None:
        """Note that something was done just now; the last time stops the clock."""
        self._last_s = time.perf_counter()

    def answer(self, reads: int, matches: int, versions: dict[str, str]) -> None:
        """Print the answer."""
        assert self._first_s is not None, "no read ever came"
        answer = Answer(
            reads=reads,
            matches=matches,
            drain_s=self._last_s - self._first_s,
            first_reads=self._first_reads,
            first_read_unix_s=self._first_unix_s,
            versions=versions,
        )
        print(msgspec.json.encode(answer).decode(), flush=True)


def give_up(why: str) -> NoReturn:
    """End this process as failed."""
    print(why, file=sys.stderr, flush=True)
    raise SystemExit(1)
