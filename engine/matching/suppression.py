"""Suppression: at most one match of an entry at a camera in the entry's `suppress_s`.

A read is suppressed if its own time is less than `suppress_s` before or after that of an emitted
match of the same key. Only the reads' own times count, so late and out-of-order reads are compared
where they belong. The key is the entry and the camera. For a partial entry it includes the read's
plate, because another plate is another vehicle. A suppressed read is counted, and the key's next
match reports the number. If the entry has ended, there is no next match, and the number is audited.

State is kept by key and source partition (`engine.matching.suppression_key`), because the worker
that owns a partition also owns the state of its reads. Matches in all partitions held here suppress
a read; each partition counts its own reads. An exact entry's reads are all in one partition. That
partition's log alone decides on them, not how they were batched or how often they were fetched:

* The same read again (its offset and its own time) gets the same answer with the same count.
* A suppressed read is counted only beyond the highest offset that its key has counted.
* A read below that offset that is no longer known is emitted, and changes nothing.

Times alone decide whether a read is suppressed, so that a recreated topic, which begins at offset
0, loses no match. No camera's clock is taken as the current time, so a read of the year 2999 is a
match and has no further effect. Keys are evicted by the worker's clock, or if there are too many,
the oldest first. Counts are kept until they are audited. Nothing is kept of reads that match
nothing or are denied. Of the others, the state has their times and offsets, a hash, and the agency
and authority that a count belongs to.

Pure: belongs to one thread, which also sets the clock. No I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import xxhash

from engine import limits
from engine.documents.model import Authority, Entry, SuppressionState
from engine.matching.suppression_key import LATE_MS, KeyState

SUPPRESSED: Final = -1

_DEFAULT_S: Final = Entry.DEFAULTS["suppress_s"]

#: Whether an entry with this id is on the lists.
IsListed = Callable[[str], bool]


class SuppressionRecord(NamedTuple):
    """A key's latest state as JSON, for the changelog; None if it was evicted."""

    partition: int
    key: bytes
    value: bytes | None


class Unmatched(NamedTuple):
    """A count of suppressed reads that no match will report, with their entry and last offset."""

    partition: int
    key: bytes
    entry_id: str
    list_id: str
    agency: str
    purpose: str
    authority: Authority
    suppressed: int
    offset: int


