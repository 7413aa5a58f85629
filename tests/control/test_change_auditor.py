"""`engine.control.change_auditor`: elections, acknowledgements and commits in every order that they
may come.

The group and the chain here are made by the tests. What a worker may forget when is tested in
`test_pending`; that Kafka's groups are as the one here, in `kafka/test_audit`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import hypothesis.strategies as st
import pytest
from hypothesis import given

from engine import limits
from engine.audit.changes import Change
from engine.audit.pending_changes import EXPIRIES, Part, Progress
from engine.control.change_auditor import ChangeAuditor
from engine.errors import BrokerError
from tests.audit.test_pending_changes import PARTS, POLICIES, changes, expiry


class Kafka:
    """What outlives the workers: what is committed, and the audit."""

    def __init__(self) -> None:
        self.committed = Progress()
        self.audit: list[Change] = []
        self.owner: Group | None = None

    def offsets(self, part: Part) -> list[int]:
        return [c.offset for c in self.audit if (c.kind, c.partition) == part]

    async def elect(self, group: Group | None) -> None:
        """Give all partitions to one worker, as a rebalance does."""
        if self.owner is not None:
            self.owner.owned = frozenset()
            await self.owner.give_up()
        self.owner = group
        if group is not None:
            group.owned = frozenset(PARTS)
            group.changed()


class Group:
    """One worker's view of the group."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.owned: frozenset[Part] = frozenset()
        self.changed: Callable[[], None]
        self.give_up: Callable[[], Awaitable[None]]
        self.is_silent = False
        self.refuses: list[BrokerError] = []
        self.commits = 0
        self.looks = 0

    async def start(self) -> Progress:
        return self.kafka.committed

    def join(self, changed: Callable[[], None], give_up: Callable[[], Awaitable[None]]) -> None:
        self.changed, self.give_up = changed, give_up

    async def progress(self) -> Progress:
        self.looks += 1
        if self.is_silent:
            raise BrokerError("the group does not return what it has committed")
        return self.kafka.committed

    async def commit(self, progress: Progress) -> bool:
        await asyncio.sleep(0)
        if self.refuses:
            raise self.refuses.pop()
        if self.is_silent or self.kafka.owner is not self:
            return False
        before = self.kafka.committed
        self.commits += 1
        self.kafka.committed = Progress(
            {**before.offsets, **progress.offsets},
            max(before.expired_until_ms, progress.expired_until_ms),
        )
        return True

    async def keep_alive(self) -> None:
        pass


