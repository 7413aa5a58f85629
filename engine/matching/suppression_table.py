"""The states of the suppression as rows of numbers, found by hashing their keys.

Compiled code holds the states of simple keys here and admits reads to them (`compiled_admission`).
A key is simple if it has a state in one partition alone, with few matches, and no count of it is
being audited. All other states are Python's `KeyState`; they have a row too, so that compiled code
knows of them, and so that all states can be visited in turn.

The arrays are as large as they may become; memory that no row has used yet is not taken.

Belongs to one thread.
"""

from __future__ import annotations

import secrets
import struct
from array import array
from collections.abc import Collection, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from engine import limits
from engine.matching.ready_tables import Places, Rows
from engine.matching.suppression_key import MATCH_WIDTH, KeyState
from engine.matching.suppression_names import StateNames
from engine.matching.suppression_rows import (
    CARRIED_MOST,
    CARRIED_UNIT,
    CHANGE,
    CHANGED,
    CHANGES,
    COMPILED,
    COUNTED,
    COUNTS,
    FREE,
    HOLDER,
    INLINE,
    MATCHES,
    NAMES,
    NO_ROW,
    NOBODY,
    OF_KEY,
    OF_SOURCE,
    PACKED_COLUMNS,
    PYTHON,
    ROW_COLUMNS,
    USED,
    add,
    find,
    remove,
    remove_partitions,
)

_KEY: Final = struct.Struct("<qq")


def key_numbers(key: bytes) -> tuple[int, int]:
    """Return a key as two numbers."""
    low, high = _KEY.unpack(key)
    return low, high


def most_matches() -> int:
    """Return how many matches a simple key has at most."""
    return min(INLINE, limits.SUPPRESSION_MATCHES)


