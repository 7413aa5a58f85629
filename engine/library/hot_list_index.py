"""The index as a library: hot lists in memory, without Kafka.

    from engine import HotListIndex

    index = HotListIndex()
    index.add_many(entries)                 # documents, or dicts of the same form
    index.set_policy(policy)
    snapshot = index.snapshot()
    matches = snapshot.match(read, at)      # the worker's matches for the read
    index.save(path)
    index = HotListIndex.load(path)

A `HotListIndex` accepts changes and belongs to one thread. Queries go to a `Snapshot`, which never
changes. Any number of threads may use it while the index changes. Neither has a clock: a query
names the time that it is for, and entries are held before they start and after they expire
(`remove_expired`). There is no suppression: each read is answered by itself.

A snapshot shares everything with the index until the index changes. The first change after a
snapshot that is still in use copies the index once. Further changes copy nothing until there is
another snapshot. So take a snapshot after a bulk change and not after each entry.

Costs, in orders of magnitude: an entry takes 250 bytes, or more with `confusables`, `distance` or
`?`. A million entries are added or removed in seconds and copied in a tenth of a second. A query
takes microseconds.
"""

from __future__ import annotations

import datetime
import weakref
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from engine.documents.admission import check_entry
from engine.documents.codec import decode_entry, decode_policy
from engine.documents.model import Entry, Policy
from engine.documents.purposes import Purposes
from engine.errors import DocumentError, IndexFileError, RuleError
from engine.index.eligibility import Eligibility
from engine.library.archive import read_parts
from engine.library.library_index import LibraryIndex
from engine.library.snapshot import MANIFEST, Manifest, Snapshot, digest_of, document, time_ms
from engine.plates.misreads import Misreads

#: The number of entries that are put together, which is several times faster than one by one.
_AT_A_TIME: Final = 2048


class Refused(NamedTuple):
    """An entry that was not added: its position among those given, from 0, and the reason."""

    position: int
    reason: str


class Added(NamedTuple):
    """The result of adding entries. Each entry is counted once.

    `added` entries are new. `replaced` ones replaced the entry with their id, perhaps one that came
    earlier in the same call. `refused` ones changed nothing.
    """

    added: int
    replaced: int
    refused: list[Refused]


