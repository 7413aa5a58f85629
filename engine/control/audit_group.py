"""The consumer group that decides which worker audits the changes of the lists, and from where.

The workers form a second consumer group, `<group>.audit`. It subscribes to the control topics only
for the assignment, and reads nothing. The worker that is assigned a partition audits its changes,
and commits the offset below which all changes are audited. The metadata of the commit of the first
partition of the entries holds the time up to which all expiries are audited, and that of each how
much is listed, so that the next worker to start can tell that much is missing. (If a topic is
deleted, Kafka deletes its commit, and the other topic's still holds it.) The group rejects a commit
of a worker that has lost the partition.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from aiokafka import TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    UnknownTopicOrPartitionError,
)

from engine import limits
from engine.audit.changes import ControlKind
from engine.audit.pending_changes import EXPIRIES, Listed, Part, Progress
from engine.errors import BrokerError
from engine.kafka.cluster import Cluster
from engine.kafka.diagnosis import Refusal, not_allowed, refusal
from engine.kafka.group_errors import GroupErrors, retrieve_commits
from engine.kafka.leave_group import leave_group
from engine.kafka.offset_fetch import committed_offsets
from engine.kafka.until_answered import until_answered

_EXPIRED_UNTIL: Final = "expired_until_ms"
_ENTRIES: Final = "entries"
_POLICIES: Final = "policies"

#: Called before partitions are revoked; what is committed until it returns still counts.
GiveUp = Callable[[], Awaitable[None]]


class AuditGroup:
    """See the module. `owned` are the partitions that this worker audits now; `listed` returns how
    much is listed now, None while the lists are loaded."""

    def __init__(self, cluster: Cluster, listed: Callable[[], Listed | None]) -> None:
        topics = cluster.topics
        self.name: Final = f"{cluster.group}.audit"
        self.owned: frozenset[Part] = frozenset()
        self._listed = listed
        self._last_listed: Listed | None = None
        self._kinds = {topics.hotlist: ControlKind.ENTRY, topics.policies: ControlKind.POLICY}
        self._topics = {kind: topic for topic, kind in self._kinds.items()}
        self._consumer = cluster.consumer(
            group_id=self.name,
            auto_offset_reset="latest",
            metadata_max_age_ms=int(1000 * limits.METADATA_MAX_AGE_S),
            max_partition_fetch_bytes=1,  # records fetched before the pause are not used
            session_timeout_ms=int(limits.SESSION_S * 1000),
            heartbeat_interval_ms=int(limits.HEARTBEAT_S * 1000),
            rebalance_timeout_ms=int(limits.REBALANCE_S * 1000),
        )
        self._errors = GroupErrors()
        self._admin = cluster.admin(request_timeout_ms=limits.REQUEST_MS)

    async def start(self) -> Progress:
        """Connect, and return what the group has committed. Raises BrokerError if that fails.

        A group's coordinator may take a while to start, above all in a new cluster.
        """
        try:
            async with asyncio.timeout(limits.CONNECT_S):
                await asyncio.gather(self._consumer.start(), self._admin.start())
            retrieve_commits(self._consumer)
            return await until_answered(self._committed, self._unusable)
        except (KafkaError, TimeoutError, OSError) as error:
            raise self._unusable(error) from error

    def join(self, changed: Callable[[], None], give_up: GiveUp) -> None:
        """Join the group. `changed` is called when `owned` has changed, `give_up` before partitions
        are revoked."""
        self._consumer.subscribe(list(self._kinds), listener=_Listener(self, changed, give_up))

    async def progress(self) -> Progress:
        """Return what the group has committed. Raises BrokerError if that cannot be read."""
        try:
            return await self._committed()
        except (KafkaError, TimeoutError, OSError) as error:
            raise self._unusable(error) from error

    async def _committed(self) -> Progress:
        parts = await self._parts()
        if not parts:
            # To take that for "nothing committed" would mean to audit everything again.
            raise UnknownTopicOrPartitionError("the control topics")
        found = await committed_offsets(self._admin, self.name, parts)
        offsets = {
            (self._kinds[tp.topic], tp.partition): committed.offset
            for tp, committed in found.items()
            if committed.offset >= 0
        }
        with_expiries = TopicPartition(self._topics[EXPIRIES[0]], EXPIRIES[1])
        metadata = {tp: _parsed(committed.metadata) for tp, committed in found.items()}
        of_each = (_listed(metadata[tp]) for tp in parts)
        self._last_listed = next((listed for listed in of_each if listed is not None), None)
        until_ms = _count(metadata[with_expiries], _EXPIRED_UNTIL) or 0
        return Progress(offsets, until_ms, self._last_listed)

    async def commit(self, progress: Progress) -> bool:
        """Commit; return False if it failed and may be retried while the partition is `owned`.

        Raises BrokerError if it cannot succeed.
        """
        self._last_listed = self._listed() or self._last_listed
        known = {} if self._last_listed is None else self._last_listed._asdict()
        until = {_EXPIRED_UNTIL: progress.expired_until_ms}
        offsets = {
            TopicPartition(self._topics[part[0]], part[1]): (
                offset,
                orjson.dumps(known | until if part == EXPIRIES else known).decode(),
            )
            for part, offset in progress.offsets.items()
        }
        try:
            async with asyncio.timeout(limits.CONNECT_S):
                await self._consumer.commit(offsets)
        except (IllegalStateError, TimeoutError):
            return False  # another worker owns the partitions now, or the broker is unavailable
        except KafkaError as error:
            if not error.retriable and not isinstance(error, CommitFailedError):
                raise self._unusable(error) from error
            return False
        return True

    async def keep_alive(self) -> None:
        """Send a sign of life to the group. Raises BrokerError if that is denied, or if it has
        failed for DELIVERY_TIMEOUT_S."""
        try:
            await self._consumer.getmany(timeout_ms=0)
        except KafkaError as error:
            if self._errors.is_final(error):
                raise self._unusable(error) from error
        else:
            self._errors.passed()

    async def stop(self) -> None:
        """Leave the group and disconnect."""
        self.owned = frozenset()
        await leave_group(self._consumer)
        with contextlib.suppress(KafkaError, TimeoutError, OSError):
            async with asyncio.timeout(limits.LEAVE_S):  # an unavailable broker does not answer
                await self._consumer.stop()
        await self._admin.close()

    async def _parts(self) -> list[TopicPartition]:
        described = await self._admin.describe_topics(list(self._kinds))
        return [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in described
            for partition in topic["partitions"]
        ]

    @property
    def _where(self) -> str:
        return f"consumer group {self.name}"

    def _unusable(self, error: Exception) -> BrokerError:
        refused = refusal(error)
        if refused is not None and refused.kind == "group":
            return not_allowed(Refusal("group", (self.name,)), "Read")
        return BrokerError(
            f"the workers cannot divide the audit among themselves ({type(error).__name__})",
            where=self._where,
        )

    def _assign(self, assigned: Any) -> None:
        # Only the assignment is wanted, never the records.
        self._consumer.pause(*assigned)
        self.owned = frozenset((self._kinds[tp.topic], tp.partition) for tp in assigned)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, group: AuditGroup, changed: Callable[[], None], give_up: GiveUp) -> None:
        self._group = group
        self._changed = changed
        self._give_up = give_up

    async def on_partitions_assigned(self, assigned: Any) -> None:
        self._group._assign(assigned)
        self._changed()

    async def on_partitions_revoked(self, revoked: Any) -> None:
        self._group.owned = frozenset()
        await self._give_up()


def _parsed(metadata: str | None) -> dict[str, Any]:
    """Return the object in a commit's metadata; an empty one if there is none."""
    try:
        found = orjson.loads(metadata or "")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _count(metadata: dict[str, Any], name: str) -> int | None:
    count = metadata.get(name)
    return count if type(count) is int and count >= 0 else None


def _listed(metadata: dict[str, Any]) -> Listed | None:
    entries, policies = _count(metadata, _ENTRIES), _count(metadata, _POLICIES)
    return None if entries is None or policies is None else Listed(entries, policies)
