"""`engine.delivery.pipeline`: when a fetch is done, and what becomes of it when something fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from engine import limits
from engine.audit.chain import AuditedEvent
from engine.delivery.at_least_once import AtLeastOnce
from engine.delivery.pipeline import Pipeline
from engine.delivery.records import Outgoing, ProducerRecord
from engine.delivery.send_queue import Abandoned
from engine.documents.model import Reject
from engine.errors import BrokerError
from engine.kafka.topics import Topics
from engine.matching.match import found_match
from engine.matching.outcome import Outcome
from engine.matching.written_states import SuppressionRecord
from engine.transport.fetch import Fetch
from engine.wire.record_batch import RawFetch
from tests.fakes.assignments import an_assignment
from tests.fakes.documents import NOW_MS, at, detection, entry, exact_match
from tests.fakes.event_loop import settle
from tests.fakes.record_batches import Sent, batch_bytes, raw_batch
from tests.fakes.runtime import runtime_of

TOPICS = Topics("lpr.")
MATCH = exact_match(entry(), detection())
REJECT = Reject(topic=TOPICS.detections, partition=0, offset=1, reason="schema", rejected_at=at(0))


class Here:
    """A pipeline whose parts do as they are told, and what they have seen."""

    def __init__(self) -> None:
        self.outcome: Outcome | Exception | None = Outcome()
        self.sent: list[Outgoing] = []
        self.appended: list[AuditedEvent] = []
        self.failures: list[BaseException] = []
        self.delivered: list[Outcome] = []
        self.fetches: list[str] = []
        loop = asyncio.get_running_loop()
        self.sink_answers: asyncio.Future[None] = loop.create_future()
        self.audit_answers: asyncio.Future[None] = loop.create_future()
        self.noted: list[SuppressionRecord] = []
        self.notes_answer: asyncio.Future[None] = loop.create_future()
        self.pipeline = Pipeline(
            self._process,
            self._delivery(),
            lambda outcome, took_s: self.delivered.append(outcome),
            self.failures.append,
        )

    def _delivery(self) -> AtLeastOnce:
        delivery = AtLeastOnce(runtime_of(self.failures), self, self._append)
        changelog: Any = delivery.changelog
        changelog.append = self._note
        return delivery

    async def partitions_of(self, topic: str) -> int:
        raise AssertionError("nothing is written to the changelog")

    async def deliver_in_order(
        self, records: Sequence[ProducerRecord], partition: int, what: str
    ) -> Sequence[range]:
        raise AssertionError("nothing is written to the changelog")

    async def _process(self, fetch: Fetch, _: object) -> Outcome | None:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    async def deliver(self, records: Sequence[Outgoing]) -> None:
        self.sent += records
        await asyncio.shield(self.sink_answers)

    def _append(self, events: Sequence[Any]) -> asyncio.Future[None]:
        self.appended += events
        return self.audit_answers

    def _note(self, records: Sequence[SuppressionRecord]) -> asyncio.Future[None]:
        self.noted += records
        return self.notes_answer

    async def take(self, fetch: Fetch) -> None:
        """Take a fetch, and process it as far as that goes without an answer."""
        await self.pipeline.take(fetch)
        await settle()

    def fetch(self, name: str = "fetch", reads: int = 1, partition: int = 0) -> Fetch:
        batch = raw_batch(batch_bytes(reads * [Sent(b"K", b"{}")]))
        fetch = Fetch(RawFetch(TOPICS.detections, partition, (batch,)), 1, an_assignment())
        self.follow(fetch, name)
        return fetch

    def follow(
        self, fetch: Fetch, name: str, cut: Callable[[int, Fetch], None] | None = None
    ) -> None:
        """Note what becomes of a fetch."""
        fetch.follow(
            done=lambda: self.fetches.append(f"{name} done"),
            abandoned=lambda: self.fetches.append(f"{name} abandoned"),
            cut=cut,
        )


def found(**fields: Any) -> Outcome:
    return Outcome(at_ms=NOW_MS, **fields)


CHANGE = SuppressionRecord(0, b"key", b"{}")
ONE = found(matches=[found_match(MATCH, 5)], rejects=[REJECT], suppression=[CHANGE])


async def test_nothing_found_is_done() -> None:
    here = Here()
    await here.take(here.fetch())
    assert here.fetches == ["fetch done"]
    assert not here.sent
    assert not here.appended
    assert not here.noted
    assert not here.delivered


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_done_when_all_that_came_of_it_is_acknowledged(order: tuple[int, ...]) -> None:
    here = Here()
    here.outcome = ONE
    await here.take(here.fetch())
    assert here.appended == [AuditedEvent("match", NOW_MS, found_match(MATCH, 5).audit)]
    assert here.noted == [CHANGE]
    answers = [here.audit_answers, here.sink_answers, here.notes_answer]
    for number in order:
        assert here.fetches == []
        answers[number].set_result(None)
        await settle()
    assert here.fetches == ["fetch done"]
    assert here.delivered == [ONE]
    assert [record.topic for record in here.sent] == [TOPICS.matches, TOPICS.rejects]


async def test_no_match_is_sent_before_its_audit_is_there() -> None:
    """Or a crash could leave one that is on no chain, if its entry changes before the read is
    processed again."""
    here = Here()
    here.outcome = ONE
    await here.take(here.fetch())
    assert (len(here.appended), here.sent) == (1, [])
    here.audit_answers.set_exception(BrokerError("not acknowledged"))
    await settle()
    assert (here.sent, here.fetches) == ([], ["fetch abandoned"])


@pytest.mark.parametrize("failing", range(3))
async def test_a_failure_of_any_abandons_the_fetch(failing: int) -> None:
    here = Here()
    here.outcome = ONE
    await here.take(here.fetch())
    answers = [here.sink_answers, here.audit_answers, here.notes_answer]
    fails = answers.pop(failing)
    for other in answers:
        other.set_result(None)
    fails.set_exception(error := BrokerError("not acknowledged"))
    await settle()
    assert here.fetches == ["fetch abandoned"]
    assert here.failures == [error]
    assert here.delivered == []


async def test_what_is_somebody_elses_is_abandoned_and_ends_nothing() -> None:
    here = Here()
    here.outcome = ONE
    await here.take(here.fetch())
    here.audit_answers.set_exception(Abandoned())
    here.notes_answer.set_result(None)
    await settle()
    assert here.fetches == ["fetch abandoned"]
    assert (here.failures, here.delivered) == ([], [])
    await here.pipeline.close()


async def test_a_failing_match_abandons_the_fetch() -> None:
    here = Here()
    here.outcome = error = RuntimeError("a fault")
    await here.take(here.fetch())
    assert here.fetches == ["fetch abandoned"]
    assert here.failures == [error]
    here.outcome = ONE
    await here.take(here.fetch("next"))
    assert here.fetches[1:] == ["next abandoned"], "nothing behind it may count"
    assert not here.noted


async def test_a_worker_that_ends_abandons_the_fetch() -> None:
    here = Here()
    here.outcome = None
    await here.take(here.fetch())
    assert here.fetches == ["fetch abandoned"]


async def test_reads_that_were_all_folded_are_delivered_too() -> None:
    here = Here()
    here.outcome = found(suppressed=3, suppression=[CHANGE])
    await here.take(here.fetch())
    here.sink_answers.set_result(None)
    here.audit_answers.set_result(None)
    await settle()
    assert here.fetches == []
    here.notes_answer.set_result(None)
    await settle()
    assert here.fetches == ["fetch done"]
    assert here.delivered == [here.outcome]


async def test_what_changed_is_noted_in_order_while_there_is_no_room() -> None:
    """Were it noted only when there is room, something later could come before it."""
    here = Here()
    here.outcome = ONE
    for _ in range(limits.FETCHES_IN_DELIVERY):
        await here.take(here.fetch())
    here.outcome = found(suppression=[last := CHANGE._replace(value=b"last")])
    await here.take(here.fetch("further"))
    assert here.noted == [CHANGE] * limits.FETCHES_IN_DELIVERY + [last]
    next_one = asyncio.create_task(here.take(here.fetch("next")))
    await settle()
    assert not next_one.done(), "the one before is not handed on"
    next_one.cancel()
    await asyncio.gather(next_one, return_exceptions=True)


async def test_no_more_are_in_delivery_than_the_limit_says() -> None:
    here = Here()
    here.outcome = ONE
    for _ in range(limits.FETCHES_IN_DELIVERY):
        await here.take(here.fetch())
    await here.take(here.fetch("further"))
    assert here.pipeline.in_delivery == limits.FETCHES_IN_DELIVERY
    here.sink_answers.set_result(None)
    here.audit_answers.set_result(None)
    here.notes_answer.set_result(None)
    await here.pipeline.close()
    assert here.pipeline.in_delivery == 0
    assert here.fetches[-1] == "further done"
    assert len(here.fetches) == limits.FETCHES_IN_DELIVERY + 1


async def test_fetches_of_a_partition_follow_each_other_and_another_s_goes_along() -> None:
    """The matcher's thread has the next one while the event loop handles what came of the last."""
    here = Here()
    begun: list[str] = []
    answers: dict[str, asyncio.Future[Outcome]] = {}
    names: dict[Fetch, str] = {}

    async def process(fetch: Fetch, _: object) -> Outcome:
        name = names[fetch]
        begun.append(name)
        answers[name] = asyncio.get_running_loop().create_future()
        return await answers[name]

    def fetch(name: str) -> Fetch:
        made = here.fetch(name, partition=int(name[0]))
        names[made] = name
        return made

    async def take_all(fetches: list[Fetch]) -> None:
        for each in fetches:
            await here.pipeline.take(each)

    here.pipeline._process = process
    taking = asyncio.create_task(take_all([*map(fetch, ("0a", "1a", "2a", "2b", "0b"))]))
    await settle()
    assert begun == ["0a", "1a"]
    answers["1a"].set_result(found())
    await settle()
    assert begun == ["0a", "1a", "2a"]
    answers["0a"].set_result(found())
    await settle()
    assert begun == ["0a", "1a", "2a"], "the other one of the partition is still being processed"
    answers["2a"].set_result(found())
    await settle()
    assert begun == ["0a", "1a", "2a", "2b", "0b"]
    closing = asyncio.create_task(here.pipeline.close())
    await settle()
    assert not closing.done(), "it waits for what is being processed"
    answers["2b"].set_result(found())
    answers["0b"].set_result(found())
    await closing
    assert taking.done()
    assert sorted(here.fetches) == ["0a done", "0b done", "1a done", "2a done", "2b done"]


