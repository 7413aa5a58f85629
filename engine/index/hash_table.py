"""An open-addressing hash table from 64-bit hashes to slots, made for the scanner.

Flat numpy arrays and linear probing: nothing else can be probed inside the compiled scan. A
hash leads to one slot, the head of a chain that the owner keeps where several entries share a
hash. Taking a hash out leaves its place behind with slot NO_SLOT, because probing runs across
it; such places are dropped when the table is rebuilt.

Where a hash stands is drawn anew by every process: which plates have hashes that are alike
anybody can find out, by trying some billions of them, and entries with such plates would come to
stand in one long run, through which reads would then be looked for. Dietzfelbinger and others
1997, https://doi.org/10.1006/jagm.1997.0873 (multiply-shift). A hash itself is the same for
everybody.

The table belongs to one thread. It knows hashes, never plates: what it finds is a candidate.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Final

import numba
import numpy as np
import numpy.typing as npt

from engine.plates.plate_hash import EMPTY, hash_of

#: In `slots`: nothing is filed under this hash any more.
NO_SLOT: Final = -1

_SMALLEST: Final = 1024

#: By which hashes are multiplied to find their places; odd, and nobody else's to know.
_PLACING: Final = secrets.randbits(64) | 1

Hashes = npt.NDArray[np.uint64]
Slots = npt.NDArray[np.int32]
Marks = npt.NDArray[np.uint64]

_PLACES_A_MARK_WORD: Final = 16
_PLACES_A_SELECTIVE_WORD: Final = 4


@numba.njit(inline="always")
def first_place(wanted: np.uint64, placing: np.uint64, mask: np.uint64) -> np.uint64:
    """Where a hash is looked for first; `mask` is the number of places less one."""
    return ((wanted * placing) >> np.uint64(32)) & mask


@numba.njit(nogil=True, cache=True)
def _place_of(hashes: Hashes, placing: np.uint64, wanted: np.uint64) -> np.int64:
    """Where a hash stands, or the empty place where it would."""
    mask = np.uint64(len(hashes) - 1)
    at = first_place(wanted, placing, mask)
    while hashes[at] != EMPTY and hashes[at] != wanted:
        at = (at + np.uint64(1)) & mask
    return np.int64(at)


@numba.njit(inline="always")
def _three_bits(key_hash: np.uint64) -> np.uint64:
    return (
        (np.uint64(1) << (key_hash & np.uint64(63)))
        | (np.uint64(1) << ((key_hash >> np.uint64(6)) & np.uint64(63)))
        | (np.uint64(1) << ((key_hash >> np.uint64(12)) & np.uint64(63)))
    )


@numba.njit(inline="always")
def _mark(marks: Marks, key_hash: np.uint64, selective: bool) -> None:
    """Set the bit of a hash, taken from other bits than its place is; or its three bits."""
    if selective:
        marks[(key_hash >> np.uint64(40)) & np.uint64(len(marks) - 1)] |= _three_bits(key_hash)
    else:
        bit = (key_hash >> np.uint64(32)) & np.uint64(64 * len(marks) - 1)
        marks[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))


@numba.njit(inline="always")
def is_marked(marks: Marks, key_hash: np.uint64) -> bool:
    """Whether a hash may be filed; False is certain."""
    bit = (key_hash >> np.uint64(32)) & np.uint64(64 * len(marks) - 1)
    return bool((marks[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1))


@numba.njit(inline="always")
def is_held(marks: Marks, key_hash: np.uint64) -> bool:
    """As `is_marked`, for a selective table."""
    bits = _three_bits(key_hash)
    return bool(marks[(key_hash >> np.uint64(40)) & np.uint64(len(marks) - 1)] & bits == bits)


@numba.njit(nogil=True, cache=True)
def _refill(
    old_hashes: Hashes,
    old_slots: Slots,
    placing: np.uint64,
    hashes: Hashes,
    slots: Slots,
    marks: Marks,
    selective: bool,
) -> int:
    """Put what is still filed into empty arrays; how many places that took."""
    used = 0
    for index in range(len(old_hashes)):
        if old_hashes[index] != EMPTY and old_slots[index] != NO_SLOT:
            at = _place_of(hashes, placing, old_hashes[index])
            hashes[at] = old_hashes[index]
            slots[at] = old_slots[index]
            _mark(marks, hashes[at], selective)
            used += 1
    return used


@numba.njit(nogil=True, cache=True)
def _get_many(
    hashes: Hashes, slots: Slots, placing: np.uint64, wanted: Hashes, found: Slots
) -> None:
    for index in range(len(wanted)):
        found[index] = slots[_place_of(hashes, placing, wanted[index])]


@numba.njit(nogil=True, cache=True)
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
    """Put slots at the heads of their chains; how many unused places that took."""
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


@numba.njit(nogil=True, cache=True)
def _unlink_many(
    hashes: Hashes,
    slots: Slots,
    placing: np.uint64,
    unlinked_hashes: Hashes,
    unlinked: Slots,
    following: Slots,
) -> None:
    """Take slots out of their chains."""
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
    """The hashes of keys as the table takes them."""
    return np.array([hash_of(key.encode()) or 1 for key in keys], dtype=np.uint64)


class HashTable:
    """See the module. `hashes` (uint64) and `slots` (int32) have a power of two of places, at
    the most three quarters of them used; where a hash stands is decided by `placing`. `marks`
    has four bits a place, of which each hash sets one: most other plates are told apart there,
    in a twenty-fourth of the memory.

    A `selective` table is for several questions a read. It has sixteen bits a place, of which
    each hash sets three in one word, and tells all but one in a hundred apart (a blocked Bloom
    filter: Putze, Sanders and Singler 2007, https://doi.org/10.1007/978-3-540-72845-0_9).
    """

    def __init__(self, *, selective: bool = False, placing: int = _PLACING) -> None:
        self._selective = selective
        self._places_a_word = _PLACES_A_SELECTIVE_WORD if selective else _PLACES_A_MARK_WORD
        self.hashes: Hashes = np.zeros(_SMALLEST, dtype=np.uint64)
        self.slots: Slots = np.full(_SMALLEST, NO_SLOT, dtype=np.int32)
        self.marks: Marks = np.zeros(_SMALLEST // self._places_a_word, dtype=np.uint64)
        self.placing: np.uint64 = np.uint64(placing)
        self._used = 0

    def copy(self) -> HashTable:
        """A table of its own with the same content."""
        copied = HashTable(selective=self._selective, placing=int(self.placing))
        copied.hashes, copied.slots = self.hashes.copy(), self.slots.copy()
        copied.marks = self.marks.copy()
        copied._used = self._used
        return copied

    def get(self, key_hash: int) -> int:
        """The slot filed under a hash, or NO_SLOT."""
        return int(self.slots[self.place_of(key_hash)])

    def place_of(self, key_hash: int) -> int:
        """Where in `hashes` and `slots` a hash stands, or the place, never used, where it would."""
        return int(_place_of(self.hashes, self.placing, np.uint64(key_hash or 1)))

    def get_many(self, wanted: Hashes) -> Slots:
        """As `get`, for many hashes from `hashes_of`."""
        found: Slots = np.empty(len(wanted), dtype=np.int32)
        _get_many(self.hashes, self.slots, self.placing, wanted, found)
        return found

    def push_many(self, hashes: Hashes, slots: Slots, following: Slots) -> None:
        """Put slots at the heads of the chains of their hashes.

        `hashes` are from `hashes_of`; `following[slot]` becomes the head until then.
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
        """Take slots out of the chains of their hashes, with `hashes` and `following` as for
        `push_many`. A slot that is not there is passed over."""
        _unlink_many(self.hashes, self.slots, self.placing, hashes, slots, following)

    def _rebuild(self, more: int) -> None:
        """Drop places that are not in use any more, and make room for so many more."""
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
        """Memory that the arrays take."""
        return self.hashes.nbytes + self.slots.nbytes + self.marks.nbytes
