"""The audit's part of a worker: its chain, its share in auditing the lists, and their end.

What a worker audits goes into one chain, its matches and the changes that it audits alike; with
exactly-once delivery the matches of each partition have a chain of their own. The writer and the
auditor of the changes run as tasks here; if one fails, the worker ends. At the end everything
handed over is sent, the chains are ended, and then the worker leaves the group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from engine import limits
from engine.audit.chain import Event
from engine.audit.pending_changes import Listed, Progress
from engine.config import Settings
from engine.control.audit_group import AuditGroup
from engine.control.change_auditor import ChangeAuditor
from engine.control.checkpoint_writer import CheckpointWriter
from engine.delivery.audit_chains import AuditChains, last_record
from engine.delivery.audit_writer import AuditLog
from engine.delivery.sink import Sink
from engine.transport.runtime import Runtime


class Auditing:
    """See the module. `changes` is the worker's share in auditing the lists; `listed` returns how
    much is listed, None while the lists are loaded."""

    def __init__(
        self, settings: Settings, runtime: Runtime, sink: Sink, listed: Callable[[], Listed | None]
    ) -> None:
        self._runtime = runtime
        self._group = AuditGroup(runtime.cluster, listed)
        self.changes: Final = ChangeAuditor(self._group, self.append)
        self.chains: Final = AuditChains(runtime.cluster, sink, runtime.clock)
        self._log = AuditLog(sink, self.chains.begin, self.count)
        self._checkpoints = CheckpointWriter.of(
            settings, runtime.cluster.topics.audit, runtime.clock, self.chains.heads
        )
        self._writing: asyncio.Task[None] | None = None
        runtime.metrics.audit_checkpoints.set_function(self._writes_checkpoints)
        self._tasks: list[tuple[asyncio.Task[None], Callable[[], None]]] = []

    async def start(self) -> Progress:
        """Join the group; return what is audited already.

        Raises BrokerError if the audit or the group cannot be read.
        """
        progress = await self.changes.start()
        await last_record(self._runtime.cluster)  # so that a worker without the right says so now
        self._tasks = [
            (self._runtime.tasks.start(self.changes.run()), self.changes.close),
            (self._runtime.tasks.start(self._log.run()), self._log.close),
        ]
        if self._checkpoints is not None:
            self._writing = self._runtime.tasks.start(self._checkpoints.run())
        return progress

    def count(self, events: Mapping[str, int], oldest_ms: int) -> None:
        """Count audit records that the broker has acknowledged together."""
        self._runtime.metrics.count_audited(events, oldest_ms, self._runtime.clock.now_ms())

    def append(self, events: Sequence[Event]) -> asyncio.Future[None]:
        """As `AuditLog.append`, for this worker's chain."""
        return self._log.append(events)

    async def stop(self) -> None:
        """Send what is handed over, commit what is audited, end the chains, leave the group."""
        for task, close in self._tasks:
            close()
            await asyncio.wait({task}, timeout=limits.SHUTDOWN_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.chains.end()
        if self._writing is not None and self._checkpoints is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
            await self._checkpoints.write()
        await self._group.stop()

    def _writes_checkpoints(self) -> int:
        return int(self._checkpoints is not None and not self._checkpoints.is_failing)
