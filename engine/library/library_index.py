"""The index without a clock, for use without Kafka.

It is the worker's index, but it holds entries regardless of the time, and each query for entries in
force names a time. It can be copied, saved and loaded. A file holds the packed entries, their
revisions, the sets of slots by agency and purpose, and the policies. Everything derived from them
(hash tables, look-alikes, patterns, times) is rebuilt in bulk when the file is loaded.

    entries/…        see `saved_entries`
    revisions.npy    int64 by slot: the revision of its entry
    pairs.json       agencies and purposes; the slots of the first are in pairs/0.roaring, …
    policies.json    policies and their revisions

Belongs to one thread while it changes.
"""

from __future__ import annotations

from array import array
from typing import Final

import msgspec
import numpy as np
from pyroaring import BitMap

from engine.documents.fields import Code, Count, Name
from engine.documents.model import Entry, Policy
from engine.index.eligibility import Eligibility
from engine.index.hash_table import NO_SLOT, hashes_of
from engine.index.plate_index import Index
from engine.index.terms import set_of
from engine.index.timer_wheel import NEVER_MS
from engine.library.archive import PartsReader, PartsWriter
from engine.library.saved_entries import Filing, load_entries, save_entries
from engine.plates.misreads import Misreads

#: Earlier than any time in a document.
_BEFORE_ALL_MS: Final = -NEVER_MS
_REVISIONS: Final = "revisions.npy"
_PAIRS: Final = "pairs.json"
_POLICIES: Final = "policies.json"


class _Pair(msgspec.Struct, forbid_unknown_fields=True):
    agency: Name
    purpose: Code


class _HeldPolicy(msgspec.Struct, forbid_unknown_fields=True):
    policy: Policy
    revision: Count


