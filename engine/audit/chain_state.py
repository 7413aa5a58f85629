"""A chain as far as a verifier has come with it: what must come next, and what has not come.

Plain data, of a few hundred bytes a chain; what it means that something is wrong is for
`verifier` to say.

Also the records that must be on the audit topic, because somebody has noted them. A checkpoint
holds the last record of each chain; the first record of a chain may name the last one that its
writer had found. With such a note at hand it is missed when the end of a chain is taken away, a
whole chain, or when a chain is sealed anew. A note is of a chain, a sequence and a hash. Its record
may have passed before the note was found, or have come to the topic after reading began: then it is
looked for apart. Pure; keeps as many notes as there are chains and checkpoints of them.
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
    """A record of a chain: the last one, when this was noted."""

    chain: str
    sequence: int
    hash: str


@dataclass(slots=True, eq=False)
class Expected:
    """A record that must be there. `by` says who noted it, `place` where that is written.

    `is_found` once it was seen, `has_passed` where only a second look can find it.
    """

    head: Head
    kind: ProblemKind
    by: str
    place: Place | None
    has_passed: bool = False
    is_found: bool = False


#: Of one chain, by sequence.
OfChain = dict[int, list[Expected]]


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
    """Sequences from `first` to before `end` that have not come, `after` being what came.

    `heads` are the hashes that may stand before the gap, `previous` is the hash that must stand
    at its end. `is_late` when it began to be filled from its front.
    """

    first: int
    end: int
    heads: tuple[str, ...]
    previous: str
    after: Place
    is_late: bool = False


@dataclass(slots=True, eq=False)
class ChainState:
    """A chain as far as it has come. `heads`: what the next record may name as previous.

    `last_offset` is that of the last record, `late_offset` that of the last one out of order.
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
    gaps: list[Gap] = field(default_factory=list)
    elsewhere: set[int] = field(default_factory=set)

    @property
    def heads(self) -> tuple[str, ...]:
        return (self.head, *self.others)


class Expectations:
    """All records that are expected."""

    def __init__(self) -> None:
        self._chains: dict[str, OfChain] = {}
        self._by_key: dict[bytes, list[tuple[bytes, Expected]]] | None = None

    def add(self, expected: Expected) -> OfChain:
        """Expect a record; returns what is expected of its chain now."""
        of_chain = self._chains.setdefault(expected.head.chain, {})
        of_chain.setdefault(expected.head.sequence, []).append(expected)
        return of_chain

    def of(self, chain: str) -> OfChain:
        """What is expected of a chain."""
        return self._chains.get(chain, {})

    def lost(self) -> Iterator[Expected]:
        """Those that have not been found."""
        for of_chain in self._chains.values():
            for of_sequence in of_chain.values():
                yield from (expected for expected in of_sequence if not expected.is_found)

    def look_again(self, opener: Opener, records: Iterable[Record]) -> None:
        """Find some among records that are read apart. No more are added then."""
        if self._by_key is None:
            self._by_key = self._lost_by_key()
        for record in records:
            of_chain = self._by_key.get(record.key or b"")
            if of_chain is None or record.value is None:
                continue
            for digits, expected in of_chain:
                # Quick, and seldom so. Whoever spells digits with escapes is not found, which
                # is a false alarm at the worst.
                if digits in record.value and _is(opener, record.value, expected.head):
                    expected.is_found = True

    def _lost_by_key(self) -> dict[bytes, list[tuple[bytes, Expected]]]:
        lost: dict[bytes, list[tuple[bytes, Expected]]] = {}
        for expected in self.lost():
            of_chain = lost.setdefault(expected.head.chain.encode(), [])
            of_chain.append((expected.head.hash.encode(), expected))
        return lost


def tick_off(of_chain: OfChain, sequence: int, sealed: SealedRecord) -> None:
    """Note that this record was seen at this sequence of its chain."""
    for expected in of_chain.get(sequence, ()):
        if expected.head.hash == sealed.hash:
            expected.is_found = True


def _is(opener: Opener, value: bytes, head: Head) -> bool:
    """Whether a record has this hash, which is of its chain and sequence, too."""
    try:
        sealed, _ = opener.open(value)
    except DocumentError:
        return False
    return sealed.hash == head.hash
