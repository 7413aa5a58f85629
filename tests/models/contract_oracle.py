"""An oracle of identity, suppression and life cycle, written from the contract and not the engine.

It takes the records of the control topics and the reads in the order in which a worker processes
them, and gives for each read the matches that the contract gives. It keeps every match for ever and
searches them one by one: slow, and easy to compare with the sentences that it quotes.

Three things are given to it: how a read's plate resembles a listed one (`Rules.likeness`), the
conditions of an entry on region, vehicle, place and hours (`Rules.conditions`), and how the parts
of a match's id are joined (`Rules.join`). Where the contract leaves a decision open, `Rules` names
it, quotes the contract and has a default.

A rule that follows from several sentences: a refused record also removes the entry that it
replaces. The contract says that a worker "ignores" a bad entry; but the topic is "compacted", so a
worker that starts later may no longer find the replaced record, and "the result depends only on the
read, the control state and the clock".
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import xxhash

from tests.models import contract_admission
from tests.models.contract_admission import UNKNOWN, Document, Purpose, milliseconds
from tests.models.contract_plates import normal_form
from tests.models.contract_records import (
    EntryRecord,
    Event,
    ExpectedMatch,
    Likeness,
    Outcome,
    PolicyRecord,
    ReadRecord,
    SuppressedRead,
)

DEFAULT_SUPPRESS_S = 60  # "suppress_s (default 60)"
MUCH_SURER = 10  # "or ten times the confidence"


def exact_or_partial(read: Document, entry: Document) -> Likeness | None:
    """Compare the read's own plate: equal, or with `?` as "exactly one unknown character"."""
    plate = normal_form(read["plate"])
    listed = entry["plate"]
    if len(plate) != len(listed):
        return None
    if any(here not in (UNKNOWN, there) for here, there in zip(listed, plate, strict=True)):
        return None
    return Likeness("partial", 3, 1.0) if UNKNOWN in listed else Likeness("exact", 0, 1.0)


def joined_with_separators(entry_id: str, revision: int, source: str, read_id: str) -> bytes:
    """Join the parts of a match's id by 0x1F as match.v1.json does; one in a source is 0xFF.

    No entry id contains 0x1F, and nothing follows the read id.
    """
    named = source.encode().replace(b"\x1f", b"\xff")
    return b"\x1f".join((entry_id.encode(), str(revision).encode(), named, read_id.encode()))


def plate_as_listed(read: Document, entry: Document) -> str:
    """Name the vehicle: "For a partial plate, each plate is suppressed separately" (lists.md)."""
    listed = str(entry["plate"])
    return normal_form(read["plate"]) if UNKNOWN in listed else listed


@dataclass(frozen=True, slots=True)
class Rules:
    """What the oracle is given, and the decisions that the contract leaves open."""

    purposes: Mapping[str, Purpose]
    likeness: Callable[[Document, Document], Likeness | None] = exact_or_partial
    conditions: Callable[[Document, Document], bool] = lambda _read, _entry: True
    normalize: Callable[[str], str] = normal_form
    # "xxh3-128 in hex of entry id, entry revision, source and read id": not how they are joined.
    join: Callable[[str, int, str, str], bytes] = joined_with_separators
    # "by one plate": not whether the listed one or the one that the camera read.
    plate: Callable[[Document, Document], str] = plate_as_listed
    # "at most one match in suppress_s": lists.md adds "by the reads' own times".
    by_captured_at: bool = True
    # "at most one match in suppress_s": a read exactly that much later is outside.
    end_is_inside: bool = False
    # "at most one match in suppress_s": also of a read that arrives after a later one.
    late_reads_count: bool = True
    # lists.md: "Each worker suppresses repeats only among the reads that it processes". The
    # function maps a partition to those whose reads suppress each other.
    scope: Callable[[int], Hashable] = lambda _partition: None
    # "The regions whose plates may match": a read without a region is in none of them.
    unknown_region: bool = False
    # "`created_at` may not lie in the future": of the moment when the record was produced, so that
    # every worker decides alike whenever it reads the record.


class _Listed(NamedTuple):
    entry: Document
    revision: int


