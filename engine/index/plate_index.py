"""The hot lists in memory: from a plate to the entries that it is like.

An entry has a slot, a small number. Flat arrays by slot hold its revision and the next slot of the
same chain. `entry_store` holds the entries, and `terms` their starts and ends. Two hash tables lead
to the slots: by plate for the scanner, and by entry id for changes. `fuzzy_index` leads to entries
that match more than their exact plate. `eligibility` holds what else an entry needs to match.

Changes take effect at once, or together. Entries that are put or removed `staged` change nothing
until the next `commit`, which applies them in one step. `visibility` keeps which slots are visible;
a hidden slot is never found. Slots that have ended stay hidden until `drop` removes them, a bounded
number at a time, so that no call takes long.

The last record of each entry id decides, together with the clock. A refused or expired record also
removes its predecessor, so every worker reaches the same state. Belongs to one thread; the scanner
reads the tables on that thread.

Long because an entry's place in all the tables is given and taken away in one class.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from engine import limits
from engine.documents.model import Entry
from engine.index.eligibility import Eligibility, Pair
from engine.index.entry_rows import PackedRows
from engine.index.entry_store import PLATE, EntryStore
from engine.index.fuzzy_index import Similar
from engine.index.hash_table import NO_SLOT, Hashes, HashTable, chain_of, hashes_of
from engine.index.open_entry import OpenEntry
from engine.index.terms import Terms
from engine.index.visibility import Stages
from engine.plates.likeness import Likeness, compare
from engine.plates.misreads import Misreads
from engine.plates.plate_hash import hash_of

_SMALLEST = 1024

T = TypeVar("T", bound=np.generic)


class Index:
    """The index of hot lists; see the module.

    `eligibility` is kept current with the entries. `misreads` defines the look-alikes; None means
    the shipped table.
    """

    def __init__(self, eligibility: Eligibility, misreads: Misreads | None = None) -> None:
        self.eligibility = eligibility
        self._misreads = Misreads.load() if misreads is None else misreads
        self.plates: HashTable = HashTable()
        self.similar: Similar = Similar(self._misreads)
        self._ids = HashTable()
        self._entries = EntryStore()
        self._free: array[int] = array("i")
        self._revision: npt.NDArray[np.int64] = np.zeros(_SMALLEST, dtype=np.int64)
        self._next_by_plate: npt.NDArray[np.int32] = np.full(_SMALLEST, NO_SLOT, dtype=np.int32)
        self._next_by_id: npt.NDArray[np.int32] = np.full(_SMALLEST, NO_SLOT, dtype=np.int32)
        self._terms = Terms(_SMALLEST)
        self._stages = Stages()
        self._turns: int = 0

    def __len__(self) -> int:
        """Return the number of visible entries: active ones and those not yet started."""
        return self._in_use() - len(self._stages.hidden)

    @property
    def active_count(self) -> int:
        """The number of visible entries that have started and not expired."""
        return len(self.eligibility.active)

    @property
    def changes(self) -> int:
        """A number that grows with each change of what may match, and of the entries' numbers."""
        return self._turns + self.eligibility.changes

    @property
    def is_staging(self) -> bool:
        """Whether any slot waits for the commit."""
        return bool(self._stages.staged) or bool(self._stages.leaving)

    @property
    def has_ended(self) -> bool:
        """Whether any slot waits to be dropped."""
        return bool(self._stages.ended)

    @property
    def has_expired(self) -> bool:
        """Whether any slot that waits to be dropped has an entry that expired."""
        return bool(self._stages.expired)

    def put(self, entry: Entry, revision: int, now_ms: int, *, staged: bool = False) -> bool:
        """Do as `put_many` does for one entry; return False if it has expired."""
        return self.put_many([(entry, revision)], now_ms, staged=staged) == 1

    def put_many(
        self, entries: Sequence[tuple[Entry, int]], now_ms: int, *, staged: bool = False
    ) -> int:
        """Add entries, or replace those with their ids; return how many are held.

        Each comes with its revision, the offset of its record; ids must not repeat. If an entry
        has expired, neither it nor its predecessor is held.
        """
        heads = self._ids.get_many(hashes_of(entry.entry_id for entry, _ in entries))
        replaced: list[int] = []
        for (entry, _), head in zip(entries, heads.tolist(), strict=True):
            if head != NO_SLOT:
                replaced += self._slots_of_id(entry.entry_id, head)
        self._take_away(replaced, staged=staged)
        held = [
            (entry, revision, expires_ms)
            for entry, revision in entries
            if (expires_ms := entry.expires_ms) > now_ms
        ]
        slots = self._free_slots(len(held))
        terms = [(entry.starts_ms, expires_ms) for entry, _, expires_ms in held]
        self._terms.put(slots, terms, now_ms)
        slots_by_pair: dict[Pair, list[int]] = {}
        for slot, (entry, _, _) in zip(slots, held, strict=True):
            self._entries.put(slot, entry)
            slots_by_pair.setdefault((entry.agency, entry.purpose), []).append(slot)
        for pair, of_pair in slots_by_pair.items():
            self.eligibility.file(of_pair, pair)
        if staged:
            self._stages.stage(slots)
        else:
            self.eligibility.active |= BitMap(slots) - self._terms.scheduled
        as_array = np.array(slots, dtype=np.int32)
        self._revision[as_array] = [revision for _, revision, _ in held]
        plates = hashes_of(entry.plate for entry, _, _ in held)
        self.plates.push_many(plates, as_array, self._next_by_plate)
        ids = hashes_of(entry.entry_id for entry, _, _ in held)
        self._ids.push_many(ids, as_array, self._next_by_id)
        self.similar.put(zip(slots, (entry for entry, _, _ in held), strict=True))
        return len(held)

    def put_packed(self, rows: PackedRows, now_ms: int) -> None:
        """Do as `put_many` does for entries that are packed already, and have not expired."""
        slots = self._free_slots(len(rows.packed))
        as_array = np.array(slots, dtype=np.int32)
        self._entries.put_packed(slots, rows.packed)
        self._terms.put_many(as_array, rows.starts_ms, rows.expires_ms, now_ms)
        for pair, positions in rows.pairs:
            self.eligibility.file(as_array[positions].tolist(), pair)
        self.eligibility.active |= BitMap(slots) - self._terms.scheduled
        self._revision[as_array] = rows.revisions
        self.plates.push_many(rows.plates, as_array, self._next_by_plate)
        self._ids.push_many(rows.ids, as_array, self._next_by_id)
        if rows.asking:
            self.similar.put((slots[position], asking) for position, asking in rows.asking)

    def end_load(self) -> None:
        """File by the clock what `put_packed` was given, before reads wait for it."""
        self._terms.file_waiting()

    def has_ids(self, ids: Hashes) -> npt.NDArray[np.bool_]:
        """Return, for the hashes of ids, whether a slot has an id of this hash, ended or not."""
        has: npt.NDArray[np.bool_] = self._ids.get_many(ids) != NO_SLOT
        return has

    def share(self, table: str, value: Any, count: int) -> Any:
        """Count so many entries, which `put_packed` will put, with a shared value; return what
        stands for it in them."""
        return self._entries.share(table, value, count)

    def remove(self, entry_id: str, *, staged: bool = False) -> bool:
        """Remove an entry; return False if `find` would find none with this id."""
        found = self._slots_of_id(entry_id, self._ids.get(hash_of(entry_id.encode())))
        held = any(slot not in self._stages.leaving for slot in found)
        self._take_away(found, staged=staged)
        return held

    def find(self, entry_id: str) -> tuple[Entry, int] | None:
        """Return the entry with this id, as it will be after the commit, and its revision."""
        head = self._ids.get(hash_of(entry_id.encode()))
        for slot in self._slots_of_id(entry_id, head):
            if slot not in self._stages.leaving:
                return self.entry(slot), self.revision(slot)
        return None

    def listed(self, entry_id: str) -> list[Entry]:
        """Return the entries with this id: the visible one, and the one that the commit brings."""
        head = self._ids.get(hash_of(entry_id.encode()))
        return [self.entry(slot) for slot in self._slots_of_id(entry_id, head)]

    def commit(self) -> None:
        """Make everything that is staged take effect."""
        came, went = self._stages.commit()
        self._turns += bool(came) or bool(went)
        self.eligibility.active -= went
        self.eligibility.active |= came - self._terms.scheduled

    def turn_to(self, now_ms: int) -> None:
        """Set the clock: start and end the entries that are due."""
        stages, active = self._stages, self.eligibility.active
        started, ended = self._terms.start(now_ms), self._terms.end(now_ms)
        self._turns += bool(started) or bool(ended)
        if started:
            active |= started - stages.hidden
        if ended:
            expired = ended - stages.ended
            active -= expired
            stages.expire(expired)

    def drop(self, most: int = limits.SLOTS_A_DROP) -> list[tuple[Entry, int]]:
        """Remove at most so many slots that have ended.

        Returns the entries among them that expired, with their revisions, but not those that were
        replaced or removed before.
        """
        slots = list(self._stages.ended[:most])
        expired = self._expired(slots)
        self._drop(slots)
        self._terms.tidy(self._in_use())
        return expired

    def drop_expired(self, entry_id: str) -> tuple[Entry, int] | None:
        """Remove the last entry with this id if it has expired and return it; else None."""
        if not self._stages.expired:
            return None
        slots = [
            slot
            for slot in chain_of(self._ids.get(hash_of(entry_id.encode())), self._next_by_id)
            if slot in self._stages.expired and self._entries.entry_id(slot) == entry_id
        ]
        expired = self._expired(slots)
        self._drop(slots)
        return max(expired, key=lambda found: found[1], default=None)

    def slots_of(self, plate: str) -> Iterator[tuple[int, Entry]]:
        """Yield the visible slots and entries of exactly this normalized plate."""
        found = self.listed_from(self.plates.get(hash_of(plate.encode())), plate)
        while found is not None:
            slot, listed = found
            yield slot, self.entry_of(listed)
            found = self.listed_after(slot, plate)

    def listed_from(self, slot: int, plate: str) -> tuple[int, Any] | None:
        """Return the first visible slot of exactly this normalized plate, from a slot on, and what
        `entry_of` makes its entry of.

        The slot is the first one under the plate's hash, which the scanner has found; it may be
        NO_SLOT.
        """
        # No generator and no entry yet: each read of a listed plate comes here.
        hidden, opened = self._stages.hidden, self._entries.opened
        while slot != NO_SLOT:
            if slot not in hidden:
                entry = opened(slot)
                if entry is not None:
                    if entry.plate == plate:
                        return slot, entry
                else:
                    values = self._entries.values(slot)
                    if values[PLATE] == plate:
                        return slot, values
            slot = self._next_by_plate.item(slot)
        return None

    def listed_after(self, slot: int, plate: str) -> tuple[int, Any] | None:
        """Return the next one after a slot that `listed_from` or this has returned."""
        following: int = self._next_by_plate.item(slot)
        return None if following == NO_SLOT else self.listed_from(following, plate)

    def is_last(self, slot: int) -> bool:
        """Return whether no slot, visible or not, comes after one under its plate's hash."""
        return bool(self._next_by_plate[slot] == NO_SLOT)

    def entry_of(self, listed: Any) -> Entry:
        """Return the entry of what `listed_from` has returned just now."""
        return self.open_entry(listed).entry

    def open_entry(self, listed: Any) -> OpenEntry:
        """Do as `entry_of`; what is returned is the same for the entry's next read if it is kept
        open."""
        if type(listed) is OpenEntry:
            return listed
        return OpenEntry(self._entries.entry_of(listed))

    def opened(self, slot: int) -> OpenEntry | None:
        """Return the entry in a slot if it is kept open."""
        return self._entries.opened(slot)

    def keep_open(self, slot: int, entry: OpenEntry) -> None:
        """Keep the entry of a slot ready for the next match."""
        self._entries.keep_open(slot, entry)

    def candidates(
        self, plate: str, region: str | None = None
    ) -> Iterator[tuple[int, Entry, Likeness]]:
        """Yield the visible slots and entries that a normalized plate is like, each once.

        `region` is the read's. If it is None, an entry without a region has the look-alikes of
        every region. This is a generator, because a plate may be listed any number of times.
        """
        slots = list(chain_of(self.plates.get(hash_of(plate.encode())), self._next_by_plate))
        if self.similar:
            further = self.similar.slots_like(plate)
            further.difference_update(slots)
            slots += sorted(further)
        for slot in slots:
            if slot in self._stages.hidden:
                continue
            entry = self.entry(slot)
            likeness = self.likeness(plate, entry, region)
            if likeness is not None:
                yield slot, entry, likeness

    def likeness(self, plate: str, entry: Entry, region: str | None) -> Likeness | None:
        """Return how a normalized plate of a region is like an entry's; see `candidates`."""
        return compare(
            plate,
            entry.plate,
            confusables=bool(entry.confusables),
            distance=entry.distance or 0,
            misreads=self._misreads.in_region(entry.region or region),
        )

    def entry(self, slot: int) -> Entry:
        """Return the entry in a slot that is in use."""
        return self._entries.get(slot)

    def revision(self, slot: int) -> int:
        """Return the revision of the entry in a slot."""
        return int(self._revision[slot])

    def _in_use(self) -> int:
        return len(self._entries) - len(self._free)

    def _slots_of_id(self, entry_id: str, head: int) -> list[int]:
        """Return the slots of an id that have not ended: at most one staged and one visible."""
        if head == NO_SLOT:  # the usual case while a list is loaded
            return []
        return [
            slot
            for slot in chain_of(head, self._next_by_id)
            if slot not in self._stages.ended and self._entries.entry_id(slot) == entry_id
        ]

    def _take_away(self, slots: list[int], *, staged: bool) -> None:
        """Remove slots: at once, or if they are visible and `staged` is set, with the commit."""
        if staged:
            for slot in slots:
                if slot not in self._stages.staged:
                    self._stages.leave(slot)
            slots = [slot for slot in slots if slot in self._stages.staged]
        self._drop(slots)

    def _expired(self, slots: list[int]) -> list[tuple[Entry, int]]:
        expired = self._stages.expired
        return [(self.entry(slot), self.revision(slot)) for slot in slots if slot in expired]

    def _drop(self, slots: list[int]) -> None:
        if not slots:
            return
        as_array = np.array(slots, dtype=np.int32)
        filings = [self._entries.take(slot) for slot in slots]
        plates = hashes_of(plate for _, plate, _, _ in filings)
        self.plates.unlink_many(plates, as_array, self._next_by_plate)
        ids = hashes_of(entry_id for entry_id, _, _, _ in filings)
        self._ids.unlink_many(ids, as_array, self._next_by_id)
        self.similar.drop([(slot, filed[1]) for slot, filed in zip(slots, filings, strict=True)])
        slots_by_pair: dict[Pair, list[int]] = {}
        for slot, (_, _, agency, purpose) in zip(slots, filings, strict=True):
            slots_by_pair.setdefault((agency, purpose), []).append(slot)
        for pair, of_pair in slots_by_pair.items():
            self.eligibility.unfile(BitMap(of_pair), pair)
        as_set = BitMap(slots)
        self._terms.drop(as_set)
        self._stages.drop(as_set)
        self._free.extend(slots)

    def _free_slots(self, count: int) -> list[int]:
        reused = min(count, len(self._free))
        slots = self._free[len(self._free) - reused :].tolist()
        del self._free[len(self._free) - reused :]
        slots += self._entries.add_slots(count - reused)
        while len(self._entries) > len(self._revision):
            self._revision = _grown(self._revision, 0)
            self._next_by_plate = _grown(self._next_by_plate, NO_SLOT)
            self._next_by_id = _grown(self._next_by_id, NO_SLOT)
            self._terms.make_room(len(self._revision))
        return slots


def _grown(values: npt.NDArray[T], filler: int) -> npt.NDArray[T]:
    """Return the values with a quarter more room, so that the total cost of copying is linear."""
    return np.concatenate([values, np.full(max(_SMALLEST, len(values) // 4), filler, values.dtype)])