class LibraryIndex(Index):
    """The index of the library; see the module."""

    def copy(self) -> LibraryIndex:
        """Return an independent copy.

        It costs time and memory for everything that is held: about 100 ms for a million entries.
        """
        copied = LibraryIndex(self.eligibility.copy(), self._misreads)
        copied.plates, copied._ids = self.plates.copy(), self._ids.copy()
        copied.similar = self.similar.copy()
        copied._entries = self._entries.copy()
        copied._free = self._free[:]
        copied._revision = self._revision.copy()
        copied._next_by_plate = self._next_by_plate.copy()
        copied._next_by_id = self._next_by_id.copy()
        copied._terms = self._terms.copy()
        copied._stages = self._stages.copy()
        return copied

    def add(self, entries: list[tuple[Entry, int]]) -> int:
        """Add entries with their revisions, or replace those with their ids.

        Returns how many are new. Ids must not repeat.
        """
        before = len(self)
        self.put_many(entries, _BEFORE_ALL_MS)
        return len(self) - before

    def slots_of_ids(self, entry_ids: list[str]) -> list[int]:
        """Return the slots of the entries with these ids, which must not repeat."""
        heads = self._ids.get_many(hashes_of(entry_ids)).tolist()
        slots: list[int] = []
        for entry_id, head in zip(entry_ids, heads, strict=True):
            if head != NO_SLOT:
                slots += self._slots_of_id(entry_id, head)
        return slots

    def take_out(self, slots: list[int]) -> None:
        """Remove the entries in slots that are in use."""
        self._take_away(slots, staged=False)

    def drop_ended(self, at_ms: int) -> None:
        """Remove the entries that have expired at a time."""
        self.turn_to(at_ms)
        while self.has_ended:
            self.drop()

    def expired_count(self, at_ms: int) -> int:
        """Return how many entries have expired at a time."""
        return int(np.count_nonzero(self._terms.expires_ms <= at_ms))

    def in_force(self, slot: int, at_ms: int) -> bool:
        """Return whether the entry in a slot has started and not expired at a time."""
        starts_ms = self._terms.starts_ms[slot]
        started = starts_ms <= at_ms or starts_ms == NEVER_MS
        return bool(started and at_ms < self._terms.expires_ms[slot])

    def eligible(self, source: str, at_ms: int) -> BitMap:
        """Return a new set of the slots that are in force at a time and that a policy allows.

        The policy is the source's. Regions are ignored.
        """
        starts_ms, expires_ms = self._terms.starts_ms, self._terms.expires_ms
        out = (expires_ms <= at_ms) | ((starts_ms > at_ms) & (starts_ms != NEVER_MS))
        allowed = self.eligibility.allowed(source)
        allowed -= set_of(np.flatnonzero(out))
        return allowed

    @property
    def slot_count(self) -> int:
        """The number of slots, those in use and those that are free again."""
        return len(self._entries)

    @property
    def slots(self) -> BitMap:
        """The slots in use, as a new set."""
        return BitMap.union(BitMap(), *self.eligibility.pairs.values())

    def save(self, parts: PartsWriter) -> None:
        """Write the parts that the module lists."""
        assert not self.is_staging, "nothing is staged here"
        assert not self.has_ended, "no slot waits to be dropped here"
        save_entries(self._entries, parts)
        parts.array(_REVISIONS, self._revision[: len(self._entries)])
        pairs = self.eligibility.pairs
        parts.value(_PAIRS, [_Pair(agency, purpose) for agency, purpose in pairs])
        for number, slots in enumerate(pairs.values()):
            parts.bitmap(f"pairs/{number}.roaring", slots)
        held = [_HeldPolicy(policy, revision) for policy, revision in self.eligibility.policies]
        parts.value(_POLICIES, held)

    @classmethod
    def load(
        cls, parts: PartsReader, slots: int, last_revision: int, misreads: Misreads
    ) -> LibraryIndex:
        """Load the index from parts, with so many slots and no revision after the last one.

        Raises IndexFileError if the parts contradict each other.
        """
        index = cls(Eligibility(), misreads)
        index._entries, filing = load_entries(parts, slots)
        index._free_slots(0)  # room for all slots
        revisions = parts.array(_REVISIONS, np.int64, slots, below=last_revision + 1)
        index._revision[:slots] = revisions
        index._file(filing, slots)
        index._load_pairs(parts, filing, slots)
        for held in parts.value(_POLICIES, list[_HeldPolicy]):
            index.eligibility.set_policy(held.policy, held.revision)
        return index

    def _file(self, filing: Filing, slots: int) -> None:
        in_use = filing.slots
        is_free = np.ones(slots, dtype=bool)
        is_free[in_use] = False
        self._free = array("i", np.flatnonzero(is_free).astype(np.int32).tobytes())
        self._terms.fill(in_use, filing.starts_ms, filing.expires_ms)
        self.eligibility.active = set_of(in_use) - self._terms.scheduled
        self.plates.push_many(filing.plates, in_use, self._next_by_plate)
        self._ids.push_many(filing.ids, in_use, self._next_by_id)
        self.similar.put(filing.asking)

    def _load_pairs(self, parts: PartsReader, filing: Filing, slots: int) -> None:
        """File the sets of slots, and check each one against the entries."""
        numbers = {pair: number for number, pair in enumerate(filing.pairs)}
        by_slot = np.full(slots, -1, dtype=np.int32)
        by_slot[filing.slots] = filing.pair_numbers
        filed = 0
        for place, pair in enumerate(parts.value(_PAIRS, list[_Pair])):
            name = f"pairs/{place}.roaring"
            members = parts.bitmap(name, slots)
            number = numbers.pop((pair.agency, pair.purpose), None)
            if number is None or (by_slot[np.array(members.to_array())] != number).any():
                raise parts.refuse(name, "does not go with the entries")
            self.eligibility.file(members, (pair.agency, pair.purpose))
            filed += len(members)
        if filed != len(filing.slots):
            raise parts.refuse(_PAIRS, "does not name every agency and purpose")