class HotListIndex:
    """Hot lists and policies that change; see the module.

    `purposes` decides which entries are admissible. `misreads` defines the look-alikes and how
    probable misreads are. The defaults are the shipped files. Belongs to one thread.
    """

    def __init__(self, purposes: Purposes | None = None, misreads: Misreads | None = None) -> None:
        self._purposes = Purposes.load() if purposes is None else purposes
        self._misreads = Misreads.load() if misreads is None else misreads
        self._index = LibraryIndex(Eligibility(), self._misreads)
        self._revision = 0
        # A snapshot lives while a caller holds it; when none does, there is nothing to copy.
        self._latest: weakref.ref[Snapshot] | None = None

    def __len__(self) -> int:
        """Return the number of entries, in force or not."""
        return len(self._index)

    def __contains__(self, entry_id: object) -> bool:
        return isinstance(entry_id, str) and self._index.find(entry_id) is not None

    @property
    def revision(self) -> int:
        """The number of changes so far.

        Each entry that is added, replaced or removed is one change, and so is each policy that is
        set or removed. The number of a change is the revision of the entry or policy that it sets.
        """
        return self._revision

    def get(self, entry_id: str) -> Entry | None:
        """Return the entry with this id, or None."""
        found = self._index.find(entry_id)
        return None if found is None else found[0]

    def add_many(self, entries: Iterable[Entry | Mapping[str, Any]]) -> Added:
        """Add entries, or replace those with their ids.

        Each must follow the schema and be admissible by `engine.documents.admission`. The others
        are reported and change nothing. If `entries` itself raises, earlier entries may be held.
        """
        added = replaced = done = 0
        refused: list[Refused] = []
        rest = iter(entries)
        while some := list(islice(rest, _AT_A_TIME)):
            admitted: list[Entry] = []
            for position, given in enumerate(some, done):
                try:
                    admitted.append(self._admitted(given))
                except (DocumentError, RuleError) as error:
                    refused.append(Refused(position, str(error)))
            new = self._put(admitted)
            added, replaced = added + new, replaced + len(admitted) - new
            done += len(some)
        return Added(added, replaced, refused)

    def remove_many(self, entry_ids: Iterable[str]) -> int:
        """Remove the entries with these ids; return how many there were."""
        removed = 0
        rest = iter(entry_ids)
        while some := list(dict.fromkeys(islice(rest, _AT_A_TIME))):
            slots = self._index.slots_of_ids(some)
            if slots:
                self._changing().take_out(slots)
                self._revision += len(slots)
                removed += len(slots)
        return removed

    def remove_expired(self, at: datetime.datetime | int) -> int:
        """Remove the entries that have expired at a time; return how many there were.

        The time is aware, or in ms since 1970. Expired entries match nothing anyway; this frees
        their memory.
        """
        at_ms = time_ms(at)
        removed = self._index.expired_count(at_ms)
        if removed:
            self._changing().drop_ended(at_ms)
            self._revision += removed
        return removed

    def set_policy(self, policy: Policy | Mapping[str, Any]) -> None:
        """Set a source's policy, which replaces a former one.

        Raises DocumentError if it breaks the schema.
        """
        checked = document(policy, Policy, decode_policy)
        eligibility = self._changing().eligibility
        self._revision += 1
        eligibility.set_policy(checked, self._revision)

    def remove_policy(self, source: str) -> bool:
        """Remove a source's policy, after which nothing matches on its reads.

        Returns False if it had none.
        """
        if all(policy.source != source for policy, _ in self._index.eligibility.policies):
            return False
        self._changing().eligibility.remove_policy(source)
        self._revision += 1
        return True

    def snapshot(self) -> Snapshot:
        """Return an immutable snapshot of everything. Copies nothing."""
        latest = None if self._latest is None else self._latest()
        if latest is None:
            latest = Snapshot(self._index, self._purposes, self._misreads, self._revision)
            self._latest = weakref.ref(latest)
        return latest

    def save(self, path: str | Path) -> None:
        """Save the current state as `Snapshot.save` does."""
        self.snapshot().save(path)

    @classmethod
    def load(
        cls,
        path: str | Path,
        purposes: Purposes | None = None,
        misreads: Misreads | None = None,
    ) -> HotListIndex:
        """Load the index saved at `path`: the same entries, slots, revisions and policies.

        `purposes` must be those by which the entries were admitted. `misreads` may differ, because
        nothing in the file depends on them. Raises IndexFileError if the file is damaged, has
        another format, is no saved index or was saved with other purposes. The file is not signed:
        load it only from a source that you would accept a hot list from.
        """
        path = Path(path)
        index = cls(purposes, misreads)
        with read_parts(path) as parts:
            manifest = parts.value(MANIFEST, Manifest)
            if manifest.purposes != digest_of(index._purposes):
                raise IndexFileError(
                    "was saved with other purposes",
                    where=str(path),
                    hint="load it with those, or add its entries to a new index",
                )
            loaded = LibraryIndex.load(parts, manifest.slots, manifest.revision, index._misreads)
            if len(loaded) != manifest.entries:
                raise parts.refuse(MANIFEST, f"says {manifest.entries} entries, not {len(loaded)}")
        index._index = loaded
        index._revision = manifest.revision
        return index

    def _admitted(self, given: Entry | Mapping[str, Any]) -> Entry:
        entry = document(given, Entry, decode_entry)
        check_entry(entry, self._purposes)
        return entry

    def _put(self, entries: list[Entry]) -> int:
        """Put entries, the last one of each id; return how many ids are new."""
        if not entries:
            return 0
        index = self._changing()
        last = {
            entry.entry_id: (entry, revision)
            for revision, entry in enumerate(entries, self._revision + 1)
        }
        self._revision += len(entries)
        return index.add(list(last.values()))

    def _changing(self) -> LibraryIndex:
        """Return the index for a change, copied if a snapshot in use shares it."""
        if self._latest is not None and self._latest() is not None:
            self._index = self._index.copy()
        self._latest = None
        return self._index
