"""The real matcher, driven as a worker drives it, and its matches in the naive model's words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import engine.plates.likeness
from engine.documents.fields import ALTERNATES_HEADER
from engine.documents.model import Match
from engine.documents.purposes import Purpose, Purposes
from engine.kafka.raw_fetcher import parse
from engine.matching.lists import ControlKind, ControlRecord, Lists, Phase
from engine.matching.matcher import Matcher
from engine.matching.outcome import ApplyChanges, Outcome
from engine.matching.suppression import Suppression
from engine.plates.misreads import Misreads
from engine.plates.normal_form import normalize
from tests.fakes.documents import as_bytes
from tests.fakes.record_batches import NONE, Sent, batch_bytes, raw_batch, raw_fetch
from tests.models.naive import Document, Likeness, Matched

#: One known character is enough for the first of them, for the second it takes four.
PURPOSES = Purposes(
    [
        Purpose("stolen_vehicle", "Any plate", known_characters_floor=1),
        Purpose("missing_person", "Four characters", known_characters_floor=4),
    ]
)
FLOORS = {"stolen_vehicle": 1}
MISREADS = Misreads.load()
#: A header that the scanner leaves to aiokafka's parser, so that the batch goes the slow way.
ODD_HEADERS = (("ключ", b""),)


class Read(NamedTuple):
    """A read as an upstream sends it. `headers` are the values of those that name alternates."""

    document: Document
    key: bytes | None
    headers: tuple[bytes, ...] = ()

    def sent(self, *, arrived_ms: int, is_odd: bool = False) -> Sent:
        """Its record; one with an odd header, where it is to go the slow way."""
        headers = tuple((ALTERNATES_HEADER, value) for value in self.headers)
        headers += ODD_HEADERS if is_odd else ()
        return Sent(self.key, as_bytes(self.document), headers, arrived_ms)


def keyed(document: Document, headers: tuple[bytes, ...] = ()) -> Read:
    """A read with the key that it ought to have."""
    return Read(document, normalize(document["plate"]).encode(), headers)


class RealMatcher:
    """A matcher, its lists and its suppression; control records and reads get their offsets."""

    def __init__(self, suppression: Suppression | None = None) -> None:
        self.lists = Lists(PURPOSES, MISREADS)
        self.suppression = Suppression() if suppression is None else suppression
        self.matcher = Matcher(self.lists, 0, parse, self.suppression)
        #: Of the next read. Reads are numbered throughout, whatever their partition.
        self.next_offset = 0

    def put(
        self, offset: int, key: str, entry: Document | None, now_ms: int, *, staged: bool = False
    ) -> None:
        """A record of the hot list topic; None for a tombstone."""
        phase = Phase.STAGED if staged else Phase.FOLLOWING
        self._apply(ControlKind.ENTRY, offset, key, entry, now_ms, phase)

    def put_policy(self, offset: int, key: str, policy: Document | None, now_ms: int) -> None:
        """A record of the policy topic; None for a tombstone."""
        phase = Phase.STAGED if self.lists.index.is_staging else Phase.FOLLOWING
        self._apply(ControlKind.POLICY, offset, key, policy, now_ms, phase)

    def _apply(
        self,
        kind: ControlKind,
        offset: int,
        key: str,
        document: Document | None,
        now_ms: int,
        phase: Phase,
    ) -> None:
        value = None if document is None else as_bytes(document)
        record = ControlRecord(kind, 0, offset, now_ms, key.encode(), value)
        self.lists.apply([record], now_ms, phase)

    def read(
        self,
        reads: Sequence[Read],
        now_ms: int,
        *,
        partition: int = 0,
        codec: int = NONE,
        is_odd: bool = False,
    ) -> Outcome:
        """One batch of reads, in one fetch."""
        first, self.next_offset = self.next_offset, self.next_offset + len(reads)
        return self.fetch([(codec, reads)], now_ms, partition, first, is_odd=is_odd)

    def fetch(
        self,
        batches: Iterable[tuple[int, Sequence[Read]]],
        now_ms: int,
        partition: int,
        first_offset: int,
        *,
        is_odd: bool = False,
        apply_changes: ApplyChanges = lambda _: None,
    ) -> Outcome:
        """Batches, each with its codec, in one fetch from a place in a partition. Those of another
        codec than the batch before are a group of their own."""
        offset = first_offset
        raw = []
        for codec, reads in batches:
            sent = [read.sent(arrived_ms=now_ms, is_odd=is_odd) for read in reads]
            raw.append(raw_batch(batch_bytes(sent, base_offset=offset, codec=codec)))
            offset += len(sent)
        whole = raw_fetch(*raw, partition=partition)
        return self.matcher.process(whole, now_ms, apply_changes=apply_changes)


def matched(outcome: Outcome) -> list[Matched]:
    """The matches of an outcome in the naive model's words."""
    return [as_matched(found.match) for found in outcome.matches]


def as_matched(match: Match) -> Matched:
    """A match in the naive model's words."""
    [check] = [check for check in match.verification.checks if check.check == "plate"]
    misread = check.misread
    likeness = Likeness(
        match.match_type,
        tuple(check.look_alikes or ()),
        None if misread is None else (misread.kind, misread.position),
    )
    assert check.positions == positions(likeness)
    alternate = match.alternate
    return Matched(
        match.match_id,
        match.entry.entry_id,
        match.read.read_id,
        likeness,
        None if alternate is None else (alternate.plate, alternate.confidence),
        match.suppressed,
    )


def plain(like: engine.plates.likeness.Likeness) -> Likeness:
    """A likeness in the naive model's words."""
    misread = like.misread
    at = None if misread is None else (misread.kind, misread.position)
    return Likeness(like.match_type, like.look_alikes, at)


def positions(likeness: Likeness) -> tuple[int, ...]:
    """Where the read plate differs from the listed one, in ascending order."""
    wrong = () if likeness.misread is None else (likeness.misread[1],)
    return tuple(sorted({*likeness.look_alikes, *wrong}))


def ordered(found: Sequence[Matched]) -> list[Matched]:
    """Matches in an order of their own: that of a read's matches is nobody's promise."""
    return sorted(found, key=lambda match: (match.read_id, match.entry_id))
