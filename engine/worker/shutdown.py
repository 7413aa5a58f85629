"""The end of a worker, step by step, in a bounded time.

Usually each step takes a few milliseconds. If the broker is unavailable, some of them would wait
for it, one after the other. Together they have `limits.END_S`; the worker skips what is not done by
then. Nothing is lost: what is not committed is read again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Final

from engine import limits

log = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Shutdown:
    """See the module. The time begins with the first step."""

    def __init__(self) -> None:
        self._by_s: float | None = None

    async def step(self, what: str, stop: Callable[[], Awaitable[None]]) -> None:
        """Wait for a step, as long as there is time; raise its error.

        A step that is cancelled from within is done: aiokafka lets that out of a stop during which
        its own tasks are cancelled.
        """
        now_s = time.monotonic()
        if self._by_s is None:
            self._by_s = now_s + limits.END_S
        step = asyncio.ensure_future(stop())
        await asyncio.wait({step}, timeout=max(limits.END_STEP_S, self._by_s - now_s))
        if step.done():
            if not step.cancelled():
                step.result()
            return
        step.cancel()
        log.warning("stopping: gave up waiting for %s", what)


def obey_signals(stop: Callable[[], None]) -> None:
    """Let SIGTERM and SIGINT end the running event loop's worker in order.

    A second signal ends the process at once, as if there were no handler.
    """
    loop = asyncio.get_running_loop()
    asked = False

    def obey(number: signal.Signals) -> None:
        nonlocal asked
        if not asked:
            asked = True
            log.info("stopping on %s; once more ends it at once", number.name)
            stop()
            return
        log.warning(
            "%s again: ended at once; the reads in flight will be processed again", number.name
        )
        with contextlib.suppress(ValueError, RuntimeError):
            loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, obey, number)
