"""Applies control records to the lists, and starts and ends entries.

A change takes effect only if it can be audited. While too many changes wait for the audit, no
further ones are applied. If this lasts, the worker takes no reads either, because it would match
them against outdated lists. The entries that a load adds do not count for that: they wait in little
memory, and are no more than the lists. Only the matcher thread uses the lists themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from engine import limits
from engine.audit.changes import Change
from engine.audit.pending_changes import Part
from engine.control.change_auditor import ChangeAuditor
from engine.control.gate import Gate
from engine.matching.control_records import ControlRecords
from engine.matching.lists import Lists, Phase
from engine.transport.runtime import Runtime

log = logging.getLogger(__name__)


class ListUpdater:
    """See the module. `gate` is the one before the reads."""

    def __init__(self, runtime: Runtime, lists: Lists, changes: ChangeAuditor, gate: Gate) -> None:
        self._lists = lists
        self._changes = changes
        self._gate = gate
        self._change = runtime.matcher_thread.change
        self._clock = runtime.clock
        self._metrics = runtime.metrics

    @property
    def audited_to(self) -> Mapping[Part, int]:
        """By partition, the offset below which all changes are audited."""
        return self._lists.audited_to

    async def apply(self, records: ControlRecords, phase: Phase) -> None:
        """Apply some records of one partition."""
        await self._until_auditable()
        applied = await self._change(
            lambda: self._lists.apply(records, self._clock.now_ms(), phase)
        )
        part = records.kind, records.partition
        self._changes.offer(part, records.next_offset, applied.for_audit)
        for reason, count in applied.refused.items():
            log.warning("records refused: %d %s, %s", count, records.kind.value, reason)
        self._metrics.count_control(
            records, applied, self._clock.now_ms(), first_load=phase is Phase.LOADING
        )

    async def commit(self) -> None:
        """End the load, or commit the staged records."""
        await self._change(self._lists.commit)

    async def expire(self) -> None:
        """Start and end entries by the clock while no reads do it, and evict ended ones.

        It evicts in small steps, so that fetches get their turn. Runs until cancelled.
        """
        while True:
            await asyncio.sleep(limits.EXPIRY_INTERVAL_S)
            is_more = True
            while is_more:
                await self._changes.room()
                expired, until_ms, is_more = await self._change(self._evict_some)
                self._changes.offer_expired(expired, until_ms)

    async def _until_auditable(self) -> None:
        try:
            async with asyncio.timeout(limits.CONTROL_STALE_S):
                await self._changes.room()
                return
        except TimeoutError:
            pass
        count = self._changes.waiting
        log.warning("changes of the lists take effect no more until more are audited: %d", count)
        before = self._gate.reason or "catching up with the control topics"
        self._gate.close(
            f"{count} changes of the lists wait to be audited, "
            "and no more take effect until they are"
        )
        await self._changes.room()
        self._gate.close(before)

    def _evict_some(self) -> tuple[list[Change], int, bool]:
        expired = self._lists.advance(self._clock.now_ms())
        return expired, self._lists.expired_until_ms, self._lists.has_ended
