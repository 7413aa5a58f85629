"""The documents of the contract as typed Python, equal to `schemas/`.

`schemas/*.json` are the source of truth. The Structs below restate them, and tests compare the two
in both directions. Input documents (Detection, Entry, Policy) may have unknown fields, which are
ignored; output documents (Match, Reject, AuditRecord) may not. Times stay strings, as received;
`*_ms` properties parse them.

This module does no input or output. The normal form of plates and the rules for entries are
elsewhere (`normal_form`, `admission`), and `codec` reads and writes JSON.

Long because the contract's six documents and the types that they share are defined here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from engine import limits
from engine.clock import parse_read_time, parse_time
from engine.documents.fields import AUDIT_EVENTS as AUDIT_EVENTS
from engine.documents.fields import (
    INTEGER_MAX,
    AuditEvent,
    AuthorityKind,
    CheckName,
    CheckResult,
    Code,
    Confidence,
    Count,
    Day,
    DroppableField,
    EndOfWindow,
    EntryId,
    Hash,
    ImageKind,
    Integer,
    Latitude,
    ListedPlate,
    ListingHash,
    Longitude,
    MatchId,
    Name,
    Partition,
    PlateText,
    ReadId,
    ReadTime,
    Region,
    StartOfWindow,
    Time,
    TimeZone,
    Trait,
)
from engine.documents.fields import REJECT_REASONS as REJECT_REASONS
from engine.errors import RejectReason
from engine.plates.likeness import MatchType, MisreadKind


class _Document(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The common settings. Documents have no cycles, so garbage collection need not track them."""


class Alternate(_Document, frozen=True, kw_only=True):
    """Another reading of the same plate."""

    plate: PlateText
    confidence: Confidence | None = None


class Location(_Document, frozen=True, kw_only=True):
    """A place, in degrees of WGS 84."""

    lat: Latitude
    lon: Longitude


class Vehicle(_Document, frozen=True, kw_only=True):
    """What a vehicle looks like, in the sender's words."""

    make: Trait | None = None
    model: Trait | None = None
    color: Trait | None = None
    type: Trait | None = None


class Image(_Document, frozen=True, kw_only=True):
    """A reference to a picture."""

    kind: ImageKind
    uri: Annotated[str, Meta(min_length=1, max_length=2048)]


class Detection(_Document, frozen=True, kw_only=True):
    """One licence plate seen by one camera at one time."""

    read_id: ReadId
    plate: PlateText
    captured_at: ReadTime
    source: Name
    camera: Name
    region: Region | None = None
    confidence: Confidence | None = None
    alternates: Annotated[tuple[Alternate, ...], Meta(max_length=16)] | None = None
    location: Location | None = None
    heading: Annotated[float, Meta(ge=0, le=360)] | None = None
    vehicle: Vehicle | None = None
    images: Annotated[tuple[Image, ...], Meta(max_length=16)] | None = None

    @property
    def captured_ms(self) -> int:
        """`captured_at` in milliseconds since 1970."""
        return parse_read_time(self.captured_at)


class Authority(_Document, frozen=True, kw_only=True):
    """An agency's authority for an entry: its kind, and the reference under which it is on file."""

    kind: AuthorityKind
    reference: Name


class Area(_Document, frozen=True, kw_only=True):
    """A circle: its centre in degrees of WGS 84, its radius in metres."""

    lat: Latitude
    lon: Longitude
    radius_m: Annotated[float, Meta(gt=0, le=1_000_000)]


class Window(_Document, frozen=True, kw_only=True):
    """A window on each of these days, from `start` to before `end`.

    If `end` is not after `start`, the window ends at that time on the next day.
    """

    days: Annotated[tuple[Day, ...], Meta(min_length=1, max_length=7)]
    start: StartOfWindow
    end: EndOfWindow


class Hours(_Document, frozen=True, kw_only=True):
    """Windows of the week, in the local time of a time zone."""

    time_zone: TimeZone
    windows: Annotated[tuple[Window, ...], Meta(min_length=1, max_length=28)]


# The entries of one import share their times, and each time is parsed several times while a batch
# of control records is applied. The times of reads go through `parse_time` directly, because
# nothing of a read may be kept.
entry_time_ms = lru_cache(maxsize=4 * limits.CONTROL_RECORDS_A_STEP)(parse_time)


class Entry(_Document, frozen=True, kw_only=True):
    """One plate or partial plate on a hot list; `engine.documents.admission` has the rules.

    An absent field stays absent, so that a match shows the entry as it was listed. DEFAULTS has the
    values that then apply.
    """

    DEFAULTS: ClassVar[dict[str, bool | int]] = {
        "confusables": False,
        "distance": 0,
        "priority": 3,
        "suppress_s": 60,
    }

    entry_id: EntryId
    list_id: Name
    plate: ListedPlate
    agency: Name
    purpose: Code
    authority: Authority
    requested_by: Name
    created_at: Time
    expires_at: Time
    starts_at: Time | None = None
    region: Region | None = None
    confusables: bool | None = None
    distance: Annotated[int, Meta(ge=0, le=1)] | None = None
    vehicle: Vehicle | None = None
    priority: Annotated[int, Meta(ge=1, le=5)] | None = None
    instructions: Annotated[str, Meta(max_length=2000)] | None = None
    area: Annotated[tuple[Area, ...], Meta(min_length=1, max_length=64)] | None = None
    hours: Hours | None = None
    suppress_s: Annotated[int, Meta(ge=0, le=86_400)] | None = None

    @property
    def created_ms(self) -> int:
        """`created_at` in milliseconds since 1970."""
        return entry_time_ms(self.created_at)

    @property
    def expires_ms(self) -> int:
        """`expires_at` in milliseconds since 1970."""
        return entry_time_ms(self.expires_at)

    @property
    def starts_ms(self) -> int | None:
        """`starts_at` in milliseconds since 1970, or None if it is absent."""
        return None if self.starts_at is None else entry_time_ms(self.starts_at)

    @property
    def priority_in_force(self) -> int:
        """`priority`, or its default if it is absent."""
        return self.DEFAULTS["priority"] if self.priority is None else self.priority


