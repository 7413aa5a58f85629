"""The records that a worker produces: matches, rejects, and audit records of matches."""

from __future__ import annotations

from typing import Protocol

import msgspec
import orjson

from engine.documents.codec import encode
from engine.documents.fields import AuditEvent
from engine.documents.model import Reject
from engine.kafka.topics import Topics
from engine.matching.outcome import FoundMatch, Outcome

Headers = list[tuple[str, bytes]]


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A record to produce."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


class ProducerRecord(Protocol):
    """A record to produce: an Outgoing, or one without a value, a tombstone."""

    @property
    def topic(self) -> str: ...
    @property
    def key(self) -> bytes: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


def match_record(topics: Topics, found: FoundMatch) -> Outgoing:
    """A match event, with its CloudEvents 1.0 attributes as headers (Kafka binary binding).

    The headers hold its trace twice: in the form that tracing libraries use on Kafka, and as an
    attribute of the event (CloudEvents' extension for distributed tracing). The attribute remains
    if a consumer forwards the event by another protocol.
    """
    entry_id = found.entry_id.encode()
    headers = [
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_id", found.match_id.encode()),
        ("ce_source", b"/hotlist-engine"),
        ("ce_type", b"lpr.match.v1"),
        ("ce_time", found.matched_at.encode()),
        ("ce_subject", entry_id),
    ]
    if found.trace is not None:
        for name, value in found.trace.headers():
            headers += [(name, value), (f"ce_{name}", value)]
    return Outgoing(topics.matches, entry_id, found.value, headers)


def reject_record(topics: Topics, reject: Reject) -> Outgoing:
    """A pointer to a bad record."""
    key = f"{reject.topic}/{reject.partition}/{reject.offset}"
    return Outgoing(topics.rejects, key.encode(), encode(reject), [])


class MatchEvent(msgspec.Struct, frozen=True, gc=False):
    """The audit event of a match."""

    event: AuditEvent
    at_ms: int
    fields: dict[str, str | int]


def records_of(topics: Topics, outcome: Outcome) -> list[Outgoing]:
    """The records of an outcome's matches and rejects."""
    return [match_record(topics, found) for found in outcome.matches] + [
        reject_record(topics, reject) for reject in outcome.rejects
    ]


def match_events(outcome: Outcome) -> list[MatchEvent]:
    """Return the audit events of an outcome's matches."""
    at_ms = outcome.at_ms
    return [MatchEvent("match", at_ms, orjson.loads(found.audit)) for found in outcome.matches]
