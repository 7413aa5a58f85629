"""`engine.delivery.transactions`: what counts, counts once, whatever becomes of the worker in
between."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import given

from engine import limits
from engine.audit.chain import AuditedEvent
from engine.delivery.held import Held
from engine.delivery.port import Tidied
from engine.delivery.send_queue import Abandoned
from engine.delivery.transactions import Transactions
from engine.documents.model import Reject
from engine.errors import BrokerError
from engine.matching.match import found_match
from engine.matching.outcome import Outcome
from engine.matching.written_states import SuppressionRecord
from engine.transport.fetch import Fetch
from engine.wire.record_batch import RawFetch
from tests.fakes.assignments import an_assignment, by_no_group
from tests.fakes.documents import NOW_MS, at, detection, entry, exact_match
from tests.fakes.event_loop import settle
from tests.fakes.record_batches import Sent, batch_bytes, raw_batch
from tests.fakes.runtime import runtime_of
from tests.fakes.transactional_broker import (
    TOPICS,
    OffsetsOn,
    SinkOn,
    TransactionalBroker,
    chain_problems,
)

KEY = b"k" * 16
_SENT = Sent(b"K", b"{}")


def fetch_of(first: int, next_offset: int, *, partition: int = 0, follows: int | None) -> Fetch:
    """A fetch of these offsets, two records a batch."""
    batches = tuple(
        raw_batch(
            batch_bytes([_SENT] * (min(offset + 2, next_offset) - offset), base_offset=offset),
            from_offset=offset,
        )
        for offset in range(first, next_offset, 2)
    )
    raw = RawFetch(TOPICS.detections, partition, batches)
    return Fetch(raw, next_offset, an_assignment(), follows=follows)


def outcome_of(*reads: int, states: tuple[SuppressionRecord, ...] = ()) -> Outcome:
    """A match for each of some reads."""
    matches = [exact_match(entry(), detection(read_id=f"R-{number}")) for number in reads]
    return Outcome(
        at_ms=NOW_MS,
        matches=[found_match(match, NOW_MS) for match in matches],
        suppression=[*states],
    )


def matched(broker: TransactionalBroker) -> list[int]:
    """The reads whose matches count, in their order."""
    found = [orjson.loads(record.value) for record in broker.on(TOPICS.matches)]
    return [int(match["read"]["read_id"].removeprefix("R-")) for match in found]


class Told:
    """Keys of which this is told."""

    def __init__(self, tidied: Tidied) -> None:
        self._tidied = tidied

    async def tidy(self) -> Tidied:
        raise AssertionError("audited and forgotten apart")

    async def evict(self, taken: Any) -> list[SuppressionRecord]:
        raise AssertionError("audited and forgotten apart")

    async def tidy_and_evict(self) -> Tidied:
        return self._tidied


class Here:
    """A worker's transactions on a broker whose answers come at once, or as a test says."""

    def __init__(
        self, broker: TransactionalBroker | None = None, end: int = 1_000, quiet_s: float = 0
    ) -> None:
        self.broker = broker or TransactionalBroker()
        self.ask: Callable[[Callable[[], None]], Any] = self._at_once
        self.end = end
        self.sinks: list[SinkOn] = []
        self.counted: Counter[str] = Counter()
        self.failures: list[BaseException] = []
        self.rejoined = 0
        self.transactions = Transactions(
            runtime_of(self.failures),
            self._sink,
            OffsetsOn(self.broker, lambda partition: self.end),
            self.broker,
            self._count,
            quiet_s,
        )
        self.assign()

    async def _at_once(self, effect: Callable[[], None]) -> None:
        await asyncio.sleep(0)
        effect()

    async def _rejoin(self, partition: int) -> None:
        self.rejoined += 1

    def _sink(self, partition: int) -> SinkOn:
        self.sinks.append(SinkOn(self.broker, partition, lambda effect: self.ask(effect)))
        return self.sinks[-1]

    def _count(self, events: Mapping[str, int], oldest_ms: int) -> None:
        self.counted.update(events)

    def assign(self, generation: int = 1, partitions: Collection[int] = (0,)) -> None:
        """The partitions come, perhaps once more."""
        self.assignment = an_assignment(generation, self._rejoin)
        self.transactions.on_assigned(self.assignment, partitions)

    async def claim(self, *partitions: int) -> list[int]:
        return [*await self.transactions.claim(self.assignment, partitions)]

    async def commit(self, offsets: Mapping[int, int]) -> Mapping[int, int]:
        return await self.transactions.commit(offsets, by_no_group)

    async def revoke(self) -> None:
        self.assignment.end()
        await self.transactions.on_revoked(self.assignment, [*self.assignment.all_held(Held)])

    async def note(self, events: Mapping[int, Any], changes: list[SuppressionRecord]) -> None:
        await self.transactions.note(Told(Tidied((), events, changes)))

    async def cut(self, fetch: Fetch) -> bool:
        """Cut a fetch of the assignment that it is of now."""
        fetch.assignment = self.assignment
        return await self.transactions.cut(fetch)

    async def take(self, fetch: Fetch, outcome: Outcome) -> asyncio.Future[None] | None:
        """As the worker does: cut, and hand over what is left."""
        if not await self.cut(fetch):
            return None
        if fetch.raw.batches and (outcome.matches or outcome.suppression):
            return self.transactions.hand_over(fetch, outcome)
        self.transactions.pass_over(fetch)
        return None


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Here]:
    here = Here(**options)
    await here.transactions.start()
    await here.claim(0)
    try:
        async with asyncio.timeout(30):
            yield here
    finally:
        await here.transactions.stop()


