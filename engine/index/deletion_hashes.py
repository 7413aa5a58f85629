"""Hashes of folded plates, and of what is left of one when a character is taken out.

Look-alikes fold to the same plate. Of two plates that are one character apart (substituted,
missing or added), one is what is left of the other, or something is left of both, that is the
same: the deletion neighbourhood of SymSpell (Garbe, https://github.com/wolfgarbe/SymSpell).

The hash is a polynomial over the characters' values, modulo 2^64 with an odd base, whose
inverse makes what is left after each of the characters is taken out cost a few operations; what
it comes to is then well mixed. The scanner takes the values of folded characters from a table
by byte, everything else from the code points of the folded text. Compiled; keeps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from engine import limits
from engine.index.hash_table import Hashes, Slots, first_place, is_held
from engine.plates.misreads import Misreads
from engine.plates.plate_hash import U64

Codes = npt.NDArray[np.uint32]
Bytes = npt.NDArray[np.uint8]

#: Postings of a plate at the most: it as a whole, and without each of its characters.
WAYS: Final = limits.PLATE_CHARACTERS + 1

_BASE_NUMBER = 0xD6E8FEB86659FD93
BASE = U64(_BASE_NUMBER)
BASE_INVERSE = U64(pow(_BASE_NUMBER, -1, 1 << 64))
_ZERO, _ONE = U64(0), U64(1)
_STEP = U64(0x9E3779B97F4A7C15)
_MIX_1 = U64(0xBF58476D1CE4E5B9)
_MIX_2 = U64(0x94D049BB133111EB)


@numba.njit(inline="always")
def _mixed(word: np.uint64) -> np.uint64:
    """SplitMix64's finish: Steele, Lea and Flood 2014, https://doi.org/10.1145/2714064.2660195."""
    word = (word ^ (word >> U64(30))) * _MIX_1
    word = (word ^ (word >> U64(27))) * _MIX_2
    return word ^ (word >> U64(31))


@numba.njit(inline="always")
def finished(total: np.uint64) -> np.uint64:
    """The hash of a polynomial; never 0, which the table takes for an empty place."""
    mixed = _mixed(total)
    return mixed + U64(mixed == _ZERO)


@numba.njit(inline="always")
def _value(code: np.uint64) -> np.uint64:
    return _mixed((code + _ONE) * _STEP)


def values_by_byte(misreads: Misreads) -> Hashes:
    """For each byte of a plain key, the value of the folded character."""
    codes = np.frombuffer(misreads.fold_bytes, dtype=np.uint8).astype(np.uint64)
    mixed: Any = _mixed.py_func
    values: Hashes = mixed((codes + _ONE) * _STEP)
    return values


def codes_of(plates: Sequence[str]) -> Codes:
    """Code points of plates of at most PLATE_CHARACTERS, one plate a row, 0 behind its end."""
    as_text = np.array(plates, dtype=f"U{limits.PLATE_CHARACTERS}")
    return as_text.view(np.uint32).reshape(len(plates), limits.PLATE_CHARACTERS)


@numba.njit(nogil=True, cache=True)
def postings_of(folded: Codes, numbers: Slots, ways: int, hashes: Hashes, postings: Slots) -> int:
    """Write the hashes of folded plates and the postings to be filed under them; how many.

    The plate with number n has postings from `n * ways` on: the first is the whole plate; with
    `ways` WAYS, the one after it is the plate without its first character, and so on. `folded`
    is as from `codes_of`.
    """
    count = 0
    for row in range(len(numbers)):
        total, power = _ZERO, _ONE
        length = 0
        while length < folded.shape[1] and folded[row, length] != 0:
            total += _value(U64(folded[row, length])) * power
            power *= BASE
            length += 1
        hashes[count] = finished(total)
        postings[count] = numbers[row] * ways
        count += 1
        if ways == 1:
            continue
        before, power = _ZERO, _ONE
        for at in range(length):
            term = _value(U64(folded[row, at])) * power
            hashes[count] = finished(before + (total - before - term) * BASE_INVERSE)
            postings[count] = numbers[row] * ways + at + 1
            count += 1
            before += term
            power *= BASE
    return count


@numba.njit(inline="always")
def key_total(values: Hashes, data: Bytes, at: int, length: int) -> np.uint64:
    """The polynomial of the folded key data[at:at + length]."""
    total, power = _ZERO, _ONE
    for position in range(at, at + length):
        total += values[data[position]] * power
        power *= BASE
    return total


@numba.njit(inline="always")
def head_of(
    hashes: Hashes, slots: Slots, marks: Hashes, placing: np.uint64, wanted: np.uint64
) -> int:
    """The head of a hash's chain in a selective table, or -1."""
    if is_held(marks, wanted):
        mask = U64(len(hashes) - 1)
        place = first_place(wanted, placing, mask)
        while hashes[place] != _ZERO:
            if hashes[place] == wanted:
                return np.int64(slots[place])  # type: ignore[return-value]
            place = (place + _ONE) & mask
    return -1


@numba.njit(inline="always")
def one_left_out_is_held(
    values: Hashes, marks: Hashes, total: np.uint64, data: Bytes, at: int, length: int
) -> bool:
    """Whether the key, whose polynomial is `total`, or the key without one of its characters
    may be filed.

    All marks are looked at before a branch, so that their misses of the cache overlap.
    """
    held = is_held(marks, finished(total))
    before, power = _ZERO, _ONE
    for position in range(at, at + length):
        term = values[data[position]] * power
        held |= is_held(marks, finished(before + (total - before - term) * BASE_INVERSE))
        before += term
        power *= BASE
    return held
