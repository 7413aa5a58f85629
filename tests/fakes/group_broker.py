"""A consumer group's coordinator in memory, and members whose coordinators are aiokafka's own.

The answers are those of Kafka's classic group protocol: a join is answered when all members have
joined, a sync when the leader's has come. tests/kafka/transport/test_group_broker.py compares them
with a real broker's. Time is the event loop's own and passes at once (`run_fast`).
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence, Set
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchResponse_v3
from aiokafka.protocol.group import (
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    SyncGroupRequest,
)

from engine.kafka.group_commits import GroupCommits
from engine.kafka.group_protocols import join_once
from engine.kafka.offset_fetch import StableOffsetFetch
from engine.transport.cooperation import Cooperation
from engine.transport.group_source import GroupSource
from engine.transport.sticky_assignor import protocols
from tests.fakes.record_batches import TOPIC

T = TypeVar("T")

ILLEGAL_GENERATION, INCONSISTENT, UNKNOWN, REBALANCING, ID_REQUIRED = 22, 23, 25, 27, 79
_SESSION_S = 10.0


@dataclass
class _Known:
    """A member as the broker knows it."""

    protocols: dict[str, bytes] = field(default_factory=dict)
    joining: asyncio.Future[Any] | None = None
    syncing: asyncio.Future[Any] | None = None
    assignment: bytes = b""


class GroupBroker:
    """The coordinator of one group. `state` is as Kafka calls it."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.state = "Empty"
        self.generation = 0
        self.protocol = ""
        self.leader = ""
        self.members: dict[str, _Known] = {}
        self.commits: dict[int, int] = {}
        self.refused: Counter[int] = Counter()
        self.joins = 0
        self._made = 0
        #: Those that were told their id and have not joined with it yet.
        self._pending: set[str] = set()

    async def answer(self, request: Any) -> Any:
        """Answer a request of a member."""
        if isinstance(request, JoinGroupRequest):
            return await self._join(request)
        if isinstance(request, SyncGroupRequest):
            return await self._sync(request)
        if isinstance(request, HeartbeatRequest):
            error = self._error(request._member_id, request._generation_id)
            is_open = self.state == "PreparingRebalance"
            return SimpleNamespace(error_code=error or REBALANCING * is_open)
        if isinstance(request, LeaveGroupRequest):
            is_known = request._member_id in self.members or request._member_id in self._pending
            self.expire(request._member_id)
            return SimpleNamespace(error_code=0 if is_known else UNKNOWN)
        if isinstance(request, OffsetCommitRequest):
            return self._commit(request)
        assert isinstance(request, StableOffsetFetch), request
        topics = [
            (topic, [(one, self.commits.get(one, -1), "", 0) for one in asked])
            for topic, asked in request.topics
        ]
        return OffsetFetchResponse_v3(0, topics, 0)

    def expire(self, member_id: str) -> None:
        """A member has left, or its session is over."""
        if member_id in self._pending:
            self._pending.discard(member_id)
            self._complete_join()
        gone = self.members.pop(member_id, None)
        if gone is None:
            return
        for waiting in (gone.joining, gone.syncing):
            _answer(waiting, error_code=UNKNOWN)
        if self.leader == member_id:
            self.leader = ""
        self._rebalance()

    def expire_late(self) -> None:
        """Those that have not joined within the rebalance timeout are members no more."""
        if self.state == "PreparingRebalance":
            for member_id, known in [*self.members.items()]:
                if known.joining is None:
                    self.expire(member_id)
            for member_id in [*self._pending]:
                self.expire(member_id)

    async def _join(self, request: Any) -> Any:
        offered = dict(request._group_protocols)
        member_id = request._member_id
        if self.members and not any(
            all(name in each.protocols for each in self.members.values()) for name in offered
        ):
            return SimpleNamespace(error_code=INCONSISTENT)
        if not member_id:
            self._made += 1
            member_id = f"m-{self._made}"
            self._pending.add(member_id)
            asyncio.get_running_loop().call_later(_SESSION_S, self._forget, member_id)
            return SimpleNamespace(error_code=ID_REQUIRED, member_id=member_id)
        known = self.members.get(member_id)
        if known is None and member_id not in self._pending:
            return SimpleNamespace(error_code=UNKNOWN)
        if known is not None and self._is_as_before(member_id, known, offered):
            return self._joined(member_id)
        self.joins += 1
        self._pending.discard(member_id)
        known = self.members.setdefault(member_id, _Known())
        known.protocols = offered
        joining = known.joining = asyncio.get_running_loop().create_future()
        self._rebalance()
        try:
            return await joining
        except asyncio.CancelledError:
            self.expire(member_id)  # its session would be over some time later
            raise

    def _forget(self, member_id: str) -> None:
        if member_id in self._pending:
            self.expire(member_id)

    def _is_as_before(self, member_id: str, known: _Known, offered: dict[str, bytes]) -> bool:
        """Return whether this join changes nothing, so that the current generation answers it."""
        if [*offered.items()] != [*known.protocols.items()]:
            return False
        if self.state == "Stable":
            return member_id != self.leader
        return self.state == "CompletingRebalance"

    def _joined(self, member_id: str) -> Any:
        is_leading = member_id == self.leader and self.state == "CompletingRebalance"
        members = [
            (name, None, each.protocols[self.protocol]) for name, each in self.members.items()
        ]
        return SimpleNamespace(
            error_code=0,
            API_VERSION=5,
            generation_id=self.generation,
            group_protocol=self.protocol,
            leader_id=self.leader,
            member_id=member_id,
            members=members if is_leading else [],
        )

    def _rebalance(self) -> None:
        if self.state != "PreparingRebalance":
            for known in self.members.values():
                _answer(known.syncing, error_code=REBALANCING)
                known.syncing = None
        self.state = "PreparingRebalance" if self.members else "Empty"
        self._complete_join()

    def _complete_join(self) -> None:
        """Answer the joins, if all have come, those of members that only know their id too."""
        all_known = [*self.members.values()]
        is_waiting = self._pending or any(known.joining is None for known in all_known)
        if self.state != "PreparingRebalance" or is_waiting:
            return
        self.generation += 1
        self.state = "CompletingRebalance"
        self.leader = self.leader or min(self.members)
        # Each member votes for the first of those that it offers and that all know.
        common = set.intersection(*(set(known.protocols) for known in all_known))
        votes = Counter(
            next(name for name in known.protocols if name in common) for known in all_known
        )
        self.protocol = votes.most_common(1)[0][0]
        for member_id, known in self.members.items():
            joining, known.joining = known.joining, None
            _answer(joining, **vars(self._joined(member_id)))

    async def _sync(self, request: Any) -> Any:
        member_id = request._member_id
        if error := self._error(member_id, request._generation_id):
            return SimpleNamespace(error_code=error)
        if self.state == "PreparingRebalance":
            return SimpleNamespace(error_code=REBALANCING)
        known = self.members[member_id]
        if self.state == "Stable":
            return SimpleNamespace(error_code=0, member_assignment=known.assignment)
        syncing = known.syncing = asyncio.get_running_loop().create_future()
        if member_id == self.leader:
            given = dict(request._group_assignment)
            self.state = "Stable"
            for name, each in self.members.items():
                each.assignment = given.get(name, b"")
                _answer(each.syncing, error_code=0, member_assignment=each.assignment)
                each.syncing = None
        return await syncing

    def _commit(self, request: Any) -> Any:
        error = self._error(request._consumer_id, request._consumer_group_generation_id)
        if not error and self.state == "CompletingRebalance":
            error = REBALANCING
        self.refused[error] += bool(error)
        topics = []
        for topic, offsets in vars(request)["_topics"]:
            if not error:
                self.commits.update({partition: offset for partition, offset, _ in offsets})
            topics.append((topic, [(partition, error) for partition, *_ in offsets]))
        return SimpleNamespace(topics=topics)

    def _error(self, member_id: str, generation: int) -> int:
        if member_id not in self.members:
            return UNKNOWN
        return ILLEGAL_GENERATION * (generation != self.generation)


