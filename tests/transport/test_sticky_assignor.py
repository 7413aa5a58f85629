"""`engine.transport.sticky_assignor`: even shares, few moves, and what other members may send."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from hypothesis import given
from hypothesis import strategies as st

from engine.transport.sticky_assignor import StickyAssignor

TOPIC = "lpr.detections.v1"


class Partitions:
    """The part of aiokafka's metadata that an assignor uses."""

    def __init__(self, count: int) -> None:
        self.count = count

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self.count)) if topic == TOPIC else None

    def topics(self) -> set[str]:
        return {TOPIC}


class Group:
    """A group whose members rejoin in each rebalance, through the bytes of the protocol."""

    def __init__(self, partitions: int) -> None:
        self.cluster: Any = Partitions(partitions)
        self.generation = 0
        self.members: dict[str, StickyAssignor] = {}
        self.owned: dict[str, list[int]] = {}

    def join(self, *names: str) -> None:
        for name in names:
            self.members[name] = StickyAssignor(lambda: self.generation)

    def rebalance(self, without: Iterable[str] = ()) -> Counter[int]:
        """Rebalance; return how many partitions moved, by whether their owner is still there.

        Those in `without` are away, and do not know it.
        """
        self.generation += 1
        before = {part: name for name, parts in self.owned.items() for part in parts}
        there = {name: one for name, one in self.members.items() if name not in without}
        metadata = {
            name: ConsumerProtocolMemberMetadata.decode(one.metadata([TOPIC]).encode())
            for name, one in there.items()
        }
        leader = next(iter(there.values()))
        self.owned = {}
        for name, assignment in leader.assign(self.cluster, metadata).items():
            got = ConsumerProtocolMemberAssignment.decode(assignment.encode())
            self.members[name].on_assignment(got)
            self.owned[name] = [tp.partition for tp in got.partitions()]
        after = {part: name for name, parts in self.owned.items() for part in parts}
        assert sum(map(len, self.owned.values())) == len(after) == self.cluster.count
        return Counter(before[part] in there for part in before if before[part] != after[part])

    @property
    def sizes(self) -> list[int]:
        return sorted(map(len, self.owned.values()))


def test_a_worker_that_joins_takes_its_share_and_no_other_partition_moves() -> None:
    group = Group(12)
    group.join("a", "b", "c")
    group.rebalance()
    assert group.sizes == [4, 4, 4]
    group.join("d")
    assert group.rebalance() == {True: 3}
    assert group.sizes == [3, 3, 3, 3]
    del group.members["b"]
    assert group.rebalance() == {False: 3}
    assert group.sizes == [4, 4, 4]
    assert group.rebalance() == {}


def test_in_a_rolling_restart_only_the_partitions_of_the_worker_that_restarts_move() -> None:
    group = Group(12)
    group.join("a", "b", "c")
    group.rebalance()
    for name in ("a", "b", "c"):
        del group.members[name]
        assert group.rebalance() == {False: 4}
        group.join(name + " again")
        assert group.rebalance() == {True: 4}
        assert group.sizes == [4, 4, 4]


def test_a_worker_that_comes_back_late_owns_nothing_any_more() -> None:
    """Its partitions stay with those that have had them since."""
    group = Group(6)
    group.join("a", "b", "c")
    group.rebalance()
    group.rebalance(without=["a"])
    kept = {name: set(parts) for name, parts in group.owned.items()}
    assert group.rebalance() == {True: 2}
    assert group.sizes == [2, 2, 2]
    assert all(set(group.owned[name]) < kept[name] for name in ("b", "c"))


@given(
    st.integers(1, 13),
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.sampled_from(["join", "leave", "away", "grow"])),
        max_size=12,
    ),
)
def test_any_group_has_even_shares_and_moves_no_more_than_it_must(
    partitions: int, steps: Sequence[tuple[str, str]]
) -> None:
    group = Group(partitions)
    group.join("leader")
    group.rebalance()
    for name, what in steps:
        away: tuple[str, ...] = ()
        if what == "join" and name not in group.members:
            group.join(name)
        elif what == "leave":
            group.members.pop(name, None)
        elif what == "away":
            away = (name,)
        elif what == "grow":
            group.cluster.count += 1
        had = Counter({name: len(parts) for name, parts in group.owned.items()})
        moved = group.rebalance(without=away)
        assert group.sizes[-1] - group.sizes[0] <= 1
        # A member gives up no more than it has too many.
        assert moved[True] <= sum(max(0, had[one] - len(own)) for one, own in group.owned.items())


@pytest.mark.parametrize("user_data", [b"", b"\x00", b"another client's", b"\xff" * 40])
def test_a_member_that_says_nothing_sensible_gets_its_share(user_data: bytes) -> None:
    group = Group(4)
    group.join("a")
    group.rebalance()
    [mine] = group.members.values()
    members = {
        "a": mine.metadata([TOPIC]),
        "b": ConsumerProtocolMemberMetadata(0, [TOPIC], user_data),
    }
    assigned = mine.assign(group.cluster, members)
    assert [len(each.partitions()) for each in assigned.values()] == [2, 2]


def test_a_topic_that_is_not_known_yet_is_left_out() -> None:
    group = Group(4)
    group.join("a")
    [mine] = group.members.values()
    assigned = mine.assign(group.cluster, {"a": mine.metadata(["other", TOPIC])})
    assert len(assigned["a"].partitions()) == 4


def test_aiokafkas_own_assignor_mixes_the_consumers_of_a_process_up() -> None:
    """Why there is one here. It writes and reads the same form, so members of both understand each
    other."""
    theirs: Any = StickyPartitionAssignor
    first, second = (
        ConsumerProtocolMemberAssignment(0, [(TOPIC, parts)], b"") for parts in ([0, 1], [2, 3])
    )
    try:
        theirs.on_assignment(first)
        theirs.on_assignment(second)
        told = theirs.parse_member_metadata(theirs.metadata([TOPIC]))
        assert [tp.partition for tp in told.partitions] == [2, 3], "what the first one tells"
        assert told.generation == -1, "nothing sets it"
    finally:
        theirs.member_assignment = None
    ours = [StickyAssignor(lambda: 7), StickyAssignor(lambda: 7)]
    for one, assignment in zip(ours, (first, second), strict=True):
        one.on_assignment(assignment)
    told = theirs.parse_member_metadata(ours[0].metadata([TOPIC]))
    assert [tp.partition for tp in told.partitions] == [0, 1]
    assert told.generation == 7
