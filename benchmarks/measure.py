"""A process run to its end, with its memory and its CPU time watched.

Peak memory is the kernel's own high-water mark of the process (`VmHWM`), read while it runs:
what `wait` reports begins with the memory of the process that forked it. Where there is no
/proc, memory is not known and left out.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LOOK_EVERY_S = 0.1
_HIGH_WATER = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


class ProcessFailedError(Exception):
    """The process ended with a non-zero status or not at all; the text holds its last lines."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a process printed and took. `cpu_s` is user and system time together."""

    output: str
    started_unix_s: float
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int | None


def run_measured(
    command: Sequence[str], *, timeout_s: float, environment: Mapping[str, str] | None = None
) -> Measured:
    """Run a command in an empty directory of its own and wait for it.

    Raises ProcessFailedError; no process is left behind in any case.
    """
    with tempfile.TemporaryDirectory(prefix="hotlist-bench-") as directory:
        out, err = Path(directory, "out"), Path(directory, "err")
        with out.open("wb") as stdout, err.open("wb") as stderr:
            started_unix_s, started_s = time.time(), time.monotonic()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=directory,
                env={**os.environ, **(environment or {})},
            )
            try:
                status, cpu_s, peak_bytes = _watch(process, started_s + timeout_s)
            finally:
                if process.returncode is None:
                    process.kill()
                    process.wait()
        wall_s = time.monotonic() - started_s
        if status is None or status != 0:
            how = "did not end in time" if status is None else f"ended with status {status}"
            last = "\n".join(err.read_text(errors="replace").splitlines()[-20:])
            raise ProcessFailedError(f"{how} after {wall_s:.0f} s\n{last}".rstrip())
        return Measured(out.read_text(), started_unix_s, wall_s, cpu_s, peak_bytes)


def _watch(
    process: subprocess.Popen[bytes], deadline_s: float
) -> tuple[int | None, float, int | None]:
    """Exit status (None at the deadline), CPU seconds and peak memory of a process."""
    peak_bytes = None
    status_file = Path(f"/proc/{process.pid}/status")
    while time.monotonic() < deadline_s:
        peak_bytes = high_water_bytes(status_file) or peak_bytes
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_utime + usage.ru_stime, peak_bytes
        time.sleep(_LOOK_EVERY_S)
    return None, 0.0, peak_bytes


def high_water_bytes(status_file: Path) -> int | None:
    """The peak memory in a process's status file of /proc; None if there is none."""
    try:
        found = _HIGH_WATER.search(status_file.read_text())
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None
