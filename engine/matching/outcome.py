"""What a fetch of a partition, or control records, came to: matches, rejects, changes and counts.

Plain data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from engine.audit.added_entries import AddedEntries, Waiting
from engine.audit.changes import Change
from engine.documents.codec import read_match
from engine.documents.model import Match, Reject
from engine.matching.written_states import SuppressionRecord
from engine.plates.likeness import MatchType
from engine.wire.trace_context import TraceContext


class FoundMatch(msgspec.Struct, frozen=True, gc=False):
    """A match to deliver, written already: what its records and its counts are made of.

    `value` is the match's JSON, and `key` the id of its entry in UTF-8. `audit` is what the audit
    records of it, as canonical JSON (RFC 8785). `timestamp_ms` is the Kafka timestamp of its read,
    -1 if it has none, and `trace` the trace that the read belongs to.
    """

    value: bytes
    match_id: str
    matched_at: str
    match_type: MatchType
    key: bytes
    purpose: str
    audit: bytes
    timestamp_ms: int
    trace: TraceContext | None = None

    @property
    def match(self) -> Match:
        """The match, decoded from its value each time."""
        return read_match(self.value)


@dataclass(slots=True)
class Outcome:
    """The outcome of a partition's fetch, or of a part of one, and its time.

    Counters are by reason. `denied_by_source` counts denials by policies by the read's source too,
    and `sampled_by_source` the sound reads in the sample of key checks. A source without a policy
    is None in both: only a read has given its name. `dropped_fields` counts the
    opened reads from which a field was dropped, by the field, and `producer_faults` what their
    producers got wrong (`documents.producer_faults`). `suppressed` counts suppressed
    matches, and `suppression` holds the changes of the suppression state.
    """

    at_ms: int = 0
    partition: int = 0
    reads: int = 0
    matches: Sequence[FoundMatch] = field(default_factory=list)
    suppressed: int = 0
    suppression: Sequence[SuppressionRecord] = ()
    rejects: list[Reject] = field(default_factory=list)
    denied: Counter[str] = field(default_factory=Counter)
    denied_by_source: Counter[tuple[str | None, str]] = field(default_factory=Counter)
    sampled_by_source: Counter[str | None] = field(default_factory=Counter)
    odd_keys: Counter[str] = field(default_factory=Counter)
    dropped_fields: Counter[str] = field(default_factory=Counter)
    producer_faults: Counter[str] = field(default_factory=Counter)
    values_opened: int = 0
    batches_parsed_slowly: int = 0
    #: The offset at which a fetch continues that is too much for one outcome; None if it is done.
    next_offset: int | None = None
    #: The schema that must be fetched before the fetch continues there; None if none is missing.
    missing_schema: int | None = None


#: Takes a part of the outcome of a read with very many matches; returns when there is room for
#: more.
HandOver = Callable[[Outcome], None]
#: Makes the changes of the lists that wait, while a fetch is matched, after a call of what it is
#: given; returns the time afterwards, None if there were none.
ApplyChanges = Callable[[Callable[[], None]], int | None]


@dataclass(slots=True)
class Applied:
    """What control records came to.

    `refused` counts by reason. `changes` are for the audit, in the order of the records, without
    those of the `added` entries of a load, each with the number of the changes before it.
    `extended` counts those among them that extended an entry beyond its term without a new
    authority.
    """

    changed: int = 0
    removed: int = 0
    extended: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    changes: list[Change] = field(default_factory=list)
    added: list[tuple[int, AddedEntries]] = field(default_factory=list)

    @property
    def for_audit(self) -> list[Waiting]:
        """All changes, in the order of the records."""
        # Not by offset: an expiry has none, and comes before the record that found it.
        waiting: list[Waiting] = []
        done = 0
        for before, entries in self.added:
            waiting += self.changes[done:before]
            waiting.append(entries)
            done = before
        return waiting + self.changes[done:]
