"""`engine.audit.pending_changes`: whoever owns a partition, and whoever dies, no change is passed
over.

The model plays a whole deployment: workers that apply the same changes at their own pace, a
group that gives each partition to one of them, and the audit as a plain list.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import hypothesis.strategies as st
import msgspec
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.audit.added_entries import AddedEntries, Loaded, Shared
from engine.audit.changes import NO_RECORD, Change, ControlKind
from engine.audit.pending_changes import EXPIRIES, Part, PendingChanges, Progress

POLICIES: Part = (ControlKind.POLICY, 0)
PARTS = (EXPIRIES, POLICIES)
WORKERS = range(2)
STEP = 3


def change(part: Part, offset: int) -> Change:
    return Change(*part, offset, "entry_added", 1_000 + offset, {"revision": offset})


def expiry(revision: int, at_ms: int) -> Change:
    fields: dict[str, str | int] = {"revision": revision}
    return Change(*EXPIRIES, NO_RECORD, "entry_expired", at_ms, fields)


def changes(part: Part, *offsets: int) -> list[Change]:
    return [change(part, offset) for offset in offsets]


def added(*offsets: int) -> list[AddedEntries]:
    """The same changes as of a load, whose entries are kept small."""
    packed = [msgspec.msgpack.encode(["E", "P", "R", 0, 0, 0, 0, 0, 1, 1, None])] * len(offsets)
    shared = Shared({0: "name"}, {0: "officer"}, {1: "2026-01-01T00:00:00.000Z"})
    times = np.array(offsets, dtype=np.int64)
    loaded = Loaded(0, times, times, packed, [None] * len(offsets), shared, 1_000)
    return [AddedEntries(loaded)] if offsets else []


def waiting(pending: PendingChanges, *parts: Part) -> list[int]:
    return [c.offset for c in pending.first(parts or PARTS, 1_000)]


def test_what_is_offered_waits_in_order() -> None:
    pending = PendingChanges(Progress())
    pending.offer(EXPIRIES, 3, changes(EXPIRIES, 0, 2))
    pending.offer(POLICIES, 1, changes(POLICIES, 0))
    pending.offer(EXPIRIES, 9, changes(EXPIRIES, 5))
    assert waiting(pending, EXPIRIES) == [0, 2, 5]
    assert waiting(pending, POLICIES) == [0]
    assert len(pending) == 4
    assert pending.waits_beside([EXPIRIES])
    assert not pending.waits_beside(PARTS)


def test_what_was_committed_before_is_passed_over() -> None:
    pending = PendingChanges(Progress({EXPIRIES: 4}, 1_500))
    pending.offer(EXPIRIES, 7, changes(EXPIRIES, 2, 3, 4, 6))
    pending.offer_expired([expiry(1, 1_499), expiry(2, 1_500), expiry(3, 1_501)], 1_600)
    assert waiting(pending) == [4, 6, NO_RECORD]


def test_a_topic_that_is_read_anew_is_not_audited_anew() -> None:
    pending = PendingChanges(Progress())
    pending.offer(EXPIRIES, 3, changes(EXPIRIES, 0, 1, 2))
    pending.audited(pending.first(PARTS, 2))
    pending.offer(EXPIRIES, 3, changes(EXPIRIES, 0, 1, 2))
    pending.offer(EXPIRIES, 4, changes(EXPIRIES, 3))
    assert waiting(pending) == [2, 3]


def test_an_entry_that_came_after_its_end_has_an_expiry_too() -> None:
    """It was not among those that had expired by the time that is committed."""
    pending = PendingChanges(Progress({EXPIRIES: 10}, 5_000))
    pending.offer_expired([expiry(10, 4_000)], 6_000)
    assert waiting(pending) == [NO_RECORD]


def test_what_may_be_committed() -> None:
    pending = PendingChanges(Progress())
    assert pending.to_commit(PARTS) is None
    pending.offer(EXPIRIES, 5, changes(EXPIRIES, 1, 3))
    pending.offer(POLICIES, 8, [])  # records that changed nothing
    assert pending.to_commit(PARTS) == Progress({EXPIRIES: 1, POLICIES: 8})
    assert pending.to_commit([EXPIRIES]) == Progress({EXPIRIES: 1})
    pending.audited(pending.first([EXPIRIES], 1))
    assert pending.to_commit([EXPIRIES]) == Progress({EXPIRIES: 3})
    pending.audited(pending.first([EXPIRIES], 1))
    progress = pending.to_commit(PARTS)
    assert progress == Progress({EXPIRIES: 5, POLICIES: 8})
    assert progress is not None
    pending.committed(progress)
    assert pending.to_commit(PARTS) is None


def test_the_time_of_the_expiries_is_committed_when_none_waits() -> None:
    pending = PendingChanges(Progress())
    pending.offer(EXPIRIES, 2, changes(EXPIRIES, 1))
    pending.offer_expired([expiry(0, 900), expiry(0, 950)], 1_000)
    pending.audited(pending.first(PARTS, 2))
    assert pending.to_commit(PARTS) == Progress({EXPIRIES: 2})
    pending.audited(pending.first(PARTS, 2))
    assert pending.to_commit([POLICIES]) is None
    progress = pending.to_commit(PARTS)
    assert progress == Progress({EXPIRIES: 2}, 1_000)
    assert progress is not None
    pending.committed(progress)
    pending.offer_expired([], 2_000)  # that the time has passed is no reason to commit
    assert pending.to_commit(PARTS) is None


def test_one_who_is_behind_commits_nothing_back() -> None:
    pending = PendingChanges(Progress())
    pending.offer(EXPIRIES, 2, changes(EXPIRIES, 0, 1))
    pending.learn(Progress({EXPIRIES: 9}))
    assert len(pending) == 0
    pending.offer(EXPIRIES, 6, changes(EXPIRIES, 5))
    assert len(pending) == 0
    assert pending.to_commit(PARTS) is None
    pending.offer_expired([expiry(3, 700)], 800)
    pending.audited(pending.first(PARTS, 1))
    assert pending.to_commit(PARTS) == Progress({EXPIRIES: 9}, 800)


def test_what_another_has_audited_meanwhile_is_not_taken_away_twice() -> None:
    pending = PendingChanges(Progress())
    pending.offer(EXPIRIES, 4, changes(EXPIRIES, 0, 1, 2, 3))
    taken = pending.first(PARTS, 2)
    pending.learn(Progress({EXPIRIES: 1}))
    pending.audited(taken)
    assert waiting(pending) == [2, 3]
    assert len(pending) == 2


def test_what_a_load_added_waits_as_it_is_until_it_is_audited() -> None:
    pending = PendingChanges(Progress({EXPIRIES: 2}))
    pending.offer(EXPIRIES, 9, [*added(1, 2, 3), *changes(EXPIRIES, 5), *added(6, 7, 8)])
    assert (len(pending), pending.opened) == (6, 1)
    assert pending.to_commit([EXPIRIES]) is None
    first = pending.first([EXPIRIES], 4)
    assert [change.offset for change in first] == [2, 3, 5, 6]
    assert {change.event for change in first} == {"entry_added"}
    assert (len(pending), pending.opened) == (6, 4)
    pending.audited(first)
    assert (len(pending), pending.opened) == (2, 0)
    assert pending.to_commit([EXPIRIES]) == Progress({EXPIRIES: 7})
    pending.learn(Progress({EXPIRIES: 8}))
    assert waiting(pending) == [8]


class _Worker:
    """One process: what it has applied of each partition, and what it keeps."""

    def __init__(self, committed: Progress) -> None:
        self.started_with = committed
        self.pending = PendingChanges(committed)
        self.applied = dict.fromkeys(PARTS, 0)
        self.told: set[int] = set()
        #: Taken and in the audit, but not committed.
        self.sent: list[Change] | None = None


class Deployment(RuleBasedStateMachine):
    """Records 0, 1, 2 and so on of each partition, of which every third changes nothing; the
    entry of record N expires at the time 10 N."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = dict.fromkeys(PARTS, 0)
        self.now_ms = 0
        self.came_ms: list[int] = []
        self.committed = Progress(dict.fromkeys(PARTS, 0))
        self.audit: list[Change] = []
        self.owners: dict[Part, int] = dict.fromkeys(PARTS, 0)
        self.workers = {number: _Worker(self.committed) for number in WORKERS}

    @rule(part=st.sampled_from(PARTS), count=st.integers(1, 9))
    def records_come(self, part: Part, count: int) -> None:
        self.ends[part] += count
        if part == EXPIRIES:
            self.came_ms += [self.now_ms] * count

    @rule(passed_ms=st.integers(1, 40))
    def time_passes(self, passed_ms: int) -> None:
        self.now_ms += passed_ms

    @rule(number=st.sampled_from(WORKERS), count=st.integers(1, 9))
    def load(self, number: int, count: int) -> None:
        self.apply(number, EXPIRIES, count, loads=True)

    @rule(number=st.sampled_from(WORKERS), part=st.sampled_from(PARTS), count=st.integers(1, 9))
    def apply(self, number: int, part: Part, count: int, *, loads: bool = False) -> None:
        worker = self.workers[number]
        start = worker.applied[part]
        stop = min(start + count, self.ends[part])
        told_to = worker.started_with.offsets[part]
        news = [n for n in range(max(start, told_to), stop) if n % 3]
        worker.pending.offer(part, stop, added(*news) if loads else changes(part, *news))
        worker.applied[part] = stop

    @rule(number=st.sampled_from(WORKERS))
    def advance(self, number: int) -> None:
        """Start and end by the clock what has come until then."""
        self.apply(number, EXPIRIES, self.ends[EXPIRIES])
        worker = self.workers[number]
        due = [
            n
            for n in range(worker.applied[EXPIRIES])
            if n % 3 and n not in worker.told and 10 * n <= self.now_ms
        ]
        worker.told.update(due)
        began = worker.started_with
        news = [n for n in due if 10 * n > began.expired_until_ms or n >= began.offsets[EXPIRIES]]
        worker.pending.offer_expired([expiry(n, 10 * n) for n in news], self.now_ms)

    @rule(part=st.sampled_from(PARTS), number=st.sampled_from(WORKERS))
    def hand_over(self, part: Part, number: int) -> None:
        """The new owner looks at what is committed before it begins."""
        self.owners[part] = number
        self.workers[number].pending.learn(self.committed)

    @rule(number=st.sampled_from(WORKERS))
    def look(self, number: int) -> None:
        self.workers[number].pending.learn(self.committed)

    @rule(number=st.sampled_from(WORKERS))
    def send(self, number: int) -> None:
        worker = self.workers[number]
        if worker.sent is None:
            worker.sent = worker.pending.first(self._owned(number), STEP)
            self.audit += worker.sent

    @rule(number=st.sampled_from(WORKERS))
    def commit(self, number: int) -> None:
        """It counts only for whoever is the owner still."""
        worker = self.workers[number]
        if worker.sent is None:
            return
        worker.pending.audited(worker.sent)
        worker.sent = None
        progress = worker.pending.to_commit(self._owned(number))
        if progress is not None:
            self._commit(progress)
            worker.pending.committed(progress)

    @rule(number=st.sampled_from(WORKERS))
    def die(self, number: int) -> None:
        self.workers[number] = _Worker(self.committed)
        self.owners = {part: owner for part, owner in self.owners.items() if owner != number}

    @invariant()
    def what_is_committed_is_audited(self) -> None:
        audited = self._audited(self.audit)
        for part, offset in self.committed.offsets.items():
            assert {(part, n) for n in range(offset) if n % 3} <= audited

    @invariant()
    def sizes_are_right(self) -> None:
        for worker in self.workers.values():
            all_opened = copy.deepcopy(worker.pending)
            assert len(worker.pending) == len(all_opened.first(PARTS, 1_000_000))
            assert len(all_opened) == all_opened.opened

    def teardown(self) -> None:
        """All is audited in the end, each partition's changes in their order."""
        number = 0
        for part in PARTS:
            self.hand_over(part, number)
            self.apply(number, part, self.ends[part])
        self.advance(number)
        self.commit(number)
        while self.workers[number].pending.first(PARTS, 1):
            self.send(number)
            self.commit(number)
        for part in PARTS:
            first_times = dict.fromkeys(
                c.offset
                for c in self.audit
                if (c.kind, c.partition) == part and c.offset != NO_RECORD
            )
            assert list(first_times) == [n for n in range(self.ends[part]) if n % 3]
        expired = {c.fields["revision"] for c in self.audit if c.offset == NO_RECORD}
        came = enumerate(self.came_ms)
        assert expired >= {n for n, at_ms in came if n % 3 and at_ms < 10 * n <= self.now_ms}

    def _owned(self, number: int) -> list[Part]:
        return [part for part in PARTS if self.owners.get(part) == number]

    def _commit(self, progress: Progress) -> None:
        offsets = {**self.committed.offsets, **progress.offsets}
        for part, offset in progress.offsets.items():
            assert offset >= self.committed.offsets[part], "committed back"
        until_ms = self.committed.expired_until_ms
        if EXPIRIES in progress.offsets:
            assert progress.expired_until_ms >= until_ms, "committed back"
            until_ms = progress.expired_until_ms
        self.committed = Progress(offsets, until_ms)

    @staticmethod
    def _audited(audit: Iterable[Change]) -> set[tuple[Part, int]]:
        return {((c.kind, c.partition), c.offset) for c in audit}


Deployment.TestCase.settings = settings(
    Deployment.TestCase.settings,
    max_examples=4 * settings().max_examples,
    stateful_step_count=60,
)
test_a_deployment = Deployment.TestCase
