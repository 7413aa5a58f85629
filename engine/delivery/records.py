"""The records that a worker produces: matches, rejects, and audit records of matches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, Protocol, overload

import msgspec

from engine.audit.chain import AuditedEvent
from engine.audit.written_events import WrittenEvents
from engine.delivery.match_columns import match_columns
from engine.documents.codec import encode
from engine.documents.model import Reject
from engine.in_parts import InParts, parts_of
from engine.kafka.topics import Topics
from engine.matching.outcome import FoundMatch, Outcome
from engine.matching.written_matches import AUDIT_END, ID_BYTES, VALUE_END, WrittenMatches
from engine.wire.record_columns import SomeRecords, all_of, by_key
from engine.wire.record_encoder import (
    NO_HEADERS,
    WritableRecord,
    written_header,
    written_length,
    written_text,
)
from engine.wire.trace_context import TraceContext

#: How many headers a match without a trace has, and the first of them, around the texts that each
#: match has of its own.
_HEADERS: Final = 7
_TO_ID: Final = (
    written_header("content-type", b"application/json")
    + written_header("ce_specversion", b"1.0")
    + written_text("ce_id")
)
_FROM_FIRST_TO_ID: Final = written_length(_HEADERS) + _TO_ID
_TO_TIME: Final = (
    written_header("ce_source", b"/hotlist-engine")
    + written_header("ce_type", b"lpr.match.v1")
    + written_text("ce_time")
)
_TO_SUBJECT: Final = written_text("ce_subject")
_ID_LENGTH: Final = written_length(ID_BYTES)


@lru_cache(maxsize=1)  # all matches of a fetch have one time
def _from_id_to_subject(matched_at: str) -> bytes:
    return _TO_TIME + written_text(matched_at) + _TO_SUBJECT


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A record to produce, its headers written."""

    topic: str
    key: bytes
    value: bytes
    headers: bytes = NO_HEADERS


class ProducerRecord(WritableRecord, Protocol):
    """A record to produce: an Outgoing, or one without a value, a tombstone."""

    @property
    def topic(self) -> str: ...


class WrittenRecords(Sequence[Outgoing]):
    """Records of one topic that are written in arrays already, as columns."""

    def __init__(self, topic: str, some: SomeRecords) -> None:
        self.topic: Final = topic
        self.some: Final = some

    def __len__(self) -> int:
        return len(self.some.numbers)

    @overload
    def __getitem__(self, at: int) -> Outgoing: ...
    @overload
    def __getitem__(self, at: slice) -> WrittenRecords: ...
    def __getitem__(self, at: int | slice) -> Outgoing | WrittenRecords:
        columns, numbers = self.some
        if isinstance(at, slice):
            return WrittenRecords(self.topic, SomeRecords(columns, numbers[at]))
        key, value, headers = columns.record(int(numbers[at]))
        return Outgoing(self.topic, key, value, headers)

    def by_partition(self, partitions: int) -> Iterator[WrittenRecords]:
        """Yield for each of so many partitions the records whose keys belong there."""
        for numbers in by_key(self.some, partitions):
            yield WrittenRecords(self.topic, SomeRecords(self.some.columns, numbers))


def match_record(topic: str, found: FoundMatch) -> Outgoing:
    """A match event, with its CloudEvents 1.0 attributes as headers (Kafka binary binding).

    The headers hold its trace twice: in the form that tracing libraries use on Kafka, and as an
    attribute of the event (CloudEvents' extension for distributed tracing). The attribute remains
    if a consumer forwards the event by another protocol.
    """
    key, match_id, first, trace = found.key, found.match_id.encode(), _FROM_FIRST_TO_ID, b""
    if found.trace is not None:
        of_trace = _trace_headers(found.trace)
        first, trace = written_length(_HEADERS + len(of_trace)) + _TO_ID, b"".join(of_trace)
    headers = (
        *(first, written_length(len(match_id)), match_id, _from_id_to_subject(found.matched_at)),
        *(written_length(len(key)), key, trace),
    )
    return Outgoing(topic, key, found.value, b"".join(headers))


def _trace_headers(trace: TraceContext) -> list[bytes]:
    return [
        written_header(each, value)
        for name, value in trace.headers()
        for each in (name, f"ce_{name}")
    ]


def reject_record(topics: Topics, reject: Reject) -> Outgoing:
    """A pointer to a bad record."""
    key = f"{reject.topic}/{reject.partition}/{reject.offset}"
    return Outgoing(topics.rejects, key.encode(), encode(reject))


def match_records(topic: str, matches: Sequence[FoundMatch]) -> Sequence[Outgoing]:
    """Return the records of matches; of those that compiled code has written no objects are made
    here."""
    if isinstance(matches, WrittenMatches):
        before_key = _from_id_to_subject(matches.matched_at)
        columns = match_columns(matches, _FROM_FIRST_TO_ID + _ID_LENGTH, before_key)
        return WrittenRecords(topic, all_of(columns))
    return [match_record(topic, found) for found in matches]


def records_of(topics: Topics, outcome: Outcome) -> InParts[Outgoing]:
    """The records of an outcome's matches and rejects."""
    matches = (match_records(topics.matches, part) for part in parts_of(outcome.matches))
    return InParts((*matches, [reject_record(topics, reject) for reject in outcome.rejects]))


def match_events(outcome: Outcome) -> InParts[AuditedEvent]:
    """Return the audit events of an outcome's matches."""
    return InParts(_events_of(part, outcome.at_ms) for part in parts_of(outcome.matches))


def _events_of(matches: Sequence[FoundMatch], at_ms: int) -> Sequence[AuditedEvent]:
    if isinstance(matches, WrittenMatches):
        return WrittenEvents("match", at_ms, matches.data, matches.rows[:, [VALUE_END, AUDIT_END]])
    return [AuditedEvent("match", at_ms, found.audit) for found in matches]