def _answer(waiting: asyncio.Future[Any] | None, **fields: Any) -> None:
    """Answer a request, if one waits still."""
    if waiting is not None and not waiting.done():
        waiting.set_result(SimpleNamespace(**fields))


class Client:
    """A member's connections to the broker. Each answers in order."""

    def __init__(self, broker: GroupBroker) -> None:
        self._broker = broker
        self._in_turn: dict[int, asyncio.Lock] = {}
        self.is_cut = False
        self.cluster = SimpleNamespace(
            add_listener=lambda listener: None,
            partitions_for_topic=lambda topic: set(range(broker.partitions)),
            topics=lambda *_: {TOPIC},
        )

    async def send(self, node: int, request: Any, *, group: int = 0) -> Any:
        async with self._in_turn.setdefault(group, asyncio.Lock()):
            await asyncio.sleep(0.001)
            while self.is_cut:
                await asyncio.sleep(0.1)
            return await self._broker.answer(request)

    async def coordinator_lookup(self, *_: Any) -> int:
        return 1

    async def ready(self, *_: Any, **__: Any) -> bool:
        return True

    def set_topics(self, topics: Iterable[str]) -> None: ...

    async def _maybe_wait_metadata(self) -> None: ...

    async def force_metadata_update(self) -> None: ...


