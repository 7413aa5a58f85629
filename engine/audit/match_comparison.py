"""Compares the matches topic with the audit: each match audited, each audited match there.

A match is compared by its id and by everything that the audit records of it. So a match that was
added, removed or edited is found, except for what the audit never holds: the read with its plate
and place. A match may be on the topic twice, and audited twice with other counts, after a crash.

An audited match may be missing for three reasons that are not problems: the topic's retention has
removed it, it is still on its way, or (with at-least-once delivery) its worker was killed between
the audit and the match, and the entry changed before the read was processed again. The first two
are left out by time, the third is part of the message.

Memory is bounded: 24 bytes for each record of the part that is compared. The caller reads both
topics once for each part; the parts divide the matches by a hash of their id. Pure.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from engine.audit.chain import Opener
from engine.audit.problems import Place
from engine.clock import parse_time
from engine.documents.codec import read_match
from engine.documents.model import Match
from engine.errors import DocumentError
from engine.wire.record_batch import Record

Difference = Literal["not_audited", "edited", "not_delivered", "not_a_match"]

_MEANING: Final[dict[Difference, str]] = {
    "not_audited": "on the matches topic and not in the audit: added, or the record was removed",
    "edited": "other than its audit record says: one of the two was edited",
    "not_delivered": (
        "audited and not on the matches topic: removed, or the worker was killed before it was "
        "delivered"
    ),
    "not_a_match": "on the matches topic and not a match",
}
#: The bits of a place that hold its offset; the others hold the partition.
_OFFSET_BITS: Final = 44
_OFFSET_MASK: Final = (1 << _OFFSET_BITS) - 1

Numbers = npt.NDArray[np.uint64]
#: What the audit records of a match.
FieldsOf = Callable[[Match], Mapping[str, str | int]]


@dataclass(frozen=True)
class Discrepancy:
    """One kind of difference: how many there are, and the place of the first."""

    kind: Difference
    count: int
    first: Place

    def __str__(self) -> str:
        meaning = _MEANING[self.kind]
        if self.count == 1:
            return f"{self.first}: {meaning}"
        return f"{self.first}: {meaning}; the first of {self.count:,}"


class DueTimes(NamedTuple):
    """The times in which an audited match must be on the matches topic, in ms since 1970: recorded
    from `from_ms` (retention may have removed older ones) to before `to_ms` (newer ones may be on
    their way)."""

    from_ms: int
    to_ms: int


class _Kept:
    """Hashes of the ids, hashes of the content, and places."""

    def __init__(self) -> None:
        self.ids = array("Q")
        self.contents = array("Q")
        self.places = array("Q")

    def add(self, identity: int, content: int, partition: int, offset: int) -> None:
        self.ids.append(identity)
        self.contents.append(content)
        self.places.append(partition << _OFFSET_BITS | offset)


class MatchComparison:
    """One part of the comparison; see the module. `fields_of` gives what the audit records."""

    def __init__(
        self, topics: tuple[str, str], fields_of: FieldsOf, window: DueTimes, part: int, parts: int
    ) -> None:
        self._matches_topic, self._audit_topic = topics
        self._fields_of = fields_of
        self._window = window
        self._part = part
        self._parts = parts
        self._opener = Opener()
        self._matches = _Kept()
        self._audited = _Kept()
        #: Positions in `_audited` of the records whose match must be there.
        self._due = array("Q")
        self._not_matches = array("Q")
        self.matches = 0

    def take_matches(self, partition: int, records: Iterable[Record]) -> None:
        """Take records of the matches topic, in any order."""
        for record in records:
            try:
                match = read_match(record.value or b"")
            except DocumentError:
                if self._part == 0:
                    self._not_matches.append(partition << _OFFSET_BITS | record.offset)
                continue
            fields = self._fields_of(match)
            identity = _hash(match.match_id)
            if identity % self._parts == self._part:
                self.matches += 1
                content = _hash(_content(fields, fields))
                self._matches.add(identity, content, partition, record.offset)

    def unreadable(self, partition: int, offset: int, reason: str) -> None:
        """Count a batch of the matches topic that cannot be read."""
        if self._part == 0:
            self._not_matches.append(partition << _OFFSET_BITS | offset)

    def take_audit(self, partition: int, records: Iterable[Record]) -> None:
        """Take records of the audit topic, in any order. The verifier reports those that are not
        audit records or were changed; here they do not count."""
        for record in records:
            try:
                sealed, true_hash = self._opener.open(record.value or b"")
            except DocumentError:
                continue
            if sealed.event != "match" or sealed.hash != true_hash:
                continue
            identity = _hash(str(sealed.fields.get("match_id", "")))
            if identity % self._parts != self._part:
                continue
            if self._window.from_ms <= parse_time(sealed.recorded_at) < self._window.to_ms:
                self._due.append(len(self._audited.ids))
            content = _hash(_content(sealed.fields, _AUDITED))
            self._audited.add(identity, content, partition, record.offset)

    def discrepancies(self) -> list[Discrepancy]:
        """Return one for each kind of difference in this part."""
        known, audited = _numbers(self._matches.ids), _numbers(self._audited.ids)
        is_known = np.isin(known, audited)
        is_same = np.isin(_numbers(self._matches.contents), _numbers(self._audited.contents))
        due = _numbers(self._due).astype(np.int64)
        is_missing = ~np.isin(audited[due], known)
        places = _numbers(self._matches.places)
        found: dict[Difference, tuple[Numbers, str]] = {
            "not_audited": (places[~is_known], self._matches_topic),
            "edited": (places[is_known & ~is_same], self._matches_topic),
            "not_delivered": (
                _numbers(self._audited.places)[due][is_missing],
                self._audit_topic,
            ),
            "not_a_match": (_numbers(self._not_matches), self._matches_topic),
        }
        return [
            Discrepancy(kind, len(at), _place(topic, int(at.min())))
            for kind, (at, topic) in found.items()
            if len(at)
        ]


def sum_up(parts: Iterable[Iterable[Discrepancy]]) -> list[Discrepancy]:
    """Return one for each kind of difference in all parts."""
    sums: dict[Difference, Discrepancy] = {}
    for part in parts:
        for each in part:
            known = sums.get(each.kind, Discrepancy(each.kind, 0, each.first))
            first = min(known.first, each.first)
            sums[each.kind] = Discrepancy(each.kind, known.count + each.count, first)
    return [sums[kind] for kind in _MEANING if kind in sums]


#: The fields that the audit records of a match, in the order of their names.
_AUDITED: Final = (
    "agency",
    "authority",
    "entry_id",
    "entry_revision",
    "list_id",
    "list_revision",
    "match_id",
    "match_type",
    "policy_revision",
    "purpose",
    "source",
    "suppressed",
)


def _content(fields: Mapping[str, str | int], names: Iterable[str]) -> str:
    return "\x1f".join(f"{name}={fields.get(name, '')}" for name in sorted(names))


def _hash(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode())


def _numbers(kept: array[int]) -> Numbers:
    return np.frombuffer(kept, dtype=np.uint64) if kept else np.zeros(0, dtype=np.uint64)


def _place(topic: str, packed: int) -> Place:
    return Place(topic, packed >> _OFFSET_BITS, packed & _OFFSET_MASK)