async def test_a_fetch_that_comes_to_much_is_done_in_parts() -> None:
    here = Here()
    outcomes = [replace(ONE, next_offset=3), replace(ONE, next_offset=7), found()]
    taken: list[tuple[int, int]] = []

    async def process(fetch: Fetch, _: object) -> Outcome:
        taken.append((fetch.raw.first_offset, fetch.next_offset))
        return outcomes[len(taken) - 1]

    here.pipeline._process = process
    fetch = here.fetch("first", reads=10)
    rest: list[Fetch] = []

    def cut(offset: int, further: Fetch) -> None:
        here.follow(further, f"from {offset}", cut)
        rest.append(further)

    here.follow(fetch, "first", cut)
    await here.take(fetch)
    assert taken == [(0, 10), (3, 10), (7, 10)]
    assert [part.next_offset for part in (fetch, *rest)] == [3, 7, 10]
    assert {part.assignment for part in rest} == {fetch.assignment}
    assert here.fetches == ["from 7 done"], "there was nothing to deliver of it"
    assert here.pipeline.in_delivery == 2
    for answer in (here.sink_answers, here.audit_answers, here.notes_answer):
        answer.set_result(None)
    await settle()
    assert sorted(here.fetches) == ["first done", "from 3 done", "from 7 done"]


