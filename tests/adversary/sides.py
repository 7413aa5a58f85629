"""The worker's matcher and the contract's oracle, given the same records in the same order.

The oracle decides identity, suppression and life cycle by itself. How a read's plate resembles a
listed one, and how probable the match is, it takes from the engine: other tests hold those.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from engine.documents.codec import decode_entry, encode
from engine.documents.model import Match
from engine.documents.purposes import Purposes
from engine.kafka.raw_fetcher import parse
from engine.matching.lists import ControlKind, ControlRecord, Lists
from engine.matching.matcher import Matcher
from engine.matching.suppression import Suppression, Unmatched
from tests.fakes.documents import NOW_MS, as_bytes, at, detection_json, entry_json, policy_json
from tests.fakes.record_batches import Sent, batch_bytes, raw_batch, raw_fetch
from tests.models.contract_admission import Document
from tests.models.contract_oracle import ContractOracle, Rules
from tests.models.contract_plates import normal_form
from tests.models.contract_records import (
    EntryRecord,
    ExpectedMatch,
    Outcome,
    PolicyRecord,
    ReadRecord,
)
from tests.models.contract_rules import MISREADS, RULES

PURPOSES = Purposes.load()


class Seen(NamedTuple):
    """A match, as either side gives it."""

    match_id: str
    entry: Document
    entry_revision: int
    match_type: str
    policy_revision: int
    suppressed: int


class Sides:
    """Both sides at one point in time; `read` compares them. Times are in seconds from NOW_MS."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.oracle = ContractOracle(rules)
        self.suppression = Suppression()
        self.matcher = Matcher(Lists(PURPOSES, MISREADS), 0, parse, self.suppression)
        self.seconds = 0.0
        self._offsets: dict[object, int] = {}
        self._named: set[str] = set()

    @property
    def now_ms(self) -> int:
        return NOW_MS + round(1000 * self.seconds)

    def policy(self, source: str, *, removed: bool = False, **fields: Any) -> int:
        """Set or remove a source's policy, by default one that allows all; return its revision."""
        policy = None if removed else policy_json(source=source, **fields)
        offset = self._control(ControlKind.POLICY, source, policy)
        self.oracle.process(PolicyRecord(source, policy, offset, self.now_ms))
        return offset

    def entry(self, entry_id: str = "E1", *, removed: bool = False, **fields: Any) -> int:
        """Put or remove an entry; return its revision."""
        entry = None if removed else {**entry_json(**fields), "entry_id": entry_id}
        return self.record(entry_id, entry)

    def record(self, key: str, entry: Document | None) -> int:
        """Put a record with this key on the hot list topic; return its offset."""
        self._named.add(key)
        offset = self._control(ControlKind.ENTRY, key, entry)
        self.oracle.process(EntryRecord(key, entry, offset, self.now_ms))
        return offset

    def read(self, seconds: float | None = None, *, partition: int = 0, **fields: Any) -> Outcome:
        """Give both sides a read, by default captured now; compare, and return what it gives.

        A read id that is not given is a new one.
        """
        offset = self._next(partition)
        captured_ms = round(1000 * (self.seconds if seconds is None else seconds))
        document = detection_json(
            **{"read_id": f"r-{partition}-{offset}", "captured_at": at(captured_ms), **fields}
        )
        return self.again(ReadRecord(document, partition, offset, self.now_ms, self.now_ms))

    def again(self, read: ReadRecord) -> Outcome:
        """Give both sides a read's record, perhaps not for the first time."""
        outcome = self.oracle.process(read)
        assert outcome is not None
        found, given = self.fetched([read]), _sorted(map(expected, outcome.matches))
        assert found == given, f"the engine gives {found} of {read}, the contract {given}"
        return outcome

    def fetched(self, reads: Sequence[ReadRecord]) -> list[Seen]:
        """Give the matcher alone consecutive reads of one partition in one fetch."""
        sent = [
            Sent(
                normal_form(read.detection["plate"]).encode(),
                as_bytes(read.detection),
                timestamp_ms=read.timestamp_ms,
            )
            for read in reads
        ]
        data = batch_bytes(sent, base_offset=reads[0].offset)
        batch = raw_batch(data, from_offset=reads[0].offset)
        outcome = self.matcher.process(raw_fetch(batch, partition=reads[0].partition), self.now_ms)
        assert not outcome.rejects
        return _sorted(seen(found.match) for found in outcome.matches)

    def tidy(self) -> list[Unmatched]:
        """Check the matcher's keys as a worker does every second; return the counts audited."""
        self.suppression.turn_to(self.now_ms)
        self.suppression.tidy(self.matcher.lists.index.listed)
        taken = self.suppression.take_unmatched()
        self.suppression.audited(taken)
        return taken

    def listed(self) -> list[str]:
        """Return the ids of the entries that the matcher holds, of those named so far."""
        index = self.matcher.lists.index
        return sorted(entry_id for entry_id in self._named if index.find(entry_id) is not None)

    def _control(self, kind: ControlKind, key: str, document: Document | None) -> int:
        offset = self._next(kind)
        value = None if document is None else as_bytes(document)
        record = ControlRecord(kind, 0, offset, self.now_ms, key.encode(), value)
        self.matcher.lists.apply([record], self.now_ms)
        return offset

    def _next(self, topic: object) -> int:
        offset = self._offsets.get(topic, 0)
        self._offsets[topic] = offset + 1
        return offset


def seen(match: Match) -> Seen:
    """What the engine's match says."""
    return Seen(
        match.match_id,
        json.loads(encode(match.entry)),
        match.entry_revision,
        match.match_type,
        match.policy.revision,
        match.suppressed,
    )


def expected(match: ExpectedMatch) -> Seen:
    """What the oracle's match says, with the entry as the engine writes it."""
    return Seen(
        match.match_id,
        json.loads(encode(decode_entry(as_bytes(match.entry)))),
        match.entry_revision,
        match.likeness.match_type,
        match.policy_revision,
        match.suppressed,
    )


def _sorted(matches: Iterable[Seen]) -> list[Seen]:
    return sorted(matches, key=lambda match: match.match_id)


def count(outcome: Outcome) -> int:
    """How many matches a read gives."""
    return len(outcome.matches)
