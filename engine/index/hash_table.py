"""An open-addressing hash table from 64-bit hashes to slots, made for the scanner.

It uses flat numpy arrays and linear probing, because the compiled scan can probe nothing else. A
hash leads to one slot: the head of a chain, which the owner keeps if several entries share a hash.
Removing a hash leaves its bucket with slot NO_SLOT, because probing passes over it. Such buckets
are dropped when the table is rebuilt.

Each process draws a secret factor that decides in which bucket a hash stands. Otherwise an attacker
could find plates with similar hashes, by trying billions of them. Entries with such plates would
form one long run of buckets, and every read that probes into it would be slow. The method is
multiply-shift: Dietzfelbinger and others 1997, https://doi.org/10.1006/jagm.1997.0873. The hash
itself is the same in every process.

The table belongs to one thread. It holds hashes, never plates, so a slot that it returns is a
candidate.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.compiled import compiled, inlined
from engine.plates.plate_hash import EMPTY, hash_of

#: In `slots`: no slot is filed under this hash any more.
NO_SLOT: Final = -1

_SMALLEST: Final = 1024

#: The secret factor that places hashes in buckets; odd.
_PLACING: Final = secrets.randbits(64) | 1

Hashes = npt.NDArray[np.uint64]
Slots = npt.NDArray[np.int32]
Marks = npt.NDArray[np.uint64]

_PLACES_A_MARK_WORD: Final = 16
_PLACES_A_SELECTIVE_WORD: Final = 4
_PLACES_A_SINGLE_WORD: Final = 16


@inlined
def first_place(wanted: np.uint64, placing: np.uint64, mask: np.uint64) -> np.uint64:
    """Return the first bucket to probe for a hash; `mask` is the number of buckets minus one."""
    return ((wanted * placing) >> np.uint64(32)) & mask


@compiled
def _place_of(hashes: Hashes, placing: np.uint64, wanted: np.uint64) -> np.int64:
    """Return the bucket of a hash, or the empty bucket that it would take."""
    mask = np.uint64(len(hashes) - 1)
    at = first_place(wanted, placing, mask)
    while hashes[at] != EMPTY and hashes[at] != wanted:
        at = (at + np.uint64(1)) & mask
    return np.int64(at)


@inlined
def _three_bits(key_hash: np.uint64) -> np.uint64:
    return (
        (np.uint64(1) << (key_hash & np.uint64(63)))
        | (np.uint64(1) << ((key_hash >> np.uint64(6)) & np.uint64(63)))
        | (np.uint64(1) << ((key_hash >> np.uint64(12)) & np.uint64(63)))
    )


@inlined
def hold(marks: Marks, key_hash: np.uint64) -> None:
    """Set the three bits of a hash, so that `is_held` returns True for it."""
    marks[(key_hash >> np.uint64(40)) & np.uint64(len(marks) - 1)] |= _three_bits(key_hash)


@inlined
def _mark(marks: Marks, key_hash: np.uint64, selective: bool) -> None:
    """Set the bit of a hash, or its three bits; they depend on other bits than its bucket does."""
    if selective:
        hold(marks, key_hash)
    else:
        bit = (key_hash >> np.uint64(32)) & np.uint64(64 * len(marks) - 1)
        marks[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))


@inlined
def is_marked(marks: Marks, key_hash: np.uint64) -> bool:
    """Return whether a hash may be in the table; False is certain."""
    bit = (key_hash >> np.uint64(32)) & np.uint64(64 * len(marks) - 1)
    return bool((marks[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1))


@inlined
def is_held(marks: Marks, key_hash: np.uint64) -> bool:
    """Do as `is_marked` does, for a selective table."""
    bits = _three_bits(key_hash)
    return bool(marks[(key_hash >> np.uint64(40)) & np.uint64(len(marks) - 1)] & bits == bits)


@compiled
def _refill(
    old_hashes: Hashes,
    old_slots: Slots,
    placing: np.uint64,
    hashes: Hashes,
    slots: Slots,
    marks: Marks,
    selective: bool,
) -> int:
    """Copy the hashes that still have a slot into empty arrays; return how many there are."""
    used = 0
    for index in range(len(old_hashes)):
        if old_hashes[index] != EMPTY and old_slots[index] != NO_SLOT:
            at = _place_of(hashes, placing, old_hashes[index])
            hashes[at] = old_hashes[index]
            slots[at] = old_slots[index]
            _mark(marks, hashes[at], selective)
            used += 1
    return used


@compiled
def _get_many(
    hashes: Hashes, slots: Slots, placing: np.uint64, wanted: Hashes, found: Slots
) -> None:
    for index in range(len(wanted)):
        found[index] = slots[_place_of(hashes, placing, wanted[index])]


@compiled
def _push_many(
    hashes: Hashes,
    slots: Slots,
    marks: Marks,
    placing: np.uint64,
    selective: bool,
    pushed_hashes: Hashes,
    pushed: Slots,
    following: Slots,
) -> int:
    """Put slots at the heads of their chains; return how many unused buckets that took."""
    used = 0
    for index in range(len(pushed)):
        at = _place_of(hashes, placing, pushed_hashes[index])
        following[pushed[index]] = slots[at]
        slots[at] = pushed[index]
        if hashes[at] == EMPTY:
            hashes[at] = pushed_hashes[index]
            _mark(marks, pushed_hashes[index], selective)
            used += 1
    return used


@compiled
def _unlink_many(
    hashes: Hashes,
    slots: Slots,
    placing: np.uint64,
    unlinked_hashes: Hashes,
    unlinked: Slots,
    following: Slots,
) -> None:
    """Remove slots from their chains."""
    for index in range(len(unlinked)):
        at = _place_of(hashes, placing, unlinked_hashes[index])
        slot = unlinked[index]
        if slots[at] == slot:
            slots[at] = following[slot]
            continue
        before = slots[at]
        while before != NO_SLOT and following[before] != slot:
            before = following[before]
        if before != NO_SLOT:
            following[before] = following[slot]


def hashes_of(keys: Iterable[str]) -> Hashes:
    """Return the hashes of keys as the table stores them."""
    return np.array([hash_of(key.encode()) or 1 for key in keys], dtype=np.uint64)


def chain_of(slot: int, following: Slots) -> Iterator[int]:
    """Yield the slots of a chain from its head, or none for NO_SLOT."""
    while slot != NO_SLOT:
        yield slot
        slot = int(following[slot])


class HashTable:
    """A hash table from hashes to slots; see the module.

    `hashes` (uint64) and `slots` (int32) have a power of two of buckets, and at most three quarters
    of them are used. `placing` is the factor that places a hash. `marks` has four bits for each
    bucket, and each hash sets one bit. Most plates that are not listed are rejected there, in a
    twenty-fourth of the memory.

    A `selective` table is for lookups beside those of another table. It has sixteen bits for each
    bucket, and each hash sets three bits in one word. It rejects 99 of 100 hashes that are not
    filed (a blocked Bloom filter: Putze, Sanders and Singler 2007,
    https://doi.org/10.1007/978-3-540-72845-0_9). With `single` there is one lookup for each read,
    for which a quarter of that memory pays, although it rejects but nine of ten.
    """

    def __init__(
        self, *, selective: bool = False, single: bool = False, placing: int = _PLACING
    ) -> None:
        self._selective = selective
        self._places_a_word = _PLACES_A_SELECTIVE_WORD if selective else _PLACES_A_MARK_WORD
        if single:
            self._places_a_word = _PLACES_A_SINGLE_WORD
        self.hashes: Hashes = np.zeros(_SMALLEST, dtype=np.uint64)
        self.slots: Slots = np.full(_SMALLEST, NO_SLOT, dtype=np.int32)
        self.marks: Marks = np.zeros(_SMALLEST // self._places_a_word, dtype=np.uint64)
        self.placing: np.uint64 = np.uint64(placing)
        self._used = 0

    def copy(self) -> HashTable:
        """Return an independent copy."""
        copied = HashTable(selective=self._selective, placing=int(self.placing))
        copied._places_a_word = self._places_a_word
        copied.hashes, copied.slots = self.hashes.copy(), self.slots.copy()
        copied.marks = self.marks.copy()
        copied._used = self._used
        return copied

    def get(self, key_hash: int) -> int:
        """Return the slot filed under a hash, or NO_SLOT."""
        return int(self.slots[self.place_of(key_hash)])

    def place_of(self, key_hash: int) -> int:
        """Return the bucket of a hash in `hashes` and `slots`, or the unused one it would take."""
        return int(_place_of(self.hashes, self.placing, np.uint64(key_hash or 1)))

    def get_many(self, wanted: Hashes) -> Slots:
        """Return the slots filed under many hashes, which come from `hashes_of`."""
        found: Slots = np.empty(len(wanted), dtype=np.int32)
        _get_many(self.hashes, self.slots, self.placing, wanted, found)
        return found

    def push_many(self, hashes: Hashes, slots: Slots, following: Slots) -> None:
        """Put slots at the heads of the chains of their hashes.

        `hashes` come from `hashes_of`; `following[slot]` is set to the former head.
        """
        if 4 * (self._used + len(slots)) > 3 * len(self.hashes):
            self._rebuild(len(slots))
        self._used += _push_many(
            self.hashes,
            self.slots,
            self.marks,
            self.placing,
            self._selective,
            hashes,
            slots,
            following,
        )

    def unlink_many(self, hashes: Hashes, slots: Slots, following: Slots) -> None:
        """Remove slots from the chains of their hashes; a slot that is not there is ignored.

        `hashes` and `following` are as for `push_many`.
        """
        _unlink_many(self.hashes, self.slots, self.placing, hashes, slots, following)

    def _rebuild(self, more: int) -> None:
        """Drop buckets that are no longer in use, and make room for so many more."""
        filed = int(np.count_nonzero(self.slots != NO_SLOT)) + more
        places = _SMALLEST
        while places < 2 * filed:
            places *= 2
        hashes: Hashes = np.zeros(places, dtype=np.uint64)
        slots: Slots = np.full(places, NO_SLOT, dtype=np.int32)
        marks: Marks = np.zeros(places // self._places_a_word, dtype=np.uint64)
        self._used = _refill(
            self.hashes, self.slots, self.placing, hashes, slots, marks, self._selective
        )
        self.hashes, self.slots, self.marks = hashes, slots, marks

    @property
    def size_bytes(self) -> int:
        """The memory of the arrays."""
        return self.hashes.nbytes + self.slots.nbytes + self.marks.nbytes
