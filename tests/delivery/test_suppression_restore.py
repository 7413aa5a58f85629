"""`engine.delivery.suppression_restore`: what is held when, and that the audit comes before the
tombstone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from engine import limits
from engine.audit.chain import Event
from engine.delivery.at_least_once import AtLeastOnce
from engine.delivery.known_changelog import Incarnation, Known, KnownChangelog
from engine.delivery.port import Delivery, Keys
from engine.delivery.records import ProducerRecord
from engine.delivery.suppression_reader import Left, Written
from engine.delivery.suppression_restore import Suppressing
from engine.documents.codec import decode_suppression
from engine.documents.model import Entry, SuppressionState
from engine.errors import BrokerError
from engine.kafka.topics import Topics
from engine.matching.outcome import Outcome
from engine.matching.suppression import SUPPRESSED, Suppression
from engine.matching.suppression_key import LATE_MS
from engine.transport.assignment import Assignment
from engine.transport.batch_topics import ByGroup
from engine.transport.fetch import Fetch
from engine.wire.record_batch import RawFetch
from tests.fakes.assignments import an_assignment
from tests.fakes.documents import NOW_MS, entry, sighting
from tests.fakes.event_loop import settle
from tests.fakes.record_batches import Sent, batch_bytes, raw_batch
from tests.fakes.runtime import InTurn, runtime_of

T = TypeVar("T")

TOPICS = Topics("lpr.")
ENTRY = entry()


class Topic:
    """The changelog as it would be after compaction, with its reader and its writer.

    While `opens` is not set, whoever reads waits.
    """

    def __init__(self) -> None:
        self.states: Written = {}
        self.read: list[int] = []
        self.opens = asyncio.Event()
        self.opens.set()
        self.acknowledges = asyncio.Event()
        self.acknowledges.set()
        self.end = 1_000
        self.records_read = 0

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    async def states_of(
        self, sources: Sequence[int], partitions: int, known: Mapping[int, Known]
    ) -> dict[int, Left]:
        """This one is certain of nothing: all is read."""
        if known:
            return {}
        self.read += sources
        await self.opens.wait()
        return {
            source: Left(
                {k: v for k, v in self.states.items() if k.startswith(b"group/%d/" % source)},
                self.end,
                Known(Incarnation(None, partitions, 0), 0, 0),
            )
            for source in sources
        }

    async def partitions_of(self, topic: str) -> int:
        return 4

    async def deliver_in_order(
        self, records: Sequence[ProducerRecord], partition: int, what: str
    ) -> list[range]:
        await self.acknowledges.wait()
        for record in records:
            if record.value is None:
                del self.states[record.key]
            else:
                self.states[record.key] = record.value
        return []


class Transactions:
    """Transactions as the suppression sees them: what was asked, and what it is told.

    `read` is what is read of the topic, to see what comes first.
    """

    takes_parts = False

    def __init__(self) -> None:
        self.known = KnownChangelog()
        self.asked: list[str] = []
        self.noted: list[tuple[Any, Any]] = []
        self.read: list[int] = []
        self.is_ours = True
        self.lost: set[int] = set()

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    def on_assigned(self, assignment: Assignment, partitions: Collection[int]) -> None: ...

    async def claim(self, assignment: Assignment, partitions: Collection[int]) -> Collection[int]:
        self.asked.append(f"claim {[*partitions]}, {self.read} read")
        return [each for each in partitions if self.is_ours and each not in self.lost]

    async def cut(self, fetch: Fetch) -> bool:
        self.asked.append(f"cut {fetch.raw.first_offset}, {self.read} read")
        fetch.skip_to(2)
        return self.is_ours

    def pass_over(self, fetch: Fetch) -> None:
        raise AssertionError("nothing is delivered here")

    def hand_over(self, fetch: Fetch, outcome: Outcome) -> asyncio.Future[None]:
        raise AssertionError("nothing is delivered here")

    async def finish(self, outcome: Outcome, handed: asyncio.Future[None]) -> None:
        raise AssertionError("nothing is delivered here")

    async def note(self, keys: Keys) -> None:
        tidied = await keys.tidy_and_evict()
        if tidied.events or tidied.changes:
            self.noted.append((tidied.events, tidied.changes))

    async def commit(self, offsets: Mapping[int, int], by_group: ByGroup) -> Mapping[int, int]:
        raise AssertionError("nothing is committed here")

    async def on_revoked(self, assignment: Assignment, partitions: Collection[int]) -> None:
        self.asked.append("revoked")


class Lists:
    """Lists that are whole and have the entry, until a test says otherwise."""

    def __init__(self) -> None:
        self.are_whole = self.is_there = True

    def listed(self, entry_id: str) -> list[Entry]:
        return [ENTRY] if self.is_there else []


class Here:
    """A worker's suppression, whose parts do as they are told."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, transactions: Transactions | None = None
    ) -> None:
        self.topic = Topic()
        self.time_ms = NOW_MS
        if transactions is not None:
            transactions.read = self.topic.read
        monkeypatch.setattr(
            "engine.delivery.suppression_restore.SuppressionReader", lambda *_: self.topic
        )
        monkeypatch.setattr(limits, "EXPIRY_INTERVAL_S", 0.001)
        self.state = Suppression()
        self.events: list[Event] = []
        self.audited = asyncio.get_running_loop().create_future()
        self.lists = Lists()
        self.failures: list[BaseException] = []
        sink: Any = self.topic
        runtime = runtime_of(self.failures, self)
        self.at_least_once = AtLeastOnce(runtime, sink, self._append)
        self.delivery: Delivery = transactions or self.at_least_once
        self.suppressing = Suppressing(
            *(runtime, self.state, self.topic.partitions_of, self.lists, self.delivery)
        )
        self.assignment = an_assignment()

    def now_ms(self) -> int:
        return self.time_ms

    def _append(self, events: Sequence[Event]) -> asyncio.Future[None]:
        self.events += events
        answer: asyncio.Future[None] = self.audited
        return answer

    def admit(self, captured_s: int, partition: int, offset: int) -> int:
        seen = sighting(captured_ms=1000 * captured_s, partition=partition, offset=offset)
        return self.state.admit(ENTRY, seen)

    async def noted(self) -> None:
        await self.note()

    def note(self) -> asyncio.Future[None]:
        some = fetch(0, 0, 1, self.assignment)
        return self.at_least_once.hand_over(some, Outcome(suppression=self.state.take_changes()))

    async def taken(self, partition: int, first: int, count: int = 5) -> bool:
        return await self.suppressing.prepare(fetch(partition, first, count, self.assignment))

    async def revoke(self) -> None:
        """The partitions go; those that come next are another assignment."""
        revoked, self.assignment = self.assignment, an_assignment()
        revoked.end()
        await self.suppressing.on_revoked(revoked, range(5))