class Rule(_Document, frozen=True, kw_only=True):
    """A rule of a policy: the agencies that may match, for these purposes; `"*"` means all."""

    agencies: Literal["*"] | Annotated[tuple[Name, ...], Meta(max_length=1000)]
    purposes: Literal["*"] | Annotated[tuple[Code, ...], Meta(max_length=1000)]


class Policy(_Document, frozen=True, kw_only=True):
    """A source's allow-list. Without rules, nothing matches on its reads."""

    source: Name
    rules: Annotated[tuple[Rule, ...], Meta(max_length=1000)]
    updated_by: Name
    updated_at: Time
    regions: Annotated[tuple[Region, ...], Meta(min_length=1, max_length=1000)] | None = None

    @property
    def updated_ms(self) -> int:
        """`updated_at` in milliseconds since 1970."""
        return parse_time(self.updated_at)


class Misreading(_Document, frozen=True, kw_only=True):
    """One character that differs from the listed one and is no look-alike of it."""

    kind: MisreadKind
    position: Annotated[int, Meta(ge=0, le=15)]


_Positions = Annotated[tuple[Annotated[int, Meta(ge=0, le=15)], ...], Meta(max_length=16)]


class Check(_Document, frozen=True, kw_only=True):
    """One thing that a person must compare before acting on a match."""

    check: CheckName
    result: CheckResult
    text: Annotated[str, Meta(min_length=1, max_length=500)]
    read: Annotated[str, Meta(max_length=300)] | None = None
    listed: Annotated[str, Meta(max_length=300)] | None = None
    positions: _Positions | None = None
    look_alikes: _Positions | None = None
    misread: Misreading | None = None
    field: DroppableField | None = None
    age_s: Count | None = None


class Verification(_Document, frozen=True, kw_only=True):
    """What a person must compare before acting on a match, because a match is only a lead."""

    required: Literal[True]
    checks: Annotated[tuple[Check, ...], Meta(min_length=1, max_length=16)]


class PolicyRef(_Document, frozen=True, kw_only=True):
    """The policy that allowed a match: its source, and its record's offset."""

    source: Name
    revision: Count


class Match(_Document, frozen=True, kw_only=True):
    """A read that an entry matches, allowed by the policy of the read's source."""

    match_id: MatchId
    matched_at: Time
    match_type: MatchType
    confidence: Confidence
    entry: Entry
    entry_revision: Count
    read: Detection
    verification: Verification
    suppressed: Count
    policy: PolicyRef
    list_revision: Count
    alternate: Alternate | None = None


class Reject(_Document, frozen=True, kw_only=True):
    """A pointer to a bad record: its position and the reason, never its content."""

    topic: Annotated[str, Meta(min_length=1, max_length=249)]
    partition: Partition
    offset: Count
    reason: RejectReason
    rejected_at: Time
    last_offset: Count | None = None
    field: Annotated[str, Meta(max_length=256)] | None = None
    rule: Annotated[str, Meta(max_length=256)] | None = None


class AuditRecord(_Document, frozen=True, kw_only=True):
    """One link of a hash chain."""

    chain: Name
    sequence: Count
    recorded_at: Time
    event: AuditEvent
    fields: Annotated[
        dict[Code, Annotated[str, Meta(max_length=2000)] | Integer], Meta(max_length=32)
    ]
    previous_hash: Hash
    hash: Hash


class RecentMatch(_Document, frozen=True):
    """A match in a SuppressionState.

    It has its read's own time and offset, the number of suppressed reads that the match reports,
    the time when its read reached the topic, and the match's type and confidence. Version 0.1 wrote
    neither of these two.
    """

    captured_ms: Integer
    offset: Annotated[int, Meta(ge=-1, le=INTEGER_MAX)]
    suppressed: Count
    arrived_ms: Integer
    match_type: MatchType | None = None
    confidence: Confidence | None = None


class SuppressionState(_Document, frozen=True, kw_only=True):
    """The suppression state of one key in one partition; used by the engine only.

    Version 0.1 wrote neither `source` nor `listing`.
    """

    entry_id: EntryId
    matches: Annotated[tuple[RecentMatch, ...], Meta(max_length=limits.SUPPRESSION_MATCHES_MOST)]
    suppress_s: Annotated[int, Meta(ge=0, le=86_400)]
    offset: Annotated[int, Meta(ge=-1, le=INTEGER_MAX)]
    suppressed: Count
    source: Name | None = None
    listing: ListingHash | None = None
    list_id: Name | None = None
    agency: Name | None = None
    purpose: Code | None = None
    authority: Authority | None = None


Document = Detection | Entry | Policy | Match | Reject | AuditRecord | SuppressionState
