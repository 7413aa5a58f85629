"""The workers of a campaign, each behind a network of its own, and their supervisor.

A slot is a place for one worker: its way to the broker, its clock, and a loop that starts it again
when it has ended with an error, as a service manager does. A worker that ends in order without
having been asked to is a problem. One that does not end in END_S when it is asked to is killed, as
a service manager does too; that is counted, and a problem where nothing is broken meanwhile. One
whose end is not one of its own errors is a problem: it names an exception instead of a cause, or
there is a traceback in what it wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.fakes.faulty_proxy import FaultyProxy
from tests.kafka.worker_process import WorkerProcess
from tests.torture.waits import bounded
from tests.torture.wrapped_worker import STEP

#: As a service manager's pause before it starts a program again.
_RESTART_PAUSE_S = 1.0
#: In the log of a worker that got SIGTERM, perhaps before it was wanted again.
_ASKED = "stopping on SIGTERM"
#: Longer than `limits.SHUTDOWN_S` and what a slow worker may take beside it.
END_S = 45.0
#: The kernel ends a process at once, and a slow machine notices a little later.
_KILLED_S = 30.0
#: What a worker writes that has come to an end of which its own code knows nothing; the second of
#: asyncio, of a task or future whose error nobody has looked at.
_FAULTS = ("Traceback (most recent call last)", "exception was never retrieved")
#: The last line of a worker that ended by an exception that is none of its own errors.
_FAILED = re.compile(r"the worker failed \(\w+\)")


class Network:
    """What lies between a worker and all brokers, one way to each; faults are those of all ways."""

    def __init__(self, ways: list[FaultyProxy]) -> None:
        self._ways = ways

    @property
    def bootstrap(self) -> str:
        """Where the worker finds the brokers."""
        return ",".join(f"127.0.0.1:{way.port}" for way in self._ways)

    def do(self, fault: Callable[[FaultyProxy], None]) -> None:
        """Do a fault to each way, or mend it."""
        for way in self._ways:
            fault(way)


class Slot:
    """See the module. `problems` is where it writes what must not happen."""

    def __init__(
        self,
        number: int,
        network: Network,
        prefix: str,
        directory: Path,
        session_s: float,
        arguments: list[str],
        problems: list[str],
    ) -> None:
        self.number = number
        self.network = network
        #: Of the topics at which the next worker here works.
        self.prefix = prefix
        self.is_wanted = False
        self.starts = 0
        #: How often it was started again after which error.
        self.errors: Counter[str] = Counter()
        #: How often SIGTERM did not end it in time.
        self.forced_ends = 0
        self._directory = directory
        self._session_s = session_s
        self._arguments = arguments
        self._problems = problems
        self._process: WorkerProcess | None = None
        self._changed = asyncio.Event()
        self._held = 0
        self._is_killed = False
        self._step_file = directory / f"clock-{number}"
        self._step_file.write_bytes(STEP.pack(0))
        self._clock_s = 0.0

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return None if self._process is None else self._process.pid

    def want(self, is_wanted: bool) -> None:
        """Whether a worker is to run here."""
        self.is_wanted = is_wanted
        self._changed.set()

    async def supervise(self) -> None:
        """Keep a worker running while one is wanted; until cancelled."""
        while True:
            self._changed.clear()
            if not self.is_wanted or self._held:
                await self._changed.wait()
                continue
            await self._run_once()

    async def _run_once(self) -> None:
        log_file = self._directory / f"worker-{self.number}-{self.starts}.log"
        self.starts += 1
        process = WorkerProcess(
            log_file,
            self.network.bootstrap,
            self.prefix,
            *self._arguments,
            program=(
                *("-m", "tests.torture.wrapped_worker"),
                *(str(self._step_file), str(self._session_s)),
            ),
        )
        async with process:
            self._process = process
            try:
                status = await process.wait()
            finally:
                self._process = None
        text = log_file.read_text(errors="replace")
        fault = fault_of(status, text)
        if fault is not None:
            self._problems.append(f"worker {self.number} ended by no error of its own: {fault}")
        if self._is_killed:
            self._is_killed = False
        elif status == -signal.SIGTERM and not self.is_wanted:
            pass  # it had not got so far as to handle the signal
        elif status:
            self.errors[_last_line(text) or f"status {status}"] += 1
            await asyncio.sleep(_RESTART_PAUSE_S)
        elif _ASKED not in text:
            self._problems.append(f"a worker ended in order and nobody asked it to: {log_file}")
            await asyncio.sleep(_RESTART_PAUSE_S)

    # ---- faults

    async def kill(self, away_s: float) -> None:
        """SIGKILL; another one starts after a while."""
        self._held += 1
        try:
            self._signal(signal.SIGKILL)
            await asyncio.sleep(away_s)
        finally:
            self._held -= 1
            self._changed.set()

    async def stop_for(self, stopped_s: float) -> None:
        """SIGSTOP, and SIGCONT after a while, to the same process."""
        pid = self.pid
        self._signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(stopped_s)
        finally:
            if pid is not None and pid == self.pid:
                self._signal(signal.SIGCONT)

    async def end(self, *, by_kill: bool = False) -> bool:
        """SIGTERM, or SIGKILL; returns when it has ended, False where SIGTERM did not end it."""
        self.want(False)
        process = self._process
        if process is None:
            return True
        if not by_kill:
            self._signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(END_S):
                    await process.wait()
                return True
            except TimeoutError:
                self.forced_ends += 1
        self._signal(signal.SIGKILL)
        await bounded(process.wait(), _KILLED_S, f"the end of worker {self.number} by SIGKILL")
        return by_kill

    def step_clock(self, by_s: float) -> None:
        """Put its clock forward, or back; steps add up."""
        self._clock_s += by_s
        with self._step_file.open("r+b") as file:
            file.write(STEP.pack(round(1000 * self._clock_s)))

    def _signal(self, which: signal.Signals) -> None:
        pid = self.pid
        if pid is None:
            return
        if which is signal.SIGKILL:
            self._is_killed = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, which)

    async def state(self) -> str:
        """What it says of itself, in one line."""
        process = self._process
        if process is None:
            return f"worker {self.number}: not running"
        try:
            async with asyncio.timeout(5):
                status, text = await process.get("/readyz")
        except (AssertionError, TimeoutError) as error:
            return f"worker {self.number}: no answer ({type(error).__name__})"
        return f"worker {self.number}: {status} {text.strip()}, up for the {self.starts}. time"


def fault_of(status: int, text: str) -> str | None:
    """What in a worker's end and its log is no error of its own, in a few words; None if nothing.

    Those that end by SIGKILL or SIGTERM have a negative status.
    """
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if any(fault in line for fault in _FAULTS):
            behind = [each for each in lines[number + 1 :] if each and not each[0].isspace()]
            return f"{line.strip()}: {behind[0] if behind else ''}"
    failed = _FAILED.search(text)
    if failed is not None:
        return failed[0]
    if status > 1:
        return f"status {status}: {_last_line(text)}"
    if status < 0 and -status not in (signal.SIGKILL, signal.SIGTERM):
        return f"signal {-status}: {_last_line(text)}"
    return None


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def now_s() -> float:
    """The clock of all evidence."""
    return time.monotonic()
