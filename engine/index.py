"""The hot lists in memory: from the hash of a plate to the entries filed under it.

An entry lives in a slot, a small number. By slot lie flat arrays (revision, start, end, the
next slot of the same chain) and, in a store of their own, the entries; two hash tables lead to
the slots, by plate for the scanner and by entry id for changes. What is asked of an entry
beyond its plate is in `policy.Eligibility`.

The state follows from the last record of each entry id and from the clock, and from nothing
else, so that all workers have the same: a record that is refused or has expired takes its
predecessor away too. Belongs to one thread; the scanner reads the plate table on that thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from engine.documents import Entry
from engine.hashing import hash_of
from engine.policy import Eligibility, Pair
from engine.store import EntryStore
from engine.table import NO_SLOT, HashTable, hashes_of
from engine.timeline import Timeline

_SMALLEST = 1024

T = TypeVar("T", bound=np.generic)


class Index:
    """See the module. `eligibility` is kept current with the entries."""

    def __init__(self, eligibility: Eligibility) -> None:
        self.eligibility = eligibility
        self.plates = HashTable()
        self._ids = HashTable()
        self._entries = EntryStore()
        self._free: list[int] = []
        self._revision: npt.NDArray[np.int64] = np.zeros(_SMALLEST, dtype=np.int64)
        self._starts_ms: npt.NDArray[np.int64] = np.zeros(_SMALLEST, dtype=np.int64)
        self._expires_ms: npt.NDArray[np.int64] = np.zeros(_SMALLEST, dtype=np.int64)
        self._next_by_plate: npt.NDArray[np.int32] = np.full(_SMALLEST, NO_SLOT, dtype=np.int32)
        self._next_by_id: npt.NDArray[np.int32] = np.full(_SMALLEST, NO_SLOT, dtype=np.int32)
        self._starts = Timeline()
        self._ends = Timeline()

    def __len__(self) -> int:
        """Entries held: active and not yet started."""
        return len(self._entries) - len(self._free)

    @property
    def active_count(self) -> int:
        """Entries that have started and not expired."""
        return len(self.eligibility.active)

    def put(self, entry: Entry, revision: int, now_ms: int) -> bool:
        """As `put_many` for one entry; False where it has expired."""
        return self.put_many([(entry, revision)], now_ms) == 1

    def put_many(self, entries: Sequence[tuple[Entry, int]], now_ms: int) -> int:
        """Add entries, or put them in place of those with their ids; how many are held.

        Each comes with its revision, the offset of its record; ids are not repeated. An entry
        that has expired is not held, and neither is its predecessor.
        """
        heads = self._ids.get_many(hashes_of(entry.entry_id for entry, _ in entries))
        for (entry, _), head in zip(entries, heads.tolist(), strict=True):
            if head != NO_SLOT:
                self.remove(entry.entry_id)
        held = [
            (entry, revision, expires_ms)
            for entry, revision in entries
            if (expires_ms := entry.expires_ms) > now_ms
        ]
        slots = self._free_slots(len(held))
        started: list[int] = []
        slots_by_pair: dict[Pair, list[int]] = {}
        for slot, (entry, _, expires_ms) in zip(slots, held, strict=True):
            self._entries.put(slot, entry)
            self._ends.add(slot, expires_ms)
            starts_ms = entry.starts_ms
            if starts_ms is None or starts_ms <= now_ms:
                started.append(slot)
            else:
                self._starts_ms[slot] = starts_ms
                self._starts.add(slot, starts_ms)
            slots_by_pair.setdefault((entry.agency, entry.purpose), []).append(slot)
        for pair, of_pair in slots_by_pair.items():
            self.eligibility.file(of_pair, pair)
        self.eligibility.active.update(started)
        as_array = np.array(slots, dtype=np.int32)
        self._revision[as_array] = [revision for _, revision, _ in held]
        self._expires_ms[as_array] = [expires_ms for _, _, expires_ms in held]
        plates = hashes_of(entry.plate for entry, _, _ in held)
        self.plates.push_many(plates, as_array, self._next_by_plate)
        ids = hashes_of(entry.entry_id for entry, _, _ in held)
        self._ids.push_many(ids, as_array, self._next_by_id)
        return len(held)

    def remove(self, entry_id: str) -> bool:
        """Take an entry out; False where there is none with this id."""
        slot = self._ids.get(hash_of(entry_id.encode()))
        while slot != NO_SLOT:
            entry = self.entry(slot)
            if entry.entry_id == entry_id:
                self._drop(slot, entry)
                return True
            slot = int(self._next_by_id[slot])
        return False

    def advance(self, now_ms: int) -> int:
        """Start and end what is due; how many entries expired."""
        for slot in self._starts.due(now_ms, self._starts_ms):
            if self._entries.in_use(slot):
                self.eligibility.active.add(slot)
        expired = 0
        for slot in self._ends.due(now_ms, self._expires_ms):
            if self._entries.in_use(slot):
                self._drop(slot, self.entry(slot))
                expired += 1
        return expired

    def slots_of(self, plate: str) -> Iterator[tuple[int, Entry]]:
        """The slots and entries of exactly this normalized plate."""
        return self.chain(self.plates.get(hash_of(plate.encode())), plate)

    def chain(self, slot: int, plate: str) -> Iterator[tuple[int, Entry]]:
        """As `slots_of`, from the first slot, which the scanner has found."""
        while slot != NO_SLOT:
            entry = self.entry(slot)
            following = int(self._next_by_plate[slot])
            if entry.plate == plate:
                yield slot, entry
            slot = following

    def entry(self, slot: int) -> Entry:
        """The entry in a slot that is in use."""
        return self._entries.get(slot)

    def revision(self, slot: int) -> int:
        """The revision of the entry in a slot."""
        return int(self._revision[slot])

    def _drop(self, slot: int, entry: Entry) -> None:
        self._unlink(self.plates, self._next_by_plate, hash_of(entry.plate.encode()), slot)
        self._unlink(self._ids, self._next_by_id, hash_of(entry.entry_id.encode()), slot)
        self.eligibility.unfile(slot, (entry.agency, entry.purpose))
        self._entries.clear(slot)
        self._free.append(slot)

    def _free_slots(self, count: int) -> list[int]:
        reused = min(count, len(self._free))
        slots = [self._free.pop() for _ in range(reused)]
        slots += [self._entries.add_slot() for _ in range(count - reused)]
        while len(self._entries) > len(self._revision):
            self._revision = _grown(self._revision)
            self._starts_ms = _grown(self._starts_ms)
            self._expires_ms = _grown(self._expires_ms)
            self._next_by_plate = _grown(self._next_by_plate)
            self._next_by_id = _grown(self._next_by_id)
        return slots

    @staticmethod
    def _unlink(
        table: HashTable, following: npt.NDArray[np.int32], key_hash: int, slot: int
    ) -> None:
        before = table.get(key_hash)
        if before == slot:
            table.set(key_hash, int(following[slot]))
            return
        while following[before] != slot:
            before = int(following[before])
        following[before] = following[slot]


def _grown(values: npt.NDArray[T]) -> npt.NDArray[T]:
    """The values with a quarter more room; what is moved in all stays a few times the end."""
    return np.concatenate([values, np.zeros(max(_SMALLEST, len(values) // 4), values.dtype)])