@asynccontextmanager
async def running(
    monkeypatch: pytest.MonkeyPatch, transactions: Transactions | None = None
) -> AsyncIterator[Here]:
    here = Here(monkeypatch, transactions)
    await here.delivery.start()
    await here.suppressing.start()
    try:
        yield here
    finally:
        await here.suppressing.stop()
        await here.delivery.stop()


def fetch(partition: int, first: int, count: int, assignment: Assignment) -> Fetch:
    batch = raw_batch(batch_bytes([Sent(b"K", b"{}")] * count, base_offset=first))
    return Fetch(RawFetch(TOPICS.detections, partition, (batch,)), first + count, assignment)


async def test_a_state_is_read_before_the_first_read_and_not_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(monkeypatch) as here:
        assert await here.taken(0, 0)
        assert [here.admit(0, 0, 0), here.admit(1, 0, 1)] == [0, SUPPRESSED]
        await here.noted()
        assert await here.taken(0, 5)
        assert here.topic.read == [0]
        await here.revoke()
        assert len(here.state) == 1, "it is kept"
        assert await here.taken(0, 10)
        assert here.topic.read == [0, 0], "of this topic nothing is certain"
        assert here.admit(60, 0, 10) == 1, "what was folded before is carried"


async def test_it_is_read_when_the_partition_comes_though_no_reads_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(monkeypatch) as here:
        here.suppressing.on_assigned(here.assignment, [2, 1])
        await settle()
        assert here.topic.read == [1, 2]
        assert await here.taken(1, 0)
        assert here.topic.read == [1, 2]


async def test_reads_of_a_partition_are_fetched_when_its_state_is_restored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(monkeypatch) as here:
        here.topic.opens.clear()
        here.suppressing.on_assigned(here.assignment, [2, 1])
        await settle()
        assert here.assignment.ready == frozenset()
        here.topic.opens.set()
        await settle()
        assert here.assignment.ready == {1, 2}


