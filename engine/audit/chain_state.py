"""The verified part of a chain: what must come next, and what is missing.

Plain data, of a few hundred bytes for each chain; `verifier` decides what a deviation means.

Also the records that the audit topic must contain, because another record or a checkpoint names
them. A checkpoint has the last record of each chain; the first record of a chain may name the last
record that its writer found in another chain. Such a reference reveals that the end of a chain or a
whole chain was removed, or that a chain was sealed again. A reference has a chain, a sequence and a
hash. Its record may have been read before the reference was found, or may have come to the topic
after reading began: then it is searched for separately. Pure; the memory is proportional to the
number of chains and of their checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from engine import limits
from engine.audit.chain import GENESIS_HASH, Opener, SealedRecord
from engine.audit.problems import Place, ProblemKind
from engine.errors import DocumentError
from engine.wire.record_batch import Record


class Head(NamedTuple):
    """The last record of a chain at some time."""

    chain: str
    sequence: int
    hash: str


@dataclass(slots=True, eq=False)
class ExpectedRecord:
    """A record that must exist. `by` says what names it, `place` where that reference is.

    `is_found` if it was seen, `has_passed` if only a second look can find it.
    """

    head: Head
    kind: ProblemKind
    by: str
    place: Place | None
    has_passed: bool = False
    is_found: bool = False


#: The expected records of one chain, by sequence.
OfChain = dict[int, list[ExpectedRecord]]


class Recent:
    """The hashes of a partition's last records: at least AUDIT_REPEAT_RECORDS of them."""

    __slots__ = ("_old", "_young")

    def __init__(self) -> None:
        self._young: set[str] = set()
        self._old: set[str] = set()

    def add(self, found: str) -> None:
        self._young.add(found)
        if len(self._young) >= limits.AUDIT_REPEAT_RECORDS:
            self._young, self._old = set(), self._young

    def __contains__(self, wanted: str) -> bool:
        return wanted in self._young or wanted in self._old


@dataclass(slots=True, eq=False)
class Gap:
    """A gap: sequences from `first` to before `end` that have not come before the record `after`.

    `heads` are the hashes that may precede the gap, `previous` is the hash that its last record
    must have. `is_late` if its first records came later.
    """

    first: int
    end: int
    heads: tuple[str, ...]
    previous: str
    after: Place
    is_late: bool = False


@dataclass(slots=True, eq=False)
class ChainState:
    """A chain up to its last verified record. `heads`: what the next record may name as previous.

    `last_offset` is that of the last record, `late_offset` that of the last one out of order,
    `end_offset` that of the record that ends it, -1 without one. `follows_nothing` if its first
    record names no other chain, `has_events` if it holds more than its end.
    """

    key: bytes
    partition: int
    first_offset: int
    recent: Recent
    expected: OfChain
    next: int = 0
    head: str = GENESIS_HASH
    others: tuple[str, ...] = ()
    last_offset: int = -1
    late_offset: int = -1
    end_offset: int = -1
    follows_nothing: bool = False
    has_events: bool = False
    gaps: list[Gap] = field(default_factory=list)
    elsewhere: set[int] = field(default_factory=set)

    @property
    def heads(self) -> tuple[str, ...]:
        return (self.head, *self.others)


class ExpectedRecords:
    """All records that must exist."""

    def __init__(self) -> None:
        self._chains: dict[str, OfChain] = {}
        self._by_key: dict[bytes, list[tuple[bytes, ExpectedRecord]]] | None = None

    def add(self, expected: ExpectedRecord) -> OfChain:
        """Expect a record; return what is now expected of its chain."""
        of_chain = self._chains.setdefault(expected.head.chain, {})
        of_chain.setdefault(expected.head.sequence, []).append(expected)
        return of_chain

    def of(self, chain: str) -> OfChain:
        """Return what is expected of a chain."""
        return self._chains.get(chain, {})

    def lost(self) -> Iterator[ExpectedRecord]:
        """Yield those that have not been found."""
        for of_chain in self._chains.values():
            for of_sequence in of_chain.values():
                yield from (expected for expected in of_sequence if not expected.is_found)

    def look_again(self, opener: Opener, records: Iterable[Record]) -> None:
        """Search for them in records that are read separately. No more may be added after that."""
        if self._by_key is None:
            self._by_key = self._lost_by_key()
        for record in records:
            of_chain = self._by_key.get(record.key or b"")
            if of_chain is None or record.value is None:
                continue
            for digits, expected in of_chain:
                # Cheap, and rarely true. A record that spells digits with escapes is not found,
                # which is a false alarm at worst.
                if digits in record.value and _is(opener, record.value, expected.head):
                    expected.is_found = True

    def _lost_by_key(self) -> dict[bytes, list[tuple[bytes, ExpectedRecord]]]:
        lost: dict[bytes, list[tuple[bytes, ExpectedRecord]]] = {}
        for expected in self.lost():
            of_chain = lost.setdefault(expected.head.chain.encode(), [])
            of_chain.append((expected.head.hash.encode(), expected))
        return lost


def tick_off(of_chain: OfChain, sequence: int, sealed: SealedRecord) -> None:
    """Mark the expected record at this sequence of its chain as found."""
    for expected in of_chain.get(sequence, ()):
        if expected.head.hash == sealed.hash:
            expected.is_found = True


def _is(opener: Opener, value: bytes, head: Head) -> bool:
    """Return whether a record has this hash, which covers its chain and sequence too."""
    try:
        sealed, _ = opener.open(value)
    except DocumentError:
        return False
    return sealed.hash == head.hash
