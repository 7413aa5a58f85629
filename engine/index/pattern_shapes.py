"""A filter in front of the bitmaps of partial plates: which keys certainly fit no pattern.

A shape is a length and the positions at which a pattern's character is known. A key that fits a
pattern has the same skeleton at the known positions. So the sum of the key's terms there, those of
`deletion_hashes`, is the pattern's. `PatternShapes` marks the sums of all patterns in a Bloom
filter. For each shape of its length a key costs a few instructions and one word of the filter, and
almost no key passes that fits nothing. A pattern may be filed in a shape that leaves one more of
its characters out, so that there are fewer shapes.

A length with so many shapes that its bitmaps cost less has no filter, so that all its keys pass.
What is marked stays marked until `clear`.

Belongs to one thread; the scanner reads `rows` on that thread.
"""

from __future__ import annotations

import copy
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from engine import limits
from engine.compiled import compiled, inlined
from engine.index.deletion_hashes import BASE
from engine.index.hash_table import Hashes, Marks, hold
from engine.plates.plate_hash import U64

Counts = npt.NDArray[np.int64]
Masks = npt.NDArray[np.uint64]

_LONGEST: Final = limits.PLATE_CHARACTERS
#: The most shapes of a length that has a filter, and how many of them cost less than one word of
#: the bitmaps that they spare.
_SHAPES: Final = 128
_SHAPES_A_WORD: Final = 8
#: Fewer known characters than these let too much pass.
_FEWEST_KNOWN: Final = 5
#: In the place of their count: there is no filter.
NO_FILTER: Final = -1
#: So many terms are added up in all ways at once; a usual plate has twice as many at most.
_BLOCK: Final = 4
_USUAL: Final = 2 * _BLOCK
#: The length of the `sums` that `may_fit` works in.
SUMS: Final = _LONGEST // _BLOCK << _BLOCK
_SMALLEST: Final = 64

_ZERO, _ONE, _TWO, _THREE = U64(0), U64(1), U64(2), U64(3)
_IN_BLOCK = U64((1 << _BLOCK) - 1)


class ShapeRows(NamedTuple):
    """The arrays that `may_fit` reads: by length the number of shapes, or NO_FILTER; by length and
    shape the known positions as bits; and the marks of the sums."""

    counts: Counts
    known: Masks
    marks: Marks


@inlined
def _add_up(terms: Hashes, sums: Hashes, block: np.uint64) -> None:
    """Write all sums of the four terms of a block, by the bits of their places."""
    place, to = block << _TWO, block << U64(_BLOCK)
    one, two = terms[place], terms[place + _ONE]
    both, three = one + two, terms[place + _TWO]
    sums[to], sums[to + _ONE], sums[to + _TWO], sums[to + _THREE] = _ZERO, one, two, both
    to += U64(4)
    sums[to], sums[to + _ONE], sums[to + _TWO] = three, one + three, two + three
    sums[to + _THREE] = both + three
    to += U64(4)
    four = terms[place + _THREE]
    sums[to], sums[to + _ONE], sums[to + _TWO] = four, one + four, two + four
    sums[to + _THREE] = both + four
    to += U64(4)
    four += three
    sums[to], sums[to + _ONE], sums[to + _TWO] = four, one + four, two + four
    sums[to + _THREE] = both + four


@inlined
def may_fit(
    counts: Counts,
    known: Masks,
    marks: Marks,
    terms: Hashes,
    length: int,
    sums: Hashes,
) -> bool:
    """Return whether a plain key may fit a pattern; False is certain.

    `terms` and `length` are the key's. `sums` has room for SUMS numbers.
    """
    row = U64(length - 1)
    count = counts[row]
    if count < 0:
        return True
    # Terms behind the key are of earlier ones: no shape has them.
    usual = length <= _USUAL
    _add_up(terms, sums, _ZERO)
    _add_up(terms, sums, _ONE)
    if not usual:
        _add_up(terms, sums, _TWO)
        _add_up(terms, sums, _THREE)
    words = U64(len(marks) - 1)
    held = _ZERO
    for shape in range(count):
        bits = known[row, U64(shape)]
        total = sums[bits & _IN_BLOCK] + sums[U64(16) + ((bits >> U64(4)) & _IN_BLOCK)]
        if not usual:
            total += sums[U64(32) + ((bits >> U64(8)) & _IN_BLOCK)]
            total += sums[U64(48) + (bits >> U64(12))]
        # As `is_held`, with fewer instructions.
        word = marks[(total >> U64(40)) & words]
        held |= (
            (word >> (total & U64(63)))
            & (word >> ((total >> U64(6)) & U64(63)))
            & (word >> ((total >> U64(12)) & U64(63)))
        )
    return bool(held & _ONE)