async def test_a_partition_with_few_keys_does_not_wait_for_one_with_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(monkeypatch) as here:
        for number in range(3):
            here.topic.states[b"group/1/%032x" % number] = None
        ready: list[int] = []
        assignment = an_assignment(on_ready=lambda: ready.extend(assignment.ready - {*ready}))
        here.suppressing.on_assigned(assignment, [1, 2])
        await settle()
        assert ready == [2, 1]


async def test_states_are_decoded_and_restored_in_steps_of_the_matcher_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between two of them reads of other partitions are matched, and the event loop goes on."""
    monkeypatch.setattr(limits, "RESTORED_A_STEP", 2)
    call = InTurn.call
    decoded: list[int] = []
    steps: list[list[int]] = []

    async def counted(self: InTurn, function: Callable[[], T]) -> T:
        assert decoded == [], "outside of a step"

        def step() -> T:
            result = function()
            steps.append([*decoded])
            decoded.clear()
            return result

        return await call(self, step)

    def decode(value: bytes) -> SuppressionState:
        decoded.append(decode_suppression(value).offset)
        return decode_suppression(value)

    monkeypatch.setattr(InTurn, "call", counted)
    monkeypatch.setattr("engine.delivery.suppression_restore.decode_suppression", decode)
    async with running(monkeypatch) as here:
        for number in range(5):
            here.topic.states[b"group/1/%032x" % number] = (
                b'{"entry_id":"E1","matches":[],"suppress_s":60,"offset":%d,"suppressed":0}'
                % number
            )
        here.suppressing.on_assigned(here.assignment, [1])
        await settle()
        assert here.assignment.ready == {1}
        assert len(here.state) == 5
    assert [step for step in steps if step] == [[0, 1], [2, 3], [4]]


async def test_reads_that_come_again_find_the_state_that_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(monkeypatch) as here:
        await here.taken(0, 0)
        here.admit(0, 0, 0)
        await here.noted()
        await here.taken(0, 5)
        here.admit(100, 0, 5)
        here.state.take_changes()  # lost: nobody notes it
        assert await here.taken(0, 5)
        assert here.topic.read == [0, 0]
        assert here.admit(101, 0, 5) == 0


async def test_a_topic_made_anew_is_counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch) as here:
        await here.taken(0, 500)
        assert [here.admit(0, 0, 500), here.admit(1, 0, 501)] == [0, SUPPRESSED]
        await here.noted()
        here.topic.end = 3
        await here.taken(0, 0, 3)
        assert [here.admit(2, 0, 0), here.admit(60, 0, 1)] == [SUPPRESSED, 2]


async def test_a_fetch_of_a_partition_given_up_meanwhile_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(monkeypatch) as here:
        here.topic.states[b"group/0/" + b"0" * 32] = (
            b'{"entry_id":"E1","matches":[],"suppress_s":60,"offset":1,"suppressed":0}'
        )
        here.topic.opens.clear()
        taking = asyncio.create_task(here.taken(0, 0))
        await settle()
        await here.revoke()
        here.topic.opens.set()
        assert not await taking
        assert len(here.state) == 0
        assert await here.taken(0, 0), "the next assignment reads it anew"
        assert (len(here.state), here.topic.read) == (1, [0, 0])


async def test_giving_up_waits_for_what_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch) as here:
        await here.taken(0, 0)
        here.admit(0, 0, 0)
        here.topic.acknowledges.clear()
        noted = here.note()
        giving_up = asyncio.create_task(here.revoke())
        await settle()
        assert not giving_up.done()
        here.topic.acknowledges.set()
        await giving_up
        assert noted.done()


async def test_a_count_is_audited_before_it_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch) as here:
        await here.taken(3, 7)
        for captured_s in range(3):
            here.admit(captured_s, 3, 7 + captured_s)
        await here.noted()
        here.lists.are_whole = here.lists.is_there = False
        await asyncio.sleep(0.05)
        assert here.events == [], "while the lists are read anew nothing has ended"
        here.lists.are_whole = True
        while not here.events:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        assert len(here.topic.states) == 1
        here.audited.set_result(None)
        while any(decode_suppression(one or b"").suppressed for one in here.topic.states.values()):
            await asyncio.sleep(0.001)
        assert (len(here.topic.states), len(here.state)) == (1, 1), "the match still suppresses"
        here.time_ms += 3 * LATE_MS
        while here.topic.states:
            await asyncio.sleep(0.001)
        assert len(here.state) == 0
    (event,) = here.events
    assert (event.event, event.at_ms) == ("suppressed", NOW_MS)
    assert event.fields == {
        "entry_id": "E1",
        "list_id": "L1",
        "agency": "AG1",
        "purpose": "stolen_vehicle",
        "authority": "case 2026-1",
        "source": "S1",
        "suppressed": 2,
        "partition": 3,
        "offset": 9,
    }


async def test_what_is_no_state_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(monkeypatch) as here:
        here.topic.states = {b"group/0/" + b"0" * 32: b"{", b"group/0/x": b"{}"}
        assert await here.taken(0, 0)
        assert len(here.state) == 0
    assert "2 records are no states, and ignored" in caplog.text


async def test_with_transactions_a_partition_is_claimed_before_its_state_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transactions = Transactions()
    async with running(monkeypatch, transactions) as here:
        assert await here.taken(0, 0)
        assert transactions.asked == ["claim [0], [] read", "cut 0, [0] read"]
        assert await here.taken(0, 5)
        assert transactions.asked[2:] == ["cut 5, [0] read"]
        assert await here.taken(0, 3), "somebody sought back"
        assert transactions.asked[3:] == ["claim [0], [0] read", "cut 3, [0, 0] read"]
        await here.revoke()
        assert transactions.asked[5:] == ["revoked"]
        transactions.is_ours = False
        assert not await here.taken(0, 8)
        assert here.topic.read == [0, 0]


async def test_partitions_are_claimed_while_others_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transactions = Transactions()
    async with running(monkeypatch, transactions) as here:
        here.topic.opens.clear()
        for partition in (0, 1):
            here.suppressing.on_assigned(here.assignment, [partition])
            await settle()
        assert transactions.asked == ["claim [0], [] read", "claim [1], [0] read"]
        assert here.assignment.ready == frozenset()
        here.topic.opens.set()
        await settle()
        assert here.assignment.ready == {0, 1}
        assert len(transactions.asked) == 2


async def test_a_partition_that_is_lost_while_it_is_claimed_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The partitions of one assignment are claimed together, and revoked one by one."""
    transactions = Transactions()
    transactions.lost = {1}
    async with running(monkeypatch, transactions) as here:
        here.suppressing.on_assigned(here.assignment, [0, 1, 2])
        await settle()
        assert here.assignment.ready == {0, 2}


