"""A process beside this one: what it says in error is kept, and it never outlives its block."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from benchmarks.commands import ENVIRONMENT
from benchmarks.measure import ProcessFailedError

_STOP_S = 60.0


class OtherProcess:
    """A command; killed at the end of the `with` block at the latest.

    `name` stands for it in errors. What it prints goes with its errors unless `piped`.
    `environment` are further variables.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        piped: bool,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in __exit__
        self._process: subprocess.Popen[Any] = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else self._errors,
            stderr=self._errors,
            cwd=tempfile.gettempdir(),
            env={**os.environ, **ENVIRONMENT, **(environment or {})},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._errors.close()

    def cpu_s(self) -> float:
        """The processor time that it has taken so far, while it runs."""
        # What follows its name, which may hold anything: its state is the third field.
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it in order. Raises ProcessFailedError if it does not end so."""
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            raise self._failed("did not end") from None
        if status != 0:
            raise self._failed(f"ended with status {status}")

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def _failed(self, how: str) -> ProcessFailedError:
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").splitlines()[-20:]
        return ProcessFailedError("\n".join([f"{self._name} {how}", *last]))


class PythonProcess(OtherProcess):
    """`python -m` with these arguments."""

    def __init__(
        self,
        name: str,
        arguments: list[str],
        *,
        piped: bool,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        command = [sys.executable, "-m", *arguments]
        super().__init__(name, command, piped=piped, environment=environment)
