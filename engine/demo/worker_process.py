"""The demo's worker in a process of its own, beside the one that makes reads and sees matches.

In one process the city would take the interpreter's lock from the engine, and be part of the delays
that the demo shows. This module is the demo's side; `worker_side` is what the process runs. The
demo writes one line to it when the lists are sent, and ends its input to stop it. It writes its
counts, as a line of JSON every few milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from engine.config import Settings
from engine.errors import HotlistError

#: How long the worker may take to put everything away.
_STOP_S: Final = 20.0
_LOOK_EVERY_S: Final = 0.02
_LINE_BYTES: Final = 1 << 20


class WorkerCounts(msgspec.Struct, frozen=True):
    """What the worker counts. `denied` is by source and reason; `port` is that of its metrics.

    `delays` is the histogram of the engine's share of the delay: by upper bound in seconds, how
    many matches there were up to it; the last bound is the largest number. `failure` is set in the
    last report of a worker that cannot go on.
    """

    ready: bool = False
    port: int = 0
    processed: int = 0
    suppressed: int = 0
    rejects: int = 0
    other_vehicle: int = 0
    denied: tuple[tuple[str, str, int], ...] = ()
    delays: tuple[tuple[float, int], ...] = ()
    failure: str = ""


class WorkerProcess:
    """The demo's side of the process. `counts` are the latest ones.

    `running` ends with the process, and raises HotlistError if that was not stopped.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.counts = WorkerCounts()
        self._process = process
        self._is_stopping = False
        self.running = asyncio.create_task(self._hear())

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, settings: Settings, *, embedded: bool) -> AsyncIterator[WorkerProcess]:
        """Start the process, which gets ready for `begin`; stop it at the end."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "engine.demo.worker_side"),
            *(settings.bootstrap, settings.prefix, "embedded" if embedded else "kafka"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=own_package(),
            limit=_LINE_BYTES,
        )
        worker = cls(process)
        try:
            yield worker
        finally:
            await worker._stop()

    async def begin(self) -> None:
        """Let the worker read the lists, and wait until it takes reads. Raises HotlistError."""
        if self._process.stdin is not None:
            self._process.stdin.write(b"begin\n")
        while not self.counts.ready:
            if self.running.done():
                self.running.result()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _hear(self) -> None:
        if self._process.stdout is not None:
            async for line in self._process.stdout:
                self.counts = msgspec.json.decode(line, type=WorkerCounts)
        status = await self._process.wait()
        if self.counts.failure:
            raise HotlistError(self.counts.failure)
        if not self._is_stopping:
            raise HotlistError(f"the demo's worker ended by itself, with status {status}")

    async def _stop(self) -> None:
        self._is_stopping = True
        if self._process.stdin is not None:
            self._process.stdin.close()
        await asyncio.wait([self.running], timeout=_STOP_S)
        if not self.running.done():
            self._process.kill()
        # The demo has reported a failure when it noticed it.
        await asyncio.gather(self.running, return_exceptions=True)


def own_package() -> dict[str, str]:
    """Return the environment of a process that imports this package, whatever is called `engine` in
    the working directory."""
    root, path = str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{path}" if path else root}


def demo_settings(bootstrap: str, prefix: str) -> Settings:
    """Return the settings of the demo's worker and of its clients."""
    return Settings(
        bootstrap=bootstrap, prefix=prefix, group=f"{prefix}engine", http_port=0, verify_keys=64
    )
