"""What the lag monitor asks real brokers: partitions, owners, offsets, open transactions.

It connects when it is first asked, and again after a failure.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError, for_code

from engine import limits
from engine.kafka.acl_probe import group_as_shown, topics_as_shown
from engine.kafka.cluster import Cluster
from engine.kafka.open_transactions import Ends, OpenTransaction, all_ends, open_transactions
from engine.observability.held_back import TopicPart

_OPTIONS: Final[Mapping[str, Any]] = {
    "request_timeout_ms": limits.REQUEST_MS,
    "metadata_max_age_ms": int(1000 * limits.METADATA_MAX_AGE_S),
}
_STABLE: Final = "Stable"


class BrokerView:
    """See the module, and `engine.observability.lag_monitor.GroupBrokers`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._reads = cluster.topics.detections
        self._group = cluster.group
        self._admin: Any = None
        self._consumer: Any = None

    async def owners(self) -> Collection[int] | None:
        """Return the partitions that the group has assigned; None while it rebalances."""
        async with self._connected():
            coordinator = await self._admin.find_coordinator(self._group)
            group = await group_as_shown(self._admin._client, coordinator, self._group)
            if group.error:
                raise for_code(group.error)(self._group)
        if group.state != _STABLE:
            return None
        return {number for topic, number in group.assigned if topic == self._reads}

    async def partitions(self, topics: Collection[str]) -> Mapping[str, Collection[int]]:
        """Return the partitions that have a leader, by topic. Raises if there are no reads; other
        topics are left out if they are missing or not for us."""
        async with self._connected():
            found = await topics_as_shown(self._admin._client, list(topics))
            for topic in found:
                if topic.error and topic.name == self._reads:
                    raise for_code(topic.error)(self._reads)
        return {
            topic.name: {
                number for number, (leader, _, _) in enumerate(topic.partitions) if leader >= 0
            }
            for topic in found
            if not topic.error
        }

    async def committed(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        """Return the offsets of the reads that the group has committed, None without a commit."""
        parts = [TopicPartition(self._reads, number) for number in sorted(partitions)]
        async with self._connected():
            found = await self._admin.list_consumer_group_offsets(self._group, partitions=parts)
            if any(part not in found for part in parts):
                # So it is while the coordinator loads. It does not mean that there is no commit.
                raise GroupCoordinatorNotAvailableError(self._group)
        return {
            part.partition: offset if (offset := found[part].offset) >= 0 else None
            for part in parts
        }

    async def ends(self, partitions: Collection[TopicPart]) -> Mapping[TopicPart, Ends]:
        """Return the offsets of partitions, which must have leaders."""
        parts = [TopicPartition(*part) for part in sorted(partitions)]
        async with self._connected():
            found: Mapping[TopicPart, Ends] = await all_ends(self._consumer, parts)
        return found

    async def open_transactions(
        self, partitions: Collection[TopicPart]
    ) -> Mapping[TopicPart, tuple[OpenTransaction, ...]]:
        """Return the open transactions of partitions, as far as the brokers tell them."""
        parts = [TopicPartition(*part) for part in sorted(partitions)]
        async with self._connected():
            found: Mapping[TopicPart, tuple[OpenTransaction, ...]] = await open_transactions(
                self._consumer._client, parts
            )
        return found

    async def close(self) -> None:
        """Disconnect."""
        admin, self._admin = self._admin, None
        consumer, self._consumer = self._consumer, None
        try:
            if admin is not None:
                await admin.close()
        finally:
            if consumer is not None:
                await consumer.stop()

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        try:
            if self._admin is None:
                self._admin = self._cluster.admin(**_OPTIONS)
                await self._admin.start()
            if self._consumer is None:
                self._consumer = self._cluster.reader(**_OPTIONS)
                await self._consumer.start()
            yield
        except (KafkaError, OSError, TimeoutError):
            await self.close()
            raise