async def test_all_of_it_counts_at_once() -> None:
    state = SuppressionRecord(0, KEY, b"{}")
    async with running() as here:
        reached: list[tuple[int, int]] = []

        async def ask(effect: Callable[[], None]) -> None:
            reached.append((len(here.broker.records), here.broker.offsets.get(0, 0)))
            effect()

        here.ask = ask
        outcome = outcome_of(1, 2, states=(state,))
        outcome.rejects.append(
            Reject(
                topic=TOPICS.detections,
                partition=0,
                offset=3,
                reason="schema",
                rejected_at=at(0),
            )
        )
        handed = await here.take(fetch_of(0, 4, follows=None), outcome)
        assert handed is not None
        await here.transactions.finish(outcome, handed)
        assert set(reached) == {(0, 0)}
        assert here.broker.offsets == {0: 4}
        assert [record.topic for record in here.broker.records] == [
            *(TOPICS.matches, TOPICS.matches, TOPICS.rejects),
            *(TOPICS.audit, TOPICS.audit, TOPICS.suppression),
        ]
        assert here.broker.records[-1].key == b"group/0/" + KEY.hex().encode()
        assert here.counted == {"match": 2}
    assert here.sinks[0].is_stopped


async def test_what_waits_goes_together_and_in_order() -> None:
    async with running() as here:
        opens = asyncio.Event()

        async def ask(effect: Callable[[], None]) -> None:
            await opens.wait()
            effect()

        here.ask = ask
        states = [(SuppressionRecord(0, KEY, b"%d" % number),) for number in range(4)]
        fetches = [fetch_of(n, n + 1, follows=n or None) for n in range(4)]
        handed = [
            await here.take(fetch, outcome_of(n, states=states[n]))
            for n, fetch in enumerate(fetches[:1])
        ]
        await settle()
        handed += [
            await here.take(fetch, outcome_of(n, states=states[n]))
            for n, fetch in enumerate(fetches[1:], 1)
        ]
        opens.set()
        await asyncio.gather(*(one for one in handed if one is not None))
        assert matched(here.broker) == [0, 1, 2, 3]
        assert here.broker.committed_count == 2
        assert [one.value for one in here.broker.on(TOPICS.suppression)] == [b"0", b"3"]
        assert chain_problems(here.broker.audit()) == []
        assert len({record.chain for record in here.broker.audit()}) == 1


