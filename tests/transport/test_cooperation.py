"""`engine.transport.cooperation` on aiokafka's own coordinator: what stays goes on, what moves has
one owner at a time. The group's coordinator is `tests.fakes.group_broker`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiokafka import TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import CommitFailedError, KafkaTimeoutError
from hypothesis import example, given
from hypothesis import strategies as st

from engine.transport.sticky_assignor import COOPERATIVE
from tests.fakes.group_broker import Group, run_fast
from tests.fakes.record_batches import TOPIC


def in_group(partitions: int, work: Callable[[Group], Awaitable[None]]) -> None:
    async def run() -> None:
        group = Group(partitions)
        await work(group)
        await group.end()

    run_fast(run())


def test_a_join_stops_only_what_moves() -> None:
    async def work(group: Group) -> None:
        first, second = group.join(), group.join()
        await group.is_settled()
        assert group.broker.protocol == COOPERATIVE
        assert group.shares() == [6, 6]
        before = set(first.has), set(second.has)
        first.stopped.clear()
        second.stopped.clear()
        third = group.join()
        await group.is_settled()
        assert group.shares() == [4, 4, 4]
        assert first.has < before[0]
        assert second.has < before[1]
        assert {*first.stopped, *second.stopped} == third.has, "no other one was stopped"

    in_group(12, work)


def test_a_leave_stops_nothing() -> None:
    async def work(group: Group) -> None:
        first, second, third = group.join(), group.join(), group.join()
        await group.is_settled()
        before = set(first.has), set(second.has)
        first.stopped.clear()
        second.stopped.clear()
        await group.leave(third)
        await group.is_settled()
        assert group.shares() == [6, 6]
        assert before[0] < first.has
        assert before[1] < second.has
        assert not {*first.stopped, *second.stopped}

    in_group(12, work)


def test_commits_count_until_all_have_joined_and_wait_from_then_on() -> None:
    async def work(group: Group) -> None:
        first = group.join()
        await group.is_settled()
        second = group.join()
        await group.is_settled()
        mine, other = min(first.has), min(second.has)
        second.client.is_cut = True  # it does not hear of the rebalance, and so holds it up
        group.join()
        while group.broker.state != "PreparingRebalance" or first.generation() < 0:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)  # more than a heartbeat: the first one has joined again
        await first.commits.commit({TopicPartition(TOPIC, mine): 7})
        assert group.broker.commits[mine] == 7
        second.client.is_cut = False
        while group.broker.state != "CompletingRebalance":
            await asyncio.sleep(0.0001)
        await first.commits.commit({TopicPartition(TOPIC, mine): 9})
        assert group.broker.commits[mine] == 9
        await first.commits.commit({TopicPartition(TOPIC, other): 5})
        assert other not in group.broker.commits, "it is not the first one's to commit"
        await group.is_settled()
        assert group.shares() == [2, 1, 1]
        assert not first.lost

    in_group(4, work)


def test_a_member_that_the_broker_has_dropped_loses_everything_before_it_joins_again() -> None:
    async def work(group: Group) -> None:
        first, second = group.join(), group.join()
        await group.is_settled()
        mine = min(first.has)
        first.client.is_cut = True
        group.broker.expire(first.member_id)
        while second.has != {0, 1, 2, 3}:
            await asyncio.sleep(0.1)
        assert first.has, "it does not know yet"
        first.client.is_cut = False
        with pytest.raises(CommitFailedError):
            await first.commits.commit({TopicPartition(TOPIC, mine): 7})
        assert group.broker.commits == {}
        await group.is_settled()
        assert first.lost == 1
        assert group.shares() == [2, 2]

    in_group(4, work)


def test_what_is_drained_while_the_group_rebalances_again_gets_an_owner() -> None:
    """A member revokes a partition for the third one while it waits in the next rebalance,
    which another one holds up. It has claimed it there, and so nobody gets it then."""

    async def work(group: Group) -> None:
        group.join(), group.join()
        await group.is_settled()
        second, first = sorted(group.members, key=lambda member: len(member.has))
        group.slowest_s = 0
        first.drains = asyncio.Event()
        third = group.join()
        while third.generation() < 0 or not first.is_draining:
            await asyncio.sleep(0.001)
        second.client.is_cut = True
        group.join()
        while group.broker.state != "PreparingRebalance":
            await asyncio.sleep(0.001)
        await asyncio.sleep(1)  # more than a heartbeat: the first one has joined again
        first.drains.set()
        await asyncio.sleep(1)
        second.client.is_cut = False
        await group.is_settled()
        assert sorted(group.shares()) == [0, 1, 1, 1]

    in_group(3, work)


def test_what_is_drained_when_the_group_rebalances_again_moves_in_that_rebalance() -> None:
    """Two members give the third one a partition each. The one that drains longer hears of the
    rebalance that the other one asks for, and joins when it has revoked its own."""

    async def work(group: Group) -> None:
        first, _ = group.join(), group.join()
        await group.is_settled()
        group.slowest_s = 0
        first.drains = asyncio.Event()
        group.join()
        while not first.is_draining:
            await asyncio.sleep(0.001)
        told = group.broker.generation
        while group.broker.state != "PreparingRebalance":
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.35)  # more than a heartbeat: the first one has heard of it
        first.drains.set()
        await group.is_settled()
        assert group.shares() == [2, 2, 2]
        assert group.broker.generation == told + 1

    in_group(6, work)


def test_a_partition_without_a_commit_waits_for_its_leader() -> None:
    """A first offset that is not to be had in time is asked for again. aiokafka says that this
    error is not to be tried again."""

    async def work(group: Group) -> None:
        first, second = group.join(), group.join()
        await group.is_settled()
        first.failing = [KafkaTimeoutError("Failed to get offsets by times in 5000 ms")]
        await group.leave(second)
        await group.is_settled()
        assert group.shares() == [4]
        assert not first.failing
        assert not first.failures

    in_group(4, work)


def test_nothing_is_added_once_all_is_lost() -> None:
    """A member that the broker has dropped was just draining one partition to start another, which
    may be another member's by then."""

    async def work(group: Group) -> None:
        first, second = group.join(), group.join()
        await group.is_settled()
        group.slowest_s = 0
        first.drains = asyncio.Event()
        given_back = min(first.has)
        first.cooperation.give_back({TopicPartition(TOPIC, given_back)})
        while not first.is_draining:
            await asyncio.sleep(0.001)
        # The group assigns it what the other one leaves, and then forgets it.
        await group.leave(second)
        while len(first.cooperation.claims()) < 4:
            await asyncio.sleep(0.001)
        first.loses = asyncio.Event()
        group.broker.expire(first.member_id)
        while not first.lost:
            await asyncio.sleep(0.001)
        first.drains.set()
        await asyncio.sleep(0.1)
        assert first.has == set()
        first.loses.set()
        await group.is_settled()
        assert group.shares() == [4]

    in_group(4, work)


