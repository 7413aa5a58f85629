"""How each kind of fault is done, and undone when its time is over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from confluent_kafka import KafkaException

from engine.delivery.transactional_producer import TransactionalSink
from tests.fakes.faulty_proxy import FaultyProxy
from tests.kafka.broker import RealBroker
from tests.kafka.node import BrokerFailedError
from tests.kafka.real_cluster import RealCluster
from tests.torture.cluster import OwnBrokers
from tests.torture.disk import Disk
from tests.torture.schedule import COPY, Fault
from tests.torture.site import Site
from tests.torture.waits import StuckError, bounded
from tests.torture.workers import Slot

T = TypeVar("T")

#: How long the broker may take to notice that its disk is full.
_FULL_S: Final = 15.0
_POLL_S: Final = 0.1
#: How long a fault waits for what it needs: a worker takes some seconds to start, a broker more,
#: and faults to brokers wait for each other.
_MET_S: Final = 400.0
#: A slow network also answers late, by so much.
_LATENCY_S: Final = 0.05
#: What the broker's own start and end may take; each has its own bound below this.
_BROKER_S: Final = 180.0
#: What a partition more may take while workers come and go.
_GROW_S: Final = 60.0
#: What a full disk still has room for, at the most.
_LEFT_BYTES: Final = 256 * 1024


class Faults:
    """Does faults to brokers and to workers of a group. `usual` is how many workers run when none
    is more or less for a while, `site` the topics at which they work."""

    def __init__(
        self,
        brokers: OwnBrokers,
        disk: Disk,
        slots: list[Slot],
        usual: int,
        site: Site,
    ) -> None:
        self._brokers = brokers
        self._disk = disk
        self._slots = slots
        self._usual = usual
        self._partitions = site.partitions
        self._of_group = site.cluster
        self._replicas = site.replicas
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
            "leader_kill": self._leader_kill,
            "coordinator_kill": self._coordinator_kill,
            "transaction_coordinator_kill": self._transaction_coordinator_kill,
            "two_kill": self._two_kill,
            "rolling": self._rolling,
            "move": self._move,
            "elect": self._elect,
        }
        self._to_group: dict[str, Callable[[Fault], Awaitable[bool]]] = {
            "remove": self._remove,
            "add": self._add,
            COPY: self._end_all,
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

    async def _end_all(self, fault: Fault) -> bool:
        """Half of the times by SIGKILL. Reads go on, and the campaign starts the workers again."""
        running = [slot for slot in self._slots if slot.pid is not None]
        by_kill = fault.amount < 0.5
        await asyncio.gather(*(slot.end(by_kill=by_kill) for slot in self._slots))
        await asyncio.sleep(fault.lasts_s)
        return bool(running)

    def _removable(self) -> list[Slot]:
        return [slot for slot in self._slots if slot.is_wanted and slot.pid is not None]

    def _free(self) -> list[Slot]:
        return [slot for slot in self._slots[self._usual :] if not slot.is_wanted]

    # ---- to the broker

    async def _broker_kill(self, fault: Fault) -> bool:
        return await self._killed(fault, self._drawn(fault))

    async def _broker_restart(self, fault: Fault) -> bool:
        broker = self._drawn(fault)
        await _blocking(broker.stop, "the broker is stopped")
        return await _started_after(fault, broker)

    async def _broker_pause(self, fault: Fault) -> bool:
        pid = self._drawn(fault).pid
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            os.kill(pid, signal.SIGCONT)
        return True

    async def _broker_full(self, fault: Fault) -> bool:
        """Until the broker has noticed, which ends it: it has no other disk. False where it had
        not noticed in time."""
        broker = self._brokers.all[0]
        self._disk.fill(broker.pid, round(fault.amount * _LEFT_BYTES))
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FULL_S):
                    while broker.running:
                        await asyncio.sleep(_POLL_S)
            has_noticed = not broker.running
            await _blocking(broker.kill, "the broker without a disk is killed")
        finally:
            self._disk.free()
        await _started_after(fault, broker)
        return has_noticed

    # ---- to the cluster

    async def _leader_kill(self, fault: Fault) -> bool:
        cluster = self._cluster
        found = partial(cluster.leader_of, *self._partitions.drawn(fault.target))
        number = await _blocking(found, "a leader is found")
        if number not in cluster.brokers:
            return False
        return await self._killed(fault, cluster.brokers[number])

    async def _coordinator_kill(self, fault: Fault) -> bool:
        cluster = self._cluster
        found = partial(cluster.group_coordinator, self._of_group.group)
        number = await _blocking(found, "the group's coordinator is found")
        return await self._killed(fault, cluster.brokers[number])

    async def _transaction_coordinator_kill(self, fault: Fault) -> bool:
        """Each partition of the reads has a transactional id; the ids have several coordinators."""
        cluster = self._cluster
        delivers = TransactionalSink(self._of_group, self._partitions.drawn(fault.target).partition)
        found = partial(cluster.transaction_coordinator, delivers.id)
        number = await _blocking(found, "the coordinator of transactions is found")
        return await self._killed(fault, cluster.brokers[number])

    async def _two_kill(self, fault: Fault) -> bool:
        """Fewer are in sync than must be: nothing is acknowledged."""
        first = fault.target % len(self._brokers.all)
        two = [self._brokers.all[first], self._brokers.all[first - 1]]
        return await self._killed(fault, *two)

    async def _rolling(self, fault: Fault) -> bool:
        """As operators do it: the next one when all are in sync again."""
        cluster = self._cluster
        for broker in cluster.brokers.values():
            await _blocking(broker.stop, "a broker is stopped")
            await _started_after(fault, broker)
            await _blocking(cluster.wait_until_in_sync, "the brokers are in sync")
        return True

    async def _move(self, fault: Fault) -> bool:
        moving = self._replicas.move(self._topic_of(fault), fault.lasts_s)
        return await bounded(moving, _BROKER_S, "a topic's replicas are moved")

    async def _elect(self, fault: Fault) -> bool:
        electing = self._replicas.lead_elsewhere(self._topic_of(fault))
        return await bounded(electing, _BROKER_S, "other replicas are elected")

    def _topic_of(self, fault: Fault) -> str:
        """Half of these faults are for the reads, the rest for any of the topics."""
        topics = self._replicas.topics
        return topics[0] if fault.amount < 0.5 else topics[fault.target % len(topics)]

    @property
    def _cluster(self) -> RealCluster:
        cluster = self._brokers.cluster
        assert cluster is not None
        return cluster

    def _drawn(self, fault: Fault) -> RealBroker:
        return self._brokers.all[fault.target % len(self._brokers.all)]

    async def _killed(self, fault: Fault, *brokers: RealBroker) -> bool:
        for broker in brokers:
            await _blocking(broker.kill, "a broker is killed")
        return await _started_after(fault, *brokers)

    async def _grow(self, fault: Fault) -> bool:
        adding = self._partitions.add(round(fault.amount))
        return await bounded(adding, _GROW_S, "partitions are added to the reads")


async def _started_after(fault: Fault, *brokers: RealBroker) -> bool:
    """Start brokers again when the fault's time is over, all at once."""
    await asyncio.sleep(fault.lasts_s)
    for broker in brokers:
        broker.launch()
    for broker in brokers:
        await _blocking(broker.wait_until_it_answers, "a broker is started again")
    return True


