"""What lies on the topics, and when it was seen there: the facts that the judge looks at.

A follower of its own, which reads committed records only and reaches the broker by no network that
fails, notes every record of every topic as it comes. Times are those of the machine's monotonic
clock, in seconds.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import orjson

from engine.wire.record_batch import Record as AuditRecord
from tests.torture.churn import CHANGE_HEADER

Document = dict[str, Any]
_ENTRY_EVENTS = {"entry_added", "entry_changed", "entry_removed", "entry_refused"}


#: A topic, by its name without prefix and version, and a partition.
Place = tuple[str, int]
#: A topic, and a read or a change of a key on it.
Awaited = tuple[str, str]


class Read(NamedTuple):
    """A read as it lies on its topic; `is_copied` if it was copied from another one."""

    partition: int
    offset: int
    document: Document
    headers: tuple[bytes, ...]
    is_copied: bool = False


class State(NamedTuple):
    """What a record of a control topic says of its key: a document, or None for a tombstone."""

    offset: int
    document: Document | None
    change: int
    seen_s: float


def name_of(read: Document) -> str:
    """Name a read: its id is unique within its source only."""
    return f"{read['read_id']}@{read['source']}"


@dataclass(slots=True)
class SeenMatch:
    """A match by its id, and when each record of it was seen. `read` is its read's name."""

    match_id: str
    entry_id: str
    read: str
    seen_s: list[float] = field(default_factory=list)


