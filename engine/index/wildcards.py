"""Partial plates as bitmaps: which patterns fit a plate, however many there are.

A pattern is a listed plate with `?` for unknown characters. Each has a number. For each length,
and for each position and character, there is a row of bits by number: whether a pattern has that
length, or allows that character there. A plate fits the patterns whose bits are set in the row of
its length and in the rows of all its characters. Characters other than A-Z and 0-9 have one row
together, so that what is found are candidates; for plates of A-Z and 0-9 they are the answer.

Most plates fit nothing, and that must be found out in a few dozen nanoseconds. So there is a
second level of rows, with one bit for eight patterns: whether any of them has its bit set. Eight
patterns that resemble each other leave most of these bits clear, so numbers go by length, by
which positions are known, and by the known characters. New patterns get the numbers behind, and
once those are many, or none is left, all are numbered anew. A plate is looked up among the
patterns of its length and among those that came later.

In the worst case a search reads the rows to their end: patterns / 64 words for each character.
Belongs to one thread; the scanner reads the rows on that thread.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from engine import limits
from engine.index.deletion_hashes import codes_of
from engine.index.hash_table import NO_SLOT, Slots
from engine.plates.misreads import Misreads
from engine.plates.normal_form import WILDCARD
from engine.plates.plate_hash import U64

Rows = npt.NDArray[np.uint64]
Masks = npt.NDArray[np.uint64]
Ranges = npt.NDArray[np.int64]
Lengths = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint64]

_LONGEST: Final = limits.PLATE_CHARACTERS
_PLAIN: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: The code of every character that is not plain, and how many codes there are.
_OTHER: Final = len(_PLAIN)
_CODES: Final = _OTHER + 1
_ANY: Final = (1 << _CODES) - 1
#: Rows: by length, then by position and code.
_ROWS: Final = _LONGEST + _LONGEST * _CODES
#: Patterns that have one bit of the second level together, and those whose bits are one word.
_TOGETHER: Final = 8
_A_WORD: Final = 64 * _TOGETHER
#: Bits of the second level for one word of the first.
_PARTS: Final = 64 // _TOGETHER
#: Words of the second level that are read together.
_ABREAST: Final = 4
#: Patterns that are found in one go; more take another.
_FEW: Final = 256
#: So many new patterns may stand behind the others, or a quarter of all if that is more.
_BEHIND: Final = 64

#: By byte of a plain key, the code of its character.
CODES: Final[Codes] = np.full(256, _OTHER, dtype=np.uint64)
CODES[np.frombuffer(_PLAIN.encode(), dtype=np.uint8)] = np.arange(len(_PLAIN))

_ZERO, _ONE, _TWO, _THREE = U64(0), U64(1), U64(2), U64(3)
_FIRST_ROW, _A_POSITION = U64(_LONGEST), U64(_CODES)
_TOGETHER_BITS = U64((1 << _TOGETHER) - 1)
_PART_BITS = U64((1 << _PARTS) - 1)


class PatternRows(NamedTuple):
    """What the compiled search reads. `level1` has a bit a pattern, `level2` one for eight of
    them, both by row and word. `ranges` holds the words of `level2`, from and to, that have
    patterns of each length, and last those of patterns that came later."""

    level1: Rows
    level2: Rows
    ranges: Ranges


@numba.njit(nogil=True, cache=True)
def _set(rows: PatternRows, masks: Masks, lengths: Lengths, begin: int, end: int) -> None:
    """Set the bits of the patterns with these numbers."""
    for number in range(begin, end):
        word, bit = number >> 6, _ONE << U64(number & 63)
        word2, bit2 = number // _A_WORD, _ONE << U64((number // _TOGETHER) & 63)
        row = lengths[number] - 1
        rows.level1[row, word] |= bit
        rows.level2[row, word2] |= bit2
        for position in range(lengths[number]):
            mask = masks[number, position]
            for code in range(_CODES):
                if (mask >> U64(code)) & _ONE:
                    row = _LONGEST + _CODES * position + code
                    rows.level1[row, word] |= bit
                    rows.level2[row, word2] |= bit2


@numba.njit(inline="always")
def _clear_bit(rows: PatternRows, row: int, number: int) -> None:
    rows.level1[row, number >> 6] &= ~(_ONE << U64(number & 63))
    first = number // _TOGETHER * _TOGETHER
    if (rows.level1[row, number >> 6] >> U64(first & 63)) & _TOGETHER_BITS == 0:
        rows.level2[row, number // _A_WORD] &= ~(_ONE << U64((number // _TOGETHER) & 63))


@numba.njit(nogil=True, cache=True)
def _clear(rows: PatternRows, masks: Masks, lengths: Lengths, numbers: Slots) -> None:
    """Clear the bits of patterns."""
    for number in numbers:
        _clear_bit(rows, lengths[number] - 1, number)
        for position in range(lengths[number]):
            mask = masks[number, position]
            for code in range(_CODES):
                if (mask >> U64(code)) & _ONE:
                    _clear_bit(rows, _LONGEST + _CODES * position + code, number)


@numba.njit(inline="always")
def find_fitting(
    level1: Rows,
    level2: Rows,
    ranges: Ranges,
    data: Bytes,
    at: int,
    length: int,
    found: Slots,
) -> int:
    """Write the numbers of patterns that data[at:at + length] fits; how many, and no more than
    `found` has room for. `length` is from 1 to 16."""
    count = 0
    end = 0
    by_length = U64(length - 1)
    for which in (length - 1, _LONGEST):
        # Where the one range ends, the other may have begun.
        begin, end = max(ranges[which, 0], end), ranges[which, 1]
        for first in range(begin, end, _ABREAST):
            # Unsigned, or each of them would be checked for being negative.
            at_one = U64(first)
            at_two, at_three, at_four = at_one + _ONE, at_one + _TWO, at_one + _THREE
            one, two = level2[by_length, at_one], level2[by_length, at_two]
            three, four = level2[by_length, at_three], level2[by_length, at_four]
            rows = _FIRST_ROW
            for position in range(at, at + length):
                row = rows + CODES[data[position]]
                one &= level2[row, at_one]
                two &= level2[row, at_two]
                three &= level2[row, at_three]
                four &= level2[row, at_four]
                rows += _A_POSITION
            if one | two | three | four == _ZERO:
                continue
            for beside in range(_ABREAST):
                groups = (one, two, three, four)[beside]
                if groups == _ZERO:
                    continue
                for part in range(_TOGETHER):
                    if (groups >> U64(_PARTS * part)) & _PART_BITS == _ZERO:
                        continue
                    word = U64(_TOGETHER * (first + beside) + part)
                    fitting = level1[by_length, word]
                    rows = _FIRST_ROW
                    for position in range(at, at + length):
                        fitting &= level1[rows + CODES[data[position]], word]
                        rows += _A_POSITION
                        if fitting == _ZERO:
                            break
                    for bit in range(64):
                        if fitting == _ZERO:
                            break
                        if fitting & _ONE:
                            if count == len(found):
                                return count
                            found[count] = 64 * (_TOGETHER * (first + beside) + part) + bit
                            count += 1
                        fitting >>= _ONE
    return count


@numba.njit(nogil=True, cache=True)
def _find(level1: Rows, level2: Rows, ranges: Ranges, data: Bytes, found: Slots) -> int:
    return find_fitting(level1, level2, ranges, data, 0, len(data), found)


class Patterns:
    """The patterns of slots; see the module."""

    def __init__(self, misreads: Misreads) -> None:
        self._look_alikes = {char: _mask(group) for group in misreads.groups for char in group}
        self._numbers: dict[int, int] = {}
        #: Numbers given out, and how many of them were so in order.
        self._end = self._sorted_end = 0
        self._make_room(0)

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, slot: int) -> bool:
        return slot in self._numbers

    def copy(self) -> Patterns:
        """Patterns of their own, the same, of the same slots."""
        copied = copy.copy(self)
        level1, level2, ranges = self.rows
        copied.rows = PatternRows(level1.copy(), level2.copy(), ranges.copy())
        copied._allowed, copied._lengths = self._allowed.copy(), self._lengths.copy()
        copied._slots = self._slots.copy()
        copied._numbers = self._numbers.copy()
        return copied

    def put(self, slots: Sequence[int], plates: Sequence[str], confusables: Sequence[bool]) -> None:
        """Add slots, which are not yet here, with their patterns, and whether a known character
        stands for its look-alikes too."""
        if not slots:
            return
        masks = self._masks(plates, confusables)
        lengths = np.array([len(plate) for plate in plates], dtype=np.int64)
        as_array = np.array(slots, dtype=np.int32)
        end = self._end + len(slots)
        behind = end - self._sorted_end
        if end <= len(self._slots) and behind <= max(_BEHIND, len(self._numbers) // 16):
            self._add(*_sorted(masks, lengths, as_array))
            self.rows.ranges[_LONGEST] = _words(self._sorted_end, self._end)
            return
        held = self._slots[: self._end] != NO_SLOT
        masks = np.concatenate([self._allowed[: self._end][held], masks])
        lengths = np.concatenate([self._lengths[: self._end][held], lengths])
        as_array = np.concatenate([self._slots[: self._end][held], as_array])
        self._make_room(len(as_array))
        self._add(*_sorted(masks, lengths, as_array))
        self._sorted_end = self._end
        for length in range(1, _LONGEST + 1):
            numbers = np.flatnonzero(self._lengths[: self._end] == length)
            if len(numbers):
                self.rows.ranges[length - 1] = _words(numbers[0], numbers[-1] + 1)

    def drop(self, slots: Sequence[int], plates: Sequence[str]) -> None:
        """Forget slots that are here, with their patterns."""
        if not slots:
            return
        assert len(slots) == len(plates)
        numbers = np.array([self._numbers.pop(slot) for slot in slots], dtype=np.int32)
        if not self._numbers:
            self._make_room(0)
            return
        _clear(self.rows, self._allowed, self._lengths, numbers)
        self._slots[numbers] = NO_SLOT

    def slots_like(self, plate: str) -> list[int]:
        """The slots whose patterns may fit a normalized plate."""
        if plate.isascii():
            data = np.frombuffer(plate.encode(), dtype=np.uint8)
        else:
            data = np.array([min(ord(char), 255) for char in plate], dtype=np.uint8)
        found: Slots = np.empty(_FEW, dtype=np.int32)
        count = _find(*self.rows, data, found)
        if count == _FEW:
            found = np.empty(len(self._numbers), dtype=np.int32)
            count = _find(*self.rows, data, found)
        slots: list[int] = self._slots[found[:count]].tolist()
        return slots

    def _make_room(self, count: int) -> None:
        """Begin anew, with numbers for so many patterns and a quarter more."""
        words2 = max(1, -(-count * 5 // (4 * _ABREAST * _A_WORD))) * _ABREAST
        capacity = words2 * _A_WORD
        self.rows: PatternRows = PatternRows(
            level1=np.zeros((_ROWS, _TOGETHER * words2), dtype=np.uint64),
            level2=np.zeros((_ROWS, words2), dtype=np.uint64),
            ranges=np.zeros((_LONGEST + 1, 2), dtype=np.int64),
        )
        #: By number: the codes that are allowed at each position, the length, the slot.
        self._allowed: Masks = np.zeros((capacity, _LONGEST), dtype=np.uint64)
        self._lengths: Lengths = np.zeros(capacity, dtype=np.int64)
        self._slots: Slots = np.full(capacity, NO_SLOT, dtype=np.int32)
        self._end = self._sorted_end = 0

    def _add(self, masks: Masks, lengths: Lengths, slots: Slots) -> None:
        """Number patterns from the end on, in this order."""
        begin, end = self._end, self._end + len(slots)
        self._allowed[begin:end] = masks
        self._lengths[begin:end] = lengths
        self._slots[begin:end] = slots
        self._numbers.update(zip(slots.tolist(), range(begin, end), strict=True))
        self._end = end
        _set(self.rows, self._allowed, self._lengths, begin, end)

    def _masks(self, plates: Sequence[str], confusables: Sequence[bool]) -> Masks:
        """The codes that each pattern allows at each position; none behind its end."""
        points = codes_of(plates)
        used = np.unique(points)
        alone, alike = (
            np.array([self._allowed_by(chr(point), with_alike) for point in used], dtype=np.uint64)
            for with_alike in (False, True)
        )
        at = np.searchsorted(used, points)
        masks: Masks = np.where(np.array(confusables, dtype=bool)[:, None], alike[at], alone[at])
        return masks

    def _allowed_by(self, char: str, with_alike: bool) -> int:
        if char == "\0":
            return 0
        if char == WILDCARD:
            return _ANY
        return self._look_alikes.get(char, _mask(char)) if with_alike else _mask(char)


def _words(begin: int, end: int) -> tuple[int, int]:
    """The words of the second level that hold the bits of these numbers, those beside with them."""
    abreast = _ABREAST * _A_WORD
    return begin // abreast * _ABREAST, -(-end // abreast) * _ABREAST


def _mask(chars: str) -> int:
    """The codes of characters."""
    mask = 0
    for char in chars:
        mask |= 1 << int(CODES[min(ord(char), 255)])
    return mask


def _sorted(masks: Masks, lengths: Lengths, slots: Slots) -> tuple[Masks, Lengths, Slots]:
    """The patterns in the order in which they resemble each other."""
    unknown = masks == _ANY
    which = np.packbits(unknown, axis=1)
    lowest = masks & (~masks + U64(1))
    # Powers of two are exact. Behind the end is 0, which no first code of a position becomes.
    codes = np.log2(lowest, out=np.full(masks.shape, -1.0), where=lowest != 0) + 1
    codes[unknown] = 0
    keys = np.concatenate([lengths[:, None], which, codes], axis=1).astype(np.uint8)
    order = np.argsort(np.ascontiguousarray(keys).view(f"V{keys.shape[1]}").ravel(), kind="stable")
    return masks[order], lengths[order], slots[order]
