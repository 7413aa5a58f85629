"""What the contract's oracle takes and gives: records of the topics, and what each read gives."""

from typing import NamedTuple

from tests.models.contract_admission import Document


class PolicyRecord(NamedTuple):
    """A record of the policies topic; its policy is None if it removes one."""

    source: str
    policy: Document | None
    offset: int
    timestamp_ms: int


class EntryRecord(NamedTuple):
    """A record of the hot list topic; its entry is None if it removes one."""

    entry_id: str
    entry: Document | None
    offset: int
    timestamp_ms: int


class ReadRecord(NamedTuple):
    """A valid read: its detection, its record's place and timestamp, and the worker's clock."""

    detection: Document
    partition: int
    offset: int
    timestamp_ms: int
    clock_ms: int


Event = PolicyRecord | EntryRecord | ReadRecord


class Likeness(NamedTuple):
    """How a read resembles an entry's plate; the lower the rank, the closer."""

    match_type: str
    rank: int
    confidence: float


class Listed(NamedTuple):
    """An entry that is admitted, and its revision: the offset of its record."""

    entry: Document
    revision: int


class PolicyInForce(NamedTuple):
    """A source's policy and its revision; no policy is None and -1."""

    policy: Document | None
    revision: int


class ExpectedMatch(NamedTuple):
    """A match that the contract gives, with what decides about later reads of its identity."""

    match_id: str
    read: ReadRecord
    entry: Document
    entry_revision: int
    likeness: Likeness
    policy_revision: int
    suppressed: int


class SuppressedRead(NamedTuple):
    """A read of an entry that gives no match, and the match that stands for it."""

    entry_id: str
    by: ExpectedMatch


class Outcome(NamedTuple):
    """What one read gives."""

    matches: tuple[ExpectedMatch, ...] = ()
    suppressed: tuple[SuppressedRead, ...] = ()
    denied: tuple[str, ...] = ()
