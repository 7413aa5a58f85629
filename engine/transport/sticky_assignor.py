"""Assigns the partitions of the reads so that as many as possible stay with their workers.

Each worker tells the group's leader which partitions it owns, and in which generation it got them
(the user data of the protocol "sticky", as Kafka's own clients write it). The leader lets each
worker keep its share, and gives the rest to those that have less. The shares differ by one at most.

aiokafka's own assignor is not used: what a worker owns is a field of its class, so that two
consumers of one process overwrite each other's (aio-libs/aiokafka 1175), and the generation stays
-1 (1176), so that a worker that comes back late looks like the owner.

Older workers know "roundrobin" alone, or that and "sticky". A worker offers all three protocols,
and the broker chooses one that all members offer: "hotlist-cooperative-sticky" as soon as the last
older worker is gone. Each protocol notes what a worker owns, so the change moves few partitions.

With "roundrobin" and "sticky" a worker revokes all its partitions before it joins. With the third
protocol it keeps them (KIP-429), and one rule makes this safe: the leader gives no member a
partition that another member claims. A member claims what it owns, and what it may still begin to
process (`engine.transport.cooperation`). A partition that is to move is first given to no member.
Its owner revokes it and joins again, and only then another member gets it. Kafka's own
"cooperative-sticky" has the same rule. The name is another one, because a foreign client in the
group of the workers would take reads away from them.
"""

from __future__ import annotations

import logging
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from aiokafka.protocol.struct import Struct
from aiokafka.protocol.types import Array, Int32, Schema, String

log = logging.getLogger(__name__)

#: The protocol with which members keep their partitions while the group rebalances.
COOPERATIVE: Final = "hotlist-cooperative-sticky"

#: Of a worker that owns nothing, or does not say since when.
NO_GENERATION = -1


class _Owned(Struct):  # type: ignore[misc]  # aiokafka has no types
    """What a worker owns, and the generation in which it got that."""

    SCHEMA = Schema(
        ("previous_assignment", Array(("topic", String("utf-8")), ("partitions", Array(Int32)))),
        ("generation", Int32),
    )


class _Claims(Struct):  # type: ignore[misc]
    """The same, and what a worker claims."""

    SCHEMA = Schema(
        *zip(_Owned.SCHEMA.names, _Owned.SCHEMA.fields, strict=True),
        ("claimed", Array(("topic", String("utf-8")), ("partitions", Array(Int32)))),
    )


class StickyAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """See the module. One object belongs to one consumer; `generation` returns that of its group.

    aiokafka calls the methods of an assignor without asking whether it is a class.
    """

    name = "sticky"
    version = 0

    def __init__(self, generation: Callable[[], int]) -> None:
        self._generation = generation
        self._owned: list[TopicPartition] = []
        self._owned_since = NO_GENERATION

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Return what this worker tells the leader."""
        owned = _Owned(*self.owned()).encode()
        return ConsumerProtocolMemberMetadata(self.version, list(topics), owned)

    def owned(self) -> tuple[list[tuple[str, list[int]]], int]:
        """Return what this worker was assigned last, by topic, and in which generation."""
        return _by_topic(self._owned), self._owned_since

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Note what this worker owns now."""
        self._owned = assignment.partitions()
        self._owned_since = self._generation()

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Assign all partitions of the topics that the members subscribe to."""
        return _assignments(self.version, _given(cluster, members, _owners(members)))


class CooperativeAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """Assigns as `sticky` does, except what is still claimed. `claims` returns what this worker
    claims now."""

    name = COOPERATIVE
    version = 0

    def __init__(
        self, sticky: StickyAssignor, claims: Callable[[], Iterable[TopicPartition]]
    ) -> None:
        self._sticky = sticky
        self._claims = claims

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Return what this worker tells the leader."""
        owned = _Claims(*self._sticky.owned(), _by_topic(self._claims())).encode()
        return ConsumerProtocolMemberMetadata(self.version, list(topics), owned)

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Note what this worker owns now."""
        self._sticky.on_assignment(assignment)

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Assign all partitions, except to a member what another one claims.

        Raises TypeError, ValueError or struct.error if a member's claims cannot be read: no
        partition could be assigned then without the risk that two members have it.
        """
        claims: dict[tuple[str, int], set[str]] = {}
        for member, metadata in members.items():
            for place in _places(_Claims.decode(metadata.user_data).claimed):
                claims.setdefault(place, set()).add(member)
        owners = _owners(members)
        owners |= {place: next(iter(by)) for place, by in claims.items() if len(by) == 1}
        given = {
            member: {
                topic: [each for each in share if claims.get((topic, each), {member}) == {member}]
                for topic, share in topics.items()
            }
            for member, topics in _given(cluster, members, owners).items()
        }
        return _assignments(self.version, given)


