"""The index as a library: hot lists in memory, without Kafka.

    from engine import HotListIndex

    index = HotListIndex()
    index.add_many(entries)                 # documents, or dicts of the same form
    index.set_policy(policy)
    snapshot = index.snapshot()
    matches = snapshot.match(read, at)      # what the worker would make of the read
    index.save(path)
    index = HotListIndex.load(path)

A `HotListIndex` takes changes and belongs to one thread. What is asked is asked of a `Snapshot`,
which never changes and may be used by any number of threads while the index goes on changing.
Neither has a clock: a question names the time as of which it is asked, and entries are held
before they start and after they expire (`remove_expired`). There is no suppression: each read is
answered for itself.

A snapshot shares everything with the index until the index changes. The first change after a
snapshot that is still in use copies the index once; further changes copy nothing until there is
another snapshot. So publish a snapshot after a bulk change and not after each entry.

Costs, in orders of magnitude: an entry takes some 250 bytes, one with `confusables`, `distance`
or `?` more; a million entries are added or removed in seconds and copied in a tenth of one;
a question takes microseconds.
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
from engine.library.library_index import TimelessIndex
from engine.library.snapshot import MANIFEST, Manifest, Snapshot, digest_of, document, time_ms
from engine.plates.misreads import Misreads

#: Entries that are put together, which is several times faster than one by one.
_AT_A_TIME: Final = 2048


class Refused(NamedTuple):
    """Something that was not added: its position in what was given, from 0, and why."""

    position: int
    reason: str


class Added(NamedTuple):
    """What came of everything that was given: each is counted once.

    `added` entries are new; `replaced` ones took the place of the entry with their id, which
    may be one that was given before them; `refused` ones changed nothing.
    """

    added: int
    replaced: int
    refused: list[Refused]


class HotListIndex:
    """Hot lists and policies that change; see the module.

    `purposes` says which entries are admissible, `misreads` which characters are look-alikes and
    how probable misreads are; without them, those that we ship count. Belongs to one thread.
    """

    def __init__(self, purposes: Purposes | None = None, misreads: Misreads | None = None) -> None:
        self._purposes = Purposes.load() if purposes is None else purposes
        self._misreads = Misreads.load() if misreads is None else misreads
        self._index = TimelessIndex(Eligibility(), self._misreads)
        self._revision = 0
        # Whoever holds a snapshot holds it alive; when nobody does, there is nothing to copy.
        self._latest: weakref.ref[Snapshot] | None = None

    def __len__(self) -> int:
        """Entries held, whether in force or not."""
        return len(self._index)

    def __contains__(self, entry_id: object) -> bool:
        return isinstance(entry_id, str) and self._index.find(entry_id) is not None

    @property
    def revision(self) -> int:
        """How many changes there have been. Each entry that is added, replaced or removed is
        one, and so is each policy that is set or removed; its number is the revision of what it
        has put."""
        return self._revision

    def get(self, entry_id: str) -> Entry | None:
        """The entry with this id, or None."""
        found = self._index.find(entry_id)
        return None if found is None else found[0]

    def add_many(self, entries: Iterable[Entry | Mapping[str, Any]]) -> Added:
        """Add entries, or put them in the place of those with their ids.

        Each must be what the schema says and admissible by `engine.documents.admission`; what is
        not is in the report and changes nothing. Where `entries` itself raises, those before it may
        be held.
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
        """Remove the entries with these ids; how many there were."""
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
        """Remove the entries that have expired at a time (aware, or in ms since 1970); how many
        there were. They match nothing from then on in any case; this gives their memory back."""
        at_ms = time_ms(at)
        removed = self._index.expired_count(at_ms)
        if removed:
            self._changing().drop_ended(at_ms)
            self._revision += removed
        return removed

    def set_policy(self, policy: Policy | Mapping[str, Any]) -> None:
        """Put a source's policy in the place of the one it had, if any.

        Raises DocumentError where it is not what the schema says.
        """
        checked = document(policy, Policy, decode_policy)
        eligibility = self._changing().eligibility
        self._revision += 1
        eligibility.set_policy(checked, self._revision)

    def remove_policy(self, source: str) -> bool:
        """Remove a source's policy, after which nothing matches on its reads; False where it had
        none."""
        if all(policy.source != source for policy, _ in self._index.eligibility.policies):
            return False
        self._changing().eligibility.remove_policy(source)
        self._revision += 1
        return True

    def snapshot(self) -> Snapshot:
        """Everything as it is now, for good. Copies nothing."""
        latest = None if self._latest is None else self._latest()
        if latest is None:
            latest = Snapshot(self._index, self._purposes, self._misreads, self._revision)
            self._latest = weakref.ref(latest)
        return latest

    def save(self, path: str | Path) -> None:
        """As `Snapshot.save`, of everything as it is now."""
        self.snapshot().save(path)

    @classmethod
    def load(
        cls,
        path: str | Path,
        purposes: Purposes | None = None,
        misreads: Misreads | None = None,
    ) -> HotListIndex:
        """The index that was saved at `path`: the same entries, slots, revisions and policies.

        `purposes` must be those by which the entries were admitted. `misreads` may be others:
        what depends on them is not in the file. Raises IndexFileError where the file is damaged,
        of another format or no saved index, or where its purposes are others. The file carries
        no signature: load what you would accept a hot list from.
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
            loaded = TimelessIndex.load(parts, manifest.slots, manifest.revision, index._misreads)
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
        """Hold entries, of those with one id the last; how many ids are new."""
        if not entries:
            return 0
        index = self._changing()
        last = {
            entry.entry_id: (entry, revision)
            for revision, entry in enumerate(entries, self._revision + 1)
        }
        self._revision += len(entries)
        return index.add(list(last.values()))

    def _changing(self) -> TimelessIndex:
        """The index, which no snapshot that is in use shares from here on."""
        if self._latest is not None and self._latest() is not None:
            self._index = self._index.copy()
        self._latest = None
        return self._index
