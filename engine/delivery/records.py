"""The records that a worker produces: matches, rejects, and audit records of matches."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Protocol

import msgspec

from engine.audit.chain import AuditedEvent
from engine.documents.codec import encode
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


def records_of(topics: Topics, outcome: Outcome) -> list[Outgoing]:
    """The records of an outcome's matches and rejects."""
    topic = topics.matches
    return [match_record(topic, found) for found in outcome.matches] + [
        reject_record(topics, reject) for reject in outcome.rejects
    ]


def match_events(outcome: Outcome) -> list[AuditedEvent]:
    """Return the audit events of an outcome's matches."""
    at_ms = outcome.at_ms
    return [AuditedEvent("match", at_ms, found.audit) for found in outcome.matches]