@pytest.mark.parametrize("left", [limits.BACKLOG_READS - 1, limits.BACKLOG_READS])
async def test_many_reads_that_are_left_share_transactions(
    left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for several fetches, but for the last one, behind which nothing comes."""
    monkeypatch.setattr(limits, "TRANSACTION_GATHER_S", 3_600)
    async with running() as here:
        handed = []
        for n in range(5):
            fetch = fetch_of(n, n + 1, follows=n or None)
            fetch.log_end = fetch.next_offset + (left if n < 4 else 0)
            handed.append(await here.take(fetch, outcome_of(n)))
            await settle()
        await asyncio.gather(*(one for one in handed if one is not None))
        assert matched(here.broker) == [0, 1, 2, 3, 4]
        assert here.broker.committed_count == (5 if left < limits.BACKLOG_READS else 3)


@pytest.mark.parametrize("how", ["in time", "offset", "revoked"])
async def test_a_transaction_waits_for_no_fetch_that_does_not_come(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TRANSACTION_GATHER_S", 0.01 if how == "in time" else 3_600)
    async with running() as here:
        fetch = fetch_of(0, 2, follows=None)
        fetch.log_end = 2 + limits.BACKLOG_READS
        handed = await here.take(fetch, outcome_of(0))
        assert handed is not None
        await settle()
        if how == "offset":  # what comes behind is an offset alone
            assert await here.commit({0: 3}) == {0: 3}
        elif how == "revoked":
            await here.revoke()
        await handed
        assert matched(here.broker) == [0]
        assert here.broker.offsets == {0: 3 if how == "offset" else 2}


async def test_an_offset_never_goes_back() -> None:
    async with running() as here:
        handed = await here.take(fetch_of(0, 6, follows=None), outcome_of(5))
        assert handed is not None
        assert await here.commit({0: 4, 7: 1}) == {0: 4}
        assert here.broker.offsets == {0: 6}
        assert await here.commit({0: 9}) == {0: 9}
        assert here.broker.offsets == {0: 9}


async def test_offsets_alone_wait_for_a_quiet_moment() -> None:
    async with running(quiet_s=1_000.0) as here:
        assert await here.commit({0: 2}) == {0: 2}
        handed = await here.take(fetch_of(2, 6, follows=None), outcome_of(5))
        assert handed is not None
        await handed
        assert await here.commit({0: 4}) == {0: 4}
        assert await here.commit({0: 9}) == {0: 6}, "how far it is"
        assert here.broker.committed_count == 2
        assert here.broker.offsets == {0: 6}


async def test_what_another_has_committed_meanwhile_is_cut_away() -> None:
    broker = TransactionalBroker()
    broker.offsets[0] = 5
    async with running(broker=broker) as here:
        below = fetch_of(0, 4, follows=None)
        assert await here.cut(below)
        assert below.raw.batches == ()
        here.transactions.pass_over(below)
        assert await here.commit({0: 4}) == {0: 4}
        assert broker.offsets == {0: 5}, "the offset would go back"
        over = fetch_of(4, 8, follows=4)
        assert await here.cut(over)
        assert (over.raw.first_offset, over.next_offset) == (5, 8)


async def test_a_topic_made_anew_is_not_cut() -> None:
    broker = TransactionalBroker()
    broker.offsets[0] = 500
    async with running(broker=broker, end=3) as here:
        handed = await here.take(fetch_of(0, 3, follows=None), outcome_of(1))
        assert handed is not None
        await handed
        assert matched(broker) == [1]
        assert broker.offsets == {0: 3}


async def test_who_is_fenced_abandons_and_asks_to_share_out() -> None:
    async with running() as here:
        first = await here.take(fetch_of(0, 2, follows=None), outcome_of(0))
        assert first is not None
        await first
        here.broker.fence(0)
        second = await here.take(fetch_of(2, 4, follows=2), outcome_of(2))
        assert second is not None
        with pytest.raises(Abandoned):
            await second
        assert not await here.cut(fetch_of(4, 6, follows=4))
        assert await here.commit({0: 6}) == {}
        assert matched(here.broker) == [0]
        assert (here.rejoined, here.failures) == (1, [])
        await here.revoke()
        here.assign()
        await here.claim(0)
        third = await here.take(fetch_of(2, 4, follows=None), outcome_of(2))
        assert third is not None
        await third
        assert matched(here.broker) == [0, 2]
        chains = [record.chain for record in here.broker.audit()]
        assert len(set(chains)) == 2, "a chain whose end is unknown was written again"
        assert chain_problems(here.broker.audit()) == []


async def test_where_the_group_does_not_share_out_the_worker_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "FENCED_S", 0.01)
    async with running() as here:
        here.broker.fence(0)
        await here.commit({0: 1})
        while not here.failures:
            await asyncio.sleep(0.005)
        [failure] = here.failures
        assert str(failure) == (
            "transactional id group/0: another process uses it, and is not in this consumer group; "
            "give each deployment a --group (HOTLIST_GROUP) of its own"
        )


async def test_any_other_failure_ends_the_worker() -> None:
    async with running() as here:
        error = BrokerError("matches were not delivered")

        async def ask(effect: Callable[[], None]) -> None:
            raise error

        here.ask = ask
        handed = await here.take(fetch_of(0, 2, follows=None), outcome_of(0))
        assert handed is not None
        with pytest.raises(BrokerError):
            await handed
        await settle()
        assert here.failures == [error]
        assert not await here.cut(fetch_of(2, 4, follows=2))


async def test_nothing_is_taken_behind_a_fetch_that_is_missing() -> None:
    async with running() as here:
        first = await here.take(fetch_of(0, 2, follows=None), outcome_of(0))
        assert await here.take(fetch_of(4, 6, follows=4), outcome_of(4)) is None
        assert await here.take(fetch_of(6, 8, follows=6), outcome_of(6)) is None
        assert first is not None
        await first
        assert (matched(here.broker), here.broker.offsets) == ([0], {0: 2})
        assert here.rejoined == 1


async def test_a_fetch_in_parts_is_no_gap() -> None:
    async with running() as here:
        fetch = fetch_of(0, 8, follows=None)
        assert await here.cut(fetch)
        rest = fetch.cut(4)
        here.transactions.pass_over(fetch)
        handed = await here.take(rest, outcome_of(5))
        assert handed is not None
        await handed
        assert here.broker.offsets == {0: 8}


async def test_what_goes_with_a_count_that_is_audited() -> None:
    event = AuditedEvent("suppressed", NOW_MS, {"entry_id": "E1"})
    async with running() as here:
        await here.claim(1)
        await here.note({1: [event]}, [SuppressionRecord(1, KEY, None)])
        await settle()
        assert here.broker.committed_count == 1
        assert [record.value for record in here.broker.on(TOPICS.suppression)] == [None]
        assert [record.event for record in here.broker.audit()] == ["suppressed"]
        assert here.broker.offsets == {}
        await here.note({2: [event]}, [SuppressionRecord(2, KEY, None)])
        await settle()
        assert here.broker.committed_count == 1, "of a partition that is not ours"


async def test_room_that_was_made_in_another_partition_is_told_there() -> None:
    async with running() as here:
        await here.claim(1)
        forgotten = SuppressionRecord(1, KEY, None)
        handed = await here.take(fetch_of(0, 2, follows=None), outcome_of(0, states=(forgotten,)))
        assert handed is not None
        await handed
        await settle()
        assert here.broker.committed_count == 2
        assert [record.source for record in here.broker.on(TOPICS.suppression)] == [1]


async def test_giving_up_waits_for_what_is_handed_over_and_the_chain_goes_on() -> None:
    async with running() as here:
        handed = await here.take(fetch_of(0, 2, follows=None), outcome_of(0))
        await here.revoke()
        assert handed is not None
        assert handed.done()
        assert matched(here.broker) == [0]
        late = fetch_of(2, 4, follows=2)
        late.assignment = here.assignment
        gone = here.transactions.hand_over(late, outcome_of(2))
        with pytest.raises(Abandoned):
            await gone
        here.assign()
        await here.claim(0)
        again = await here.take(fetch_of(2, 4, follows=None), outcome_of(2))
        assert again is not None
        await again
        assert chain_problems(here.broker.audit()) == []
        assert len({record.chain for record in here.broker.audit()}) == 1
        assert here.broker.expected_chains == 1, "none was to begin when it came back"


async def test_a_partition_that_stays_is_not_claimed_again() -> None:
    async with running() as here:
        first = await here.take(fetch_of(0, 2, follows=None), outcome_of(0))
        await here.revoke()
        here.assign(2)
        await here.claim(0)
        again = await here.take(fetch_of(2, 4, follows=None), outcome_of(2))
        assert first is not None
        assert again is not None
        await again
        assert (len(here.sinks), here.broker.epoch_of(0)) == (1, 1)
        assert matched(here.broker) == [0, 2]
        assert chain_problems(here.broker.audit()) == []


@pytest.mark.parametrize(
    ("generation", "partitions"),
    [(3, [0]), (1, [0]), (2, [1])],
    ids=["a generation without it", "a group that begins again", "another's"],
)
async def test_a_partition_that_another_may_have_had_is_claimed_again(
    generation: int, partitions: list[int]
) -> None:
    async with running() as here:
        await here.revoke()
        here.assign(generation, partitions)
        await settle()
        assert here.sinks[0].is_stopped
        here.assign(generation + 1)
        await here.claim(0)
        assert (len(here.sinks), here.broker.epoch_of(0)) == (2, 2)


async def test_a_stale_worker_is_fenced_though_the_owner_claims_only_once() -> None:
    async with running() as stale, running(broker=stale.broker) as owner:
        for generation in (2, 3):
            await owner.revoke()
            owner.assign(generation)
            await owner.claim(0)
        late = await stale.take(fetch_of(0, 2, follows=None), outcome_of(0))
        assert late is not None
        with pytest.raises(Abandoned):
            await late
        handed = await owner.take(fetch_of(0, 2, follows=None), outcome_of(0))
        assert handed is not None
        await handed
        assert matched(owner.broker) == [0]
        assert (stale.rejoined, owner.rejoined) == (1, 0)


async def test_a_producer_that_goes_on_in_vain_is_fenced_and_claims_the_next_time() -> None:
    async with running() as here:
        await here.revoke()
        here.broker.fence(0)  # by a worker that was slow to see that it had lost the partition
        here.assign(2)
        await here.claim(0)
        lost = await here.take(fetch_of(0, 2, follows=None), outcome_of(0))
        assert lost is not None
        with pytest.raises(Abandoned):
            await lost
        await settle()
        assert (here.rejoined, here.failures) == (1, [])
        await here.revoke()
        here.assign(3)
        await here.claim(0)
        assert here.broker.epoch_of(0) == 3
        handed = await here.take(fetch_of(0, 2, follows=None), outcome_of(0))
        assert handed is not None
        await handed
        assert matched(here.broker) == [0]


async def test_what_is_given_up_while_it_is_claimed_is_not_ours() -> None:
    here = Here()
    await here.transactions.start()
    opens = asyncio.Event()
    committed = here.transactions._offsets.committed

    async def late(partition: int) -> int | None:
        await opens.wait()
        return await committed(partition)

    here.transactions._offsets.committed = late  # type: ignore[method-assign]
    claiming = asyncio.create_task(here.claim(0))
    await settle()
    giving_up = asyncio.create_task(here.revoke())
    await settle()
    assert not giving_up.done(), "what fences later would fence the next owner"
    opens.set()
    await giving_up
    assert await claiming == []
    assert here.sinks[0].is_stopped
    assert not await here.cut(fetch_of(0, 2, follows=None))
    await here.transactions.stop()


@pytest.mark.parametrize("is_in_time", [True, False])
async def test_what_is_revoked_while_it_is_claimed_takes_no_other_partition_with_it(
    is_in_time: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a cooperative rebalance a partition may go while another one of its assignment stays."""
    monkeypatch.setattr(limits, "SHUTDOWN_S", 60 if is_in_time else 0)
    here = Here()
    here.assign(partitions=(0, 1))
    await here.transactions.start()
    opens = asyncio.Event()
    committed = here.transactions._offsets.committed

    async def late(partition: int) -> int | None:
        if partition == 1:
            await opens.wait()
        return await committed(partition)

    here.transactions._offsets.committed = late  # type: ignore[method-assign]
    claiming = asyncio.create_task(here.claim(0, 1))
    await settle()
    here.assignment.end([1])
    revoking = asyncio.create_task(here.transactions.on_revoked(here.assignment, [1]))
    await settle()
    if is_in_time:
        opens.set()
    await revoking
    assert await claiming == [0]
    handed = await here.take(fetch_of(0, 2, follows=None), outcome_of(0))
    assert handed is not None
    await handed
    assert matched(here.broker) == [0]
    await here.transactions.stop()


async def test_what_was_committed_once_cuts_nothing_later() -> None:
    async with running() as here:
        await here.commit({0: 6})
        await here.revoke()
        here.assign()
        await here.claim(0)
        fetch = fetch_of(4, 8, follows=None)
        assert await here.cut(fetch)
        assert fetch.raw.first_offset == 6
        await here.revoke()
        here.assign()
        here.broker.offsets.clear()  # the group was made to begin anew
        await here.claim(0)
        fetch = fetch_of(0, 8, follows=None)
        assert await here.cut(fetch)
        assert fetch.raw.first_offset == 0


async def test_an_id_is_used_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TRANSACTIONAL_ID_S", 0.01)
    async with running() as here:
        await asyncio.sleep(0.03)
        assert here.broker.committed_count == 0, "there is no offset yet"
        await here.commit({0: 3})
        while here.broker.committed_count < 3:
            await asyncio.sleep(0.005)
        assert here.broker.offsets == {0: 3}


class _Crash(Exception):
    """The worker is gone."""


@given(
    data=st.data(),
    hits=st.sets(st.integers(0, 30), max_size=20),
    fates=st.lists(st.sampled_from(["before", "after", "stalls"]), max_size=5),
)
def test_whatever_step_a_worker_is_gone_at(
    data: st.DataObject, hits: set[int], fates: list[str]
) -> None:
    """One worker after the other is lost before or after a step of a transaction, or stalls there
    and goes on when others have taken over; the last has better luck."""
    reads = 31

    async def lives() -> TransactionalBroker:
        broker = TransactionalBroker()
        stalled: list[asyncio.Event] = []
        workers: list[Here] = []
        for fate in [*fates, None]:
            # What its consumer has asked for may be older than what counts now.
            start = data.draw(st.integers(0, broker.offsets.get(0, 0)), label="start")
            here = Here(broker, end=reads)
            workers.append(here)
            steps = itertools.count()
            last = data.draw(st.integers(0, 12), label="step") if fate else None
            opens = asyncio.Event()

            async def ask(
                effect: Callable[[], None],
                steps: Any = steps,
                last: int | None = last,
                fate: str | None = fate,
                opens: asyncio.Event = opens,
            ) -> None:
                await asyncio.sleep(0)
                step = next(steps)
                if last is None or step < last:
                    effect()
                elif fate == "stalls":
                    await opens.wait()
                    effect()
                elif fate == "after" and step == last:
                    effect()
                    raise _Crash
                else:
                    raise _Crash

            here.ask = ask
            if fate == "stalls":
                stalled.append(opens)
            await here.claim(0)
            at, follows = start, None
            while at < reads:
                next_offset = min(reads, at + data.draw(st.integers(1, 6), label="fetch"))
                fetch = fetch_of(at, next_offset, follows=follows)
                if not await here.cut(fetch):
                    break
                first = fetch.raw.first_offset if fetch.raw.batches else next_offset
                found = [read for read in range(first, next_offset) if read in hits]
                if found:
                    here.transactions.hand_over(fetch, outcome_of(*found))
                else:
                    here.transactions.pass_over(fetch)
                at = follows = next_offset
                if data.draw(st.booleans(), label="settle"):
                    await settle()
            wakes = data.draw(st.booleans(), label="wake")
            if stalled and wakes:
                stalled.pop().set()
            if fate is None:
                await here.commit({0: reads})
            await settle()
        for opens in stalled:
            opens.set()
        await settle()
        for here in workers:
            await here.transactions.stop()
        return broker

    broker = asyncio.run(lives())
    assert matched(broker) == sorted(hits)
    assert broker.offsets == {0: reads}
    audit = broker.audit()
    assert chain_problems(audit) == []
    assert len(audit) == len(hits)