@dataclass(slots=True)
class ContractOracle:
    """The control state and all matches so far; `process` takes the next event."""

    rules: Rules
    entries: dict[str, _Listed] = field(default_factory=dict)
    policies: dict[str, tuple[Document, int]] = field(default_factory=dict)
    matches: dict[Hashable, list[ExpectedMatch]] = field(default_factory=dict)
    waiting: dict[Hashable, int] = field(default_factory=dict)
    outcomes: dict[tuple[int, int], Outcome] = field(default_factory=dict)

    def process(self, event: Event) -> Outcome | None:
        """Process one event; a read returns its outcome."""
        match event:
            case PolicyRecord():
                self._take_policy(event)
            case EntryRecord():
                self._take_entry(event)
            case ReadRecord():
                return self._take_read(event)
        return None

    def _take_policy(self, record: PolicyRecord) -> None:
        """Replace or remove the policy of a source; a bad one allows nothing."""
        self.policies.pop(record.source, None)
        if record.policy is None or contract_admission.policy_fault(record.source, record.policy):
            return
        self.policies[record.source] = (record.policy, record.offset)

    def _take_entry(self, record: EntryRecord) -> None:
        """Replace or remove an entry; a refused record removes it too (see the module)."""
        self.entries.pop(record.entry_id, None)
        if record.entry is None:
            return
        fault = contract_admission.entry_fault(
            record.entry_id,
            record.entry,
            record.timestamp_ms,
            self.rules.purposes,
            self.rules.normalize,
        )
        if fault is None:
            self.entries[record.entry_id] = _Listed(record.entry, record.offset)

    def _take_read(self, read: ReadRecord) -> Outcome:
        """Decide a read once: "No read is processed twice into two different outcomes"."""
        place = (read.partition, read.offset)
        if place not in self.outcomes:
            self.outcomes[place] = self._decide(read)
        return self.outcomes[place]

    def _decide(self, read: ReadRecord) -> Outcome:
        matches, suppressed, denied = [], [], []
        for entry_id in sorted(self.entries):
            listed = self.entries[entry_id]
            if not _in_force(listed.entry, read.clock_ms):
                continue
            likeness = self.rules.likeness(read.detection, listed.entry)
            if likeness is None or not self.rules.conditions(read.detection, listed.entry):
                continue
            policy, revision = self.policies.get(read.detection["source"], (None, -1))
            if not contract_admission.allows(
                policy, listed.entry, read.detection, self.rules.unknown_region
            ):
                denied.append(entry_id)
                continue
            found = self._match(read, listed, likeness, revision)
            if isinstance(found, SuppressedRead):
                suppressed.append(found)
            else:
                matches.append(found)
        return Outcome(tuple(matches), tuple(suppressed), tuple(denied))

    def _match(
        self, read: ReadRecord, listed: _Listed, likeness: Likeness, policy_revision: int
    ) -> ExpectedMatch | SuppressedRead:
        entry = listed.entry
        key = self.identity(read, entry)
        for earlier in self.matches.get(key, ()):
            if self._in_window(read, earlier.read, entry) and not better(
                likeness, earlier.likeness
            ):
                self.waiting[key] = self.waiting.get(key, 0) + 1
                return SuppressedRead(entry["entry_id"], earlier)
        identifier = self.rules.join(
            entry["entry_id"],
            listed.revision,
            read.detection["source"],
            read.detection["read_id"],
        )
        made = ExpectedMatch(
            xxhash.xxh3_128_hexdigest(identifier),
            read,
            entry,
            listed.revision,
            likeness,
            policy_revision,
            self.waiting.pop(key, 0),
        )
        self.matches.setdefault(key, []).append(made)
        return made

    def identity(self, read: ReadRecord, entry: Document) -> Hashable:
        """Return what has one match in `suppress_s`.

        "of one entry, as it lists its plate, agency and purpose now, by one plate at one camera of
        one source"
        """
        return (
            entry["entry_id"],
            entry["plate"],
            entry["agency"],
            entry["purpose"],
            self.rules.plate(read.detection, entry),
            read.detection["camera"],
            read.detection["source"],
            self.rules.scope(read.partition),
        )

    def _in_window(self, read: ReadRecord, earlier: ReadRecord, entry: Document) -> bool:
        """Whether two reads are within the entry's `suppress_s`, as it stands now."""
        stated = entry.get("suppress_s")
        window_ms = (DEFAULT_SUPPRESS_S if stated is None else stated) * 1000
        if window_ms == 0:  # lists.md: "0 matches every read"
            return False
        apart_ms = self._time(read) - self._time(earlier)
        if apart_ms < 0 and not self.rules.late_reads_count:
            return False
        return abs(apart_ms) < window_ms or (
            self.rules.end_is_inside and abs(apart_ms) == window_ms
        )

    def _time(self, read: ReadRecord) -> int:
        return (
            milliseconds(read.detection["captured_at"])
            if (self.rules.by_captured_at)
            else read.clock_ms
        )


def _in_force(entry: Document, clock_ms: int) -> bool:
    """Whether an entry has started and has not expired.

    "An entry stops matching at `expires_at` by itself, without a message from anyone."
    """
    starts = entry.get("starts_at")
    if starts is not None and clock_ms < milliseconds(starts):
        return False
    return clock_ms < milliseconds(entry["expires_at"])


def better(new: Likeness, than: Likeness) -> bool:
    """Whether a match is better: "a closer likeness, or ten times the confidence".

    Confidences are compared as a match shows them, with "4 digits" (match.v1.json).
    """
    own, other = round(new.confidence * 10_000), round(than.confidence * 10_000)
    return new.rank < than.rank or (own > other and own >= MUCH_SURER * other)


def run(events: list[Event], rules: Rules) -> list[Outcome]:
    """Process all events; return the outcomes of the reads, in order."""
    oracle = ContractOracle(rules)
    return [outcome for event in events if (outcome := oracle.process(event)) is not None]
