"""How each kind of fault is done, and undone when its time is over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Final

from tests.kafka.broker import RealBroker
from tests.torture.cluster import ReadPartitions
from tests.torture.disk import Disk
from tests.torture.schedule import Fault
from tests.torture.waits import bounded
from tests.torture.workers import Slot

#: How long the broker may take to notice that its disk is full.
_FULL_S: Final = 15.0
_POLL_S: Final = 0.1
#: How long a fault waits for what it needs: a worker takes some seconds to start, a broker more.
_MET_S: Final = 90.0
#: A slow network also answers late, by so much.
_LATENCY_S: Final = 0.05
#: What the broker's own start and end may take; each has its own bound below this.
_BROKER_S: Final = 180.0
#: What a partition more may take while workers come and go.
_GROW_S: Final = 60.0
#: What a full disk still has room for, at the most.
_LEFT_BYTES: Final = 256 * 1024


class Faults:
    """Does faults to a broker and to workers. `usual` is how many workers run when none is more
    or less for a while."""

    def __init__(
        self,
        broker: RealBroker,
        disk: Disk,
        slots: list[Slot],
        usual: int,
        partitions: ReadPartitions,
    ) -> None:
        self._broker = broker
        self._disk = disk
        self._slots = slots
        self._usual = usual
        self._partitions = partitions
        #: Held while something is done to the broker: there is no second fault to a broker that
        #: is away, and how long it takes to start depends on the machine.
        self._broker_busy = asyncio.Lock()
        self._to_worker: dict[str, Callable[[Slot, Fault], Awaitable[None]]] = {
            "kill": lambda slot, fault: slot.kill(fault.lasts_s),
            "stop": lambda slot, fault: slot.stop_for(fault.lasts_s),
            "clock": _clock,
            "cut": _cut,
            "reset": _reset,
            "half_close": _half_close,
            "slow": _slow,
            "silent": _silent,
        }
        self._to_broker: dict[str, Callable[[Fault], Awaitable[bool]]] = {
            "broker_kill": self._broker_kill,
            "broker_restart": self._broker_restart,
            "broker_pause": self._broker_pause,
            "broker_full": self._broker_full,
            "grow": self._grow,
        }
        self._to_group: dict[str, Callable[[Fault], Awaitable[bool]]] = {
            "remove": self._remove,
            "add": self._add,
        }

    async def wait_for_target(self, fault: Fault) -> None:
        """Wait until there is something to do the fault to.

        In a storm all workers may be down at once, and the broker has one fault at a time.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_MET_S):
                while not self._has_target(fault.kind):
                    await asyncio.sleep(_POLL_S)

    def _has_target(self, kind: str) -> bool:
        if kind == "remove":
            return len(self._removable()) > 1
        if kind == "add":
            return bool(self._free())
        if kind in self._to_broker:
            return not self._broker_busy.locked()
        return any(slot.pid is not None for slot in self._slots)

    async def do(self, fault: Fault) -> bool:
        """Do it and undo it; False if there is nothing to do it to."""
        if fault.kind in self._to_group:
            return await self._to_group[fault.kind](fault)
        if fault.kind in self._to_broker:
            if self._broker_busy.locked():
                return False
            async with self._broker_busy:
                return await self._to_broker[fault.kind](fault)
        running = [slot for slot in self._slots if slot.pid is not None]
        if not running:
            return False
        await self._to_worker[fault.kind](running[fault.target % len(running)], fault)
        return True

    # ---- to the group

    async def _remove(self, fault: Fault) -> bool:
        """One at least stays."""
        wanted = self._removable()
        if len(wanted) < 2:
            return False
        slot = wanted[fault.target % len(wanted)]
        try:
            await slot.end()
            await asyncio.sleep(fault.lasts_s)
        finally:
            slot.want(slot in self._slots[: self._usual])
        return True

    async def _add(self, fault: Fault) -> bool:
        free = self._free()
        if not free:
            return False
        slot = free[fault.target % len(free)]
        slot.want(True)
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            await slot.end()
        return True

    def _removable(self) -> list[Slot]:
        return [slot for slot in self._slots if slot.is_wanted and slot.pid is not None]

    def _free(self) -> list[Slot]:
        return [slot for slot in self._slots[self._usual :] if not slot.is_wanted]

    # ---- to the broker

    async def _broker_kill(self, fault: Fault) -> bool:
        await self._broker_does(self._broker.kill, "the broker is killed")
        return await self._started_after(fault)

    async def _broker_restart(self, fault: Fault) -> bool:
        await self._broker_does(self._broker.stop, "the broker is stopped")
        return await self._started_after(fault)

    async def _broker_pause(self, fault: Fault) -> bool:
        pid = self._broker.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            os.kill(pid, signal.SIGCONT)
        return True

    async def _broker_full(self, fault: Fault) -> bool:
        """Until the broker has noticed, which ends it: it has no other disk. False where it had
        not noticed in time."""
        self._disk.fill(self._broker.pid, round(fault.amount * _LEFT_BYTES))
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FULL_S):
                    while self._broker.running:
                        await asyncio.sleep(_POLL_S)
            has_noticed = not self._broker.running
            await self._broker_does(self._broker.kill, "the broker without a disk is killed")
        finally:
            self._disk.free()
        await self._started_after(fault)
        return has_noticed

    async def _started_after(self, fault: Fault) -> bool:
        await asyncio.sleep(fault.lasts_s)
        await self._broker_does(self._broker.start, "the broker is started again")
        return True

    async def _grow(self, fault: Fault) -> bool:
        adding = self._partitions.add(round(fault.amount))
        return await bounded(adding, _GROW_S, "partitions are added to the reads")

    async def _broker_does(self, what: Callable[[], None], name: str) -> None:
        await bounded(asyncio.to_thread(what), _BROKER_S, name)


# ---- to one worker


async def _clock(slot: Slot, fault: Fault) -> None:
    slot.step_clock(fault.amount)
    try:
        await asyncio.sleep(fault.lasts_s)
    finally:
        slot.step_clock(-fault.amount)


async def _cut(slot: Slot, fault: Fault) -> None:
    slot.proxy.refuse()
    slot.proxy.cut()
    await _mended(slot, fault)


async def _reset(slot: Slot, fault: Fault) -> None:
    slot.proxy.reset()


async def _half_close(slot: Slot, fault: Fault) -> None:
    slot.proxy.half_close(towards_broker=fault.amount < 0.5)


async def _slow(slot: Slot, fault: Fault) -> None:
    slot.proxy.slow(fault.amount, _LATENCY_S)
    await _mended(slot, fault)


async def _silent(slot: Slot, fault: Fault) -> None:
    slot.proxy.pause()
    await _mended(slot, fault)


async def _mended(slot: Slot, fault: Fault) -> None:
    """Mend a slot's network when the fault's time is over, with all that others did to it."""
    try:
        await asyncio.sleep(fault.lasts_s)
    finally:
        slot.proxy.mend()
