"""The states that the suppression holds, by key and partition, and which of them have changed.

Their number is bounded. If there are too many, the oldest of a few is evicted that has no count of
suppressed reads. States are visited in turn, so that each one is checked now and then.

The states of a revoked partition may be kept in case it comes back. Until then they neither
suppress nor change, and they are the first to go if there are too many states.

Pure; plain book-keeping for `engine.matching.suppression`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from operator import attrgetter
from typing import NamedTuple

from engine import limits
from engine.matching.suppression_key import KeyState
from engine.matching.suppression_writer import json_of


class SuppressionRecord(NamedTuple):
    """A key's latest state as JSON, for the changelog; None if it was evicted."""

    partition: int
    key: bytes
    value: bytes | None


class KeyStates:
    """The states; see the module. Iterating gives every state once, in no order."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, KeyState] = {}
        #: A state of a key, or None; `beside` leads to those in other partitions.
        self.first: Callable[[bytes], KeyState | None] = self._by_key.get
        #: The number of keys, each counted once for every partition.
        self.count = 0
        self._count_of: Counter[int] = Counter()
        #: Every state in use, and some that are gone; the next one to visit is in front.
        self._round: deque[KeyState] = deque()
        self._changed: dict[KeyState, None] = {}
        #: The approximate size of the changed states as written.
        self.changed_bytes = 0
        self._evicted: dict[tuple[int, bytes], None] = {}
        #: The partitions whose states are kept, though they were revoked.
        self.kept: set[int] = set()
        #: How many changes were ever reported, by partition.
        self.reported: Counter[int] = Counter()
        json_of([KeyState(b"", 0, "", 0)])  # compile it now, and not while the first match waits

    def __iter__(self) -> Iterator[KeyState]:
        return (state for state in self._round if not state.is_gone)

    def own(self, key: bytes, partition: int) -> KeyState | None:
        """Return the state of a key in a partition."""
        state = self._by_key.get(key)
        while state is not None and state.partition != partition:
            state = state.beside
        return state

    def add(self, state: KeyState) -> None:
        """Add a state of a key that has none in its partition. Make room first."""
        state.beside = self._by_key.get(state.key)
        self._by_key[state.key] = state
        self.count += 1
        self._count_of[state.partition] += 1
        self._round.append(state)
        self._evicted.pop((state.partition, state.key), None)

    def note_change(self, state: KeyState) -> None:
        """Note that a state is about to change, or has changed."""
        if state not in self._changed:
            self._changed[state] = None
            self.changed_bytes += state.size_bytes

    def take_changes(self) -> list[SuppressionRecord]:
        """Return the latest state of each key that has changed since the last call."""
        if not self._changed and not self._evicted:
            return []
        records = [SuppressionRecord(*place, None) for place in self._evicted]
        changed = [*self._changed]
        records += [
            SuppressionRecord(state.partition, state.key, value)
            for state, value in zip(changed, json_of(changed), strict=True)
        ]
        self.reported.update(map(attrgetter("partition"), records))
        self._evicted.clear()
        self._changed.clear()
        self.changed_bytes = 0
        return records

    def visit(self, most: int) -> Iterator[KeyState]:
        """Yield at most so many states in turn; the caller may evict each one. Kept ones are passed
        over."""
        for _ in range(min(most, len(self._round))):
            state = self._round.popleft()
            if state.is_gone:
                continue
            if state.partition not in self.kept:
                yield state
            if not state.is_gone:
                self._round.append(state)

    def make_room(self) -> list[KeyState]:
        """Make room for one more state if there is none: evict the oldest one without a count.

        All kept states are dropped first. Only some states are compared. If all of them have
        counts, none is evicted, and they are returned.
        """
        if self.count >= limits.SUPPRESSION_KEYS and self.kept:
            self.drop(set(self.kept))
        if self.count < limits.SUPPRESSION_KEYS:
            return []
        seen: list[KeyState] = []
        while self._round and len(seen) < limits.SUPPRESSION_KEYS_COMPARED:
            state = self._round.popleft()
            if not state.is_gone:
                seen.append(state)
        without_count = [state for state in seen if not state.suppressed]
        if without_count:
            self.evict(min(without_count, key=lambda state: state.touched_ms))
        self._round.extend(state for state in seen if not state.is_gone)
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
        state.is_gone = True
        self._changed.pop(state, None)

    def revoke(self, partitions: Collection[int], keep: Collection[int]) -> set[int]:
        """Keep the states of partitions in `keep`, and drop those of the others in `partitions`.

        Returns those that are kept. One with changes that are not reported is not. What is still
        kept from an earlier revocation stays.
        """
        unreported = {state.partition for state in self._changed}
        unreported.update(partition for partition, _ in self._evicted)
        newly = set(keep) - unreported
        self.drop(set(partitions) - newly - self.kept)
        self.kept |= newly
        return newly

    def drop(self, partitions: Collection[int]) -> None:
        """Drop the states of partitions without reporting changes."""
        if any(self._count_of[partition] for partition in partitions):
            for state in self:
                if state.partition in partitions:
                    self.remove(state)
            self._round = deque(self)
        if not self._changed:
            self.changed_bytes = 0
        self.kept.difference_update(partitions)
        self._evicted = dict.fromkeys(each for each in self._evicted if each[0] not in partitions)
