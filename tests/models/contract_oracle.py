"""An oracle of identity, suppression and life cycle, written from the contract and not the engine.

It takes the records of the control topics and the reads in the order in which a worker processes
them, and gives for each read the matches that the contract gives. It keeps every match for ever, in
the order of the reads' times, and looks at those of one identity within the window of a read.

What it costs grows with the reads and not with their square. With many entries it is given
`Rules.near` too: the texts that an entry's plate can be like, so that a read is held to the entries
of its own texts alone.

Three things are given to it: how a read's plate resembles a listed one (`Rules.likeness`), the
conditions of an entry on region, vehicle, place and hours (`Rules.conditions`), and how the parts
of a match's id are joined (`Rules.join`). Where the contract leaves a decision open, `Rules` names
it, quotes the contract and has a default.

A rule that follows from several sentences: a refused record also removes the entry that it
replaces. The contract says that a worker "ignores" a bad entry; but the topic is "compacted", so a
worker that starts later may no longer find the replaced record, and "the result depends only on the
read, the control state and the clock".
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import xxhash

from tests.models import contract_admission
from tests.models.contract_admission import UNKNOWN, Document, Purpose, milliseconds
from tests.models.contract_plates import normal_form
from tests.models.contract_reads import captured_ms, kept
from tests.models.contract_records import (
    EntryRecord,
    Event,
    ExpectedMatch,
    Likeness,
    Listed,
    Outcome,
    PolicyInForce,
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
    # The texts of a read, and all texts that an entry's plate can be like. Without them every read
    # is compared with every entry.
    near: "Near | None" = None
    # "`created_at` may not lie in the future": of the moment when the record was produced, so that
    # every worker decides alike whenever it reads the record.


class Near(NamedTuple):
    """How entries are found by a read's texts; see `Rules.near`."""

    of_read: Callable[[dict[str, Any]], Iterable[str]]
    of_entry: Callable[[dict[str, Any]], Iterable[str]]


NO_POLICY = PolicyInForce(None, -1)


