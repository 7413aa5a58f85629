"""A worker as people run it: `python -m engine worker` in a process of its own."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

import aiohttp

from tests.kafka.records import WAIT_S, until

_ROOT = Path(__file__).resolve().parents[2]
_LISTENS = re.compile(r"metrics and health at (http://[^\s\"]+)")


class Process(Protocol):
    """The part of `asyncio.subprocess.Process` that is used here."""

    @property
    def returncode(self) -> int | None: ...
    @property
    def pid(self) -> int: ...
    def send_signal(self, number: int, /) -> None: ...
    def kill(self) -> None: ...
    async def wait(self) -> int: ...


class WorkerProcess:
    """An async context manager; what still runs at its end is killed.

    Its standard error goes to `log_file`, which `log` returns. `environment` are further
    variables, `program` is what Python runs.
    """

    def __init__(
        self,
        log_file: Path,
        bootstrap: str,
        prefix: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-m", "engine"),
    ) -> None:
        self._log_file = log_file
        self._environment = {"PYTHONPATH": str(_ROOT), "PATH": "", **(environment or {})}
        self._program = program
        self._arguments = [
            *("worker", "--bootstrap", bootstrap, "--prefix", prefix, "--http-port", "0"),
            *("--group", f"{prefix}group", *arguments),
        ]
        self._process: Process | None = None
        self._url = ""

    async def __aenter__(self) -> Self:
        with self._log_file.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, *self._program, *self._arguments),
                cwd=self._log_file.parent,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._running.returncode is None:
            self._running.kill()
        await self._running.wait()

    @property
    def _running(self) -> Process:
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._running.pid

    @property
    def url(self) -> str:
        """Where it serves; empty until `get` has found out."""
        return self._url

    def log(self) -> str:
        """What it has written so far."""
        return self._log_file.read_text(errors="replace")

    async def ready(self) -> None:
        """Wait until it takes reads."""

        async def answers() -> bool:
            status, _ = await self.get("/readyz")
            return status == 200

        await until(answers, "the worker is ready", self.log)

    async def get(self, path: str, accept: str = "*/*") -> tuple[int, str]:
        """Status and body of what it serves; status 0 while it does not listen yet."""
        if not self._url:
            listens = _LISTENS.search(self.log())
            if self._running.returncode is not None:
                raise AssertionError(f"the worker has ended:\n{self.log()}")
            if listens is None:
                return 0, ""
            self._url = listens[1]
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(
                    f"{self._url}{path}", headers={"Accept": accept}
                ) as response:
                    return response.status, await response.text()
            except aiohttp.ClientConnectionError as error:
                raise AssertionError(f"the worker does not answer:\n{self.log()}") from error

    async def alive(self) -> None:
        """Raise with its log when it has ended or does not answer."""
        await self.get("/healthz")

    async def metric(self, name: str) -> float:
        """A metric's value, summed over its labels; 0 where it is not there."""
        _, text = await self.get("/metrics")
        lines = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        return sum(float(value) for value in lines)

    async def has_processed(self, reads: int) -> None:
        """Wait until it has processed so many reads since its start."""

        async def reached() -> bool:
            return await self.metric("hotlist_reads_total") >= reads

        await until(reached, f"the worker has processed {reads} reads", self.log)

    async def wait(self) -> int:
        """Wait for its end, however long that takes; its exit status."""
        return await self._running.wait()

    async def ends(self) -> int:
        """Wait for its end; its exit status."""
        try:
            return await asyncio.wait_for(self._running.wait(), WAIT_S)
        except TimeoutError:
            raise AssertionError(f"the worker has not ended:\n{self.log()}") from None

    async def stop(self) -> None:
        """End it in order, as a service manager would."""
        self._running.send_signal(signal.SIGTERM)
        status = await self.ends()
        assert status == 0, f"status {status} after SIGTERM:\n{self.log()}"

    async def kill(self) -> None:
        """End it as the kernel would, out of memory."""
        self._running.kill()
        await self._running.wait()
