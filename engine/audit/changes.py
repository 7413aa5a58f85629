"""What changed on the lists, as audit records describe it.

A `Change` says that a control record took effect, or that an entry expired. It names the entry
or policy, who is responsible for it and, if the record says so, who made the change. It never
holds a plate, not even a listed one. One record makes one change, so topic, partition and offset
identify a change; an expiry has no record, and so the offset -1.

The audit outlives the control topics. If one is recreated, its offsets begin at 0 again, and a
revision may stand for two records; `stamped_at`, the record's time, tells their changes apart.

Knows documents, not state: the caller says whether an entry is new.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

import msgspec

from engine.clock import format_time
from engine.documents.fields import AuditEvent
from engine.documents.model import Entry, Policy
from engine.errors import DocumentError, RuleError

#: The schema's limits for a text, and for a name.
_TEXT_CHARACTERS: Final = 2000
_NAME_CHARACTERS: Final = 128
#: The last time that RFC 3339 can write; a policy's record has the time that its producer gave.
_LAST_MS: Final = 253_402_300_799_999
#: `offset` of a change without a record.
NO_RECORD: Final = -1


class ControlKind(Enum):
    """The control topic that a record is from."""

    ENTRY = "entry"
    POLICY = "policy"


class ControlRecord(NamedTuple):
    """A record of a control topic. `value` None is a tombstone."""

    kind: ControlKind
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    #: Who made the change, as the record claims.
    operator: str | None = None


class Change(NamedTuple):
    """A change as the audit describes it. `fields` are those of an audit record."""

    kind: ControlKind
    partition: int
    offset: int
    event: AuditEvent
    at_ms: int
    fields: dict[str, str | int]


def entry_put(
    record: ControlRecord,
    entry: Entry,
    now_ms: int,
    *,
    replaced: Entry | None,
    is_extended: bool,
) -> Change:
    """Describe an entry that was added, or that replaced the one with its id.

    A replaced entry's list and agency are named if they were others. `is_extended` if the entry now
    lasts beyond its term without a new authority.
    """
    fields = _entry_fields(entry)
    if replaced is not None and replaced.list_id != entry.list_id:
        fields["former_list_id"] = replaced.list_id
    if replaced is not None and replaced.agency != entry.agency:
        fields["former_agency"] = replaced.agency
    if is_extended:
        fields["extended"] = 1
    return _change(record, "entry_added" if replaced is None else "entry_changed", now_ms, fields)


def entry_added(record: ControlRecord, fields: dict[str, str | int], now_ms: int) -> Change:
    """Describe an entry that was added; `fields` are those that `entry_put` takes from an entry."""
    return _change(record, "entry_added", now_ms, fields)


def entry_removed(record: ControlRecord, removed: Entry | None, now_ms: int) -> Change:
    """Describe a tombstone; `removed` is the entry that it removed, None if there was none."""
    fields = _key_fields("entry_id", record.key) if removed is None else _entry_fields(removed)
    return _change(record, "entry_removed", now_ms, fields)


def entry_expired(entry: Entry, revision: int) -> Change:
    """Describe an entry that expired."""
    fields = _entry_fields(entry) | {"revision": revision}
    return Change(ControlKind.ENTRY, 0, NO_RECORD, "entry_expired", entry.expires_ms, fields)


def entry_refused(
    record: ControlRecord,
    error: DocumentError | RuleError,
    refused: Entry | None,
    ended_revision: int | None,
    now_ms: int,
) -> Change:
    """Describe a refused entry. `refused` is the entry, if it could be decoded;
    `ended_revision` is that of the entry which it removed, None if there was none."""
    fields = _key_fields("entry_id", record.key)
    if refused is not None and refused.entry_id == fields.get("entry_id"):
        fields |= _entry_fields(refused)
    fields |= _error_fields(error)
    if ended_revision is not None:
        fields["ended_revision"] = ended_revision
    return _change(record, "entry_refused", now_ms, fields)


def policy_set(record: ControlRecord, policy: Policy, now_ms: int) -> Change:
    """Describe a source's policy that was set."""
    fields: dict[str, str | int] = {
        "source": policy.source,
        "updated_by": policy.updated_by,
        "rules": _compact_json(policy.rules),
    }
    if policy.regions is not None:
        fields["regions"] = _compact_json(policy.regions)
    return _change(record, "policy_changed", now_ms, fields)


def policy_removed(record: ControlRecord, error: DocumentError | None, now_ms: int) -> Change:
    """Describe a policy that is gone: by a tombstone, or because of an invalid record's error."""
    fields = _key_fields("source", record.key)
    if error is None:
        fields["removed"] = 1
    else:
        fields["refused"] = error.reason
        fields |= _error_fields(error)
    return _change(record, "policy_changed", now_ms, fields)


def _change(
    record: ControlRecord, event: AuditEvent, now_ms: int, fields: dict[str, str | int]
) -> Change:
    fields["revision"] = record.offset
    if 0 <= record.timestamp_ms <= _LAST_MS:
        fields["stamped_at"] = format_time(record.timestamp_ms)
    if record.operator is not None:
        fields["operator"] = record.operator[:_NAME_CHARACTERS]
    return Change(record.kind, record.partition, record.offset, event, now_ms, fields)


def _entry_fields(entry: Entry) -> dict[str, str | int]:
    return {
        "entry_id": entry.entry_id,
        "list_id": entry.list_id,
        "agency": entry.agency,
        "purpose": entry.purpose,
        "authority": f"{entry.authority.kind} {entry.authority.reference}",
        "requested_by": entry.requested_by,
        "expires_at": entry.expires_at,
    }


def _key_fields(name: str, key: bytes | None) -> dict[str, str | int]:
    """Return a record's key under a name, if it is text."""
    try:
        text = (key or b"").decode()
    except UnicodeDecodeError:
        return {}
    return {name: text[:_NAME_CHARACTERS]} if text else {}


def _error_fields(error: DocumentError | RuleError) -> dict[str, str | int]:
    if isinstance(error, DocumentError):
        return {"field": error.field, "rule": error.rule or error.reason}
    rule = error.rule
    if error.field == "plate":
        rule = rule.partition(",")[0]  # the rest may contain the plate
    return {"field": error.field, "rule": rule[:_TEXT_CHARACTERS]}


def _compact_json(value: object) -> str:
    return msgspec.json.encode(value).decode()[:_TEXT_CHARACTERS]
