"""A consumer group as its broker sees it: who owns which partition."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from benchmarks.measure import ProcessFailedError

_ADMIN_S: Final = 10
_LOOK_EVERY_S: Final = 0.2
#: The errors of a coordinator that is loading, is not there yet, or is another broker by now.
NO_COORDINATOR_YET: Final = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
)

#: The member that owns a partition, by partition.
Owners = Mapping[int, str]


class GroupView:
    """One group, whose members read one topic with so many partitions."""

    def __init__(self, bootstrap: str, group: str, partitions: int) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self._group = group
        self._partitions = partitions

    def owners(self) -> Owners:
        """Return the owner of each partition that has one."""
        return _owners(self._described())

    def wait_shared(self, members: int, timeout_s: float) -> int:
        """Wait until so many members own all partitions. Return when the group was last seen as it
        had been at first, in nanoseconds of the machine's clock.

        Raises ProcessFailedError if that does not come about in time.
        """
        deadline_s = time.monotonic() + timeout_s
        calm_ns, first = time.time_ns(), self._described()
        has_changed = False
        found = first
        while not self._is_shared(found, members):
            if time.monotonic() > deadline_s:
                raise ProcessFailedError(f"{members} members did not share the partitions in time")
            time.sleep(_LOOK_EVERY_S)
            looked_ns, found = time.time_ns(), self._described()
            has_changed = has_changed or not _is_alike(first, found)
            if not has_changed:
                calm_ns = looked_ns
        return calm_ns

    def _is_shared(self, found: Any, members: int) -> bool:
        owners = _owners(found)
        return (
            found.state == ConsumerGroupState.STABLE
            and len(found.members) == members == len(set(owners.values()))
            and len(owners) == self._partitions
        )

    def wait_drained(self, topic: str, timeout_s: float, left: int = 0) -> None:
        """Wait until the group has committed the topic up to so many reads that are left.

        Raises ProcessFailedError if that does not come about in time.
        """
        deadline_s = time.monotonic() + timeout_s
        while (waiting := self._lag(topic)) > left:
            if time.monotonic() > deadline_s:
                raise ProcessFailedError(f"{waiting:,} reads are left after {timeout_s:.0f} s")
            time.sleep(_LOOK_EVERY_S)

    def _lag(self, topic: str) -> int:
        """Reads that are not committed."""
        parts = [TopicPartition(topic, number) for number in range(self._partitions)]
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        ends = self._admin.list_offsets(dict.fromkeys(parts, latest), request_timeout=_ADMIN_S)
        asked = self._admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(self._group, parts)], request_timeout=_ADMIN_S
        )
        committed = asked[self._group].result().topic_partitions
        end = sum(int(each.result().offset) for each in ends.values())
        return end - sum(max(0, int(each.offset)) for each in committed)

    def _described(self) -> Any:
        deadline_s = time.monotonic() + _ADMIN_S
        while True:
            asked = self._admin.describe_consumer_groups([self._group], request_timeout=_ADMIN_S)
            try:
                return asked[self._group].result()
            except KafkaException as error:
                if error.args[0].code() not in NO_COORDINATOR_YET or time.monotonic() > deadline_s:
                    raise
            time.sleep(_LOOK_EVERY_S)


def _owners(found: Any) -> Owners:
    return {
        part.partition: member.member_id
        for member in found.members
        for part in member.assignment.topic_partitions
    }


def _is_alike(first: Any, found: Any) -> bool:
    return bool(
        found.state == first.state
        and {member.member_id for member in found.members}
        == {member.member_id for member in first.members}
    )
