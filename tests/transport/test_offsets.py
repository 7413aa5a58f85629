"""The offset book beside a naive one that forgets nothing and looks at everything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from engine.transport.offsets import InFlight, Missing, OffsetBook, SkippedReadsError

PARTITIONS = ("a", "b")


class Sent:
    """A delivery as the naive book keeps it."""

    def __init__(self, partition: str, first: int, following: int) -> None:
        self.partition = partition
        self.first = first
        self.following = following
        self.done = False
        self.forgotten = False


class Books(RuleBasedStateMachine):
    """Fetches of two partitions, done in any order, with revocations and seeks in between."""

    deliveries: Bundle[tuple[InFlight[str], Sent]] = Bundle("deliveries")

    def __init__(self) -> None:
        super().__init__()
        self.book: OffsetBook[str] = OffsetBook()
        self.sent: list[Sent] = []
        self.at = dict.fromkeys(PARTITIONS, 100)
        for partition in PARTITIONS:
            self.book.begin(partition, 100)
        self.taken: dict[str, int | None] = dict.fromkeys(PARTITIONS)

    def known(self, partition: str) -> list[Sent]:
        return [sent for sent in self.sent if sent.partition == partition and not sent.forgotten]

    def forget(self, partition: str) -> None:
        for sent in self.known(partition):
            sent.forgotten = True
        self.taken[partition] = None

    @rule(
        target=deliveries,
        partition=st.sampled_from(PARTITIONS),
        gap=st.integers(0, 3),
        length=st.integers(1, 5),
    )
    def deliver(self, partition: str, gap: int, length: int) -> tuple[InFlight[str], Sent]:
        """With a gap that compaction has left, and for which the fetch accounts."""
        covered_from = self.at[partition]
        first = covered_from + gap
        self.at[partition] = first + length
        sent = Sent(partition, first, first + length)
        self.sent.append(sent)
        return self.book.deliver(partition, first, first + length, covered_from), sent

    @rule(partition=st.sampled_from(PARTITIONS), gap=st.integers(1, 3), skips=st.booleans())
    def leave_reads_out(self, partition: str, gap: int, skips: bool) -> None:
        """No such fetch is taken, unless retention has removed what is missing."""
        expected = self.at[partition]
        first = expected + gap
        assert self.book.missing(partition, first) == Missing(expected, first, False)
        with pytest.raises(SkippedReadsError):
            self.book.deliver(partition, first, first + 5)
        if skips:
            self.book.skip(partition, first)
            self.at[partition] = first
        assert self.book.missing(partition, self.at[partition]) is None

    @rule(
        target=deliveries,
        partition=st.sampled_from(PARTITIONS),
        back=st.integers(1, 20),
        length=st.integers(1, 5),
    )
    def deliver_after_a_seek_back(self, partition: str, back: int, length: int) -> Any:
        if not self.known(partition):
            return multiple()
        self.forget(partition)
        self.at[partition] -= back
        return self.deliver(partition, 0, length)

    @rule(target=deliveries, delivery=deliveries, length=st.integers(1, 4))
    def cut(self, delivery: tuple[InFlight[str], Sent], length: int) -> Any:
        """Into two that become done by themselves; one that its partition's loss made idle too."""
        held, sent = delivery
        at = sent.first + length
        if sent.done or at >= sent.following:
            return multiple()
        rest = Sent(sent.partition, at, sent.following)
        rest.forgotten = sent.forgotten
        sent.following = at
        self.sent.insert(self.sent.index(sent) + 1, rest)
        held.begun = length > 2
        further = self.book.cut(held, at)
        assert further.begun == held.begun
        return further, rest

    @rule(delivery=deliveries)
    def finish(self, delivery: tuple[InFlight[str], Sent]) -> None:
        self.book.finish(delivery[0])
        delivery[1].done = True

    @rule(delivery=consumes(deliveries))
    def finish_for_good(self, delivery: tuple[InFlight[str], Sent]) -> None:
        self.finish(delivery)

    @rule(partition=st.sampled_from(PARTITIONS))
    def commit(self, partition: str) -> None:
        offset = self.book.to_commit(partition)
        if offset is not None:
            self.book.committed(partition, offset)
            self.taken[partition] = offset
            assert self.book.to_commit(partition) is None
            assert self.book.committed_to(partition) == offset

    @rule(partition=st.sampled_from(PARTITIONS), seek=st.integers(-50, 50))
    def drop(self, partition: str, seek: int) -> None:
        self.book.drop(partition)
        assert self.book.committed_to(partition) is None
        self.forget(partition)
        self.at[partition] = max(0, self.at[partition] + seek)
        with pytest.raises(SkippedReadsError):
            self.book.deliver(partition, self.at[partition], self.at[partition] + 1)
        self.book.begin(partition, self.at[partition])

    @invariant()
    def the_books_agree(self) -> None:
        for partition in PARTITIONS:
            position = None
            for sent in self.known(partition):
                if not sent.done:
                    break
                position = sent.following
            undone = next((sent for sent in self.known(partition) if not sent.done), None)
            oldest = self.book.oldest(partition)
            assert (oldest is None) == (undone is None)
            if oldest is not None and undone is not None:
                assert oldest.next_offset == undone.following
            assert self.book.done_to(partition) == position
            expected = None if position == self.taken[partition] else position
            offset = self.book.to_commit(partition)
            assert offset == expected
            assert (partition in self.book.partitions()) == (position is not None)
            if offset is not None:
                assert not any(
                    sent.first < offset and not sent.done for sent in self.known(partition)
                ), "a commit past something undone"

    @invariant()
    def what_is_under_way_is_counted(self) -> None:
        waiting = 0
        for partition in PARTITIONS:
            known = self.known(partition)
            undone = [at for at, sent in enumerate(known) if not sent.done]
            waiting += len(known) - undone[0] if undone else 0
        assert self.book.in_flight() == waiting


