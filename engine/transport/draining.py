"""Faust's consumer, which waits for a bounded time until what has begun is done, and commits it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Set

from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from engine import limits

log = logging.getLogger(__name__)


class DrainingConsumer(driver.Consumer):
    """See the module."""

    async def wait_empty(self) -> None:
        """Wait, for a bounded time, until what the agent has begun is done; commit it.

        Faust's own version has no bound and collects garbage in a loop, which takes seconds
        with a long hot list in memory.
        """
        deadline = time.monotonic() + limits.SHUTDOWN_S
        while self._unacked_messages and time.monotonic() < deadline:
            await self._wait_for_ack(limits.ACK_LOOK_S)
        await self._commit_in_time()

    async def drain(self, partitions: Set[TP]) -> None:
        deadline = time.monotonic() + limits.SHUTDOWN_S
        while time.monotonic() < deadline and any(
            message.tp in partitions for message in [*self._unacked_messages]
        ):
            await asyncio.sleep(limits.DRAIN_LOOK_S)
        await self._commit_in_time()

    async def _commit_in_time(self) -> None:
        """Commit what is done, for a bounded time."""

        async def commit() -> None:
            # Faust's own commits nothing if another commit is under way.
            while await self.maybe_wait_for_commit_to_finish():
                pass
            await self.commit_and_end_transactions()

        committing = asyncio.ensure_future(commit())
        await asyncio.wait({committing}, timeout=limits.LEAVE_S)
        if not committing.done():
            # aiokafka tries for ever while the broker is away. Not awaited: to Faust, a cancelled
            # commit is the end of another task's commit, and it begins one of its own.
            committing.cancel()
            log.warning("offsets not committed, the reads above them will be processed again")

    async def _wait_for_ack(self, timeout: float) -> None:
        # Faust's own waits for a second, whatever it is given.
        self._waiting_for_ack = self.loop.create_future()
        try:
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(self._waiting_for_ack, timeout)
        finally:
            self._waiting_for_ack = None
