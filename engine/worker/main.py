"""The process of a worker: its event loop, its log, and the signals that end it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys

from engine import limits
from engine.clock import SystemClock
from engine.config import Settings
from engine.errors import HotlistError
from engine.kafka.acls import worker_needs
from engine.kafka.diagnosis import not_allowed, refusal
from engine.kafka.security import password_in_clear
from engine.observability.logs import Log, ignore_signals
from engine.transport.memory import settle_memory
from engine.worker.shutdown import obey_signals
from engine.worker.worker import Worker, WorkerOptions

log = logging.getLogger(__name__)


def prepare_process() -> None:
    """Set up this process for a worker, before it makes an event loop or a thread."""
    _use_uvloop()
    settle_memory()
    sys.setswitchinterval(limits.GIL_WAIT_S)


def _use_uvloop() -> None:
    """Make further event loops those of uvloop, if it is installed.

    They save a twentieth of all CPU time. This sets a policy and makes no loop, because Faust makes
    the loop of its consumer thread by itself.
    """
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def run_worker(settings: Settings, *, warns: bool = True) -> None:
    """Run a worker until SIGTERM or SIGINT. Raises HotlistError if it cannot go on.

    `warns` if it is to warn of a password that crosses a network in clear.
    """
    ignore_signals()
    process = f"{socket.gethostname()}:{os.getpid()}"
    logs = Log(
        settings.log_format, settings.log_level, {"group": settings.group, "worker": process}
    )
    logs.begin()
    try:
        in_clear = password_in_clear(settings) if warns else None
        if in_clear is not None:
            log.warning("a secret crosses the network: %s", in_clear)
        prepare_process()
        worker = Worker(settings, WorkerOptions(SystemClock(), faults=logs.faults))
        asyncio.run(_run_until_signal(worker, logs))
    except HotlistError as error:
        if settings.log_format == "json":  # else the command's own line says as much
            log.error("the worker has ended: %s", error, exc_info=error)
        raise
    finally:
        logs.end()


async def _run_until_signal(worker: Worker, logs: Log) -> None:
    loop = asyncio.get_running_loop()
    logs.obey_signals(loop)
    telling = asyncio.create_task(logs.tell_in_time())
    obey_signals(worker.stop)
    try:
        await worker.run()
    except Exception as error:
        refused = refusal(error)
        if refused is not None:
            raise not_allowed(refused, worker_needs(worker.settings, refused)) from error
        if isinstance(error, HotlistError):
            raise
        log.exception("the worker has failed")
        raise HotlistError(
            f"the worker failed ({type(error).__name__})",
            hint="nothing was committed for the reads in flight; start it again",
        ) from error
    finally:
        telling.cancel()
