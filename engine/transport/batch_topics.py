"""The topics whose fetches are delivered whole, and what the rest of the worker does for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from engine.kafka.cluster import Cluster
from engine.transport.assignment import Assignment

#: Commits the offsets it was made for by the group's consumer; returns whether it succeeded.
ByGroup = Callable[[], Awaitable[bool]]
#: Commits offsets by partition, by the group's consumer or in another way; returns those that are
#: committed.
Commit = Callable[[Mapping[int, int], ByGroup], Awaitable[Mapping[int, int]]]
#: Called when partitions are assigned: an assignment, and those that it has.
OnAssigned = Callable[[Assignment, Iterable[int]], None]
#: Called when partitions of an assignment are revoked, after their end in it.
OnRevoked = Callable[[Assignment, Iterable[int]], Awaitable[None]]
#: Called when retention has removed reads before they were read: partition and how many offsets.
Expired = Callable[[int, int], None]


async def commit_by_group(offsets: Mapping[int, int], by_group: ByGroup) -> Mapping[int, int]:
    """Commit offsets by the group's consumer."""
    return offsets if await by_group() else {}


@dataclass(frozen=True, slots=True)
class BatchTopics:
    """The topics in `names`.

    Clients are those of `cluster`. `commit` commits offsets of these topics. `on_assigned` and
    `on_revoked` are called for their partitions. `expired` is called for reads of them that
    retention has removed before they were read.
    """

    cluster: Cluster
    names: frozenset[str]
    commit: Commit
    on_assigned: OnAssigned
    on_revoked: OnRevoked
    expired: Expired