def test_what_is_assigned_and_not_begun_yet_is_claimed() -> None:
    async def work(group: Group) -> None:
        first, second = group.join(), group.join()
        await group.is_settled()
        [stays, goes], comes = sorted(first.has), min(second.has)

        async def told(*partitions: int) -> None:
            assigned = ConsumerProtocol.ASSIGNMENT(0, [(TOPIC, [*partitions])], b"")
            about = group.broker.generation, first.member_id, COOPERATIVE, assigned.encode()
            await first.coordinator._on_join_complete(*about)

        first.drains.clear()
        await told(stays, comes)
        await asyncio.sleep(1)
        claimed = {tp.partition for tp in first.cooperation.claims()}
        assert claimed == {stays, goes, comes}
        assert comes not in first.has
        await told(stays)  # before it has begun
        first.drains.set()
        await group.is_settled()
        assert group.shares() == [2, 2]

    in_group(4, work)


def test_what_is_given_back_is_revoked_and_assigned_anew() -> None:
    async def work(group: Group) -> None:
        first, second = group.join(), group.join()
        await group.is_settled()
        first.stopped.clear()
        second.stopped.clear()
        [one, other], joins = sorted(first.has), group.broker.joins
        first.cooperation.give_back({TopicPartition(TOPIC, one)})
        await group.is_settled()
        assert first.stopped[one] == 1
        assert not first.stopped[other]
        assert not second.stopped
        assert group.broker.joins > joins, "the group was asked"
        assert group.shares() == [2, 2]

    in_group(4, work)