class Suppression:
    """The suppression state of a worker; see the module."""

    def __init__(self) -> None:
        self._states: dict[bytes, KeyState] = {}
        self._count = 0
        #: Every state in use, and some that are gone; the next one to check is in front.
        self._round: deque[KeyState] = deque()
        self._changed: dict[KeyState, None] = {}
        #: The approximate size of the changed states as written.
        self.changed_bytes = 0
        self._evicted: dict[tuple[int, bytes], None] = {}
        self._unmatched: dict[KeyState, None] = {}
        #: The offset below which no read comes again, by partition.
        self._settled: dict[int, int] = {}
        self._now_ms = 0

    def __len__(self) -> int:
        """Return the number of keys, each counted once for every partition."""
        return self._count

    def admit(
        self,
        entry: Entry,
        plate: str,
        camera: str,
        captured_ms: int,
        partition: int,
        offset: int,
        arrived_ms: int,
    ) -> int:
        """Decide whether a read makes a match of an entry.

        Returns SUPPRESSED, or for a match the number of reads suppressed since the last one.

        `plate` is the text that matched, in normal form; `arrived_ms` the read's Kafka timestamp.
        """
        suppress_s = entry.suppress_s
        window_ms = 1000 * (_DEFAULT_S if suppress_s is None else suppress_s)
        key = key_of(entry, plate, camera)
        own: KeyState | None = None
        is_near = False
        state = self._states.get(key)
        while state is not None:
            if state.partition == partition:
                own = state
                is_near = is_near or state.is_near(captured_ms, arrived_ms, window_ms, offset)
            else:
                is_near = is_near or state.is_near(captured_ms, arrived_ms, window_ms, None)
            state = state.beside
        if own is None:
            own = self._added(key, partition, entry.entry_id) if window_ms else None
            if own is None:
                return 0  # nothing may be suppressed, or there is no room to count it
        elif offset <= own.counted:
            carried = own.carried_by(captured_ms, offset)
            if carried is not None:
                return carried
            return SUPPRESSED if is_near else 0
        elif not window_ms and not own.suppressed:
            return 0
        if own not in self._changed:
            self._changed[own] = None
            self.changed_bytes += own.size_bytes
        if is_near:
            own.suppress(entry, offset)
            return SUPPRESSED
        own.is_ending = False
        own.window_ms = window_ms
        own.touched_ms = self._now_ms
        return own.match(captured_ms, offset, arrived_ms, self._settled.get(partition, 0))

    def take_changes(self) -> list[SuppressionRecord]:
        """Return the latest state of each key that has changed since the last call."""
        if not self._changed and not self._evicted:
            return []
        records = [SuppressionRecord(*place, None) for place in self._evicted]
        records += [
            SuppressionRecord(state.partition, state.key, state.written())
            for state in self._changed
        ]
        self._evicted.clear()
        self._changed.clear()
        self.changed_bytes = 0
        return records

    def turn_to(self, now_ms: int) -> None:
        """Set the worker's clock."""
        self._now_ms = now_ms

    def tidy(self, is_listed: IsListed, most: int = limits.SUPPRESSION_KEYS_A_STEP) -> None:
        """Check so many keys in turn, and evict those that are old or whose entry has ended.

        A key with a count that waits to be audited stays until then.
        """
        for _ in range(min(most, len(self._round))):
            state = self._round.popleft()
            if state.is_gone:
                continue
            is_old = self._now_ms - state.touched_ms > 2 * LATE_MS + state.window_ms
            state.is_ending = not is_listed(state.entry_id)
            if (state.is_ending or is_old) and not state.suppressed:
                self._evict(state)
                continue
            if state.is_ending:
                self._unmatched[state] = None
            elif is_old and state.matches:
                del state.matches[:]
                self._changed[state] = None
            self._round.append(state)

    def take_unmatched(self, most: int = limits.AUDIT_STEP_CHANGES) -> list[Unmatched]:
        """Return at most so many counts to be audited; pass them to `audited` afterwards."""
        taken: list[Unmatched] = []
        while self._unmatched and len(taken) < most:
            state, _ = self._unmatched.popitem()
            if state.is_gone or state.terms is None or state.handed or not state.suppressed:
                continue
            state.handed = state.suppressed
            taken.append(
                Unmatched(
                    state.partition,
                    state.key,
                    state.entry_id,
                    *state.terms,
                    state.suppressed,
                    state.counted,
                )
            )
        return taken

    def audited(self, taken: Iterable[Unmatched]) -> None:
        """Note that these counts are audited; states dropped or restored since are not changed."""
        for unmatched in taken:
            state = self._own(unmatched.key, unmatched.partition)
            if state is None or state.handed != unmatched.suppressed:
                continue
            state.suppressed -= state.handed
            state.handed = 0
            if state.is_ending and not state.suppressed:
                self._evict(state)
            else:
                self._changed[state] = None

    def restore(
        self, partition: int, states: Iterable[tuple[bytes, SuppressionState]], end_offset: int
    ) -> None:
        """Restore the states of a partition, which must have none here.

        A state with an offset of `end_offset` or more was written for another topic of the same
        name, because the partition's reads end there.
        """
        for key, written in states:
            state = self._added(key, partition, written.entry_id)
            if state is None:
                continue
            state.read(written, is_of_this_log=written.offset < end_offset)
            # How long no worker had the state is not known, so it is kept for some time anyway.
            state.touched_ms = self._now_ms - LATE_MS
            for match in written.matches:
                if state.touched_ms < match.arrived_ms:
                    state.touched_ms = min(match.arrived_ms, self._now_ms)

    def settle(self, partition: int, offset: int) -> None:
        """Note that an offset is committed: no read of the partition below it comes again."""
        self._settled[partition] = offset

    def drop(self, partition: int) -> None:
        """Drop the state of a partition without reporting changes."""
        for state in self._round:
            if state.partition == partition and not state.is_gone:
                self._evict(state)
        self._evicted = dict.fromkeys(place for place in self._evicted if place[0] != partition)
        self._settled.pop(partition, None)

    def clear(self) -> None:
        """Drop all state without reporting changes, because the partitions were revoked."""
        for state in self._round:
            state.is_gone = True
        self._states.clear()
        self._count = 0
        self._round.clear()
        self._changed.clear()
        self._evicted.clear()
        self._unmatched.clear()
        self._settled.clear()

    def _own(self, key: bytes, partition: int) -> KeyState | None:
        state = self._states.get(key)
        while state is not None and state.partition != partition:
            state = state.beside
        return state

    def _added(self, key: bytes, partition: int, entry_id: str) -> KeyState | None:
        """Add and return a new state; None if there is no room for one."""
        if self._count >= limits.SUPPRESSION_KEYS and not self._make_room():
            return None
        state = KeyState(key, partition, entry_id, self._now_ms)
        state.beside = self._states.get(key)
        self._states[key] = state
        self._count += 1
        self._round.append(state)
        self._evicted.pop((partition, key), None)
        return state

    def _make_room(self) -> bool:
        """Compare some keys and evict the oldest one without a count; return whether there was one.

        If all of them have counts, schedule these to be audited.
        """
        oldest: KeyState | None = None
        seen: list[KeyState] = []
        while self._round and len(seen) < limits.SUPPRESSION_KEYS_COMPARED:
            state = self._round.popleft()
            if state.is_gone:
                continue
            seen.append(state)
            if not state.suppressed and (oldest is None or state.touched_ms < oldest.touched_ms):
                oldest = state
        if oldest is None:
            for state in seen:
                state.is_ending = True
                self._unmatched[state] = None
        else:
            self._evict(oldest)
        self._round.extend(state for state in seen if state is not oldest)
        return oldest is not None

    def _evict(self, state: KeyState) -> None:
        """Evict a state; a tombstone replaces it in the changelog."""
        head = self._states[state.key]
        if head is not state:
            while head.beside is not state:
                assert head.beside is not None
                head = head.beside
            head.beside = state.beside
        elif state.beside is None:
            del self._states[state.key]
        else:
            self._states[state.key] = state.beside
        self._count -= 1
        state.is_gone = True
        self._changed.pop(state, None)
        self._evicted[state.partition, state.key] = None


def key_of(entry: Entry, plate: str, camera: str) -> bytes:
    """Return the key: 16 bytes, the xxh3 of its parts, whose lengths keep them unambiguous."""
    entry_id = entry.entry_id
    if "?" not in entry.plate:
        plate = ""
    parts = f"{len(entry_id)} {len(camera)} {entry_id}{camera}{plate}"
    return xxhash.xxh3_128_digest(parts.encode())
