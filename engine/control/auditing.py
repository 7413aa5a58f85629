"""The audit's part of a worker: its chain, its share in auditing the lists, and their end.

What a worker audits goes into one chain, its matches and the changes that it audits alike. Both
the chain's way out and the share in the changes run as tasks here; whichever fails ends the
worker. At the end what is handed over is sent first, then the group is left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from engine import limits
from engine.audit.chain import Chain
from engine.audit.pending_changes import Progress
from engine.control.audit_group import AuditGroup
from engine.control.change_auditor import ChangeAuditor
from engine.delivery.audit_writer import AuditLog, Event, Sealing, last_record, new_chain_id
from engine.delivery.sink import Sink
from engine.transport.runtime import Runtime

log = logging.getLogger(__name__)


class Auditing:
    """See the module. `changes` is the worker's share in auditing the lists."""

    def __init__(self, runtime: Runtime, sink: Sink) -> None:
        self._runtime = runtime
        self._sink = sink
        self._group = AuditGroup(runtime.cluster)
        self.changes: Final = ChangeAuditor(self._group, self.append)
        self._log: AuditLog | None = None
        self._tasks: list[tuple[asyncio.Task[None], Callable[[], None]]] = []

    async def start(self) -> Progress:
        """Begin a chain and join the group; return how far the changes are audited already.

        Raises BrokerError if the audit cannot be read or the group cannot be joined.
        """
        progress = await self.changes.start()
        sealing = await self.begin_chain()
        log.info("the audit of this worker is chain %s", sealing.key.decode())
        self._log = AuditLog(self._sink, sealing, self.count)
        self._tasks = [
            (self._runtime.tasks.start(self.changes.run()), self.changes.close),
            (self._runtime.tasks.start(self._log.run()), self._log.close),
        ]
        return progress

    async def begin_chain(self) -> Sealing:
        """Begin a chain that only this worker writes; it names the last committed record.

        Raises BrokerError if the audit cannot be read.
        """
        cluster = self._runtime.cluster
        last = await last_record(cluster)
        chain = Chain(new_chain_id(cluster.group, self._runtime.clock.now_ms()))
        return Sealing(cluster.topics, chain, last)

    def count(self, events: Mapping[str, int], oldest_ms: int) -> None:
        """Count audit records that the broker has acknowledged together."""
        self._runtime.metrics.count_audited(events, oldest_ms, self._runtime.clock.now_ms())

    def append(self, events: Sequence[Event]) -> asyncio.Future[None]:
        """As `AuditLog.append`, for this worker's chain."""
        assert self._log is not None
        return self._log.append(events)

    async def stop(self) -> None:
        """Send what is handed over, commit what is audited, leave the group."""
        for task, close in self._tasks:
            close()
            await asyncio.wait({task}, timeout=limits.SHUTDOWN_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._group.stop()
