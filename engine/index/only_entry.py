"""The only entry that a plain key is like, found by compiled code.

Most keys that are like any entry are like one alone, and not exactly. `find_only` finds it by the
definition (`plates.likeness`): the slot is the one that `Index.candidates` has for the key, if that
slot is visible. Where there are several, or a likeness cannot be decided here, it says so:

* a slot is filed under exactly this plate;
* a plate beyond ASCII is near, whose look-alikes depend on the region;
* an entry allows look-alikes and one misread more.

Compiled; without state.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.arrays import Bytes
from engine.compiled import inlined, inner
from engine.index.deletion_hashes import BASE_INVERSE, WAYS, finished, head_of, key_terms
from engine.index.edit_distance import NEAR, NOT_KNOWN, are_near
from engine.index.hash_table import NO_SLOT, Hashes, Slots
from engine.index.wildcards import Masks, Ranges, Rows, depends_on_region, find_fitting
from engine.plates.plate_hash import U64

#: In the place of a slot: several, or not known.
SEVERAL: Final = -2
#: The length of the `fitting` that `find_only` works in.
FITTING: Final = 2

_ZERO = U64(0)


@inlined
def _joined(only: int, slot: int) -> int:
    """Return what is found after one more slot is."""
    if only == NO_SLOT:
        return slot
    return only if only == slot else SEVERAL


@inner
def _only_alike(
    only: int,
    hashes: Hashes,
    heads: Slots,
    marks: Hashes,
    placing: np.uint64,
    following: Slots,
    plates: Bytes,
    lengths: Bytes,
    slots: Slots,
    total: np.uint64,
    skeleton_bytes: Bytes,
    data: Bytes,
    at: int,
    length: int,
) -> int:
    """Return what is found after the look-alikes are searched."""
    number = head_of(hashes, heads, marks, placing, finished(total))
    while number >= 0 and only != SEVERAL:
        listed_length = np.int64(lengths[number])
        if listed_length == 0:
            return SEVERAL
        if listed_length == length:
            same = 0
            while same < length and skeleton_bytes[data[at + same]] == plates[number, same]:
                same += 1
            if same == length:
                only = _joined(only, int(slots[number]))
        number = following[number]
    return only


@inner
def _only_near(
    only: int,
    hashes: Hashes,
    heads: Slots,
    marks: Hashes,
    placing: np.uint64,
    following: Slots,
    plates: Bytes,
    lengths: Bytes,
    slots: Slots,
    total: np.uint64,
    terms: Hashes,
    data: Bytes,
    at: int,
    length: int,
) -> int:
    """Return what is found after the plates one character apart are searched."""
    before = _ZERO
    for left_out in range(-1, length):
        rest = total
        if left_out >= 0:
            term = terms[left_out]
            rest = before + (total - before - term) * BASE_INVERSE
            before += term
        posting = head_of(hashes, heads, marks, placing, finished(rest))
        while posting >= 0:
            how = are_near(plates, lengths, posting, data, at, length, left_out)
            if how == NEAR:
                only = _joined(only, int(slots[posting // WAYS]))
            if how == NOT_KNOWN or only == SEVERAL:
                return SEVERAL
            posting = following[posting]
    return only


@inner
def find_only(
    values: Hashes,
    skeleton_bytes: Bytes,
    alike_hashes: Hashes,
    alike_heads: Slots,
    alike_marks: Hashes,
    alike_placing: np.uint64,
    alike_following: Slots,
    alike_plates: Bytes,
    alike_lengths: Bytes,
    alike_slots: Slots,
    apart_hashes: Hashes,
    apart_heads: Slots,
    apart_marks: Hashes,
    apart_placing: np.uint64,
    apart_following: Slots,
    apart_plates: Bytes,
    apart_lengths: Bytes,
    apart_slots: Slots,
    level1: Rows,
    level2: Rows,
    ranges: Ranges,
    allowed: Masks,
    pattern_slots: Slots,
    data: Bytes,
    at: int,
    length: int,
    terms: Hashes,
    fitting: Slots,
) -> int:
    """Return the only slot whose entry's plate the plain key data[at:at + length] is like, NO_SLOT
    if there is none, or SEVERAL.

    The arrays before `data` are those of `OnlyTables`. No slot may be filed under exactly this
    plate. `terms` has room for those of a key.
    """
    total = key_terms(values, data, at, length, terms)
    only = _only_alike(
        NO_SLOT,
        alike_hashes,
        alike_heads,
        alike_marks,
        alike_placing,
        alike_following,
        alike_plates,
        alike_lengths,
        alike_slots,
        total,
        skeleton_bytes,
        data,
        at,
        length,
    )
    if only != SEVERAL:
        only = _only_near(
            only,
            apart_hashes,
            apart_heads,
            apart_marks,
            apart_placing,
            apart_following,
            apart_plates,
            apart_lengths,
            apart_slots,
            total,
            terms,
            data,
            at,
            length,
        )
    if only == SEVERAL:
        return SEVERAL
    count = find_fitting(level1, level2, ranges, data, at, length, fitting)
    for place in range(count):
        number = int(fitting[place])
        if count > 1 or depends_on_region(allowed, number):
            return SEVERAL
        only = _joined(only, int(pattern_slots[number]))
    return only
