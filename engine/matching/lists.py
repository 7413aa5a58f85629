"""The control state of a worker: entries and policies from the control topics.

`apply` takes control records in the order of their partition. The last record of each key decides;
a refused one also removes what its key had, so the state is the same whatever compaction removed.
Entries can be applied `STAGED`: reads see the former lists until `commit` makes all of them take
effect together. Policies always take effect at once.

Each change is reported once, for the audit: when a record is applied, or when an entry has expired.
A staged change is reported when it is applied, because nothing can stop it any more, and because a
million changes must not be reported at once.

Belongs to the matcher thread. No I/O, no clock of its own.

Long because the ways of a record that is loaded, follows or is staged are decided in one class.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum
from itertools import groupby, islice
from operator import itemgetter

from engine import limits
from engine.audit import changes
from engine.audit.changes import Change
from engine.audit.changes import ControlKind as ControlKind
from engine.audit.changes import ControlRecord as ControlRecord
from engine.audit.pending_changes import Listed
from engine.documents.admission import Purposes, admitted, check_change
from engine.documents.codec import decode_entry, decode_policy
from engine.documents.model import Entry
from engine.errors import DocumentError, RuleError
from engine.index.eligibility import Eligibility
from engine.index.plate_index import Index
from engine.matching.bulk_load import Audited, BulkLoad
from engine.matching.control_records import ControlRecords, named_by, short_key
from engine.matching.outcome import Applied
from engine.plates.misreads import Misreads

#: An entry and its revision.
Held = tuple[Entry, int]
#: A topic and a partition of it.
Place = tuple[ControlKind, int]


class Phase(Enum):
    """How records are applied."""

    #: Before the first commit, while no reads are processed.
    LOADING = "loading"
    #: To take effect at once.
    FOLLOWING = "following"
    #: To take effect with the next commit.
    STAGED = "staged"


class Lists:
    """Entries and policies.

    `list_revision` grows with every record of the hot list topic that takes effect: it is the
    number of offsets received, summed over the topic's partitions. `misreads` defines which plates
    are alike; None means the shipped table. The owner sets `audited_to` and `expired_until_ms`
    before the load.
    """

    def __init__(self, purposes: Purposes, misreads: Misreads | None = None) -> None:
        self.misreads = Misreads.load() if misreads is None else misreads
        self.eligibility = Eligibility()
        self.index = Index(self.eligibility, self.misreads)
        self._purposes = purposes
        self._next_offset: dict[int, int] = {}
        self._refused_keys: set[bytes] = set()
        self._received = 0
        self.list_revision = 0
        self._is_loading = True
        #: Offsets by topic and partition; changes from records below them are not reported.
        self.audited_to: dict[Place, int] = {}
        #: What was listed when the load ended, None before.
        self.loaded: Listed | None = None
        #: All expiries up to this time have been reported.
        self.expired_until_ms = 0
        self._reported_to: dict[Place, int] = {}
        # Expired, but not reported yet: a record that was made before may still arrive.
        self._expired: dict[str, Held] = {}
        # Whether anything is in `_expired`, or has expired in the index, while records are applied.
        self._has_expired = False
        # Entries are put in bulk, which is several times faster. A later record of the same key
        # replaces an earlier one that is still waiting here.
        self._waiting: dict[str, Held] = {}
        self._bulk = BulkLoad(self.index, purposes)

    def apply(
        self, records: Iterable[ControlRecord], now_ms: int, phase: Phase = Phase.FOLLOWING
    ) -> Applied:
        """Apply records in order; records that are not staged first commit what is staged."""
        applied = Applied()
        staged = phase is Phase.STAGED
        if not staged:
            self._take_effect()
        self._is_loading = phase is Phase.LOADING
        self.index.turn_to(now_ms)
        self._has_expired = bool(self._expired) or self.index.has_expired
        if self._is_loading and isinstance(records, ControlRecords) and records.has_entries:
            self._load(records, now_ms, applied)
        else:
            for place, run in groupby(records, itemgetter(0, 1)):  # kind and partition
                self._apply_run(place, list(run), now_ms, applied, staged=staged)
        self.index.put_many(list(self._waiting.values()), now_ms, staged=staged)
        self._waiting.clear()
        if not staged:
            self.list_revision = self._received
        return applied

    def commit(self) -> None:
        """End the load, or make what is staged take effect."""
        if self._is_loading:
            self._is_loading = False
            self.loaded = self.listed
            self._bulk.close()
            self.index.end_load()
        self._take_effect()

    def _take_effect(self) -> None:
        self.index.commit()
        self.list_revision = self._received

    @property
    def listed(self) -> Listed | None:
        """How much is listed, entries whose expiry is not reported yet among it; None during the
        load."""
        if self._is_loading:
            return None
        return Listed(len(self.index) + len(self._expired), self.eligibility.policy_count)

    def turn_to(self, now_ms: int) -> None:
        """Start and end entries that are due."""
        self.index.turn_to(now_ms)

    def advance(self, now_ms: int) -> list[Change]:
        """Start and end entries that are due, and remove some that have ended.

        Returns the expiries to report. While `has_ended` stays true, call it again soon.
        """
        self.index.turn_to(now_ms)
        for entry, revision in self.index.drop():
            self._expired[entry.entry_id] = entry, revision
        if self._is_loading:
            return []
        reported = list(islice(self._expired, limits.SLOTS_A_DROP))
        expired = [changes.entry_expired(*self._expired.pop(entry_id)) for entry_id in reported]
        if not self.has_ended:
            self.expired_until_ms = max(self.expired_until_ms, now_ms)
        return expired

    @property
    def has_ended(self) -> bool:
        """Whether `advance` has more to remove or to report."""
        return self.index.has_ended or (bool(self._expired) and not self._is_loading)

    @property
    def refused_count(self) -> int:
        """The number of keys whose last record, perhaps staged, was refused."""
        return len(self._refused_keys)

    def _apply_run(
        self,
        place: Place,
        run: list[ControlRecord],
        now_ms: int,
        applied: Applied,
        *,
        staged: bool,
    ) -> None:
        """Apply records of one partition."""
        reported_to = self._receive(place, run[-1].offset + 1)
        if place[0] is ControlKind.POLICY:
            for record in run:
                is_reported = record.offset < reported_to
                self._apply_policy(record, now_ms, applied, is_reported=is_reported)
            return
        for record in run:
            is_reported = record.offset < reported_to
            self._apply_entry(record, now_ms, applied, staged=staged, is_reported=is_reported)

    def _load(self, records: ControlRecords, now_ms: int, applied: Applied) -> None:
        """Apply entries of one partition as `_apply_run` does: most of them in bulk."""
        reported_to = self._receive((records.kind, records.partition), records.next_offset)
        audited = Audited(reported_to, self.expired_until_ms, self._expired)
        taken = self._bulk.put(records, now_ms, audited)
        applied.changed += taken.changed
        if self._refused_keys and taken.changed:
            self._refused_keys.difference_update(records.keys_beside(taken.left))
        added = deque(taken.added)
        for record in records.at(taken.left):
            while added and added[0].offset < record.offset:
                applied.added.append((len(applied.changes), added.popleft()))
            is_reported = record.offset < reported_to
            self._apply_entry(record, now_ms, applied, staged=False, is_reported=is_reported)
        applied.added += [(len(applied.changes), entries) for entries in added]

    def _receive(self, place: Place, next_offset: int) -> int:
        """Note up to which offset a partition was received; return up to which it is reported."""
        kind, partition = place
        reported_to = max(self._reported_to.get(place, 0), self.audited_to.get(place, 0))
        self._reported_to[place] = max(reported_to, next_offset)
        if kind is ControlKind.ENTRY:
            self._received += next_offset - self._next_offset.get(partition, 0)
            self._next_offset[partition] = next_offset
        return reported_to

    def _apply_entry(
        self,
        record: ControlRecord,
        now_ms: int,
        applied: Applied,
        *,
        staged: bool,
        is_reported: bool,
    ) -> None:
        key = record.key or b""
        entry_id = named_by(key)
        held = None
        if not is_reported or self._has_expired:
            held = self._held_before(record, entry_id, applied, is_reported=is_reported)
        self._refused_keys.discard(short_key(key))
        entry: Entry | None = None
        try:
            if record.value is not None:
                entry = decode_entry(record.value)
                entry = admitted(entry, self._purposes, record.timestamp_ms)
                if entry.entry_id.encode() != key:
                    raise DocumentError("key_mismatch")
                applied.changed += 1
                if not is_reported:
                    self._report_put(record, entry, held, now_ms, applied)
                if entry.expires_ms > now_ms:
                    self._waiting[entry_id] = entry, record.offset
                    return
                if not is_reported or entry.expires_ms > self.expired_until_ms:
                    self._expired[entry_id] = entry, record.offset
                    self._has_expired = True
            else:
                applied.removed += 1
                if not is_reported:
                    removed = None if held is None else held[0]
                    applied.changes.append(changes.entry_removed(record, removed, now_ms))
        except (DocumentError, RuleError) as error:
            reason = error.reason if isinstance(error, DocumentError) else error.field
            applied.refused[reason] += 1
            self._refused_keys.add(short_key(key))
            if not is_reported:
                ended = None if held is None else held[1]
                refused = changes.entry_refused(record, error, entry, ended, now_ms)
                applied.changes.append(refused)
        self._waiting.pop(entry_id, None)
        self.index.remove(entry_id, staged=staged)

    def _held_before(
        self, record: ControlRecord, entry_id: str, applied: Applied, *, is_reported: bool
    ) -> Held | None:
        """Return the entry that a record replaces; None if it had expired, which is reported now.

        The record's own time decides whether it had expired, because while no worker ran, the order
        of the two was not observed. If the record is reported already, None may also mean that the
        entry was not looked up.
        """
        if self._has_expired:
            expired = self._expired.pop(entry_id, None) or self.index.drop_expired(entry_id)
            if expired is not None:
                if record.timestamp_ms < expired[0].expires_ms:
                    return expired
                applied.changes.append(changes.entry_expired(*expired))
                return None
        return None if is_reported else self._waiting.get(entry_id) or self.index.find(entry_id)

    def _report_put(
        self, record: ControlRecord, entry: Entry, held: Held | None, now_ms: int, applied: Applied
    ) -> None:
        is_extended = False
        if held is not None:
            try:
                check_change(held[0], entry, self._purposes)
            except RuleError:
                # Admitted anyway: compaction may have removed the older entry in other workers.
                is_extended = True
                applied.extended += 1
        old = held and held[0]
        applied.changes.append(
            changes.entry_put(record, entry, now_ms, replaced=old, is_extended=is_extended)
        )

    def _apply_policy(
        self, record: ControlRecord, now_ms: int, applied: Applied, *, is_reported: bool
    ) -> None:
        key = record.key or b""
        refusal: DocumentError | None = None
        try:
            if record.value is not None:
                policy = decode_policy(record.value)
                if policy.source.encode() != key:
                    raise DocumentError("key_mismatch")
                self.eligibility.set_policy(policy, record.offset)
                applied.changed += 1
                if not is_reported:
                    applied.changes.append(changes.policy_set(record, policy, now_ms))
                return
            applied.removed += 1
        except DocumentError as error:
            applied.refused[error.reason] += 1
            refusal = error
        self.eligibility.remove_policy(named_by(key))
        if not is_reported:
            applied.changes.append(changes.policy_removed(record, refusal, now_ms))
