"""Workers that are forked from a process in which the engine is imported already.

A worker as people start it imports for seconds of processor time. Trials that start hundreds of
workers would spend most of their time on that. `ForkedWorker` is a `WorkerProcess` whose process is
forked by multiprocessing's fork server instead; everything else of it is the same.
"""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from engine.cli import main
from tests.kafka.worker_process import WorkerProcess

_POLL_S: Final = 0.02

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["engine.cli", "engine.worker.worker"])


class ForkedWorker(WorkerProcess):
    """`program` is `-m`, a module and arguments: the module's `run` gets these and the worker's.

    By default it is the engine's command line.
    """

    async def __aenter__(self) -> Self:
        self._log_file.touch()
        _, module, *before = self._program
        process = _context.Process(
            target=_run,
            args=(module, [*before, *self._arguments], self._log_file, self._environment),
        )
        process.start()
        self._process = _Forked(process)
        return self


class _Forked:
    """A forked process with the part of `asyncio.subprocess.Process` that is used."""

    def __init__(self, process: multiprocessing.process.BaseProcess) -> None:
        self._process = process

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    async def wait(self) -> int:
        while self._process.exitcode is None:
            await asyncio.sleep(_POLL_S)
        return self._process.exitcode


def _run(
    module: str, arguments: Sequence[str], log_file: Path, environment: Mapping[str, str]
) -> None:
    """What the forked process does."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(log_file.parent)
    with log_file.open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [module, *arguments]
    if module == "engine":
        main(arguments, prog_name="hotlist")
    else:
        importlib.import_module(module).run(*arguments)
