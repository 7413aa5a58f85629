"""The rows of the suppression's states, and how compiled code finds, adds and removes them.

`suppression_table` has what they are for. A row is found by hashing its key; the places that lead
to rows are tried one after the other. The rows of a key with a state in several partitions have the
same key.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.compiled import compiled, inner
from engine.matching.ready_tables import Places, Rows
from engine.matching.suppression_key import MATCH_BYTES, WRITTEN_BYTES

#: The columns of a state's row: who holds it, its key and partition, the numbers of its names and
#: of its source, and what `KeyState` has. CHANGE is the number of its change that is to be
#: reported, 0 if there is none.
HOLDER, OF_KEY, OF_KEY_HIGH, PARTITION, NAMES, OF_SOURCE, COUNTED, SUPPRESSED, WINDOW_MS = range(9)
TOUCHED_MS, MATCHES, CHANGE, ROW_COLUMNS = range(9, 13)
NOBODY, PYTHON, COMPILED = range(3)
#: As many matches does a simple key have at most. Of each: its read's own time and offset, when it
#: reached the topic, and its quality and the number of suppressed reads that it reports, as one.
INLINE: Final = 12
CAPTURED, OF_OFFSET, ARRIVED, PACKED, PACKED_COLUMNS = range(5)
CARRIED_UNIT: Final = 1 << 16
#: More than a match of a simple key ever reports.
CARRIED_MOST: Final = 1 << 40

#: What is counted: the rows ever used, those of them that are free, the changed ones, and all
#: changes; and by the last call: about how large the states are that have changed, and the matches;
#: the new rows; and the suppressed reads.
USED, FREE, CHANGED, CHANGES, CHANGED_BYTES, TAKEN_BYTES, ADDED, REPEATS, COUNTS = range(9)

NO_ROW: Final = -1
_PRIME: Final = np.uint64(0x9E3779B97F4A7C15)
_SHIFT: Final = np.uint64(29)


@inner
def _place(low: int, high: int, seed: int) -> np.uint64:
    mixed = (np.uint64(low) ^ np.uint64(seed)) * _PRIME
    mixed = ((mixed >> _SHIFT) ^ mixed ^ np.uint64(high)) * _PRIME
    return (mixed >> _SHIFT) ^ mixed


@inner
def found_row(rows: Rows, places: Places, seed: int, low: int, high: int) -> int:
    """Return the first row of a key, or NO_ROW."""
    mask = np.uint64(len(places) - 1)
    at = _place(low, high, seed) & mask
    while places[at] != 0:
        row = places[at] - 1
        if rows[row, OF_KEY] == low and rows[row, OF_KEY_HIGH] == high:
            return np.int64(row)  # type: ignore[return-value]
        at = (at + np.uint64(1)) & mask
    return NO_ROW


@inner
def added_row(
    rows: Rows, places: Places, seed: int, free: Places, counts: Rows, low: int, high: int
) -> int:
    """Add a row for a key, for which there must be room, and return it."""
    if counts[FREE]:
        counts[FREE] -= 1
        row = np.int64(free[counts[FREE]])
    else:
        row = counts[USED]
        counts[USED] += 1
    rows[row, OF_KEY], rows[row, OF_KEY_HIGH] = low, high
    mask = np.uint64(len(places) - 1)
    at = _place(low, high, seed) & mask
    while places[at] != 0:
        at = (at + np.uint64(1)) & mask
    places[at] = row + 1
    return row  # type: ignore[return-value]


@compiled
def find(rows: Rows, places: Places, seed: int, low: int, high: int) -> int:
    """Return a row of a key, or -1."""
    return found_row(rows, places, seed, low, high)


@compiled
def add(
    rows: Rows,
    places: Places,
    seed: int,
    free: Places,
    counts: Rows,
    low: int,
    high: int,
    partition: int,
) -> int:
    """Add a row of a key that Python holds, for which there must be room, and return it."""
    row = added_row(rows, places, seed, free, counts, low, high)
    rows[row, HOLDER], rows[row, PARTITION] = PYTHON, partition
    return row


@inner
def _removed(rows: Rows, places: Places, seed: int, free: Places, counts: Rows, row: int) -> None:
    mask = np.uint64(len(places) - 1)
    hole = _place(rows[row, OF_KEY], rows[row, OF_KEY_HIGH], seed) & mask
    while places[hole] != row + 1:
        hole = (hole + np.uint64(1)) & mask
    # Move back those behind it that would not be found across the hole.
    at = (hole + np.uint64(1)) & mask
    while places[at] != 0:
        other = places[at] - 1
        home = _place(rows[other, OF_KEY], rows[other, OF_KEY_HIGH], seed) & mask
        if ((at - home) & mask) >= ((at - hole) & mask):
            places[hole] = places[at]
            hole = at
        at = (at + np.uint64(1)) & mask
    places[hole] = 0
    for column in range(ROW_COLUMNS):
        rows[row, column] = 0
    free[counts[FREE]] = row
    counts[FREE] += 1


@compiled
def remove(rows: Rows, places: Places, seed: int, free: Places, counts: Rows, row: int) -> None:
    """Remove a row."""
    _removed(rows, places, seed, free, counts, row)


@compiled
def remove_partitions(
    rows: Rows, places: Places, seed: int, free: Places, counts: Rows, partitions: Rows
) -> int:
    """Remove the rows of partitions that compiled code holds; return how many there were."""
    removed = 0
    for row in range(counts[USED]):
        if rows[row, HOLDER] == COMPILED:
            for partition in partitions:
                if rows[row, PARTITION] == partition:
                    _removed(rows, places, seed, free, counts, row)
                    removed += 1
                    break
    return removed


@inner
def noted_change(rows: Rows, row: int, changed: Places, counts: Rows) -> int:
    """Note that a row is about to change; return how large it is if it had not changed before."""
    if rows[row, CHANGE]:
        return 0
    counts[CHANGES] += 1
    rows[row, CHANGE] = counts[CHANGES]
    changed[counts[CHANGED]] = row
    counts[CHANGED] += 1
    return WRITTEN_BYTES + MATCH_BYTES * rows[row, MATCHES]  # type: ignore[no-any-return]