class Chain:
    """Acknowledges at once, or when it is told to."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.holds = False
        self.waiting: list[asyncio.Future[None]] = []

    def append(self, events: Sequence[Change]) -> asyncio.Future[None]:
        self.kafka.audit += events
        future = asyncio.get_running_loop().create_future()
        if self.holds:
            self.waiting.append(future)
        else:
            future.set_result(None)
        return future

    def acknowledge(self) -> None:
        self.holds = False
        for future in self.waiting:
            future.set_result(None)
        self.waiting.clear()


class Worker:
    def __init__(self, kafka: Kafka) -> None:
        self.group = Group(kafka)
        self.chain = Chain(kafka)
        self.auditor = ChangeAuditor(self.group, self.chain.append)
        self.task: asyncio.Task[None] | None = None

    def offer(self, part: Part, *offsets: int) -> None:
        self.auditor.offer(part, offsets[-1] + 1, changes(part, *offsets))


@asynccontextmanager
async def working(*workers: Worker) -> AsyncIterator[None]:
    for worker in workers:
        await worker.auditor.start()
        worker.task = asyncio.create_task(worker.auditor.run())
    try:
        yield
    finally:
        tasks = [worker.task for worker in workers if worker.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AUDIT_LOOK_S", 0.001)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


async def hold_two_changes(kafka: Kafka, old: Worker, new: Worker) -> None:
    """Both have two changes; the old owner has sent them, and they are not acknowledged."""
    await kafka.elect(old.group)
    old.chain.holds = True
    for worker in (old, new):
        worker.offer(EXPIRIES, 0, 1)
    await until(lambda: bool(old.chain.waiting))


async def test_the_owner_audits_and_the_other_forgets() -> None:
    kafka = Kafka()
    owner, other = Worker(kafka), Worker(kafka)
    async with working(owner, other):
        await kafka.elect(owner.group)
        for worker in (owner, other):
            worker.offer(EXPIRIES, 0, 1, 4)
            worker.offer(POLICIES, 2)
            worker.auditor.offer_expired([expiry(0, 70)], 80)
        await until(lambda: owner.auditor.waiting == other.auditor.waiting == 0)
    assert kafka.offsets(EXPIRIES) == [0, 1, 4, -1]
    assert kafka.offsets(POLICIES) == [2]
    assert kafka.committed == Progress({EXPIRIES: 5, POLICIES: 3}, 80)


async def test_nobody_is_elected_yet() -> None:
    kafka = Kafka()
    worker = Worker(kafka)
    async with working(worker):
        worker.offer(EXPIRIES, 0, 1)
        await until(lambda: worker.group.looks > 3)
        assert kafka.audit == []
        assert worker.auditor.waiting == 2
        await kafka.elect(worker.group)
        await until(lambda: not worker.auditor.waiting)
    assert kafka.offsets(EXPIRIES) == [0, 1]


async def test_a_new_owner_goes_on_where_the_old_one_was() -> None:
    kafka = Kafka()
    old, new = Worker(kafka), Worker(kafka)
    async with working(old, new):
        await kafka.elect(old.group)
        for worker in (old, new):
            worker.offer(EXPIRIES, 0, 1)
        await until(lambda: not old.auditor.waiting)
        await kafka.elect(new.group)
        for worker in (old, new):
            worker.offer(EXPIRIES, 2)
        await until(lambda: old.auditor.waiting == new.auditor.waiting == 0)
    assert kafka.offsets(EXPIRIES) == [0, 1, 2]


async def test_giving_up_waits_for_what_is_under_way() -> None:
    """It is acknowledged and committed before somebody else begins, so nothing comes twice."""
    kafka = Kafka()
    old, new = Worker(kafka), Worker(kafka)
    async with working(old, new):
        await hold_two_changes(kafka, old, new)
        election = asyncio.create_task(kafka.elect(new.group))
        await asyncio.sleep(0.01)
        assert not election.done()
        old.chain.acknowledge()
        await election
        await until(lambda: not new.auditor.waiting)
    assert kafka.offsets(EXPIRIES) == [0, 1]


async def test_an_owner_that_dies_unheard_leaves_no_gap() -> None:
    kafka = Kafka()
    old, new = Worker(kafka), Worker(kafka)
    async with working(old, new):
        await hold_two_changes(kafka, old, new)
        assert old.task is not None
        old.task.cancel()
        kafka.owner = None
        new.offer(EXPIRIES, 2)
        await kafka.elect(new.group)
        await until(lambda: not new.auditor.waiting)
    assert kafka.offsets(EXPIRIES) == [0, 1, 0, 1, 2]


async def test_a_commit_that_failed_is_made_good_without_auditing_twice() -> None:
    kafka = Kafka()
    worker = Worker(kafka)
    async with working(worker):
        await kafka.elect(worker.group)
        worker.offer(POLICIES, 0)
        await until(lambda: worker.group.commits == 1)
        worker.group.is_silent = True
        worker.offer(EXPIRIES, 0)
        await until(lambda: not worker.auditor.waiting)
        await asyncio.sleep(0.01)
        assert worker.group.commits == 1
        worker.group.is_silent = False
        await until(lambda: kafka.committed.offsets.get(EXPIRIES) == 1)
    assert kafka.offsets(EXPIRIES) == [0]


async def test_who_cannot_see_what_is_committed_does_not_begin() -> None:
    kafka = Kafka()
    worker = Worker(kafka)
    async with working(worker):
        worker.group.is_silent = True
        worker.offer(EXPIRIES, 0)
        await kafka.elect(worker.group)
        await until(lambda: worker.group.looks > 3)
        assert kafka.audit == []
        worker.group.is_silent = False
        await until(lambda: not worker.auditor.waiting)


async def test_a_commit_that_is_refused_for_good_is_an_error() -> None:
    kafka = Kafka()
    worker = Worker(kafka)
    async with working(worker):
        worker.group.refuses.append(BrokerError("not allowed"))
        worker.offer(EXPIRIES, 0)
        await kafka.elect(worker.group)
        assert worker.task is not None
        with pytest.raises(BrokerError, match="not allowed"):
            await worker.task


async def test_there_is_room_again_when_changes_are_audited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "AUDIT_PENDING_CHANGES", 3)
    kafka = Kafka()
    worker = Worker(kafka)
    async with working(worker):
        worker.offer(EXPIRIES, 0, 1)
        await worker.auditor.room()
        worker.offer(EXPIRIES, 2)
        room = asyncio.create_task(worker.auditor.room())
        await asyncio.sleep(0.01)
        assert not room.done()
        await kafka.elect(worker.group)
        await room


async def test_the_end_waits_for_what_this_worker_owns() -> None:
    kafka = Kafka()
    worker, follower = Worker(kafka), Worker(kafka)
    async with working(worker, follower):
        await kafka.elect(worker.group)
        worker.chain.holds = True
        for each in (worker, follower):
            each.offer(EXPIRIES, 0)
        await until(lambda: bool(worker.chain.waiting))
        worker.offer(EXPIRIES, 1)
        for each in (worker, follower):
            each.auditor.close()
        assert follower.task is not None
        await follower.task  # what is not its own does not keep it
        worker.chain.acknowledge()
        assert worker.task is not None
        await worker.task
    assert kafka.committed.offsets == {EXPIRIES: 2}


@given(seed=st.integers(0, 2**32), steps=st.integers(1, 40))
def test_any_order_of_events(seed: int, steps: int) -> None:
    """Workers that lag, die, come back, lose and win elections: nothing is passed over."""
    choose = random.Random(seed)

    async def play() -> None:
        kafka = Kafka()
        end = 0
        workers: dict[int, Worker] = {}
        applied: dict[int, int] = {}

        async def start(number: int) -> None:
            workers[number] = Worker(kafka)
            progress = await workers[number].auditor.start()
            workers[number].task = asyncio.create_task(workers[number].auditor.run())
            applied[number] = progress.offsets.get(EXPIRIES, 0)  # those below tell nothing

        async def die(number: int) -> None:
            task = workers[number].task
            assert task is not None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if kafka.owner is workers[number].group:
                kafka.owner = None
            del workers[number]

        def apply(number: int, stop: int) -> None:
            if applied[number] < stop:
                news = changes(EXPIRIES, *range(applied[number], stop))
                workers[number].auditor.offer(EXPIRIES, stop, news)
                applied[number] = stop

        await start(0)
        await start(1)
        for _ in range(steps):
            number = choose.choice(list(workers))
            match choose.randrange(7):
                case 0:
                    end += choose.randrange(5)
                case 1 | 2:
                    apply(number, choose.randint(applied[number], max(end, applied[number])))
                case 3:
                    electing = asyncio.create_task(kafka.elect(workers[number].group))
                    for worker in workers.values():
                        worker.chain.acknowledge()
                    await electing
                case 4:
                    workers[number].chain.holds = True
                case 5:
                    workers[number].chain.acknowledge()
                case 6:
                    await die(number)
                    await start(number)
            for _ in range(choose.randrange(4)):
                await asyncio.sleep(0)
        for number, worker in workers.items():
            worker.chain.acknowledge()
            apply(number, end)
        await kafka.elect(workers[0].group)
        await until(lambda: not any(worker.auditor.waiting for worker in workers.values()))
        assert list(dict.fromkeys(kafka.offsets(EXPIRIES))) == list(range(end))
        for number in list(workers):
            await die(number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "AUDIT_LOOK_S", 0.001)
        patch.setattr(limits, "AUDIT_STEP_CHANGES", 3)
        asyncio.run(play())