async def _blocking(what: Callable[[], T], name: str) -> T:
    """Raises StuckError, so that what was sent until then is judged."""
    try:
        return await bounded(asyncio.to_thread(what), _BROKER_S, name)
    except (BrokerFailedError, KafkaException) as error:
        raise StuckError(f"{name}: {error}") from error


# ---- to one worker


async def _clock(slot: Slot, fault: Fault) -> None:
    slot.step_clock(fault.amount)
    try:
        await asyncio.sleep(fault.lasts_s)
    finally:
        slot.step_clock(-fault.amount)


async def _cut(slot: Slot, fault: Fault) -> None:
    slot.network.do(FaultyProxy.refuse)
    slot.network.do(FaultyProxy.cut)
    await _mended(slot, fault)


async def _reset(slot: Slot, fault: Fault) -> None:
    slot.network.do(FaultyProxy.reset)


async def _half_close(slot: Slot, fault: Fault) -> None:
    slot.network.do(lambda way: way.half_close(towards_broker=fault.amount < 0.5))


async def _slow(slot: Slot, fault: Fault) -> None:
    slot.network.do(lambda way: way.slow(fault.amount, _LATENCY_S))
    await _mended(slot, fault)


async def _silent(slot: Slot, fault: Fault) -> None:
    slot.network.do(FaultyProxy.pause)
    await _mended(slot, fault)


async def _mended(slot: Slot, fault: Fault) -> None:
    """Mend a slot's network when the fault's time is over, with all that others did to it."""
    try:
        await asyncio.sleep(fault.lasts_s)
    finally:
        slot.network.do(FaultyProxy.mend)