class Record(Protocol):
    """A record as a Kafka client gives it."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Iterable[tuple[str, bytes]]: ...


@dataclass
class Evidence:
    """See the module.

    Of topics that are a copy, records below `begins` counted on the original: reads, changes of the
    lists, matches and the rest of the audit. What is `awaited` did not, wherever it lies. The copy
    ends at `copied_to`.
    """

    #: When the sending of a read, by its name, and of a change of the lists was begun first.
    read_sent_s: dict[str, float] = field(default_factory=dict)
    change_sent_s: dict[int, float] = field(default_factory=dict)
    begins: Mapping[Place, int] = field(default_factory=dict)
    copied_to: Mapping[Place, int] = field(default_factory=dict)
    awaited: Set[Awaited] = frozenset()
    #: Entries and reads that matched on the originals.
    told: set[tuple[str, str]] = field(default_factory=set)
    #: From where on reads and changes count on a copy of these topics; None if there is none.
    left_from: Mapping[Place, int] | None = None
    #: When the first worker was started.
    started_s: float = -math.inf
    #: By partition, where the reads end.
    read_ends: dict[int, int] = field(default_factory=dict)
    #: By partition, in the order of the topic: those that nobody has judged yet.
    reads: defaultdict[int, list[Read]] = field(default_factory=lambda: defaultdict(list))
    entries: defaultdict[str, list[State]] = field(default_factory=lambda: defaultdict(list))
    policies: defaultdict[str, list[State]] = field(default_factory=lambda: defaultdict(list))
    matches: dict[str, SeenMatch] = field(default_factory=dict)
    matches_of: defaultdict[str, list[SeenMatch]] = field(default_factory=lambda: defaultdict(list))
    #: What has come since it was looked at: ids seen for the first time, records of ids that were
    #: seen before, and ids that the audit has.
    new_matches: list[SeenMatch] = field(default_factory=list)
    repeated: list[SeenMatch] = field(default_factory=list)
    new_audited: list[str] = field(default_factory=list)
    #: Match ids, and changes by topic and offset, as the audit has them.
    audited_matches: Counter[str] = field(default_factory=Counter)
    audited_changes: Counter[tuple[str, int]] = field(default_factory=Counter)
    #: All records of the audit, by partition.
    audit: defaultdict[int, list[AuditRecord]] = field(default_factory=lambda: defaultdict(list))
    changes: set[tuple[str, int]] = field(default_factory=set)
    rejects: list[Document] = field(default_factory=list)
    commits: defaultdict[int, list[tuple[int, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def of_copy(
        self, begins: Mapping[Place, int], copied_to: Mapping[Place, int], awaited: Set[Awaited]
    ) -> Evidence:
        """The evidence of a copy of these topics. It knows when what was copied was sent."""
        told = {(match.entry_id, match.read) for match in self.matches.values()}
        return Evidence(
            self.read_sent_s,
            self.change_sent_s,
            begins,
            copied_to,
            awaited,
            told=self.told | told,
        )

    def left(self) -> set[Awaited]:
        """What counts on a copy of these topics; of the reads, those that nobody has judged yet."""
        reads = (read for of_partition in self.reads.values() for read in of_partition)
        left: set[Awaited] = {
            ("detections", name_of(read.document))
            for read in reads
            if self.is_left(("detections", read.partition), read.offset)
        }
        for kind, of_kind in (("hotlist", self.entries), ("policies", self.policies)):
            left |= {
                (kind, f"{key} {state.change}")
                for key, states in of_kind.items()
                for state in states
                if self.is_left((kind, 0), state.offset)
            }
        return left

    def is_left(self, place: Place, offset: int) -> bool:
        """Whether a read or a change counts on a copy of these topics instead."""
        return self.left_from is not None and offset >= self.left_from.get(place, 0)

    def note(self, kind: str, records: Iterable[Record], seen_s: float) -> None:
        """Records of one of the topics, by its name without prefix and version."""
        take = getattr(self, f"_note_{kind}")
        for record in records:
            take(record, seen_s)

    def note_committed(self, partition: int, offset: int, seen_s: float) -> None:
        """All reads of a partition below an offset are known to be processed by then."""
        known = self.commits[partition]
        if not known or offset > known[-1][0]:
            known.append((offset, seen_s))

    def processed_s(self, read: Read) -> float:
        """By when a read was processed, for all that is known."""
        known = self.commits[read.partition]
        at = bisect_right(known, read.offset, key=lambda commit: commit[0])
        return known[at][1] if at < len(known) else math.inf

    def sent_s(self, read: Read) -> float:
        """When the sending of a read was begun."""
        return self.read_sent_s[name_of(read.document)]

    def _counts(self, kind: str, record: Record, name: str = "") -> bool:
        is_behind = record.offset >= self.begins.get((kind, record.partition), 0)
        return is_behind or (kind, name) in self.awaited

    def _note_detections(self, record: Record, seen_s: float) -> None:
        partition, offset = record.partition, record.offset
        self.read_ends[partition] = offset + 1
        document = orjson.loads(record.value or b"null")
        if not self._counts("detections", record, name_of(document)):
            return
        headers = tuple(value for name, value in record.headers if name == "alternates")
        is_copied = offset < self.copied_to.get(("detections", partition), 0)
        self.reads[partition].append(Read(partition, offset, document, headers, is_copied))

    def _note_hotlist(self, record: Record, seen_s: float) -> None:
        self._note_state("hotlist", self.entries, record, seen_s)

    def _note_policies(self, record: Record, seen_s: float) -> None:
        self._note_state("policies", self.policies, record, seen_s)

    def _note_state(
        self, kind: str, states: defaultdict[str, list[State]], record: Record, seen_s: float
    ) -> None:
        changes = [int(value) for name, value in record.headers if name == CHANGE_HEADER]
        document = None if record.value is None else orjson.loads(record.value)
        change = changes[0] if changes else 0
        key = (record.key or b"").decode()
        states[key].append(State(record.offset, document, change, seen_s))
        if self._counts(kind, record, f"{key} {change}"):
            self.changes.add((kind, record.offset))

    def _note_matches(self, record: Record, seen_s: float) -> None:
        if not self._counts("matches", record):
            return
        match = orjson.loads(record.value or b"null")
        found = self.matches.get(match["match_id"])
        if found is None:
            found = SeenMatch(match["match_id"], match["entry"]["entry_id"], name_of(match["read"]))
            self.matches[found.match_id] = found
            self.matches_of[found.read].append(found)
            self.new_matches.append(found)
        else:
            self.repeated.append(found)
        found.seen_s.append(seen_s)

    def _note_audit(self, record: Record, seen_s: float) -> None:
        unopened = AuditRecord(record.offset, 0, record.key, record.value, ())
        self.audit[record.partition].append(unopened)
        if not self._counts("audit", record):
            return
        sealed = orjson.loads(record.value or b"null")
        event, fields = sealed["event"], sealed["fields"]
        if event == "match":
            self.audited_matches[fields["match_id"]] += 1
            self.new_audited.append(fields["match_id"])
        elif event in _ENTRY_EVENTS:
            self.audited_changes["hotlist", fields["revision"]] += 1
        elif event == "policy_changed":
            self.audited_changes["policies", fields["revision"]] += 1

    def _note_rejects(self, record: Record, seen_s: float) -> None:
        self.rejects.append(orjson.loads(record.value or b"null"))