TestBooks = Books.TestCase


def begun(start: int | None = 0) -> OffsetBook[str]:
    book: OffsetBook[str] = OffsetBook()
    book.begin("a", start)
    return book


@pytest.mark.parametrize(
    ("start", "covered_from", "missing"),
    [
        (100, 100, None),
        (100, 90, None),
        (100, 101, Missing(100, 101, False)),
        (0, 0, None),
        (0, 1, Missing(0, 1, False)),
        (None, 0, None),
        (None, 7, Missing(0, 7, True)),
    ],
)
def test_where_the_first_fetch_must_begin(
    start: int | None, covered_from: int, missing: Missing | None
) -> None:
    book = begun(start)
    assert book.missing("a", covered_from) == missing
    if missing is None:
        book.deliver("a", max(covered_from, start or 0), 200, covered_from)
    else:
        with pytest.raises(SkippedReadsError, match=f"offset {missing.first} to"):
            book.deliver("a", covered_from, 200)
        assert book.in_flight() == 0
        book.skip("a", covered_from)
        book.deliver("a", covered_from, 200)
    assert book.expected("a") == 200


def test_out_of_order() -> None:
    book = begun()
    one, two = (book.deliver("a", at, at + 10) for at in (0, 10))
    three = book.deliver("a", 25, 35, covered_from=20)
    book.finish(two)
    assert book.to_commit("a") is None
    book.finish(one)
    assert book.to_commit("a") == 20
    book.committed("a", 20)
    assert book.to_commit("a") is None
    book.finish(three)
    assert book.to_commit("a") == 35
    assert book.in_flight() == 0


def test_a_delivery_from_before_a_revocation_changes_nothing() -> None:
    book = begun()
    before = book.deliver("a", 0, 10)
    book.begin("a", 5)
    after = book.deliver("a", 5, 8)
    book.finish(before)
    assert book.to_commit("a") is None
    book.finish(after)
    assert book.to_commit("a") == 8


def test_a_commit_that_is_answered_after_a_revocation_changes_nothing() -> None:
    book = begun()
    book.finish(book.deliver("a", 0, 10))
    book.begin("a", 0)
    book.committed("a", 10)
    assert book.partitions() == ()
    book.finish(book.deliver("a", 0, 10))
    assert book.to_commit("a") == 10, "another worker may have committed less since"


@pytest.mark.parametrize("first", [0, 9])
def test_seeking_back_forgets_what_was_to_be_committed(first: int) -> None:
    book = begun()
    book.finish(book.deliver("a", 0, 10))
    again = book.deliver("a", first, first + 1)
    assert book.to_commit("a") is None
    book.finish(again)
    assert book.to_commit("a") == first + 1
