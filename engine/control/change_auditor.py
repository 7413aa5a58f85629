"""The auditor of changes of the lists: one worker audits each change, without a gap.

Every worker offers it all changes as they take effect. The owner of a control partition in the
audit's group appends them to its chain, waits for the acknowledgement and commits. The other
workers check what is committed, and drop those changes. A new owner checks that too before it
begins, and has kept the changes that its predecessor did not audit. While more changes wait than
`limits` allows, the worker applies no more (`room`). So a change that no worker can audit does not
take effect in the end. The entries that a load adds are no more than the lists themselves, and do
not count.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from engine import limits
from engine.audit.added_entries import Waiting
from engine.audit.changes import Change
from engine.audit.pending_changes import Part, PendingChanges, Progress
from engine.errors import BrokerError

log = logging.getLogger(__name__)


class Group(Protocol):
    """The part of `engine.control.audit_group.AuditGroup` that is used here."""

    @property
    def owned(self) -> frozenset[Part]: ...
    async def start(self) -> Progress: ...
    def join(self, changed: Callable[[], None], give_up: Callable[[], Awaitable[None]]) -> None: ...
    async def progress(self) -> Progress: ...
    async def commit(self, progress: Progress) -> bool: ...
    async def keep_alive(self) -> None: ...


#: Hands changes to the chain; the future is done when they are acknowledged.
Append = Callable[[Sequence[Change]], "asyncio.Future[None]"]


class ChangeAuditor:
    """See the module. Belongs to the event loop."""

    def __init__(self, group: Group, append: Append) -> None:
        self._group = group
        self._append = append
        self._pending = PendingChanges(Progress())
        self._wake = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        #: Held from taking changes to committing them, so that giving up waits for that.
        self._step_lock = asyncio.Lock()
        #: The partitions whose commits this worker has read since it became their owner.
        self._ready_parts: frozenset[Part] = frozenset()
        self._is_closing = False

    async def start(self) -> Progress:
        """Connect; return how far changes are audited, which is needed before the lists are read.

        Raises BrokerError if that cannot be read.
        """
        progress = await self._group.start()
        self._pending.learn(progress)
        self._group.join(self._wake.set, self._give_up)
        return progress

    @property
    def waiting(self) -> int:
        """The number of changes that are not known to be audited."""
        return len(self._pending)

    async def room(self) -> None:
        """Wait until further changes may take effect."""
        await self._has_room.wait()

    def offer(self, part: Part, applied_to: int, changes: Iterable[Waiting]) -> None:
        """Add the changes of a control partition that was applied up to an offset."""
        self._pending.offer(part, applied_to, changes)
        self._note_size()

    def offer_expired(self, changes: Iterable[Change], until_ms: int) -> None:
        """Add the entries that have expired: all of them up to a time."""
        self._pending.offer_expired(changes, until_ms)
        self._note_size()

    async def run(self) -> None:
        """Audit, commit and check, until `close`. Raises BrokerError if that is denied."""
        while not self._is_closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._wake.wait()
            self._wake.clear()
            await self._group.keep_alive()
            await self.turn()
        await self.turn()

    def close(self) -> None:
        """End `run` once the waiting changes are audited, as far as this worker owns them."""
        self._is_closing = True
        self._wake.set()

    async def turn(self) -> None:
        """Do everything that is due now. Raises BrokerError if that is denied."""
        await self._look()
        while await self._step():
            pass

    async def _look(self) -> None:
        """Read what is committed, if this worker is a new owner or keeps others' changes."""
        owned = self._group.owned
        if owned <= self._ready_parts and not self._pending.waits_beside(owned):
            return
        try:
            progress = await self._group.progress()
        except BrokerError as error:
            log.warning("what is audited cannot be read, will be tried again: %s", error)
            return
        self._pending.learn(progress)
        self._note_size()
        if self._group.owned == owned:
            self._ready_parts = owned

    async def _step(self) -> bool:
        """Audit and commit some of the waiting changes; return whether there may be more."""
        async with self._step_lock:
            owned = self._ready_parts & self._group.owned
            changes = self._pending.first(owned, limits.AUDIT_STEP_CHANGES)
            if changes:
                await self._append(changes)
                self._pending.audited(changes)
                self._note_size()
            progress = self._pending.to_commit(owned)
            if progress is not None:
                if not await self._group.commit(progress):
                    return False
                self._pending.committed(progress)
            return bool(changes)

    async def _give_up(self) -> None:
        """Finish and commit the current step before another worker continues."""
        self._ready_parts = frozenset()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limits.SHUTDOWN_S), self._step_lock:
                pass

    def _pause_s(self) -> float:
        hurried = 2 * len(self._pending) > limits.AUDIT_PENDING_CHANGES
        return limits.AUDIT_LOOK_S / 10 if hurried else limits.AUDIT_LOOK_S

    def _note_size(self) -> None:
        if self._pending.opened < limits.AUDIT_PENDING_CHANGES:
            self._has_room.set()
        else:
            self._has_room.clear()
        if self._pending and self._ready_parts:
            self._wake.set()