async def test_the_rest_of_a_fetch_is_abandoned_with_its_partition() -> None:
    here = Here()
    outcomes: list[Outcome | None] = [replace(ONE, next_offset=3), None]

    async def process(fetch: Fetch, _: object) -> Outcome | None:
        return outcomes.pop(0)

    here.pipeline._process = process
    fetch = here.fetch("first", reads=10)
    here.follow(fetch, "first", lambda _, further: here.follow(further, "rest"))
    await here.take(fetch)
    assert here.fetches == ["rest abandoned"]


@pytest.mark.parametrize("last", ["something", "nothing"])
async def test_done_when_what_was_delivered_early_is_acknowledged_too(last: str) -> None:
    here = Here()
    here.audit_answers.set_result(None)
    fetch = here.fetch()
    await here.pipeline.deliver_some(fetch, ONE)
    await settle()
    assert len(here.sent) == 2, "it does not wait for the rest"
    early = here.sink_answers
    here.sink_answers = asyncio.get_running_loop().create_future()
    here.outcome = found(matches=[found_match(MATCH, 6)]) if last == "something" else found()
    await here.take(fetch)
    for answer in (here.sink_answers, here.notes_answer):
        answer.set_result(None)
    await settle()
    assert here.fetches == []
    early.set_result(None)
    await settle()
    assert here.fetches == ["fetch done"]
    assert here.delivered[-1] is here.outcome
    assert not here.pipeline._early


