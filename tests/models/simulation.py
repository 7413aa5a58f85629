"""A deployment in one thread: brokers, a group and its workers, with every fault from a seed.

The real parts are the matcher with its lists and its suppression, the pipeline, the positions with
the offset book and the suppression's changelog writer. Made up are the broker, which takes a
request or does not and answers or does not, and the group, which shares out partitions in order or
after a worker fell silent. Partitions may begin behind offset 0, have no commit, be added while
workers run, and have their commits expire while none does; and what was fetched may be thrown away,
as Faust does while a rebalance goes on. Which of all that could happen next does happen is drawn
from the seed, so a run that fails fails again.

A worker that fell silent is not told: it goes on with what it has fetched, and what it asks of the
broker may still be done. What it writes to the changelog after that is left out here: nothing
fences it off, and a match more may come of it, never one less
(`engine.delivery.suppression_changelog`).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import orjson
import xxhash

from engine import limits
from engine.delivery.at_least_once import AtLeastOnce
from engine.delivery.held import Held
from engine.delivery.known_changelog import KnownChangelog
from engine.delivery.pipeline import Pipeline
from engine.delivery.port import Delivery
from engine.delivery.suppression_changelog import SuppressionLog, key_in
from engine.delivery.transactional_producer import Fenced
from engine.documents.codec import decode_suppression
from engine.documents.model import SuppressionState
from engine.documents.purposes import Purposes
from engine.kafka.raw_fetcher import parse
from engine.kafka.topics import Topics
from engine.matching.lists import ControlKind, ControlRecord, Lists, Phase
from engine.matching.matcher import Matcher
from engine.matching.outcome import Outcome
from engine.matching.suppression import Suppression
from engine.plates.misreads import Misreads
from engine.transport.assignment import Assignment, Assignments
from engine.transport.fetch import Fetch, FetchedBatches, FetchParts
from engine.transport.offsets import OffsetBook
from engine.wire.record_batch import RawBatch
from tests.fakes.documents import NOW_MS, as_bytes, at, detection_json, entry_json, policy_json
from tests.fakes.event_loop import settle
from tests.fakes.group_consumer import GroupConsumer
from tests.fakes.record_batches import Sent, batch_bytes, raw_batch
from tests.fakes.runtime import CLUSTER, runtime_of
from tests.models.contract_oracle import ContractOracle
from tests.models.contract_records import EntryRecord, PolicyRecord, ReadRecord
from tests.models.contract_rules import RULES

_TOPICS = Topics("lpr.")
_PURPOSES, _MISREADS = Purposes.load(), Misreads.load()

_PLATES = ("ABC123", "ABC128", "XYZ900", "XYZ9OO")
_ENTRIES = tuple(
    entry_json(
        entry_id=f"E-{number}",
        plate=_PLATES[number % len(_PLATES)],
        suppress_s=suppress_s,
        confusables=number % 2 == 1 or suppress_s == 0,
        vehicle=None,
        region=None,
        area=None,
    )
    for number, suppress_s in enumerate((5, 20, 60, 0, 0, 60, 5, 20))
)
#: What is corrected when half of the reads are processed: first what an entry lists and for whom,
#: so that it is reported again; the last two change nothing of that.
_CORRECTIONS: tuple[tuple[int, dict[str, Any]], ...] = (
    (0, {"plate": "ABC128"}),
    (1, {"agency": "AG2"}),
    (2, {"purpose": "wanted_person"}),
    (5, {"priority": 1}),
    (7, {"suppress_s": 60}),
)
#: The sources use the same camera names and read ids; south has no policy.
_SOURCES = ("north", "north", "east", "south")
_POLICIES = tuple(
    policy_json(source=source, rules=[{"agencies": "*", "purposes": "*"}], regions=None)
    for source in ("north", "east")
)
_CAMERAS = ("c1", "c2")
_CONFIDENCES = (None, 0.01, 0.1, 0.5, 0.95)
#: A fetch has up to six reads.
_MOST_IN_DELIVERY = limits.FETCHES_IN_DELIVERY - 7


@dataclass
class Request:
    """Something asked of the broker: what it does, and who waits for the answer."""

    effect: Callable[[], None]
    answer: asyncio.Future[None]

    def do(self) -> None:
        """It is done, or refused, and the answer comes."""
        try:
            self.effect()
        except Fenced as error:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(None)


@dataclass
class Worker:
    """One worker, as far as it counts here."""

    matcher: Matcher
    suppression: Suppression
    pipeline: Pipeline
    writing: asyncio.Task[None]
    consumer: GroupConsumer
    requests: list[Request] = field(default_factory=list)
    assignments: Assignments = field(default_factory=lambda: Assignments(0))
    #: What is being handed on of the last fetch.
    taking: AsyncIterator[tuple[int, FetchedBatches]] | None = None

    @property
    def book(self) -> OffsetBook[int]:
        return self.consumer.book


class Deployment:
    """One run. `problems` says what is wrong at the end; empty where all is as promised."""

    def __init__(self, seed: int, reads: int = 80) -> None:
        self._chance = random.Random(seed)
        self._partitions = self._chance.randint(1, 4)
        self._log: dict[int, list[RawBatch]] = {}
        self._ends: Counter[int] = Counter()
        self._generation = 0
        #: Partitions that are there; the others are added later.
        self._existing: set[int] = set()
        #: In some runs commits expire. Whoever reads from the start again may count otherwise what
        #: is suppressed, and so nothing is suppressed there.
        self.expires = seed % 5 == 0
        self.committed: dict[int, int] = {}
        self.changelog: dict[bytes, bytes] = {}
        self.matches: list[dict[str, Any]] = []
        self.audited: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        #: Partitions that moved, and that stayed with their worker, while others went on.
        self.moved = self.stayed = 0
        #: Outcomes that were not a whole fetch's.
        self.parts = 0
        self.failures: list[BaseException] = []
        #: In every other run, each match is a part of its fetch.
        self._outcome_bytes = limits.OUTCOME_BYTES if seed % 2 else 1
        self._workers: list[Worker] = []
        self._silent: list[Worker] = []
        self._all_workers: list[Worker] = []
        self._oracle = ContractOracle(RULES)
        #: The records of the hot list topic.
        self._entries: list[dict[str, Any]] = []
        for offset, policy in enumerate(_POLICIES):
            self._oracle.process(PolicyRecord(policy["source"], policy, offset, NOW_MS))
        self._list_entries(
            [entry | {"suppress_s": 0} if self.expires else entry for entry in _ENTRIES]
        )
        self.expected: dict[str, int] = {}
        self.expected_folded = 0
        self._made: Counter[str] = Counter()
        self._asked: Counter[int] = Counter()
        #: Of a run whose commits expire nothing is corrected: its first reads may come again later.
        self._corrections = () if self.expires else _CORRECTIONS
        #: The reads that come when the first are processed and the entries are corrected.
        self._later = reads - reads // 2
        self._produce(reads // 2)
        partitions = sorted(self._log)
        self._existing.update(partitions[: self._chance.randint(1, max(1, len(partitions) - 1))])

    async def run(self) -> None:
        """Until all reads are processed and everything is acknowledged and committed."""
        for _ in range(self._chance.randint(1, 3)):
            self._join()
        self._share_out()
        steps: list[Callable[[], Any]] = [self._fetch, self._answer, self._commit]
        while not self._is_over() and not self.failures:
            if self._is_drained() and (hidden := self._log.keys() - self._existing):
                await self._finish_all()
                self._existing.update(hidden)
                await self._rebalance()
            elif self._later and self._is_drained():
                await self._correct()
            has_done = await self._chance.choices(steps, (4, 6, 1))[0]()
            if self._chance.random() < 0.04:
                await self._fault()
                has_done = True
            if has_done:
                await settle()
        for worker in [*self._workers, *self._silent]:
            await self._end(worker, lands=1.0)

    def problems(self) -> list[str]:
        """What differs from the promise: matches lost or invented, counts that do not add up."""
        found = []
        seen = {match["match_id"]: match["suppressed"] for match in self.matches}
        if lost := self.expected.keys() - seen.keys():
            found.append(f"{len(lost)} matches lost")
        if invented := seen.keys() - self.expected.keys():
            found.append(f"{len(invented)} matches invented")
        unlike = [name for name in seen.keys() & self.expected if seen[name] != self.expected[name]]
        if unlike:
            found.append(f"{len(unlike)} matches carry another count")
        if len({(match["match_id"], match["suppressed"]) for match in self.matches}) != len(seen):
            found.append("a match was repeated with another count")
        held = sum(decode_suppression(value).suppressed for value in self.changelog.values())
        folded = sum(seen.values()) + held
        if folded != self.expected_folded:
            found.append(f"{folded} reads folded instead of {self.expected_folded}")
        if unaudited := seen.keys() - self.audited.keys():
            found.append(f"{len(unaudited)} matches not audited")
        consumers = [worker.consumer for worker in self._all_workers]
        if skipped := [error for consumer in consumers for error in consumer.skipped]:
            found.append(f"{skipped[0]}")
        if expired := sum(consumer.expired for consumer in consumers):
            found.append(f"{expired} reads called expired, and none did")
        if self.failures:
            found.append(f"failed: {self.failures[0]!r}")
        if dict(self.committed) != {part: end for part, end in self._ends.items() if end}:
            found.append("not all offsets are committed")
        return found

    def _list_entries(self, entries: Sequence[dict[str, Any]]) -> list[ControlRecord]:
        """Put entries on the hot list topic; return their records."""
        first = len(self._entries)
        self._entries += entries
        for offset, entry in enumerate(entries, first):
            self._oracle.process(EntryRecord(entry["entry_id"], entry, offset, NOW_MS))
        return _records(ControlKind.ENTRY, entries, first)

    async def _correct(self) -> None:
        """Correct entries while no read is being processed; then produce the other reads.

        Silent workers end before, because they would go on with the former lists.
        """
        await self._finish_all()
        for worker in self._silent:
            await self._end(worker, lands=1.0)
        self._silent.clear()
        corrected = [self._entries[which] | change for which, change in self._corrections]
        records = self._list_entries(corrected)
        for worker in self._workers:
            worker.taking = None
            worker.matcher.lists.apply(records, NOW_MS)
        later, self._later = self._later, 0
        self._produce(later)
        self._share_out()

    def _produce(self, reads: int) -> None:
        """Fill the partitions with batches, and ask the oracle what must come of them."""
        chance = self._chance
        waiting: dict[int, list[tuple[Sent, dict[str, Any]]]] = {}
        first = self._made.total()
        for number in range(first, first + reads):
            plate = chance.choice((*_PLATES, "QQ1111"))
            captured_ms = 1000 * (number + chance.choice((0, 0, 0, -8, -90)))
            source = chance.choice(_SOURCES)
            self._made[source] += 1
            read = detection_json(
                read_id=f"R-{self._made[source]}",
                plate=plate,
                source=source,
                confidence=chance.choice(_CONFIDENCES),
                camera=chance.choice(_CAMERAS),
                captured_at=at(captured_ms),
                region=None,
                vehicle=None,
                location=None,
                alternates=None,
            )
            # Look-alikes lie in one partition, whose order decides which of them are suppressed.
            partition = xxhash.xxh32_intdigest(plate.replace("O", "0").encode()) % self._partitions
            sent = Sent(plate.encode(), as_bytes(read), timestamp_ms=NOW_MS + 1000 * number)
            waiting.setdefault(partition, []).append((sent, read))
        for partition, records in waiting.items():
            for _, read in records:
                place = partition, self._asked[partition]
                outcome = self._oracle.process(ReadRecord(read, *place, NOW_MS, NOW_MS))
                assert outcome is not None
                self._asked[partition] += 1
                self.expected |= {one.match_id: one.suppressed for one in outcome.matches}
                self.expected_folded += len(outcome.suppressed)
            before = self._log.get(partition)
            # Retention may have removed what was before.
            offset = before[-1].next_offset if before else chance.choice((0, 0, 7))
            while records:
                size = chance.randint(1, 3)
                batch = [sent for sent, _ in records[:size]]
                data = batch_bytes(batch, base_offset=offset, codec=chance.choice((0, 3)))
                self._log.setdefault(partition, []).append(raw_batch(data, from_offset=offset))
                offset += len(batch) + chance.choice((0, 0, 1))  # a marker, or compacted away
                records = records[size:]
            self._ends[partition] = self._log[partition][-1].next_offset

    def _join(self) -> None:
        lists = Lists(_PURPOSES, _MISREADS)
        lists.apply(_records(ControlKind.ENTRY, self._entries), NOW_MS, Phase.LOADING)
        lists.apply(_records(ControlKind.POLICY, _POLICIES), NOW_MS, Phase.LOADING)
        lists.commit()
        suppression = Suppression()
        matcher = Matcher(lists, 0, parse, suppression)
        broker = BrokerOf(self)

        async def process(fetch: Fetch, _: object) -> Outcome:
            with mock.patch.object(limits, "OUTCOME_BYTES", self._outcome_bytes):
                outcome = matcher.process(fetch.raw, NOW_MS)
            self.parts += outcome.next_offset is not None
            return outcome

        delivery = self._delivery(broker)
        pipeline = Pipeline(
            process,
            delivery,
            lambda outcome, took_s: None,
            self.failures.append,
        )
        writing = asyncio.create_task(changelog_of(delivery, broker).run())
        consumer = GroupConsumer(self._log, self.committed.get, self._choose)
        broker.worker = Worker(matcher, suppression, pipeline, writing, consumer)
        self._workers.append(broker.worker)
        self._all_workers.append(broker.worker)

    def _choose(self, partitions: Sequence[int]) -> tuple[int, int]:
        return self._chance.choice(partitions), self._chance.randint(1, 2)

    def _delivery(self, broker: BrokerOf) -> Delivery:
        return AtLeastOnce(runtime_of(self.failures), broker, broker.append)

    async def _rejoin(self, partition: int) -> None:
        raise AssertionError("no worker is fenced")

    def _share_out(self) -> None:
        """Every partition gets an owner, who goes on where the last commit says."""
        self._generation += 1
        owner_of = {part: self._chance.choice(self._workers) for part in sorted(self._existing)}
        for worker in self._workers:
            worker.assignments.end(worker.assignments.partitions())
            worker.suppression.revoke(sorted(self._log), ())
            mine = [partition for partition, owner in owner_of.items() if owner is worker]
            worker.consumer.assign(mine, self._generation)
            self._assign(worker, mine)

    def _assign(self, worker: Worker, partitions: Sequence[int]) -> None:
        assignment = Assignment(self._generation, self._rejoin)
        worker.assignments.add(assignment, partitions)

    async def _rebalance(self) -> None:
        """An eager rebalance stops all workers; in a cooperative one only what moves is finished,
        and the rest goes on with what is in flight."""
        if self._chance.random() < 0.5:
            await self._finish_all()
            self._share_out()
            return
        self._generation += 1
        owner_of = {part: self._chance.choice(self._workers) for part in sorted(self._existing)}
        for worker in self._workers:
            before = worker.consumer.partitions()
            gone = [part for part in before if owner_of[part] is not worker]
            self.moved += len(gone)
            self.stayed += len(before) - len(gone)
            if gone:
                await self._give_up(worker, gone)
        for part, worker in owner_of.items():
            if part not in worker.consumer.partitions():
                worker.consumer.add([part])
                self._assign(worker, [part])

    async def _give_up(self, worker: Worker, partitions: Sequence[int]) -> None:
        """A worker finishes what is in flight, commits, and has some partitions revoked."""
        worker.assignments.drain(partitions)
        await self._finish([worker])
        worker.assignments.end(partitions)
        worker.suppression.revoke(partitions, ())
        worker.consumer.remove(partitions)

    async def _fetch(self) -> bool:
        """A worker takes what one fetch brings; False where it cannot."""
        worker = self._chance.choice(self._workers + self._silent)
        # Room for all parts of the largest fetch, because nobody else makes some while it waits.
        if worker.pipeline.in_delivery > _MOST_IN_DELIVERY:
            return False
        if worker.taking is None:
            # Faust has suspended its flow, and what comes is thrown away.
            worker.consumer.is_suspended = self._chance.random() < 0.1
            worker.taking = worker.consumer.intake.take(0)
        taken = await anext(worker.taking, None)
        self.faults["throw away"] += worker.consumer.is_suspended
        worker.consumer.is_suspended = False
        if taken is None:
            worker.taking = None
            return False
        partition, received = taken
        book, raw = worker.book, received.raw
        assignment = worker.assignments.of(partition)
        assert assignment is not None
        fetch = Fetch(
            *(raw, received.log_end, assignment),
            follows=book.expected(partition),
            committed=book.committed_to(partition),
        )
        delivery = book.deliver(partition, raw.first_offset, fetch.next_offset, raw.covered_from)
        FetchParts(book, lambda: None).add(fetch, delivery)
        if await self._prepare(worker, fetch):
            await worker.pipeline.take(fetch)
        return True

    async def _prepare(self, worker: Worker, fetch: Fetch) -> bool:
        """Before a fetch is matched; False where it is not."""
        partition = fetch.raw.partition
        if fetch.follows is None:  # it begins again, and so its state is read again
            fetch.assignment.held(partition, Held).is_restored = False
        if not fetch.assignment.held(partition, Held).is_restored:
            await self._restore(worker, fetch)
        if fetch.committed is not None:
            worker.suppression.settle(partition, fetch.committed)
        return True

    async def _restore(self, worker: Worker, fetch: Fetch) -> None:
        partition = fetch.raw.partition
        states: list[tuple[bytes, SuppressionState]] = []
        for named, value in self.changelog.items():
            key = key_in(named)
            if key is not None and _source_of(named) == partition:
                states.append((key, decode_suppression(value)))
        worker.suppression.turn_to(NOW_MS)
        worker.suppression.drop(partition)
        worker.suppression.settle(partition, fetch.raw.first_offset)
        worker.suppression.restore(partition, states, self._ends[partition])
        fetch.assignment.held(partition, Held).is_restored = True

    async def _answer(self) -> bool:
        """The broker does one of the things that it was asked for; False where there is none."""
        worker = self._chance.choice(self._workers + self._silent)
        if not worker.requests:
            return False
        worker.requests.pop(self._chance.randrange(len(worker.requests))).do()
        return True

    async def _commit(self) -> bool:
        """A worker commits what is done."""
        worker = self._chance.choice(self._workers)
        for partition in worker.book.partitions():
            offset = worker.book.to_commit(partition)
            if offset is not None:
                self.committed[partition] = offset
                worker.book.committed(partition, offset)
        return False

    async def _fault(self) -> None:
        kinds = ["join", "leave", "crash", "silence", "wake"]
        # These two are possible in some runs and for some time only, and so they come more often.
        kinds += ["grow"] * 6 * bool(self._log.keys() - self._existing)
        kinds += ["expire"] * 4 * self.expires
        kind = self._chance.choice(kinds)
        if kind == "wake":
            for worker in self._silent:
                await self._end(worker, lands=1.0)
            self._silent.clear()
        elif kind == "join" and len(self._workers) < 4:
            self._join()
            await self._rebalance()
        elif kind == "leave" and len(self._workers) > 1:
            gone = self._workers.pop()
            await self._finish([gone])
            await self._end(gone, lands=1.0)
            await self._rebalance()
        elif kind == "grow" and (hidden := self._log.keys() - self._existing):
            self._existing.add(min(hidden))
            await self._rebalance()
        elif kind == "expire" and self.expires:
            # While no worker runs.
            await self._finish_all()
            await self._expire()
            self._share_out()
        elif kind in ("crash", "silence"):
            # The others are told in order; of the one that is gone, some requests were done.
            gone = self._workers.pop(self._chance.randrange(len(self._workers)))
            if kind == "crash":
                await self._end(gone, lands=self._chance.random())
            else:
                gone.writing.cancel()
                gone.requests = [one for one in gone.requests if not _is_changelog(one)]
                self._silent.append(gone)
            if not self._workers:
                self._join()
            await self._rebalance()
        else:
            return
        self.faults[kind] += 1

    async def _expire(self) -> None:
        """All committed offsets are forgotten; once in a run, that it comes to an end."""
        self.committed.clear()
        self.expires = False

    async def _finish_all(self) -> None:
        """All workers finish what is in flight and commit, as before a share-out."""
        await self._finish(self._workers)

    async def _finish(self, workers: Sequence[Worker]) -> None:
        """Workers finish what is in flight and commit."""
        await settle()
        while any(worker.requests or worker.pipeline.in_delivery for worker in workers):
            for worker in workers:
                while worker.requests:
                    worker.requests.pop(0).do()
            await settle()
        for worker in workers:
            for partition in worker.book.partitions():
                offset = worker.book.to_commit(partition)
                if offset is not None:
                    self.committed[partition] = offset

    async def _end(self, worker: Worker, *, lands: float) -> None:
        """A worker is no more; each of its requests was done with some probability."""
        for request in worker.requests:
            if self._chance.random() < lands:
                with contextlib.suppress(Fenced):
                    request.effect()
        worker.requests.clear()
        # Cutting short the wait for the deliveries ends them, as at the end of a shutdown's time.
        closing = asyncio.create_task(worker.pipeline.close())
        await asyncio.sleep(0)
        tasks = [worker.writing, closing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not worker.pipeline.in_delivery

    def _is_drained(self) -> bool:
        """Whether all reads of the partitions that are there are committed."""
        return all(self.committed.get(each) == self._ends[each] for each in self._existing)

    def _is_over(self) -> bool:
        return not (self._later or any(worker.requests for worker in self._workers)) and all(
            self.committed.get(partition) == end for partition, end in self._ends.items()
        )


def changelog_of(delivery: Delivery, broker: BrokerOf) -> SuppressionLog:
    """The changelog that a delivery writes; one of its own where it writes none."""
    if isinstance(delivery, AtLeastOnce):
        return delivery.changelog
    return SuppressionLog(CLUSTER, broker, KnownChangelog())


class BrokerOf:
    """The broker as one worker sees it: requests wait until the deployment answers them."""

    worker: Worker

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    async def partitions_of(self, topic: str) -> int:
        return 2

    async def deliver(self, records: Sequence[Any]) -> None:
        found = [orjson.loads(one.value) for one in records if one.topic == _TOPICS.matches]
        await self._ask(lambda: self._deployment.matches.extend(found))

    async def deliver_in_order(
        self, records: Sequence[Any], partition: int, what: str
    ) -> list[range]:
        await self._ask(_ToChangelog(self._deployment, tuple(records)))
        return []

    def append(self, events: Sequence[Any]) -> asyncio.Future[None]:
        ids = [_fields_of(event)["match_id"] for event in events]
        return self._asked(lambda: self._deployment.audited.update(ids))

    async def _ask(self, effect: Callable[[], None]) -> None:
        await self._asked(effect)

    def _asked(self, effect: Callable[[], None]) -> asyncio.Future[None]:
        answer = asyncio.get_running_loop().create_future()
        self.worker.requests.append(Request(effect, answer))
        return answer


@dataclass(frozen=True)
class _ToChangelog:
    """Puts records on the changelog."""

    deployment: Deployment
    records: tuple[Any, ...]

    def __call__(self) -> None:
        for record in self.records:
            self.deployment.changelog.pop(record.key, None)
            if record.value is not None:
                self.deployment.changelog[record.key] = record.value


def _records(
    kind: ControlKind, documents: Sequence[dict[str, Any]], first: int = 0
) -> list[ControlRecord]:
    """The records of documents, whose offsets begin with `first`."""
    return [
        ControlRecord(kind, 0, offset, NOW_MS, key.encode(), as_bytes(document))
        for offset, document in enumerate(documents, first)
        if (key := document.get("entry_id", document.get("source")))
    ]


def _fields_of(event: Any) -> Any:
    """What an event is about; of a match it comes written."""
    return orjson.loads(event.fields) if isinstance(event.fields, bytes) else event.fields


def _is_changelog(request: Request) -> bool:
    return isinstance(request.effect, _ToChangelog)


def _source_of(named: bytes) -> int:
    return int(named.split(b"/")[-2])
