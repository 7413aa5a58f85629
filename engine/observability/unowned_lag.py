"""The lag of partitions of the reads that no worker owns.

A worker shows the lag of its own partitions. After partitions were added to the topic, and until
the group has assigned them, their reads wait and no worker counts them. Each worker therefore asks
the brokers every `limits.METADATA_MAX_AGE_S` which partitions there are and which of them the group
has assigned. One worker shows the lag of the others, so that sums do not count them twice: the
owner of the lowest assigned partition. As soon as such a partition has an owner elsewhere, or
another worker shows them, the label goes.

A broker that does not answer ends nothing: the gauge stays as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    IncompatibleBrokerVersion,
    KafkaError,
    for_code,
)

from engine import limits
from engine.kafka.acl_probe import group_as_shown, topics_as_shown
from engine.kafka.cluster import Cluster
from engine.observability.metrics import Metrics

log = logging.getLogger(__name__)

_OPTIONS: Final[Mapping[str, Any]] = {
    "request_timeout_ms": limits.REQUEST_MS,
    "metadata_max_age_ms": int(1000 * limits.METADATA_MAX_AGE_S),
}
_STABLE: Final = "Stable"


class Offsets(NamedTuple):
    """A partition's offsets: what the group has committed, None without a commit, the oldest one
    that is kept, and the log's end, open transactions included."""

    committed: int | None
    begin: int
    end: int


def to_show(
    partitions: Collection[int], owners: Collection[int], own: Collection[int]
) -> set[int] | None:
    """Return the partitions without an owner whose lag this worker must show.

    `partitions` exist, `owners` are those that the group has assigned, `own` those that this worker
    has. None if group and worker do not agree: the group has just rebalanced.
    """
    if not set(own) <= set(owners):
        return None
    if not own or min(own) != min(owners):
        return set()
    return set(partitions) - set(owners)


def reads_waiting(offsets: Mapping[int, Offsets]) -> dict[int, int]:
    """Return by partition how many reads wait for the worker that will get it.

    It begins at the commit, or at the oldest read that is kept if there is no commit or the
    partition does not hold that offset any more.
    """
    return {
        partition: each.end - (each.begin if is_lost(each) else each.committed or 0)
        for partition, each in offsets.items()
    }


def is_lost(offsets: Offsets) -> bool:
    """Return whether there is no commit from which a partition could go on."""
    return offsets.committed is None or not offsets.begin <= offsets.committed <= offsets.end


class GroupBrokers(Protocol):
    """What is asked of the brokers. Any of it may raise KafkaError, TimeoutError or OSError."""

    async def owners(self) -> Collection[int] | None: ...
    async def partitions(self) -> Collection[int]: ...
    async def offsets(self, partitions: Collection[int]) -> Mapping[int, Offsets]: ...
    async def close(self) -> None: ...


class UnownedLag:
    """See the module. `own` gives the partitions that this worker owns now."""

    def __init__(
        self,
        topic: str,
        brokers: GroupBrokers,
        metrics: Metrics,
        own: Callable[[], Collection[int]],
    ) -> None:
        self._topic = topic
        self._brokers = brokers
        self._metrics = metrics
        self._own = own
        self._unowned: set[int] = set()
        self._is_known = True

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        try:
            while True:
                await asyncio.sleep(limits.METADATA_MAX_AGE_S)
                try:
                    async with asyncio.timeout(limits.CONNECT_S):
                        await self.look()
                except (IncompatibleBrokerVersion, NotImplementedError):
                    log.info("the brokers do not say which partitions have an owner")
                    return
                except Exception as error:  # noqa: BLE001 - a gauge is worth no worker
                    self._note_known(False, type(error).__name__)
                else:
                    self._note_known(True)
        finally:
            await self._brokers.close()

    async def look(self) -> None:
        """Ask once, and set the gauge. Raises what the brokers raise."""
        own = frozenset(self._own())
        shown: Collection[int] | None = ()
        if own:
            owners = await self._brokers.owners()
            if owners is None:
                return
            shown = to_show(await self._brokers.partitions(), owners, own)
        if shown is None:
            return
        offsets = await self._brokers.offsets(shown) if shown else {}
        if own != frozenset(self._own()):
            return  # the group has rebalanced meanwhile
        self._note_unowned(set(shown))
        self._metrics.show_unowned_lag(reads_waiting(offsets), own)

    def _note_unowned(self, unowned: set[int]) -> None:
        if unowned and unowned != self._unowned:
            numbers = ", ".join(map(str, sorted(unowned)))
            log.warning("no worker owns %s/%s; their reads wait", self._topic, numbers)
        elif self._unowned and not unowned:
            log.info("each partition of %s has an owner again", self._topic)
        self._unowned = unowned

    def _note_known(self, is_known: bool, why: str = "") -> None:
        if self._is_known and not is_known:
            log.warning("the lag of partitions that no worker owns is not known (%s)", why)
        elif is_known and not self._is_known:
            log.info("the lag of partitions that no worker owns is known again")
        self._is_known = is_known


class Brokers:
    """Asks real brokers. Connects when it is first asked, and again after a failure."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._topic = cluster.topics.detections
        self._group = cluster.group
        self._admin: Any = None

    async def owners(self) -> Collection[int] | None:
        """Return the partitions that the group has assigned; None while it rebalances."""
        async with self._connected() as admin:
            coordinator = await admin.find_coordinator(self._group)
            group = await group_as_shown(admin._client, coordinator, self._group)
            if group.error:
                raise for_code(group.error)(self._group)
        if group.state != _STABLE:
            return None
        return {number for topic, number in group.assigned if topic == self._topic}

    async def partitions(self) -> Collection[int]:
        """Return the partitions of the topic that have a leader."""
        async with self._connected() as admin:
            [topic] = await topics_as_shown(admin._client, [self._topic])
            if topic.error:
                raise for_code(topic.error)(self._topic)
        return {number for number, (leader, _, _) in enumerate(topic.partitions) if leader >= 0}

    async def offsets(self, partitions: Collection[int]) -> Mapping[int, Offsets]:
        """Return the offsets of these partitions, which must have leaders."""
        parts = [TopicPartition(self._topic, number) for number in sorted(partitions)]
        async with self._connected() as admin:
            committed = await admin.list_consumer_group_offsets(self._group, partitions=parts)
        if any(part not in committed for part in parts):
            # So it is while the coordinator loads. It does not mean that there is no commit.
            raise GroupCoordinatorNotAvailableError(self._group)
        # It reads what is not committed too, so that the ends are those of the log.
        consumer = self._cluster.consumer(**_OPTIONS, group_id=None)
        try:
            await consumer.start()
            begins = await consumer.beginning_offsets(parts)
            ends = await consumer.end_offsets(parts)
        finally:
            await consumer.stop()
        return {
            part.partition: Offsets(
                offset if (offset := committed[part].offset) >= 0 else None,
                begins[part],
                ends[part],
            )
            for part in parts
        }

    async def close(self) -> None:
        """Disconnect."""
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()

    @contextlib.asynccontextmanager
    async def _connected(self) -> Any:
        try:
            if self._admin is None:
                self._admin = self._cluster.admin(**_OPTIONS)
                await self._admin.start()
            yield self._admin
        except (KafkaError, OSError, TimeoutError):
            await self.close()
            raise


async def show_unowned_lag(
    cluster: Cluster, metrics: Metrics, own: Callable[[], Collection[int]]
) -> None:
    """Show the lag of partitions of the reads that no worker of the group owns, until cancelled."""
    await UnownedLag(cluster.topics.detections, Brokers(cluster), metrics, own).run()