class Member(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """A member with aiokafka's coordinator and the engine's cooperation, or an older one without.

    `has` is what it processes now; `take` is called before it takes a partition. `pause_s` returns
    how long a step takes it.
    """

    def __init__(
        self,
        broker: GroupBroker,
        take: Callable[[Member, int], None],
        pause_s: Callable[[], float],
        *,
        is_older: bool = False,
        is_eager: bool = False,
    ) -> None:
        self._broker = broker
        self._take = take
        self._pause_s = pause_s
        self.is_older = is_older
        self.has: set[int] = set()
        #: What it waits for when it is to stop something.
        self.drains = asyncio.Event()
        self.drains.set()
        self.is_draining = False
        #: What it waits for when it has lost all.
        self.loses = asyncio.Event()
        self.loses.set()
        self._removing: set[asyncio.Task[None]] = set()
        self.stopped: Counter[int] = Counter()
        self.lost = 0
        self.failures: list[BaseException] = []
        #: What its next requests for first offsets fail with.
        self.failing: list[Exception] = []
        self.client = Client(broker)
        self.subscription = SubscriptionState()
        self.subscription.register_fetch_waiters(set())
        fetcher = SimpleNamespace(
            _records={},
            _wait_consume_future=None,
            _notify=lambda future: None,
            beginning_offsets=self._beginnings,
        )
        self._consumer: Any = SimpleNamespace(
            _client=self.client, _subscription=self.subscription, _fetcher=fetcher
        )
        self.source = GroupSource(
            lambda: self._consumer, lambda: True, lambda generation: frozenset(), {TOPIC}
        )
        self.cooperation = Cooperation(self.source, self, self.failures.append, is_eager=is_eager)
        offered = protocols(self.generation, self.cooperation.claims)
        self.coordinator = self._consumer._coordinator = GroupCoordinator(
            self.client,
            self.subscription,
            group_id="group",
            assignors=[offered[1], RoundRobinPartitionAssignor] if is_older else offered,
            enable_auto_commit=False,
            heartbeat_interval_ms=300,
            session_timeout_ms=10_000,
            retry_backoff_ms=100,
        )
        assigned = self.subscription.assigned_partitions
        self.owned = assigned if is_older else self.cooperation.owned
        self.commits = GroupCommits(self._consumer, self.owned)
        join_once(self._consumer)
        if not is_older:
            self.cooperation.watch(self._consumer)
        self.subscription.subscribe({TOPIC}, listener=self)

    @property
    def member_id(self) -> str:
        """Its id in the group."""
        return str(self.coordinator.member_id)

    @property
    def is_member(self) -> bool:
        """Whether the broker knows it."""
        return self.member_id in self._broker.members

    def generation(self) -> int:
        """That of its coordinator."""
        return int(self.coordinator.generation)

    async def leave(self) -> None:
        """Finish what it has, and leave."""
        self.cooperation.stop()
        await self._stop({TopicPartition(TOPIC, each) for each in self.has})
        await self.end()
        self._broker.expire(self.member_id)

    async def end(self) -> None:
        """It is gone at once."""
        self.cooperation.stop()
        tasks = [self.coordinator._coordination_task, self.coordinator._heartbeat_task]
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)

    # What aiokafka calls.

    async def on_partitions_revoked(self, revoked: Set[TopicPartition]) -> None:
        await asyncio.gather(*self._removing)  # as `engine.transport.holdings` does
        await self._stop(revoked)
        self.has.clear()

    async def on_partitions_assigned(self, assigned: Set[TopicPartition]) -> None:
        self._start(assigned)

    # What `Cooperation` calls.

    async def add(self, partitions: Set[TopicPartition], generation: int) -> None:
        self._start(partitions)
        await asyncio.sleep(self._pause_s())

    async def remove(self, partitions: Set[TopicPartition], generation: int) -> None:
        removing = asyncio.create_task(self._stop(partitions))
        self._removing.add(removing)
        removing.add_done_callback(self._removing.discard)
        await asyncio.shield(removing)

    async def lose(self) -> None:
        self.lost += 1
        self.has.clear()
        await self.loses.wait()

    def _start(self, partitions: Iterable[TopicPartition]) -> None:
        for tp in partitions:
            self._take(self, tp.partition)
            self.has.add(tp.partition)

    async def _stop(self, partitions: Iterable[TopicPartition]) -> None:
        gone = {tp.partition for tp in partitions} & self.has
        self.is_draining = bool(gone)
        await asyncio.sleep(self._pause_s())  # it goes on with what it has begun
        await self.drains.wait()
        self.is_draining = False
        self.stopped.update(gone)
        self.has -= gone

    async def _beginnings(
        self, partitions: Sequence[TopicPartition], timeout_ms: int
    ) -> dict[TopicPartition, int]:
        if self.failing:
            raise self.failing.pop(0)
        return dict.fromkeys(partitions, 0)


