"""A state that was kept is the state that a restore from the beginning would give.

Two workers with the engine's own restore, delivery and reader, on a changelog that is compacted,
loses old tombstones, is recreated, and to which others write. After each rebalance the state of
every partition is compared with the last record of each of its keys.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine import limits
from engine.delivery.at_least_once import AtLeastOnce
from engine.delivery.known_changelog import Appended
from engine.delivery.port import Delivery
from engine.delivery.suppression_changelog import StateRecord
from engine.delivery.suppression_restore import Suppressing
from engine.delivery.transactional_producer import Fenced
from engine.delivery.transactions import Transactions
from engine.documents.codec import decode_suppression, encode
from engine.documents.model import Entry
from engine.matching.outcome import Outcome
from engine.matching.suppression import Suppression
from engine.matching.suppression_writer import document_of
from engine.transport.fetch import Fetch
from engine.wire.record_batch import RawFetch
from tests.fakes.assignments import an_assignment
from tests.fakes.changelog import ChangelogTopic, Log
from tests.fakes.documents import NOW_MS, entry, sighting
from tests.fakes.event_loop import settle
from tests.fakes.record_batches import batch_bytes, raw_batch
from tests.fakes.runtime import runtime_of
from tests.fakes.transactional_broker import TOPICS, OffsetsOn, TransactionalBroker

READS = 3
CAMERAS = 3
MODES = ["at_least_once", "exactly_once"]
ENTRY = entry()


class World:
    """A changelog, and two workers. Owner 2 of a partition is a worker that is not modelled, and
    whose records `foreign` writes."""

    def __init__(self, stack: ExitStack, mode: str, partitions: int) -> None:
        self.topic = ChangelogTopic(partitions)
        self.mode = mode
        self.chance = random.Random(1)
        self.offsets = dict.fromkeys(range(READS), 0)
        #: Values that others may write.
        self.written: list[bytes] = []
        #: What becomes of the next records: `twice`, or with transactions `aborted`.
        self.next = ""
        self.generation = 0
        #: Whether old keys are evicted.
        self.are_whole = True
        time = SimpleNamespace(monotonic=lambda: self.topic.now_s)
        for name in ("suppression_changelog", "suppression_restore", "suppression_reader"):
            stack.enter_context(mock.patch(f"engine.delivery.{name}.time", time))
        stack.enter_context(mock.patch.object(limits, "EXPIRY_INTERVAL_S", 0))
        stack.enter_context(self.topic.read_from())
        self.workers = [_Worker(self), _Worker(self)]

    def now_ms(self) -> int:
        return NOW_MS + int(1000 * self.topic.now_s)

    def listed(self, entry_id: str) -> list[Entry]:
        return [ENTRY]

    async def rebalance(self, owners: Sequence[int]) -> None:
        await self._begin_rebalance(owners)
        for worker in self.workers:
            await worker.is_restored()

    async def rebalance_twice(self, turns: int, owners: Sequence[int]) -> None:
        """The second rebalance begins so many turns of the event loop after the first, perhaps
        before anything is restored. Both have the same owners."""
        await self._begin_rebalance(owners)
        for _ in range(turns):
            await asyncio.sleep(0)
        await self.rebalance(owners)

    async def _begin_rebalance(self, owners: Sequence[int]) -> None:
        for worker in self.workers:
            await worker.revoke()
        self.generation += 1
        for number, worker in enumerate(self.workers):
            worker.assign([part for part, owner in enumerate(owners) if owner == number])

    def write(self, source: int, records: Sequence[tuple[bytes, bytes | None]]) -> range:
        """Write records of a partition of the reads."""
        self.written += [value for _, value in records if value is not None]
        return self.topic.append(source % len(self.topic.logs), records)

    def foreign(self, source: int, camera: int, deletes: bool) -> None:
        """Another worker writes a state, or deletes one."""
        states = self.topic.states_of(source)
        key = sorted(states)[camera % len(states)] if states else bytes([camera]) * 16
        value = None if deletes or not self.written else self.chance.choice(self.written)
        self.write(source, [(b"group/%d/%s" % (source, key.hex().encode()), value)])


class _Worker:
    def __init__(self, world: World) -> None:
        self.world = world
        self.state = Suppression()
        self.failures: list[BaseException] = []
        runtime = runtime_of(self.failures, world)
        self.delivery: Delivery
        if world.mode == "at_least_once":
            self.delivery = AtLeastOnce(runtime, self, _audited)
        else:
            broker = TransactionalBroker()
            self.delivery = Transactions(
                runtime,
                lambda partition: _Transacts(world, partition),
                OffsetsOn(broker, lambda _: 1 << 40),
                broker,
                lambda *_: None,
                quiet_s=0,
            )
        self.suppressing = Suppressing(
            runtime, self.state, self.partitions_of, world, self.delivery
        )
        self.assignment = an_assignment()
        self.owned: list[int] = []

    async def partitions_of(self, topic: str) -> int:
        return len(self.world.topic.logs)

    async def deliver(self, records: Sequence[Any]) -> None:
        raise AssertionError("no matches are delivered here")

    async def deliver_in_order(self, records: Sequence[Any], partition: int, what: str) -> Any:
        sent = [(record.key, record.value) for record in records]
        if self.world.next == "twice":
            # The acknowledgement was lost.
            self.world.next = ""
            self.world.topic.append(partition, sent)
        self.world.written += [value for _, value in sent if value is not None]
        return [self.world.topic.append(partition, sent)]

    def read(self, partition: int, camera: int, captured_s: int) -> None:
        offset = self.world.offsets[partition]
        self.world.offsets[partition] += 1
        seen = sighting(
            camera=f"C{camera}",
            captured_ms=self.world.now_ms() + 1000 * captured_s,
            arrived_ms=self.world.now_ms(),
            partition=partition,
            offset=offset,
        )
        self.state.admit(ENTRY, seen)

    async def hand_over(self) -> None:
        changes = self.state.take_changes()
        for partition in {change.partition for change in changes}:
            raw = RawFetch(TOPICS.detections, partition, (raw_batch(batch_bytes()),))
            fetch = Fetch(raw, 0, self.assignment)
            own = [change for change in changes if change.partition == partition]
            self.delivery.hand_over(fetch, Outcome(suppression=own))
        await settle()

    async def revoke(self) -> None:
        self.assignment.end()
        await self.suppressing.on_revoked(self.assignment, self.owned)

    def assign(self, partitions: list[int]) -> None:
        self.owned = partitions
        self.assignment = an_assignment(self.world.generation)
        self.suppressing.on_assigned(self.assignment, partitions)

    async def is_restored(self) -> None:
        """Wait until all it owns is restored, and compare it with the changelog."""
        while not self.assignment.ready.issuperset(self.owned):
            assert not self.failures
            await asyncio.sleep(0)
        for partition in self.owned:
            have = {
                state.key: encode(document_of(state))
                for state in self.state.states
                if state.partition == partition
            }
            expected = {
                key: encode(decode_suppression(value))
                for key, value in self.world.topic.states_of(partition).items()
            }
            assert have == expected, f"partition {partition}"


class _Transacts:
    """A partition's producer: each transaction's states, and its marker."""

    def __init__(self, world: World, partition: int) -> None:
        self._world = world
        self._partition = partition

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    async def transact(
        self, records: Sequence[Any], states: Sequence[StateRecord], next_offset: int | None
    ) -> Appended | None:
        topic = self._world.topic
        partitions, started_s = len(topic.logs), topic.now_s
        partition = self._partition % partitions
        if self._world.next == "aborted":
            self._world.next = ""
            topic.skip(partition, len(states) + 1)
            raise Fenced("fenced")
        if not states:
            return None
        written = self._world.write(self._partition, [(one.key, one.value) for one in states])
        topic.skip(partition)
        return Appended(partition, partitions, [written], started_s)


def _audited(events: Sequence[Any]) -> asyncio.Future[None]:
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


async def run(mode: str, partitions: int, steps: Callable[[World], Any]) -> World:
    """Run steps in a world of its own."""
    with ExitStack() as stack:
        world = World(stack, mode, partitions)
        for worker in world.workers:
            await worker.delivery.start()
            await worker.suppressing.start()
        try:
            await steps(world)
        finally:
            for worker in world.workers:
                await worker.suppressing.stop()
                await worker.delivery.stop()
    assert not any(worker.failures for worker in world.workers)
    return world


PARTITION, CAMERA, WORKER = (
    st.integers(0, READS - 1),
    st.integers(0, CAMERAS - 1),
    st.integers(0, 1),
)
READ = st.tuples(st.just("read"), PARTITION, CAMERA, st.integers(-100, 100))
FOREIGN = st.tuples(st.just("foreign"), PARTITION, CAMERA, st.booleans())
#: Worker 2 is not modelled. Most partitions come back.
OWNER = st.sampled_from([0, 0, 0, 1, 2, 2])
REBALANCE = st.tuples(st.just("rebalance"), st.lists(OWNER, min_size=READS, max_size=READS))
TWICE = st.tuples(
    st.just("rebalance twice"), st.integers(0, 40), st.lists(OWNER, min_size=READS, max_size=READS)
)
#: What happens: a name, and what it is about.
STEP = st.one_of(
    *[READ] * 4,
    *[st.tuples(st.just("hand over"), WORKER)] * 2,
    *[REBALANCE] * 3,
    *[TWICE] * 2,
    *[FOREIGN] * 3,
    st.tuples(st.just("lose"), WORKER),
    st.tuples(st.just("compact")),
    st.tuples(st.just("wait"), st.sampled_from([1, 200, 400, 2000, 4000, 9000])),
    st.tuples(st.just("recreate")),
    st.tuples(st.just("grow")),
    st.tuples(st.just("delete"), PARTITION, st.integers(0, 10)),
    st.tuples(st.just("next"), st.sampled_from(["twice", "aborted"])),
)
Steps = list[tuple[Any, ...]]


async def do(world: World, what: str, *about: Any) -> None:
    topic = world.topic
    match what:
        case "read":
            partition, *read = about
            for worker in world.workers:
                if partition in worker.owned:
                    worker.read(partition, *read)
        case "hand over":
            await world.workers[about[0]].hand_over()
        case "lose":
            world.workers[about[0]].state.take_changes()
        case "rebalance":
            await world.rebalance(about[0])
        case "rebalance twice":
            await world.rebalance_twice(*about)
        case "foreign":
            world.foreign(*about)
        case "compact":
            topic.compact(world.chance)
        case "wait":
            topic.now_s += about[0]
            await settle()
        case "recreate":
            topic.recreate()
        case "grow":
            topic.logs.append(Log())
        case "delete":
            topic.delete_before(about[0] % len(topic.logs), about[1])
        case "next":
            is_possible = (about[0] == "twice") == (world.mode == "at_least_once")
            world.next = about[0] if is_possible else ""


@pytest.mark.parametrize("mode", MODES)
@given(steps=st.lists(STEP, max_size=40), partitions=st.sampled_from([READS, READS, 2]))
@example(steps=[("read", 2, 0, 0), ("hand over", 0), ("grow",)], partitions=2)
def test_a_kept_state_is_what_a_restore_would_read(
    mode: str, steps: Steps, partitions: int
) -> None:
    async def all_of(world: World) -> None:
        await world.rebalance([0] * READS)
        for what, *about in steps:
            await do(world, what, *about)
        await world.rebalance([1] * READS)
        await world.rebalance([0] * READS)

    asyncio.run(run(mode, partitions, all_of))


SEEN: Steps = [("read", 0, 0, 0), ("read", 0, 1, 0), ("hand over", 0)]
FURTHER: Steps = [("read", 0, 2, 0), ("hand over", 0)]
LATER: Steps = [("wait", 200)]
STAYS: Steps = [("rebalance", [0, 0, 0])]
AWAY: Steps = [("rebalance", [2, 0, 0])]
WRITES: Steps = [("foreign", 0, 0, False)]
DELETES: Steps = [("foreign", 0, 0, True)]
COMPACTED: Steps = [("compact",)] * 9
#: By name: what happens to partition 0, and how many records its last restore reads.
CASES: dict[str, tuple[Steps, int]] = {
    "it stays": (SEEN + STAYS + FURTHER + STAYS, 0),
    "it stays for long, and nothing is written": ([*SEEN, ("wait", 9000), *STAYS], 0),
    "it goes and comes back": (SEEN + AWAY + STAYS, 0),
    "another owner changed a state": (SEEN + AWAY + WRITES + STAYS, 1),
    "another owner removed a state": (SEEN + AWAY + DELETES + STAYS, 1),
    "it comes back late": (SEEN + AWAY + [("wait", 301)] + STAYS, 2),
    "a former owner wrote meanwhile": (SEEN + WRITES + FURTHER + STAYS, 2),
    "a tombstone of a former owner is gone": (
        SEEN + DELETES + FURTHER + [("wait", 9000)] + COMPACTED + STAYS,
        2,
    ),
    "a change was lost": ([*SEEN, ("read", 0, 0, 90), ("lose", 0), *STAYS], 2),
    "a change was not reported": ([*SEEN, ("read", 0, 0, 90), *STAYS], 2),
    "it is kept again after a change was lost": (
        [*SEEN, ("read", 0, 0, 90), ("lose", 0), *STAYS, *FURTHER, *STAYS],
        0,
    ),
    "it goes before it is restored, and comes back": (
        [*SEEN, ("rebalance twice", 2, [0, 0, 0])],
        0,
    ),
    "the topic was recreated": (SEEN + [("recreate",)] + WRITES * 3 + STAYS, 3),
    "partitions were added": (SEEN + AWAY + [("grow",)] + WRITES + STAYS, 3),
    "records were deleted": (SEEN + AWAY + [("delete", 0, 1)] + STAYS, 1),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES)
async def test_only_what_may_be_missing_is_read(mode: str, case: str) -> None:
    steps, records = CASES[case]

    async def all_of(world: World) -> None:
        world.are_whole = False
        await world.rebalance([0, 0, 0])
        for what, *about in steps[:-1]:
            await do(world, what, *about)
        before = world.topic.records_read
        [(what, *about)] = steps[-1:]
        await do(world, what, *about)
        assert world.topic.records_read - before == records

    await run(mode, READS, all_of)