async def test_with_transactions_a_count_and_its_forgetting_are_told_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transactions = Transactions()
    async with running(monkeypatch, transactions) as here:
        await here.taken(3, 7)
        for captured_s in range(3):
            here.admit(captured_s, 3, 7 + captured_s)
        here.state.take_changes()  # with the fetch
        here.lists.is_there = False
        while not transactions.noted:
            await asyncio.sleep(0.001)
        [(events, changes)] = transactions.noted
        assert {partition: len(some) for partition, some in events.items()} == {3: 1}
        assert events[3][0].fields["suppressed"] == 2
        [change] = changes
        assert (change.partition, decode_suppression(change.value).suppressed) == (3, 0)
        assert here.events == [], "by the worker's own chain"
        assert len(here.state) == 1, "the match still suppresses"


async def test_a_changelog_that_fails_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(monkeypatch) as here:
        error = BrokerError("the suppression's states were not acknowledged")

        async def fail(*_: Any) -> None:
            raise error

        monkeypatch.setattr(here.topic, "deliver_in_order", fail)
        await here.taken(0, 0)
        here.admit(0, 0, 0)
        with pytest.raises(BrokerError):
            await here.noted()
        await settle()
        assert here.failures == [error]


async def test_the_rest_of_a_fetch_is_no_seeking_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch that comes to much is matched in parts: the state stays as the parts have left it."""
    async with running(monkeypatch) as here:
        assert await here.taken(0, 0)
        assert here.admit(0, 0, 0) == 0
        here.suppressing.stopped_at(fetch(0, 0, 5, here.assignment), 1)
        here.state.take_changes()  # under way: nobody could read it back
        assert await here.taken(0, 1)
        assert here.topic.read == [0], "it is not read anew"
        assert here.admit(1, 0, 1) == SUPPRESSED