class Group:
    """A group's members. Nothing may have a partition that another member has: `problems`."""

    def __init__(self, partitions: int, seed: int = 0) -> None:
        self.broker = GroupBroker(partitions)
        self.members: list[Member] = []
        self.problems: list[str] = []
        self.chance = random.Random(seed)
        #: How long a step takes a member at most.
        self.slowest_s = 0.05

    def join(self, *, is_older: bool = False, is_eager: bool = False) -> Member:
        """One more member."""
        member = Member(
            self.broker,
            self._on_take,
            lambda: self.chance.uniform(0, self.slowest_s),
            is_older=is_older,
            is_eager=is_eager,
        )
        self.members.append(member)
        return member

    async def leave(self, member: Member) -> None:
        """A member leaves in order."""
        self.members.remove(member)
        await member.leave()

    async def is_settled(self) -> None:
        """Wait until the members have all partitions, and nothing is to change any more."""
        calm = 0
        async with asyncio.timeout(600):
            while calm < 20:  # what is on its way has come by then
                calm = calm + 1 if self._is_settled() else 0
                await asyncio.sleep(0.1)

    def shares(self) -> list[int]:
        """How many partitions each member has, in the order in which they joined."""
        return [len(member.has) for member in self.members]

    async def end(self) -> None:
        """All are gone."""
        for member in self.members:
            await member.end()
        failures = [repr(error) for member in self.members for error in member.failures]
        assert self.problems + failures == []

    def _is_settled(self) -> bool:
        owned = [partition for member in self.members for partition in member.has]
        return (
            self.broker.state == "Stable"
            and sorted(owned) == list(range(self.broker.partitions))
            and all(self._is_calm(member) for member in self.members)
        )

    def _is_calm(self, member: Member) -> bool:
        owned = {tp.partition for tp in member.owned()}
        is_told = not member.coordinator._rejoin_needed_fut.done()
        return member.is_member and is_told and owned == member.has

    def _on_take(self, taking: Member, partition: int) -> None:
        for member in self.members:
            if member is not taking and partition in member.has and member.is_member:
                self.problems.append(
                    f"{taking.member_id} took {partition}, which {member.member_id} has"
                )


class _Jumping(selectors.SelectSelector):
    """Waits for nothing: the time that a loop would wait has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "it would wait for ever"
            self.now_s += timeout
        return ready


def run_fast(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that does no I/O, in no time."""
    selector = _Jumping()
    loop = asyncio.SelectorEventLoop(selector)
    cast(Any, loop).time = lambda: selector.now_s
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work)
