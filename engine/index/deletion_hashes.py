"""Hashes of plates' skeletons, and of each skeleton without one of its characters.

A plate's skeleton has one character of each group of look-alikes in place of all of them, so
look-alikes have the same skeleton. If two plates are one character apart (substituted, missing or
added), then deleting at most one character from each gives the same text. This is the deletion
neighbourhood of SymSpell (Garbe, https://github.com/wolfgarbe/SymSpell).

The hash is a polynomial over the characters' values, modulo 2^64. Its base is odd and therefore
has an inverse, so each deletion costs a few operations. The values are mixed well, so the sum of
them is too. The scanner takes the values of a skeleton's characters from a table by byte;
everything else takes them from code points. Compiled; without state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine import limits
from engine.arrays import Bytes
from engine.compiled import compiled, inlined
from engine.index.hash_table import Hashes, Slots, first_place, is_held
from engine.plates.misreads import Misreads
from engine.plates.plate_hash import U64

Codes = npt.NDArray[np.uint32]

#: The most postings of a plate: the whole plate, and the plate without each of its characters.
WAYS: Final = limits.PLATE_CHARACTERS + 1

_BASE_NUMBER = 0xD6E8FEB86659FD93
BASE = U64(_BASE_NUMBER)
BASE_INVERSE = U64(pow(_BASE_NUMBER, -1, 1 << 64))
_ZERO, _ONE = U64(0), U64(1)
_STEP = U64(0x9E3779B97F4A7C15)
_MIX_1 = U64(0xBF58476D1CE4E5B9)
_MIX_2 = U64(0x94D049BB133111EB)


@inlined
def _mixed(word: np.uint64) -> np.uint64:
    """Mix as SplitMix64 does: Steele, Lea and Flood 2014, https://doi.org/10.1145/2714064.2660195."""
    word = (word ^ (word >> U64(30))) * _MIX_1
    word = (word ^ (word >> U64(27))) * _MIX_2
    return word ^ (word >> U64(31))


@inlined
def finished(total: np.uint64) -> np.uint64:
    """Return the hash of a polynomial; never 0, because that marks an empty bucket."""
    return total + U64(total == _ZERO)


@inlined
def _value(code: np.uint64) -> np.uint64:
    return _mixed((code + _ONE) * _STEP)


def values_by_byte(misreads: Misreads) -> Hashes:
    """Return, for each byte of a plain key, the value of its character in the skeleton."""
    return character_values(
        np.frombuffer(misreads.skeleton_bytes, dtype=np.uint8).astype(np.uint64)
    )


def character_values(codes: Hashes) -> Hashes:
    """Return the values of code points, or of other numbers: mixed well, and each another one."""
    mixed: Any = _mixed.py_func
    values: Hashes = mixed((codes + _ONE) * _STEP)
    return values


def codes_of(plates: Sequence[str]) -> Codes:
    """Return the code points of plates of at most PLATE_CHARACTERS: one per row, padded with 0."""
    as_text = np.array(plates, dtype=f"U{limits.PLATE_CHARACTERS}")
    return as_text.view(np.uint32).reshape(len(plates), limits.PLATE_CHARACTERS)


@compiled
def postings_of(
    skeletons: Codes, numbers: Slots, ways: int, hashes: Hashes, postings: Slots
) -> int:
    """Write the hashes of skeletons and the postings that belong to them; return how many.

    The plate with number n has postings from `n * ways` on. The first is the whole plate. If `ways`
    is WAYS, the second is the plate without its first character, and so on. `skeletons` has the
    form that `codes_of` returns.
    """
    count = 0
    for row in range(len(numbers)):
        total, power = _ZERO, _ONE
        length = 0
        while length < skeletons.shape[1] and skeletons[row, length] != 0:
            total += _value(U64(skeletons[row, length])) * power
            power *= BASE
            length += 1
        hashes[count] = finished(total)
        postings[count] = numbers[row] * ways
        count += 1
        if ways == 1:
            continue
        before, power = _ZERO, _ONE
        for at in range(length):
            term = _value(U64(skeletons[row, at])) * power
            hashes[count] = finished(before + (total - before - term) * BASE_INVERSE)
            postings[count] = numbers[row] * ways + at + 1
            count += 1
            before += term
            power *= BASE
    return count


@inlined
def key_total(values: Hashes, data: Bytes, at: int, length: int) -> np.uint64:
    """Return the polynomial of the skeleton of the key data[at:at + length]."""
    total, power = _ZERO, _ONE
    for position in range(at, at + length):
        total += values[data[position]] * power
        power *= BASE
    return total


@inlined
def key_terms(values: Hashes, data: Bytes, at: int, length: int, terms: Hashes) -> np.uint64:
    """Write the terms of the same polynomial; return it."""
    total, power = _ZERO, _ONE
    for position in range(length):
        term = values[data[at + position]] * power
        terms[position] = term
        total += term
        power *= BASE
    return total


@inlined
def head_of(
    hashes: Hashes, slots: Slots, marks: Hashes, placing: np.uint64, wanted: np.uint64
) -> int:
    """Return the head of a hash's chain in a selective table, or -1."""
    if is_held(marks, wanted):
        mask = U64(len(hashes) - 1)
        place = first_place(wanted, placing, mask)
        while hashes[place] != _ZERO:
            if hashes[place] == wanted:
                return np.int64(slots[place])  # type: ignore[return-value]
            place = (place + _ONE) & mask
    return -1


@inlined
def one_left_out_is_held(marks: Hashes, total: np.uint64, terms: Hashes, length: int) -> bool:
    """Return whether a key, or the key without one of its characters, may be in the table.

    `total` and `terms` are those of the key. All marks are read before any branch, so that their
    cache misses overlap.
    """
    held = is_held(marks, finished(total))
    before = _ZERO
    for position in range(length):
        term = terms[position]
        held |= is_held(marks, finished(before + (total - before - term) * BASE_INVERSE))
        before += term
    return held