async def test_what_fails_early_abandons_the_fetch() -> None:
    here = Here()
    here.audit_answers.set_result(None)
    fetch = here.fetch()
    await here.pipeline.deliver_some(fetch, ONE)
    await settle()
    failing, here.sink_answers = here.sink_answers, asyncio.get_running_loop().create_future()
    here.outcome = ONE
    await here.take(fetch)
    for answer in (here.sink_answers, here.notes_answer):
        answer.set_result(None)
    failing.set_exception(error := BrokerError("not acknowledged"))
    await settle()
    assert here.fetches == ["fetch abandoned"]
    assert error in here.failures


async def test_pieces_wait_for_room_until_there_is_some_or_never_will_be() -> None:
    here = Here()
    here.outcome = ONE
    for _ in range(limits.FETCHES_IN_DELIVERY):
        await here.take(here.fetch())
    fetch = here.fetch("late")
    waiting = asyncio.create_task(here.pipeline.deliver_some(fetch, ONE))
    await settle()
    assert not waiting.done()
    for answer in (here.sink_answers, here.audit_answers, here.notes_answer):
        answer.set_result(None)
    await waiting
    here.sink_answers = asyncio.get_running_loop().create_future()
    for _ in range(limits.FETCHES_IN_DELIVERY):
        await here.take(here.fetch())
    waiting = asyncio.create_task(here.pipeline.deliver_some(fetch, ONE))
    await settle()
    closing = asyncio.create_task(here.pipeline.close())
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    with pytest.raises(Abandoned):
        await here.pipeline.deliver_some(fetch, ONE)
    here.sink_answers.set_result(None)
    await closing


async def test_a_fetch_that_is_lost_after_a_piece_of_it_was_delivered() -> None:
    here = Here()
    fetch = here.fetch()
    await here.pipeline.deliver_some(fetch, ONE)
    here.outcome = None
    await here.take(fetch)
    assert here.fetches == ["fetch abandoned"]
    assert not here.pipeline._early
    for answer in (here.sink_answers, here.audit_answers, here.notes_answer):
        answer.set_result(None)
    await here.pipeline.close()


async def test_a_piece_that_is_somebody_elses_abandons_the_fetch_and_ends_nothing() -> None:
    here = Here()
    fetch = here.fetch()
    await here.pipeline.deliver_some(fetch, ONE)
    await settle()
    here.audit_answers.set_exception(Abandoned())
    await settle()
    loop = asyncio.get_running_loop()
    here.audit_answers = loop.create_future()
    here.outcome = ONE
    await here.take(fetch)
    for answer in (here.sink_answers, here.audit_answers, here.notes_answer):
        answer.set_result(None)
    await settle()
    assert here.fetches == ["fetch abandoned"]
    assert here.failures == []


async def test_nothing_behind_an_abandoned_fetch_is_processed() -> None:
    """Its offset is not committed, so that its matches would come twice."""
    here = Here()
    first, other = here.fetch("first"), here.fetch("other", partition=1)
    behind, back = here.fetch("behind"), here.fetch("back")
    behind.assignment = first.assignment
    here.outcome = None
    await here.take(first)
    here.outcome = ONE
    await here.take(behind)
    assert here.fetches == ["first abandoned", "behind abandoned"]
    assert not here.noted
    await here.take(other)
    await here.take(back)
    assert here.noted == 2 * [CHANGE], "other partitions go on, and a new assignment begins anew"


async def test_a_fetch_that_waits_while_its_partition_drains_is_abandoned() -> None:
    """It has not begun, and the next owner of the partition reads it."""
    here = Here()
    answers = asyncio.Event()

    async def process(fetch: Fetch, _: object) -> Outcome | None:
        await answers.wait()
        return Outcome()

    here.pipeline._process = process
    first, behind = here.fetch("first"), here.fetch("behind")
    behind.assignment = first.assignment
    await here.take(first)
    taking = asyncio.create_task(here.take(behind))
    await settle()
    first.assignment.drain([0])
    answers.set()
    await taking
    assert here.fetches == ["first done", "behind abandoned"]