class StateTable:
    """See the module. `names` has what the states are of."""

    def __init__(self) -> None:
        most = limits.SUPPRESSION_KEYS + 1
        self.rows: Rows = np.zeros((most, ROW_COLUMNS), dtype=np.int64)
        self.matches: Rows = np.zeros((most, INLINE * PACKED_COLUMNS), dtype=np.int64)
        self.places: Places = np.zeros(1 << (2 * most).bit_length(), dtype=np.int32)
        self.free: Places = np.zeros(most, dtype=np.int32)
        self.changed: Places = np.zeros(1 << 10, dtype=np.int32)
        self.counts: Rows = np.zeros(COUNTS, dtype=np.int64)
        #: No producer knows which keys come to lie beside each other.
        self.seed: int = secrets.randbits(62)
        self.names = StateNames()
        #: The states that Python holds, by row; and how many compiled code holds.
        self.held: dict[int, KeyState] = {}
        self.compiled = 0
        self._next = 0
        # Compile it now, and not while the first match waits.
        row = add(self.rows, self.places, self.seed, self.free, self.counts, 0, 0, 0)
        find(self.rows, self.places, self.seed, 0, 0)
        remove(self.rows, self.places, self.seed, self.free, self.counts, row)
        self._remove_partitions(np.zeros(1, dtype=np.int64))

    def add(self, state: KeyState) -> None:
        """Add a row for a state that Python holds."""
        assert self.has_room(1), "compiled code checks no bounds"
        low, high = _KEY.unpack(state.key)
        state.row = add(
            self.rows, self.places, self.seed, self.free, self.counts, low, high, state.partition
        )
        self.held[state.row] = state

    def remove(self, state: KeyState) -> None:
        """Remove the row of a state that Python holds."""
        del self.held[state.row]
        remove(self.rows, self.places, self.seed, self.free, self.counts, state.row)

    def drop(self, partitions: Collection[int]) -> None:
        """Remove the rows of these partitions that compiled code holds."""
        if self.compiled:
            some = np.array([*partitions], dtype=np.int64)
            self.compiled -= self._remove_partitions(some)
        # So that it does not matter who held which state.
        free = self.free[: self.counts[FREE]]
        free[:] = np.sort(free)[::-1]

    def _remove_partitions(self, partitions: Rows) -> int:
        return remove_partitions(
            self.rows, self.places, self.seed, self.free, self.counts, partitions
        )

    def has_room(self, count: int) -> bool:
        """Return whether there is room for so many more rows."""
        return len(self.held) + self.compiled + count <= len(self.rows)

    def row_of(self, key: bytes) -> int:
        """Return the first row of a key, or NO_ROW."""
        low, high = _KEY.unpack(key)
        return find(self.rows, self.places, self.seed, low, high)

    def find(self, key: bytes) -> int:
        """Return the row of a key that compiled code holds, or NO_ROW."""
        row = self.row_of(key) if self.compiled else NO_ROW
        return row if row != NO_ROW and self.rows[row, HOLDER] == COMPILED else NO_ROW

    def take_over(self, row: int) -> tuple[KeyState, int]:
        """Let Python hold the state of a row; return it, and the number of its change."""
        state = self.state(row)
        change = int(self.rows[row, CHANGE])
        self.rows[row, HOLDER], self.rows[row, CHANGE] = PYTHON, 0
        self.compiled -= 1
        self.held[row] = state
        return state, change

    def state(self, row: int) -> KeyState:
        """Return a copy of what compiled code holds in a row."""
        columns: list[int] = self.rows[row].tolist()
        low, high, partition, names, source = columns[OF_KEY : OF_SOURCE + 1]
        counted, suppressed, window_ms, touched_ms, count = columns[COUNTED : MATCHES + 1]
        of = self.names.of(names)
        state = KeyState(_KEY.pack(low, high), partition, of.entry_id, touched_ms)
        state.row = row
        state.listing, state.source = of.listing, self.names.source(source)
        state.counted, state.suppressed, state.window_ms = counted, suppressed, window_ms
        if suppressed:
            state.terms, state.plate = of.terms, of.plate
        matches = self.matches[row].tolist()
        for at in range(0, count * PACKED_COLUMNS, PACKED_COLUMNS):
            captured_ms, offset, arrived_ms, packed = matches[at : at + PACKED_COLUMNS]
            carried, quality = divmod(packed, CARRIED_UNIT)
            state.add(captured_ms, offset, carried, arrived_ms, quality - 1)
        return state

    def hand_over(self, state: KeyState, names: int, change: int) -> bool:
        """Let compiled code hold the state of a simple key that Python holds, with the number of
        its change; return False if it has too many matches for that."""
        matches: array[int] = state.matches
        count = len(matches) // MATCH_WIDTH
        if count > most_matches() or state.source is None:
            return False
        packed: list[int] = []
        for at in range(0, len(matches), MATCH_WIDTH):
            captured_ms, offset, carried, arrived_ms, quality = matches[at : at + MATCH_WIDTH]
            if carried > CARRIED_MOST:
                return False
            packed += captured_ms, offset, arrived_ms, carried * CARRIED_UNIT + quality + 1
        row = state.row
        self.rows[row] = (
            *(COMPILED, *_KEY.unpack(state.key), state.partition, names),
            *(self.names.of_source(state.source), state.counted, state.suppressed),
            *(state.window_ms, state.touched_ms, count, 0),
        )
        self.matches[row, : len(packed)] = packed
        del self.held[row]
        self.compiled += 1
        if change:
            self.make_changes_room(1)
            self.rows[row, CHANGE] = change
            self.changed[self.counts[CHANGED]] = row
            self.counts[CHANGED] += 1
        return True

    def make_changes_room(self, count: int) -> None:
        """Make room for so many changes."""
        if self.counts[CHANGED] + count > len(self.changed):
            more = np.zeros(len(self.changed) + count, dtype=np.int32)
            self.changed = np.concatenate([self.changed, more])

    def changed_rows(self) -> npt.NDArray[np.int64]:
        """Return the rows of the changed states that compiled code holds, in the order of the
        changes."""
        # One that was removed or taken over since is among them, perhaps more than once.
        changed = np.unique(self.changed[: self.counts[CHANGED]]).astype(np.int64)
        changes = self.rows[changed, CHANGE]
        return changed[np.argsort(changes)][np.count_nonzero(changes == 0) :]

    def next_change(self) -> int:
        """Return the number of a change that Python makes."""
        self.counts[CHANGES] += 1
        return int(self.counts[CHANGES])

    def drop_changes(self, changed: npt.NDArray[np.int64]) -> None:
        """Note that all changes are reported; `changed` are the rows that have changed."""
        self.rows[changed, CHANGE] = 0
        self.counts[CHANGED] = 0

    def compiled_rows(self) -> npt.NDArray[np.int64]:
        """Return the rows that compiled code holds."""
        return np.flatnonzero(self.rows[: self.counts[USED], HOLDER] == COMPILED)

    def visit(self, most: int) -> Iterator[int]:
        """Yield at most so many rows in turn; the caller may remove each one."""
        used = int(self.counts[USED])
        for _ in range(used):
            if not most:
                return
            row = self._next = self._next % used
            self._next += 1
            if self.rows[row, HOLDER] != NOBODY:
                most -= 1
                yield row

    def trim_names(self) -> None:
        """Drop the names that no state has any more, if they are many."""
        if len(self.names) <= 2 * self.compiled + limits.READY_ENTRIES:
            return
        rows = self.compiled_rows()
        used, numbers = np.unique(self.rows[rows, NAMES], return_inverse=True)
        self.names.keep(used.tolist())
        self.rows[rows, NAMES] = numbers