def _by_topic(partitions: Iterable[TopicPartition]) -> list[tuple[str, list[int]]]:
    of_topic: dict[str, list[int]] = {}
    for topic, partition in sorted(partitions):
        of_topic.setdefault(topic, []).append(partition)
    return [*of_topic.items()]


def _places(by_topic: Iterable[tuple[str, Iterable[int]]]) -> list[tuple[str, int]]:
    return [
        (str(topic), int(partition)) for topic, partitions in by_topic for partition in partitions
    ]


class RoundRobin(RoundRobinPartitionAssignor):  # type: ignore[misc]
    """The protocol of older workers. What it assigns is noted for `sticky`."""

    def __init__(self, sticky: StickyAssignor) -> None:
        self._sticky = sticky

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Note what this worker owns now."""
        self._sticky.on_assignment(assignment)


def protocols(
    generation: Callable[[], int], claims: Callable[[], Iterable[TopicPartition]]
) -> list[AbstractPartitionAssignor]:
    """Return the protocols that a worker offers, the preferred one first."""
    sticky = StickyAssignor(generation)
    return [CooperativeAssignor(sticky, claims), sticky, RoundRobin(sticky)]


def _assignments(
    version: int, given: Mapping[str, Mapping[str, list[int]]]
) -> dict[str, ConsumerProtocolMemberAssignment]:
    return {
        member: ConsumerProtocolMemberAssignment(
            version, [(topic, share) for topic, share in sorted(topics.items()) if share], b""
        )
        for member, topics in given.items()
    }


def _given(
    cluster: ClusterMetadata,
    members: Mapping[str, ConsumerProtocolMemberMetadata],
    owners: Mapping[tuple[str, int], str],
) -> dict[str, dict[str, list[int]]]:
    """Return the partitions of each member, by topic."""
    given: dict[str, dict[str, list[int]]] = {member: {} for member in members}
    total: Counter[str] = Counter(dict.fromkeys(members, 0))
    for topic in sorted({topic for each in members.values() for topic in each.subscription}):
        subscribed = [member for member, each in members.items() if topic in each.subscription]
        partitions = cluster.partitions_for_topic(topic)
        if partitions is None:
            log.warning("nothing is known of the partitions of a topic: %s", topic)
            continue
        shares = _shares(sorted(partitions), subscribed, owners, topic, total)
        for member, share in shares.items():
            total[member] += len(share)
            if share:
                given[member][topic] = sorted(share)
    return given


def _owners(
    members: Mapping[str, ConsumerProtocolMemberMetadata],
) -> dict[tuple[str, int], str]:
    """Return the owner of each partition: the last one, if several say so. Two of one generation
    cannot be, so neither is."""
    claims: dict[tuple[str, int], list[tuple[int, str]]] = {}
    for member, metadata in members.items():
        try:
            generation, owned = _owned(metadata.user_data)
        except (TypeError, ValueError, struct.error):
            log.warning("the partitions of a member of the group cannot be read: %s", member)
            continue
        for place in owned:
            claims.setdefault(place, []).append((generation, member))
    owners = {}
    for place, made in claims.items():
        last, owner = max(made)
        if sum(generation == last for generation, _ in made) == 1:
            owners[place] = owner
    return owners


def _owned(user_data: bytes) -> tuple[int, list[tuple[str, int]]]:
    """Return the generation and the partitions that a member names. Raises TypeError, ValueError or
    struct.error: another client may write anything there."""
    if not user_data:
        return NO_GENERATION, []
    owned: Any = _Owned.decode(user_data)
    return int(owned.generation), _places(owned.previous_assignment)


def _shares(
    partitions: list[int],
    members: list[str],
    owners: Mapping[tuple[str, int], str],
    topic: str,
    total: Mapping[str, int],
) -> dict[str, list[int]]:
    """Return the partitions of a topic by member."""
    shares: dict[str, list[int]] = {member: [] for member in members}
    for partition in partitions:
        owner = owners.get((topic, partition))
        if owner in shares:
            shares[owner].append(partition)
    # Those that own most keep one more than the others, if the partitions do not come out even.
    order = sorted(members, key=lambda member: (total[member], -len(shares[member]), member))
    least, more = divmod(len(partitions), len(members))
    room = {member: least + (place < more) for place, member in enumerate(order)}
    for member, share in shares.items():
        del share[room[member] :]
    kept = {partition for share in shares.values() for partition in share}
    rest = iter([partition for partition in partitions if partition not in kept])
    for member in order:
        share = shares[member]
        share += [next(rest) for _ in range(room[member] - len(share))]
    return shares
