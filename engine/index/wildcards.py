"""Partial plates as bitmaps: which patterns fit a plate, however many there are.

A pattern is a listed plate with `?` for unknown characters. Each pattern has a number. There is a
row of bits for each length, and for each position and character. A pattern's bit says whether it
has that length, or allows that character at that position. A plate fits the patterns whose bits are
set in the row of its length and in the rows of all its characters. All characters other than A-Z
and 0-9 share one row, so for them a search returns candidates. For plates of A-Z and 0-9 it returns
the answer.

Most plates fit nothing, and a search must find that out in a few dozen nanoseconds. So the scanner
asks `pattern_shapes` first. And a second level of rows has one bit for eight patterns: whether any
of them has its bit set. Similar patterns next to each other leave most of these bits clear.
Therefore numbers are ordered by length, then by the known positions, then by the known characters.
New patterns get the numbers after these. When there are too many of them, or no number is left, all
patterns are numbered again. A search covers the patterns of the plate's length and the new ones.

In the worst case a search reads whole rows: patterns / 64 words for each character.
Belongs to one thread; the scanner reads the rows on that thread.

Long because the compiled loops and the rows that they read must change together.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from engine import limits
from engine.arrays import Bytes
from engine.compiled import compiled, inlined
from engine.index.deletion_hashes import codes_of, values_by_byte
from engine.index.hash_table import NO_SLOT, Slots
from engine.index.pattern_shapes import PatternShapes
from engine.plates.misreads import Misreads
from engine.plates.normal_form import WILDCARD
from engine.plates.plate_hash import U64

Rows = npt.NDArray[np.uint64]
Masks = npt.NDArray[np.uint64]
Ranges = npt.NDArray[np.int64]
Lengths = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint64]

_LONGEST: Final = limits.PLATE_CHARACTERS
_PLAIN: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: The code of every character that is not plain, and how many codes there are.
_OTHER: Final = len(_PLAIN)
_CODES: Final = _OTHER + 1
_ANY: Final = (1 << _CODES) - 1
#: Rows: by length, then by position and code.
_ROWS: Final = _LONGEST + _LONGEST * _CODES
#: The patterns that share one bit of the second level, and those that share one word of it.
_TOGETHER: Final = 8
_A_WORD: Final = 64 * _TOGETHER
#: The bits of the second level for one word of the first.
_PARTS: Final = 64 // _TOGETHER
#: The words of the second level that are read together.
_ABREAST: Final = 4
#: The most patterns that the first search returns; if there are more, it is repeated with room.
_FEW: Final = 256
#: The number of new patterns that may follow the ordered ones, or a sixteenth of all if more.
_BEHIND: Final = 64

#: By byte of a plain key, the code of its character.
CODES: Final[Codes] = np.full(256, _OTHER, dtype=np.uint64)
CODES[np.frombuffer(_PLAIN.encode(), dtype=np.uint8)] = np.arange(len(_PLAIN))

_ZERO, _ONE, _TWO, _THREE = U64(0), U64(1), U64(2), U64(3)
_FIRST_ROW, _A_POSITION = U64(_LONGEST), U64(_CODES)
_TOGETHER_BITS = U64((1 << _TOGETHER) - 1)
_PART_BITS = U64((1 << _PARTS) - 1)


class PatternRows(NamedTuple):
    """The arrays that the compiled search reads.

    `level1` has one bit for each pattern and `level2` one for eight patterns, both by row and word.
    `ranges` holds the range of words of `level2` for each length, and last that of new patterns.
    """

    level1: Rows
    level2: Rows
    ranges: Ranges


@compiled
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


@inlined
def _clear_bit(rows: PatternRows, row: int, number: int) -> None:
    rows.level1[row, number >> 6] &= ~(_ONE << U64(number & 63))
    first = number // _TOGETHER * _TOGETHER
    if (rows.level1[row, number >> 6] >> U64(first & 63)) & _TOGETHER_BITS == 0:
        rows.level2[row, number // _A_WORD] &= ~(_ONE << U64((number // _TOGETHER) & 63))


@compiled
def _clear(rows: PatternRows, masks: Masks, lengths: Lengths, numbers: Slots) -> None:
    """Clear the bits of patterns."""
    for number in numbers:
        _clear_bit(rows, lengths[number] - 1, number)
        for position in range(lengths[number]):
            mask = masks[number, position]
            for code in range(_CODES):
                if (mask >> U64(code)) & _ONE:
                    _clear_bit(rows, _LONGEST + _CODES * position + code, number)


@inlined
def find_fitting(
    level1: Rows,
    level2: Rows,
    ranges: Ranges,
    data: Bytes,
    at: int,
    length: int,
    found: Slots,
) -> int:
    """Write the numbers of the patterns that data[at:at + length] fits; return how many.

    It stops when `found` is full. `length` is 1 to 16.
    """
    count = 0
    end = 0
    by_length = U64(length - 1)
    for which in (length - 1, _LONGEST):
        # The second range may begin before the first one ends.
        begin, end = max(ranges[which, 0], end), ranges[which, 1]
        for first in range(begin, end, _ABREAST):
            # Unsigned, because each signed index would be checked for being negative.
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


@inlined
def depends_on_region(allowed: Masks, number: int) -> bool:
    """Return whether it may depend on a read's region which plain keys a pattern fits: if a known
    character, or a look-alike of it, is not plain."""
    for position in range(_LONGEST):
        mask = allowed[number, position]
        if (mask >> U64(_OTHER)) & _ONE and mask != U64(_ANY):
            return True
    return False


@compiled
def _find(level1: Rows, level2: Rows, ranges: Ranges, data: Bytes, found: Slots) -> int:
    return find_fitting(level1, level2, ranges, data, 0, len(data), found)


class Patterns:
    """The patterns of partial plates, by slot; see the module."""

    def __init__(self, misreads: Misreads) -> None:
        self._look_alikes = [
            {char: _mask(group) for group in table.groups for char in group}
            for table in misreads.tables
        ]
        plain = np.frombuffer(_PLAIN.encode(), dtype=np.uint8)
        self.shapes: PatternShapes = PatternShapes(values_by_byte(misreads)[plain])
        self._numbers: dict[int, int] = {}
        #: The end of the numbers in use, and the end of those that are in order.
        self._end = self._sorted_end = 0
        self._make_room(0)

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, slot: int) -> bool:
        return slot in self._numbers

    def copy(self) -> Patterns:
        """Return an independent copy."""
        copied = copy.copy(self)
        level1, level2, ranges = self.rows
        copied.rows = PatternRows(level1.copy(), level2.copy(), ranges.copy())
        copied.shapes = self.shapes.copy()
        copied._allowed, copied._lengths = self._allowed.copy(), self._lengths.copy()
        copied._slots = self._slots.copy()
        copied._numbers = self._numbers.copy()
        return copied

    def put(
        self,
        slots: Sequence[int],
        plates: Sequence[str],
        confusables: Sequence[bool],
        tables: Sequence[int],
    ) -> None:
        """Add slots, which must be new, with their patterns.

        With `confusables`, a known character allows its look-alikes too, by the one of
        `misreads.tables` that `tables` says.
        """
        if not slots:
            return
        pairs = zip(tables, confusables, strict=True)
        masks = self._masks(plates, [table if is_alike else -1 for table, is_alike in pairs])
        lengths = np.array([len(plate) for plate in plates], dtype=np.int64)
        as_array = np.array(slots, dtype=np.int32)
        end = self._end + len(slots)
        behind = end - self._sorted_end
        if end <= len(self._slots) and behind <= max(_BEHIND, len(self._numbers) // 16):
            self._add(*_sorted(masks, lengths, as_array))
            self.rows.ranges[_LONGEST] = _words(self._sorted_end, self._end)
            self._choose_filters()
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
        self._choose_filters()

    def drop(self, slots: Sequence[int], plates: Sequence[str]) -> None:
        """Remove slots, which must be here, with their patterns."""
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
        """Return the slots whose patterns may fit a normalized plate."""
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

    @property
    def numbered(self) -> tuple[Masks, Slots]:
        """By number, the codes that a pattern allows at each position, and its slot."""
        return self._allowed, self._slots

    def _choose_filters(self) -> None:
        words = self.rows.ranges[:, 1] - self.rows.ranges[:, 0]
        self.shapes.choose(words[:_LONGEST] + words[_LONGEST])

    def _make_room(self, count: int) -> None:
        """Start with empty arrays that have room for so many patterns and a quarter more."""
        words2 = max(1, -(-count * 5 // (4 * _ABREAST * _A_WORD))) * _ABREAST
        capacity = words2 * _A_WORD
        self.rows: PatternRows = PatternRows(
            level1=np.zeros((_ROWS, _TOGETHER * words2), dtype=np.uint64),
            level2=np.zeros((_ROWS, words2), dtype=np.uint64),
            ranges=np.zeros((_LONGEST + 1, 2), dtype=np.int64),
        )
        #: By number: the codes allowed at each position, the length, the slot.
        self._allowed: Masks = np.zeros((capacity, _LONGEST), dtype=np.uint64)
        self._lengths: Lengths = np.zeros(capacity, dtype=np.int64)
        self._slots: Slots = np.full(capacity, NO_SLOT, dtype=np.int32)
        self._end = self._sorted_end = 0
        self.shapes.clear(capacity if count else 0)

    def _add(self, masks: Masks, lengths: Lengths, slots: Slots) -> None:
        """Add patterns, numbered from the end on, in this order."""
        begin, end = self._end, self._end + len(slots)
        self._allowed[begin:end] = masks
        self._lengths[begin:end] = lengths
        self._slots[begin:end] = slots
        self._numbers.update(zip(slots.tolist(), range(begin, end), strict=True))
        self._end = end
        _set(self.rows, self._allowed, self._lengths, begin, end)
        self.shapes.add(masks, lengths)

    def _masks(self, plates: Sequence[str], tables: Sequence[int]) -> Masks:
        """Return the codes that each pattern allows at each position; none after its end.

        `tables` says by which table each pattern has look-alikes; -1 means that it has none.
        """
        points = codes_of(plates)
        used = np.unique(points)
        at = np.searchsorted(used, points)
        masks: Masks = np.zeros(points.shape, dtype=np.uint64)
        by_table = np.array(tables, dtype=np.int64)
        for table in np.unique(by_table).tolist():
            alike = {} if table < 0 else self._look_alikes[table]
            allowed = np.array([_allowed(chr(point), alike) for point in used], dtype=np.uint64)
            rows = by_table == table
            masks[rows] = allowed[at[rows]]
        return masks


def _allowed(char: str, look_alikes: Mapping[str, int]) -> int:
    """Return the codes that a character of a pattern allows."""
    if char == "\0":
        return 0
    if char == WILDCARD:
        return _ANY
    return look_alikes.get(char) or _mask(char)


def _words(begin: int, end: int) -> tuple[int, int]:
    """Return the words of the second level for these numbers, rounded to whole groups of words."""
    abreast = _ABREAST * _A_WORD
    return begin // abreast * _ABREAST, -(-end // abreast) * _ABREAST


def _mask(chars: str) -> int:
    """Return the codes of characters as a bit mask."""
    mask = 0
    for char in chars:
        mask |= 1 << int(CODES[min(ord(char), 255)])
    return mask


def _sorted(masks: Masks, lengths: Lengths, slots: Slots) -> tuple[Masks, Lengths, Slots]:
    """Return the patterns sorted so that similar ones are next to each other."""
    unknown = masks == _ANY
    which = np.packbits(unknown, axis=1)
    lowest = masks & (~masks + U64(1))
    # The logarithms of powers of two are exact. 0 marks positions after the end, and no lowest code
    # becomes 0.
    codes = np.log2(lowest, out=np.full(masks.shape, -1.0), where=lowest != 0) + 1
    codes[unknown] = 0
    keys = np.concatenate([lengths[:, None], which, codes], axis=1).astype(np.uint8)
    order = np.argsort(np.ascontiguousarray(keys).view(f"V{keys.shape[1]}").ravel(), kind="stable")
    return masks[order], lengths[order], slots[order]
