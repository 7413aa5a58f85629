"""The states that the suppression holds, by key and partition, and which of them have changed.

Their number is bounded. If there are too many, the oldest of a few is evicted that has no count of
suppressed reads. States are visited in turn, so that each one is checked now and then.

The states of a revoked partition may be kept in case it comes back. Until then they neither
suppress nor change, and they are the first to go if there are too many states.

Pure; plain book-keeping for `engine.matching.suppression`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from engine import limits
from engine.in_parts import InParts
from engine.matching.suppression_key import LATE_MS, KeyState
from engine.matching.suppression_rows import (
    CHANGE,
    COMPILED,
    COUNTED,
    HOLDER,
    NO_ROW,
    OF_KEY,
    OF_KEY_HIGH,
    PARTITION,
    PYTHON,
    SUPPRESSED,
    TOUCHED_MS,
    WINDOW_MS,
)
from engine.matching.suppression_table import StateTable
from engine.matching.suppression_writer import json_of, json_of_rows
from engine.matching.written_states import (
    SuppressionRecord,
    WrittenStates,
    partition_of_each,
)


def is_old(now_ms: int, touched_ms: int, window_ms: int) -> bool:
    """Return whether a state is so old that it may be evicted."""
    return now_ms - touched_ms > 2 * LATE_MS + window_ms


class KeyStates:
    """The states; see the module. Iterating gives every state once, in no order."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, KeyState] = {}
        self.table = StateTable()
        #: The number of keys, each counted once for every partition.
        self.count = 0
        self._count_of: Counter[int] = Counter()
        #: The states that Python holds and that have changed, with the numbers of their changes.
        self._changed: dict[KeyState, int] = {}
        #: The approximate size of the changed states as written.
        self.changed_bytes = 0
        self._evicted: dict[tuple[int, bytes], None] = {}
        #: The partitions whose states are kept, though they were revoked.
        self.kept: set[int] = set()
        #: How many changes were ever reported, by partition.
        self.reported: Counter[int] = Counter()
        # Compile it now, and not while the first match waits.
        json_of([KeyState(b"", 0, "", 0)])
        json_of_rows(self.table, self.table.changed_rows())

    def __iter__(self) -> Iterator[KeyState]:
        """Yield every state; a copy of each that compiled code holds."""
        yield from [*self.table.held.values()]
        for row in self.table.compiled_rows().tolist():
            yield self.table.state(row)

    def first(self, key: bytes) -> KeyState | None:
        """Return a state of a key, or None; `beside` leads to those in other partitions. Python
        holds all of them from now on."""
        state = self._by_key.get(key)
        if state is None and (row := self.table.find(key)) != NO_ROW:
            return self._held_here(row)
        return state

    def _held_here(self, row: int) -> KeyState:
        state, change = self.table.take_over(row)
        self._by_key[state.key] = state
        if change:
            self._changed[state] = change
        return state

    def hand_over(self, state: KeyState, names: int) -> None:
        """Let compiled code hold a state if its key is simple. `names` are the entry's."""
        if state.beside is None and self._by_key.get(state.key) is state:
            change = self._changed.get(state, 0)
            if self.table.hand_over(state, names, change):
                del self._by_key[state.key]
                self._changed.pop(state, None)

    @property
    def are_admitted(self) -> bool:
        """Whether compiled code may add states: no evicted one is to be reported before."""
        return not self._evicted

    def note_admitted(self, partition: int, added: int, changed_bytes: int) -> None:
        """Note that compiled code has added so many states of a partition, and about how large all
        are that it has changed."""
        self.changed_bytes += changed_bytes
        self.count += added
        self.table.compiled += added
        self._count_of[partition] += added

    def own(self, key: bytes, partition: int) -> KeyState | None:
        """Return the state of a key in a partition."""
        state = self.first(key)
        while state is not None and state.partition != partition:
            state = state.beside
        return state

    def add(self, state: KeyState) -> None:
        """Add a state of a key that has none in its partition. Make room first."""
        state.beside = self._by_key.get(state.key)
        self._by_key[state.key] = state
        self.count += 1
        self._count_of[state.partition] += 1
        self.table.add(state)
        self._evicted.pop((state.partition, state.key), None)

    def note_change(self, state: KeyState) -> None:
        """Note that a state is about to change, or has changed."""
        if state not in self._changed:
            self._changed[state] = self.table.next_change()
            self.changed_bytes += state.size_bytes

    def take_changes(self) -> Sequence[SuppressionRecord]:
        """Return the latest state of each key that has changed since the last call. No object is
        made of those that compiled code holds, unless there are others or several partitions."""
        rows = self.table.changed_rows()
        evicted = [SuppressionRecord(*place, None) for place in self._evicted]
        parts: list[Sequence[SuppressionRecord]] = [evicted]
        if self._changed:
            changed = [*self._changed]
            found = [
                (self._changed[state], SuppressionRecord(state.partition, state.key, value))
                for state, value in zip(changed, json_of(changed), strict=True)
            ]
            for some in self._written(rows):
                changes = self.table.rows[some.rows, CHANGE].tolist()
                found += zip(changes, some, strict=True)
            parts.append([record for _, record in sorted(found, key=itemgetter(0))])
        else:
            parts += self._written(rows)
        self.table.drop_changes(rows)
        for part in parts:
            self.reported.update(partition_of_each(part))
        self._evicted.clear()
        self._changed.clear()
        self.changed_bytes = 0
        return InParts(parts)

    def _written(self, rows: npt.NDArray[np.int64]) -> Iterator[WrittenStates]:
        """Yield the states in rows, those of each partition together."""
        partitions = self.table.rows[rows, PARTITION]
        for partition in np.unique(partitions).tolist():
            some = rows[partitions == partition]
            text, ends = json_of_rows(self.table, some)
            keys = self.table.rows[some, OF_KEY : OF_KEY_HIGH + 1].view(np.uint8)
            yield WrittenStates(partition, some, keys, text, ends)

    def visit(self, most: int, now_ms: int) -> Iterator[KeyState]:
        """Visit at most so many states in turn; the caller may evict each one. Kept ones are passed
        over, and so are those that compiled code holds and that have no count and are not old."""
        rows = self.table.rows
        for row in self.table.visit(most):
            if rows[row, PARTITION] in self.kept:
                continue
            if rows[row, HOLDER] == PYTHON:
                yield self.table.held[row]
            elif rows[row, SUPPRESSED] or is_old(
                now_ms, rows[row, TOUCHED_MS], rows[row, WINDOW_MS]
            ):
                yield self._held_here(row)

    def make_room(self) -> list[KeyState]:
        """Make room for one more state if there is none: evict the oldest one without a count.

        All kept states are dropped first. Only some states are compared. If all of them have
        counts, none is evicted, and they are returned.
        """
        if self.count >= limits.SUPPRESSION_KEYS and self.kept:
            self.drop(set(self.kept))
        if self.count < limits.SUPPRESSION_KEYS:
            return []
        seen = [
            self._held_here(row)
            if self.table.rows[row, HOLDER] == COMPILED
            else self.table.held[row]
            for row in self.table.visit(limits.SUPPRESSION_KEYS_COMPARED)
        ]
        without_count = [state for state in seen if not state.suppressed]
        if without_count:
            self.evict(min(without_count, key=lambda state: state.touched_ms))
        return [] if without_count else seen

    def evict(self, state: KeyState) -> None:
        """Evict a state; a tombstone replaces it in the changelog."""
        self.remove(state)
        self._evicted[state.partition, state.key] = None

    def remove(self, state: KeyState) -> None:
        """Remove a state without reporting it."""
        head = self._by_key[state.key]
        if head is not state:
            while head.beside is not state:
                assert head.beside is not None
                head = head.beside
            head.beside = state.beside
        elif state.beside is None:
            del self._by_key[state.key]
        else:
            self._by_key[state.key] = state.beside
        self.count -= 1
        self._count_of[state.partition] -= 1
        self.table.remove(state)
        state.is_gone = True
        self._changed.pop(state, None)

    def revoke(self, partitions: Collection[int], keep: Collection[int]) -> set[int]:
        """Keep the states of partitions in `keep`, and drop those of the others in `partitions`.

        Returns those that are kept. One with changes that are not reported is not. What is still
        kept from an earlier revocation stays.
        """
        unreported = {state.partition for state in self._changed}
        unreported.update(partition for partition, _ in self._evicted)
        unreported.update(self.table.rows[self.table.changed_rows(), PARTITION].tolist())
        newly = set(keep) - unreported
        self.drop(set(partitions) - newly - self.kept)
        self.kept |= newly
        return newly

    def counted_from(self, ends: Mapping[int, int]) -> set[int]:
        """Return those partitions that have a state which has counted a read from the end on."""
        rows = self.table.rows[self.table.compiled_rows()]
        found = {
            partition
            for partition, end in ends.items()
            if ((rows[:, PARTITION] == partition) & (rows[:, COUNTED] >= end)).any()
        }
        return found | {
            state.partition
            for state in self.table.held.values()
            if state.partition in ends and state.counted >= ends[state.partition]
        }

    def drop(self, partitions: Collection[int]) -> None:
        """Drop the states of partitions without reporting changes."""
        if any(self._count_of[partition] for partition in partitions):
            for state in [*self.table.held.values()]:
                if state.partition in partitions:
                    self.remove(state)
            self.table.drop(partitions)
            for partition in partitions:  # those that compiled code held
                self.count -= self._count_of.pop(partition, 0)
        if not self._changed and not len(self.table.changed_rows()):
            self.changed_bytes = 0
        self.kept.difference_update(partitions)
        self._evicted = dict.fromkeys(each for each in self._evicted if each[0] not in partitions)