def test_older_workers_are_replaced_one_by_one() -> None:
    """Each partition has one owner at a time, whatever protocol the broker chooses."""

    async def work(group: Group) -> None:
        older = [group.join(is_older=True), group.join(is_older=True)]
        await group.is_settled()
        for one in older:
            group.join()
            await group.is_settled()
            assert group.broker.protocol == "sticky"
            await group.leave(one)
            await group.is_settled()
        assert group.broker.protocol == COOPERATIVE
        assert group.shares() == [2, 2]

    in_group(4, work)


def test_an_older_worker_is_not_let_in_beside_those_that_keep_what_they_have() -> None:
    async def work(group: Group) -> None:
        members = [group.join() for _ in range(3)]
        await group.is_settled()
        before = [set(member.has) for member in members]
        older = group.join(is_older=True)
        await asyncio.sleep(30)
        assert not older.has
        assert not older.is_member
        assert [member.has for member in members] == before
        group.members.remove(older)
        await older.end()

    in_group(4, work)


def test_an_older_worker_that_is_let_in_makes_the_others_revoke_all_first() -> None:
    """The broker knows the protocols of each member's last join: of one that has joined once, all
    three."""

    async def work(group: Group) -> None:
        first = group.join()
        await group.is_settled()
        group.join(is_older=True)
        await group.is_settled()
        assert group.broker.protocol == "sticky"
        assert {*first.stopped} == {0, 1, 2, 3}
        assert group.shares() == [2, 2]
        assert first.lost == 0

    in_group(4, work)


def test_eager_workers_are_a_way_back_to_an_older_version() -> None:
    """First each worker is replaced by an eager one, then each of these by an older one."""

    async def work(group: Group) -> None:
        group.join(), group.join()
        await group.is_settled()
        for _ in range(2):
            group.join(is_eager=True)
            await group.is_settled()
            await group.leave(group.members[0])
            await group.is_settled()
        assert group.broker.protocol == COOPERATIVE
        for _ in range(2):
            group.join(is_older=True)
            await group.is_settled()
            assert group.broker.protocol == "sticky"
            await group.leave(group.members[0])
            await group.is_settled()
        assert group.shares() == [2, 2]

    in_group(4, work)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["join", "join", "eager", "leave", "expire", "late", "cut", "give back", "older"]
        ),
        st.integers(0, 9),
        st.floats(0, 3),
    ),
    max_size=12,
)


@example(1, 1, 2.0, [("join", 0, 1.0), ("expire", 0, 0.0), ("give back", 0, 0.0)])
@given(st.integers(1, 7), st.integers(0, 1000), st.sampled_from([0.0, 0.05, 2.0]), STEPS)
def test_no_two_members_ever_have_a_partition(
    partitions: int, seed: int, slowest_s: float, steps: list[tuple[str, int, float]]
) -> None:
    """Members join, leave, and are dropped by the broker at any moment, in the middle of each
    other's rebalances. In the end all partitions have an owner."""

    async def run() -> None:
        group = Group(partitions, seed)
        group.slowest_s = slowest_s
        group.join()
        for step, which, pause_s in steps:
            member = group.members[which % len(group.members)]
            if step in ("join", "eager", "older") and len(group.members) < 5:
                group.join(is_older=step == "older", is_eager=step == "eager")
            elif step == "leave" and len(group.members) > 1:
                await group.leave(member)
            elif step == "expire":
                group.broker.expire(member.member_id)
            elif step == "late":
                group.broker.expire_late()
            elif step == "give back" and not member.is_older:
                member.cooperation.give_back({TopicPartition(TOPIC, which % partitions)})
            elif step == "cut":
                member.client.is_cut = not member.client.is_cut
            await asyncio.sleep(pause_s)
        for member in [*group.members]:
            member.client.is_cut = False
        await asyncio.sleep(5)
        for member in [*group.members]:
            if member.is_older and not member.is_member:
                # It was refused, and ends; something would start it again.
                group.members.remove(member)
                await member.end()
        if not group.members:
            group.join()
        await group.is_settled()
        assert max(group.shares()) - min(group.shares()) <= 1
        await group.end()

    run_fast(run())
