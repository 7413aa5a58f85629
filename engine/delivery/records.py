"""The records that a worker produces: matches, rejects, and audit records of matches."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Protocol

import msgspec

from engine.documents.codec import encode
from engine.documents.fields import AuditEvent
from engine.documents.model import Reject
from engine.kafka.topics import Topics
from engine.matching.outcome import FoundMatch, Outcome
from engine.wire.record_encoder import (
    NO_HEADERS,
    WritableRecord,
    written_header,
    written_length,
    written_text,
)
from engine.wire.trace_context import TraceContext

#: What stands in a match's headers around the texts that each match has of its own.
_TO_ID: Final = (
    written_header("content-type", b"application/json")
    + written_header("ce_specversion", b"1.0")
    + written_text("ce_id")
)
_TO_TIME: Final = (
    written_header("ce_source", b"/hotlist-engine")
    + written_header("ce_type", b"lpr.match.v1")
    + written_text("ce_time")
)
_TO_SUBJECT: Final = written_text("ce_subject")
_HEADERS: Final = 7
#: All matches of a fetch have one time.
_written_time = lru_cache(maxsize=1)(written_text)


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


def match_record(topics: Topics, found: FoundMatch) -> Outgoing:
    """A match event, with its CloudEvents 1.0 attributes as headers (Kafka binary binding).

    The headers hold its trace twice: in the form that tracing libraries use on Kafka, and as an
    attribute of the event (CloudEvents' extension for distributed tracing). The attribute remains
    if a consumer forwards the event by another protocol.
    """
    entry_id, match_id = found.entry_id.encode(), found.match_id.encode()
    parts = (
        _TO_ID,
        written_length(len(match_id)),
        match_id,
        _TO_TIME,
        _written_time(found.matched_at),
        _TO_SUBJECT,
        written_length(len(entry_id)),
        entry_id,
    )
    trace = [] if found.trace is None else _trace_headers(found.trace)
    headers = b"".join((written_length(_HEADERS + len(trace)), *parts, *trace))
    return Outgoing(topics.matches, entry_id, found.value, headers)


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


class MatchEvent(msgspec.Struct, frozen=True, gc=False):
    """The audit event of a match, its fields as canonical JSON."""

    event: AuditEvent
    at_ms: int
    fields: bytes


def records_of(topics: Topics, outcome: Outcome) -> list[Outgoing]:
    """The records of an outcome's matches and rejects."""
    return [match_record(topics, found) for found in outcome.matches] + [
        reject_record(topics, reject) for reject in outcome.rejects
    ]


def match_events(outcome: Outcome) -> list[MatchEvent]:
    """Return the audit events of an outcome's matches."""
    at_ms = outcome.at_ms
    return [MatchEvent("match", at_ms, found.audit) for found in outcome.matches]