@dataclass(slots=True)
class ContractOracle:
    """The control state and all matches so far; `process` takes the next event."""

    rules: Rules
    entries: dict[str, Listed] = field(default_factory=dict)
    policies: dict[str, PolicyInForce] = field(default_factory=dict)
    #: By identity, in the order in which they were made.
    matches: dict[Hashable, list[ExpectedMatch]] = field(default_factory=dict)
    waiting: dict[Hashable, int] = field(default_factory=dict)
    outcomes: dict[tuple[int, int], Outcome] = field(default_factory=dict)
    #: By identity, the time of each match's read and the match's place in `matches`, in order.
    _times: dict[Hashable, list[tuple[int, int]]] = field(default_factory=dict)
    #: By text, the entries that are or were like it; an entry that is no longer is left there.
    _near: dict[str, dict[str, None]] = field(default_factory=dict)
    _spread_out: set[tuple[str, object]] = field(default_factory=set)

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
        self.policies[record.source] = policy_of(record)

    def _take_entry(self, record: EntryRecord) -> None:
        """Replace or remove an entry; a refused record removes it too (see the module)."""
        self.entries.pop(record.entry_id, None)
        listed = self.listed(record)
        if listed is not None:
            self.entries[record.entry_id] = listed
            self.find_by_texts(record.entry_id, listed.entry)

    def listed(self, record: EntryRecord) -> Listed | None:
        """Return what a record lists: None if it removes its entry or is refused."""
        if record.entry is None:
            return None
        fault = contract_admission.entry_fault(
            record.entry_id,
            record.entry,
            record.timestamp_ms,
            self.rules.purposes,
            self.rules.normalize,
        )
        return Listed(record.entry, record.offset) if fault is None else None

    def find_by_texts(self, entry_id: str, entry: Document) -> None:
        """From now on `near` gives the entry for each text that its plate can be like."""
        near = self.rules.near
        form = (entry["plate"], entry.get("confusables"), entry.get("distance"))
        if near is None or (entry_id, form) in self._spread_out:
            return
        self._spread_out.add((entry_id, form))
        for text in near.of_entry(dict(entry)):
            self._near.setdefault(text, {})[entry_id] = None

    def near(self, detection: Document) -> Iterable[str]:
        """Return the ids of all entries that can be like a read, or have been, in order."""
        near = self.rules.near
        if near is None:
            return sorted(self.entries)
        found = [self._near[text] for text in near.of_read(dict(detection)) if text in self._near]
        return sorted(set().union(*found)) if found else ()

    def _take_read(self, read: ReadRecord) -> Outcome:
        """Decide a read once: "No read is processed twice into two different outcomes"."""
        place = (read.partition, read.offset)
        if place not in self.outcomes:
            detection, _ = kept(read.detection)
            self.outcomes[place] = self._decide(read._replace(detection=detection))
        return self.outcomes[place]

    def _decide(self, read: ReadRecord) -> Outcome:
        matches, suppressed, denied = [], [], []
        policy = self.policies.get(read.detection["source"], NO_POLICY)
        for entry_id in self.near(read.detection):
            listed = self.entries.get(entry_id)
            found = None if listed is None else self.verdict(read, listed, policy)
            match found:
                case ExpectedMatch():
                    self.note_match(found)
                    matches.append(found)
                case SuppressedRead():
                    self.note_suppressed(read, found)
                    suppressed.append(found)
                case str():
                    denied.append(found)
        if not (matches or suppressed or denied):
            return _NOTHING
        return Outcome(tuple(matches), tuple(suppressed), tuple(denied))

    def verdict(
        self, read: ReadRecord, listed: Listed, policy: PolicyInForce
    ) -> ExpectedMatch | SuppressedRead | str | None:
        """Return what a read gives of an entry that stands so, under a policy that stands so.

        None if it is not like the entry, and the entry's id if the policy denies it. Nothing is
        remembered of it: see `note_match` and `note_suppressed`.
        """
        entry = listed.entry
        if not _in_force(entry, read.clock_ms):
            return None
        likeness = self.rules.likeness(read.detection, entry)
        if likeness is None or not self.rules.conditions(read.detection, entry):
            return None
        if not contract_admission.allows(
            policy.policy, entry, read.detection, self.rules.unknown_region
        ):
            return str(entry["entry_id"])
        key = self.identity(read, entry)
        for earlier in self._earlier(key, read, entry):
            if not better(likeness, earlier.likeness):
                return SuppressedRead(entry["entry_id"], earlier)
        return ExpectedMatch(
            self.match_id(read, listed),
            read,
            entry,
            listed.revision,
            likeness,
            policy.revision,
            self.waiting.get(key, 0),
        )

    def match_id(self, read: ReadRecord, listed: Listed) -> str:
        """Return the id that a match of a read and an entry has, whether there is one or not."""
        identifier = self.rules.join(
            listed.entry["entry_id"],
            listed.revision,
            read.detection["source"],
            read.detection["read_id"],
        )
        return xxhash.xxh3_128_hexdigest(identifier)

    def note_match(self, made: ExpectedMatch) -> None:
        """Remember a match: it suppresses, and carries the reads that were suppressed before."""
        key = self.identity(made.read, made.entry)
        self.waiting.pop(key, None)
        of_key = self.matches.setdefault(key, [])
        insort(self._times.setdefault(key, []), (self._time(made.read), len(of_key)))
        of_key.append(made)

    def note_suppressed(self, read: ReadRecord, found: SuppressedRead) -> None:
        """Remember a read that was suppressed: the next match of its identity carries it."""
        key = self.identity(read, self.entries[found.entry_id].entry)
        self.waiting[key] = self.waiting.get(key, 0) + 1

    def _earlier(self, key: Hashable, read: ReadRecord, entry: Document) -> list[ExpectedMatch]:
        """Return the matches of an identity whose reads are in the window of a read, in the order
        in which they were made."""
        times = self._times.get(key)
        window_ms = _window_ms(entry)
        if times is None or window_ms == 0:  # lists.md: "0 matches every read"
            return []
        at_ms = self._time(read)
        first = bisect_left(times, (at_ms - window_ms, -1))
        behind = bisect_right(times, (at_ms + window_ms, len(times)))
        of_key = self.matches[key]
        near = [of_key[place] for place in sorted(place for _, place in times[first:behind])]
        return [each for each in near if self._in_window(at_ms, self._time(each.read), window_ms)]

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

    def _in_window(self, read_ms: int, earlier_ms: int, window_ms: int) -> bool:
        """Whether two reads are within the entry's `suppress_s`, as it stands now."""
        apart_ms = read_ms - earlier_ms
        if apart_ms < 0 and not self.rules.late_reads_count:
            return False
        return abs(apart_ms) < window_ms or (
            self.rules.end_is_inside and abs(apart_ms) == window_ms
        )

    def _time(self, read: ReadRecord) -> int:
        return (
            captured_ms(read.detection["captured_at"])
            if (self.rules.by_captured_at)
            else read.clock_ms
        )


_NOTHING = Outcome()


def policy_of(record: PolicyRecord) -> PolicyInForce:
    """Return what a record lets match; a bad policy allows nothing, as if there were none."""
    policy = record.policy
    if policy is None or contract_admission.policy_fault(record.source, policy):
        return NO_POLICY
    return PolicyInForce(policy, record.offset)


def _window_ms(entry: Document) -> int:
    stated = entry.get("suppress_s")
    return (DEFAULT_SUPPRESS_S if stated is None else stated) * 1000


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