@compiled
def _hold_all(marks: Marks, totals: Hashes) -> None:
    for total in totals:
        hold(marks, total)


class PatternShapes:
    """The filter; see the module. `values` are the values of the characters of plain keys, by the
    codes in which `wildcards` has them."""

    def __init__(self, values: Hashes) -> None:
        self._values: list[int] = values.tolist()
        self._plain_codes = U64((1 << len(values)) - 1)
        powers: Hashes = np.full(_LONGEST, BASE, dtype=np.uint64)
        powers[0] = 1
        self._powers = np.multiply.accumulate(powers)
        #: By length, the known positions of each shape.
        self._shapes: list[dict[int, None]] = []
        self.clear(0)

    def copy(self) -> PatternShapes:
        """Return an independent copy."""
        copied = copy.copy(self)
        copied._shapes = [each.copy() for each in self._shapes]
        counts, known, marks = self.rows
        copied.rows = ShapeRows(counts.copy(), known.copy(), marks.copy())
        return copied

    def clear(self, capacity: int) -> None:
        """Forget all patterns; there will be at most so many."""
        words = _SMALLEST
        while 2 * words < capacity:
            words *= 2
        self._shapes = [{} for _ in range(_LONGEST)]
        self.rows: ShapeRows = ShapeRows(
            counts=np.zeros(_LONGEST, dtype=np.int64),
            known=np.zeros((_LONGEST, _SHAPES), dtype=np.uint64),
            marks=np.zeros(words, dtype=np.uint64),
        )

    def add(self, masks: Masks, lengths: Counts) -> None:
        """Add patterns: the codes that each allows at each position, and how long it is."""
        plain = masks & self._plain_codes
        positions = np.arange(_LONGEST)
        inside = positions < lengths[:, None]
        fits = ((plain != 0) | ~inside).all(axis=1)  # no plain key fits the others
        plain, lengths, inside = plain[fits], lengths[fits], inside[fits]
        kinds, numbers = np.unique(plain, return_inverse=True)
        values = np.array([self._value(mask) for mask in kinds.tolist()], dtype=np.uint64)
        terms = values[numbers.reshape(plain.shape)]
        is_known = inside & (terms != 0)
        bits = np.uint64(1) << positions.astype(np.uint64)
        shapes = np.stack([lengths, (is_known * bits).sum(axis=1).astype(np.int64)], axis=1)
        distinct, numbers = np.unique(shapes, axis=0, return_inverse=True)
        # Those with fewer known characters first, because others may be filed in them.
        filed = np.zeros(len(distinct), dtype=np.uint64)
        for number in sorted(range(len(distinct)), key=lambda n: int(distinct[n, 1]).bit_count()):
            length, known = distinct[number].tolist()
            filed[number] = self._filed(length - 1, known)
        counted = (filed[numbers.ravel()][:, None] & bits) != 0
        _hold_all(self.rows.marks, (terms * self._powers * counted).sum(axis=1, dtype=np.uint64))

    def choose(self, words: Counts) -> None:
        """Filter the lengths that have so few shapes that it pays; `words` says by length how many
        words of bitmaps a search reads."""
        for row, shapes in enumerate(self._shapes):
            pays = len(shapes) <= min(_SHAPES, _SHAPES_A_WORD * int(words[row]))
            self.rows.counts[row] = len(shapes) if pays else NO_FILTER

    def _filed(self, row: int, known: int) -> int:
        """Return the known positions of the shape in which a pattern with these is filed."""
        shapes = self._shapes[row]
        if known in shapes:
            return known
        if known.bit_count() > _FEWEST_KNOWN:
            for place in range(_LONGEST):
                fewer = known & ~(1 << place)
                if fewer != known and fewer in shapes:
                    return fewer
        if len(shapes) < _SHAPES:
            self.rows.known[row, len(shapes)] = known
        shapes[known] = None
        return known

    def _value(self, mask: int) -> int:
        """Return the value of all characters of a mask; 0 if they have several."""
        values = {value for code, value in enumerate(self._values) if mask >> code & 1}
        return values.pop() if len(values) == 1 else 0
