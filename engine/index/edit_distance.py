"""Slots filed under hashes of their plates' skeletons: look-alikes, and one more misread.

A `NearPlates` finds the slots whose plate has the same skeleton as a read's. With `one_apart` it
also finds those whose skeleton is one character apart. That may be more than an entry asks for: the
slots found are candidates, and `likeness` decides. The compiled search is more selective, because
many skeletons are near each other. If an entry's look-alikes do not count, it compares the plate
itself.

Regions have look-alikes of their own. A slot is filed under the skeleton that the look-alikes of
its entry's region give, and a plate beyond ASCII is looked up by those of every region. A plate of
ASCII has one skeleton, so the scanner has one table of values.

A plate has several postings (`deletion_hashes.postings_of`), each with a number and a place in the
chain of its hash. Numbers are assigned densely to the slots filed here, so the arrays for postings
do not grow with all other entries. Belongs to one thread; the scanner reads `rows` on that thread.

Long because the compiled loops and the arrays that they read must change together.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from engine import limits
from engine.arrays import Bytes
from engine.compiled import compiled, inlined, inner
from engine.index.deletion_hashes import (
    BASE,
    BASE_INVERSE,
    WAYS,
    codes_of,
    finished,
    head_of,
    key_total,
    postings_of,
    values_by_byte,
)
from engine.index.hash_table import NO_SLOT, Hashes, HashTable, Slots
from engine.plates.misreads import Misreads
from engine.plates.plate_hash import U64

_SMALLEST = 64
#: The most slots that the compiled search returns; if there are more, Python collects them.
_FEW: Final = 256
_ZERO, _ONE = U64(0), U64(1)

#: How a plate compares with a key.
NOT_NEAR, NEAR, NOT_KNOWN = range(3)


class NearRows(NamedTuple):
    """The arrays that the compiled searches read: the table, its chains, and plates and slots by
    number.

    `plates` are the plates to be compared, or their skeletons if only look-alikes are filed, and
    `lengths` their lengths. A length of 0 means that no comparison is possible: everything filed as
    near is a candidate.
    """

    hashes: Hashes
    heads: Slots
    marks: Hashes
    placing: np.uint64
    following: Slots
    plates: Bytes
    lengths: Bytes
    slots: Slots


@inlined
def has_look_alike(
    hashes: Hashes,
    heads: Slots,
    marks: Hashes,
    placing: np.uint64,
    total: np.uint64,
) -> bool:
    """Return whether a plate with a key's skeleton may be filed; `total` is its `key_terms`'."""
    return head_of(hashes, heads, marks, placing, finished(total)) >= 0


@inlined
def are_near(
    plates: Bytes,
    lengths: Bytes,
    posting: int,
    data: Bytes,
    at: int,
    length: int,
    left_out: int,
) -> int:
    """Return how the plate of a posting compares with the key data[at:at + length]: NEAR, NOT_NEAR,
    or NOT_KNOWN if the plate is not there to be compared.

    The plate without the character that its posting leaves out must be the key without the one at
    `left_out`; -1 means that none is left out.
    """
    number, listed_out = posting // WAYS, posting % WAYS - 1
    # One left out in both is a substituted character, so both have the same position.
    if left_out >= 0 and listed_out >= 0 and left_out != listed_out:
        return NOT_NEAR
    listed_length = np.int64(lengths[number])
    if listed_length == 0:
        return NOT_KNOWN
    rest = length - (1 if left_out >= 0 else 0)
    if listed_length - (1 if listed_out >= 0 else 0) != rest:
        return NOT_NEAR
    for same in range(rest):
        read = at + same + (1 if 0 <= left_out <= same else 0)
        listed = same + (1 if 0 <= listed_out <= same else 0)
        if data[read] != plates[number, listed]:
            return NOT_NEAR
    return NEAR


@inner
def _is_near(
    following: Slots,
    plates: Bytes,
    lengths: Bytes,
    posting: int,
    data: Bytes,
    at: int,
    length: int,
    left_out: int,
) -> bool:
    """Return whether a chain holds a plate that may be near the key data[at:at + length]."""
    while posting >= 0:
        if are_near(plates, lengths, posting, data, at, length, left_out) != NOT_NEAR:
            return True
        posting = following[posting]
    return False


@inner
def is_one_apart(
    hashes: Hashes,
    heads: Slots,
    marks: Hashes,
    placing: np.uint64,
    following: Slots,
    plates: Bytes,
    lengths: Bytes,
    values: Hashes,
    data: Bytes,
    at: int,
    length: int,
) -> bool:
    """Return whether a plate that is near the plain key data[at:at + length] is filed."""
    total = key_total(values, data, at, length)
    head = head_of(hashes, heads, marks, placing, finished(total))
    if head >= 0 and _is_near(following, plates, lengths, head, data, at, length, -1):
        return True
    before, power = _ZERO, _ONE
    for left_out in range(length):
        term = values[data[at + left_out]] * power
        rest = before + (total - before - term) * BASE_INVERSE
        head = head_of(hashes, heads, marks, placing, finished(rest))
        if head >= 0 and _is_near(following, plates, lengths, head, data, at, length, left_out):
            return True
        before += term
        power *= BASE
    return False


@compiled
def _find_near(
    values: Hashes,
    hashes: Hashes,
    heads: Slots,
    marks: Hashes,
    placing: np.uint64,
    following: Slots,
    slots: Slots,
    ways: int,
    data: Bytes,
    found: Slots,
) -> int:
    """Write the slots that a plain key finds; return how many.

    If they do not fit into `found`, return one more than fit.
    """
    total = key_total(values, data, 0, len(data))
    before, power = _ZERO, _ONE
    count = 0
    for left_out in range(-1, len(data) if ways > 1 else 0):
        rest = total
        if left_out >= 0:
            term = values[data[left_out]] * power
            rest = before + (total - before - term) * BASE_INVERSE
            before += term
            power *= BASE
        posting = head_of(hashes, heads, marks, placing, finished(rest))
        while posting >= 0:
            listed_out = posting % ways - 1
            if left_out < 0 or listed_out < 0 or left_out == listed_out:
                if count == len(found):
                    return count + 1
                found[count] = slots[posting // ways]
                count += 1
            posting = following[posting]
    return count


class NearPlates:
    """Slots by the skeletons of their plates; with `one_apart`, also one character apart."""

    def __init__(self, misreads: Misreads, *, one_apart: bool) -> None:
        self._skeletons = [table.skeleton for table in misreads.tables]
        self._values = values_by_byte(misreads)
        self._ways = WAYS if one_apart else 1
        self._table = HashTable(selective=True, single=not one_apart)
        self._following: Slots = np.full(_SMALLEST * self._ways, NO_SLOT, dtype=np.int32)
        #: By number.
        self._slots: Slots = np.full(_SMALLEST, NO_SLOT, dtype=np.int32)
        self._plates: Bytes = np.zeros((_SMALLEST, limits.PLATE_CHARACTERS), dtype=np.uint8)
        self._lengths: Bytes = np.zeros(_SMALLEST, dtype=np.uint8)
        self._tables: Bytes = np.zeros(_SMALLEST, dtype=np.uint8)
        self._numbers: dict[int, int] = {}
        self._free: list[int] = []
        self._given = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, slot: int) -> bool:
        return slot in self._numbers

    def copy(self) -> NearPlates:
        """Return an independent copy."""
        copied = copy.copy(self)
        copied._table, copied._following = self._table.copy(), self._following.copy()
        copied._slots, copied._plates = self._slots.copy(), self._plates.copy()
        copied._lengths, copied._tables = self._lengths.copy(), self._tables.copy()
        copied._numbers = self._numbers.copy()
        copied._free = self._free[:]
        return copied

    def put(
        self,
        slots: Sequence[int],
        plates: Sequence[str],
        confusables: Sequence[bool],
        tables: Sequence[int],
    ) -> None:
        """File slots, which must be new, under their plates.

        With `confusables`, look-alikes count in addition to one misread character. `tables` says
        by which of `misreads.tables` each plate has its skeleton.
        """
        if not slots:
            return
        numbers = self._new_numbers(len(slots))
        self._numbers.update(zip(slots, numbers, strict=True))
        self._slots[numbers] = slots
        self._tables[numbers] = tables
        skeletons = self._filed_under(plates, numbers)
        codes = codes_of(plates)
        compared = (codes < 128).all(axis=1)  # others have look-alikes that depend on the read
        if self._ways == 1:
            codes = codes_of(skeletons)
        else:
            compared &= ~np.array(confusables, dtype=bool)
        self._plates[numbers] = codes
        self._lengths[numbers] = np.where(compared, np.count_nonzero(codes, axis=1), 0)
        hashes, postings = self._postings(skeletons, numbers)
        self._table.push_many(hashes, postings, self._following)

    def drop(self, slots: Sequence[int], plates: Sequence[str]) -> None:
        """Remove slots, which must be filed under these plates."""
        if not slots:
            return
        numbers = [self._numbers.pop(slot) for slot in slots]
        hashes, postings = self._postings(self._filed_under(plates, numbers), numbers)
        self._table.unlink_many(hashes, postings, self._following)
        self._slots[numbers] = NO_SLOT
        self._plates[numbers] = 0
        self._free += numbers

    def slots_like(self, plate: str) -> Iterable[int]:
        """Return the slots that a normalized plate may be like; a slot may occur several times."""
        if plate.isascii():
            table = self._table
            data = np.frombuffer(plate.encode(), dtype=np.uint8)
            found: Slots = np.empty(_FEW, dtype=np.int32)
            count = _find_near(
                self._values,
                table.hashes,
                table.slots,
                table.marks,
                table.placing,
                self._following,
                self._slots,
                self._ways,
                data,
                found,
            )
            if count <= _FEW:
                slots: list[int] = found[:count].tolist()
                return slots
        return self._slots_like(plate)

    def _slots_like(self, plate: str) -> Iterator[int]:
        skeletons = list(dict.fromkeys(skeleton(plate) for skeleton in self._skeletons))
        hashes, _ = self._postings(skeletons, [0] * len(skeletons))
        for posting in self._table.get_many(hashes).tolist():
            while posting != NO_SLOT:
                yield int(self._slots[posting // self._ways])
                posting = int(self._following[posting])

    @property
    def rows(self) -> NearRows:
        """The arrays for the compiled search, valid until the next change."""
        table = self._table
        return NearRows(
            table.hashes,
            table.slots,
            table.marks,
            table.placing,
            self._following,
            self._plates,
            self._lengths,
            self._slots,
        )

    def _filed_under(self, plates: Sequence[str], numbers: Sequence[int]) -> list[str]:
        """Return the skeletons under which plates with these numbers are filed."""
        tables = self._tables[numbers].tolist()
        return [self._skeletons[table](plate) for table, plate in zip(tables, plates, strict=True)]

    def _postings(self, skeletons: Sequence[str], numbers: Sequence[int]) -> tuple[Hashes, Slots]:
        """Return the hashes and postings that are filed, or looked up, for these skeletons."""
        hashes: Hashes = np.empty(len(skeletons) * self._ways, dtype=np.uint64)
        postings: Slots = np.empty(len(skeletons) * self._ways, dtype=np.int32)
        as_array = np.array(numbers, dtype=np.int32)
        count = postings_of(codes_of(skeletons), as_array, self._ways, hashes, postings)
        return hashes[:count], postings[:count]

    def _new_numbers(self, count: int) -> list[int]:
        reused = min(count, len(self._free))
        numbers = self._free[len(self._free) - reused :]
        del self._free[len(self._free) - reused :]
        further = count - reused
        numbers += range(self._given, self._given + further)
        self._given += further
        held = len(self._slots)
        if self._given > held:
            more = max(self._given - held, held // 4, _SMALLEST)
            self._slots = np.concatenate([self._slots, np.full(more, NO_SLOT, dtype=np.int32)])
            self._following = np.concatenate(
                [self._following, np.full(more * self._ways, NO_SLOT, dtype=np.int32)]
            )
            self._lengths = np.concatenate([self._lengths, np.zeros(more, dtype=np.uint8)])
            self._tables = np.concatenate([self._tables, np.zeros(more, dtype=np.uint8)])
            self._plates = np.concatenate(
                [self._plates, np.zeros((more, limits.PLATE_CHARACTERS), dtype=np.uint8)]
            )
        return numbers
