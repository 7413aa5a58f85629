"""Suppression: at most one match of an entry at a camera in the entry's `suppress_s`.

A read is folded where an emitted match of the same key lies less than `suppress_s` from it, by
the reads' own times, before or after; so late and out-of-order reads count where they belong.
The key is the entry and the camera, and for a partial entry the read's plate too: another plate
is another vehicle. A folded read is counted, and the key's next match carries the number; where
no match can come any more, because the entry has ended, the number is handed out for the audit.

State is kept by key and source partition (`engine.matching.suppression_key`): whoever owns a
partition of the reads owns what they did. Matches in all partitions held here fold; each partition
counts its own. What becomes of an exact entry's reads, which lie in one partition, is said by that
partition alone, not by how they came, in what batches or how often:

* The same read again (its offset and its own time) gives the same answer with the same count.
* A folded read is counted only beyond the highest offset that its key has counted.
* A read below that offset that is not known any more is emitted, and changes nothing.

To fold or not depends on times alone, so that a topic which begins anew at offset 0 loses no
match. No camera's clock is taken for the time of day, so a read of the year 2999 is a match and
ends nothing else. Keys are forgotten by the worker's clock, or the oldest where there are too many;
counts are kept until they are audited. Nothing is held of reads that match nothing or are denied,
and of the others their times and offsets, a hash, and whom a count concerns.

Pure: belongs to one thread, which also tells the time. No I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import xxhash

from engine import limits
from engine.documents.model import Authority, Entry, SuppressionState
from engine.matching.suppression_key import LATE_MS, KeyState

FOLDED: Final = -1

_DEFAULT_S: Final = Entry.DEFAULTS["suppress_s"]

#: Whether an entry with this id is on the lists.
IsListed = Callable[[str], bool]


class SuppressionRecord(NamedTuple):
    """A key's latest state as JSON, for the changelog; None where it is forgotten."""

    partition: int
    key: bytes
    value: bytes | None


class Unmatched(NamedTuple):
    """Folded reads that no match will carry: whom they concern, how many, the last one's offset."""

    partition: int
    key: bytes
    entry_id: str
    list_id: str
    agency: str
    purpose: str
    authority: Authority
    folded: int
    offset: int


class Suppression:
    """See the module. `turn_to` sets the clock, `restore` the state of a partition."""

    def __init__(self) -> None:
        self._states: dict[bytes, KeyState] = {}
        self._count = 0
        #: Every state in use, and some that are gone: what is looked at next stands in front.
        self._round: deque[KeyState] = deque()
        self._changed: dict[KeyState, None] = {}
        #: What those have come to by now, as written.
        self.changed_bytes = 0
        self._forgotten: dict[tuple[int, bytes], None] = {}
        self._unmatched: dict[KeyState, None] = {}
        #: By partition, the offset below which no read comes again.
        self._settled: dict[int, int] = {}
        self._now_ms = 0

    def __len__(self) -> int:
        """Keys held, each counted once for every partition."""
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
        """Whether a read makes a match of an entry: FOLDED, or how many reads were folded since
        the last match, for this one to carry.

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
                return 0  # nothing may be folded, or there is no room to count it
        elif offset <= own.counted:
            carried = own.carried_by(captured_ms, offset)
            if carried is not None:
                return carried
            return FOLDED if is_near else 0
        elif not window_ms and not own.folded:
            return 0
        if own not in self._changed:
            self._changed[own] = None
            self.changed_bytes += own.size_bytes
        if is_near:
            own.fold(entry, offset)
            return FOLDED
        own.is_ending = False
        own.window_ms = window_ms
        own.touched_ms = self._now_ms
        return own.match(captured_ms, offset, arrived_ms, self._settled.get(partition, 0))

    def take_changes(self) -> list[SuppressionRecord]:
        """The latest state of each key that has changed since the last call."""
        if not self._changed and not self._forgotten:
            return []
        records = [SuppressionRecord(*place, None) for place in self._forgotten]
        records += [
            SuppressionRecord(state.partition, state.key, state.written())
            for state in self._changed
        ]
        self._forgotten.clear()
        self._changed.clear()
        self.changed_bytes = 0
        return records

    def turn_to(self, now_ms: int) -> None:
        """Set the clock of the worker."""
        self._now_ms = now_ms

    def tidy(self, is_listed: IsListed, most: int = limits.SUPPRESSION_KEYS_A_STEP) -> None:
        """Look at so many of the keys, one after the other in turn: forget those that are old or
        whose entry has ended, as soon as nothing of them waits to be audited."""
        for _ in range(min(most, len(self._round))):
            state = self._round.popleft()
            if state.is_gone:
                continue
            is_old = self._now_ms - state.touched_ms > 2 * LATE_MS + state.window_ms
            state.is_ending = not is_listed(state.entry_id)
            if (state.is_ending or is_old) and not state.folded:
                self._forget(state)
                continue
            if state.is_ending:
                self._unmatched[state] = None
            elif is_old and state.matches:
                del state.matches[:]
                self._changed[state] = None
            self._round.append(state)

    def take_unmatched(self, most: int = limits.AUDIT_STEP_CHANGES) -> list[Unmatched]:
        """Counts to be audited, so many at the most; `audited` is to be called with them."""
        taken: list[Unmatched] = []
        while self._unmatched and len(taken) < most:
            state, _ = self._unmatched.popitem()
            if state.is_gone or state.terms is None or state.handed or not state.folded:
                continue
            state.handed = state.folded
            taken.append(
                Unmatched(
                    state.partition,
                    state.key,
                    state.entry_id,
                    *state.terms,
                    state.folded,
                    state.counted,
                )
            )
        return taken

    def audited(self, taken: Iterable[Unmatched]) -> None:
        """The audit has these counts; what was given up or read anew since changes nothing."""
        for unmatched in taken:
            state = self._own(unmatched.key, unmatched.partition)
            if state is None or state.handed != unmatched.folded:
                continue
            state.folded -= state.handed
            state.handed = 0
            if state.is_ending and not state.folded:
                self._forget(state)
            else:
                self._changed[state] = None

    def restore(
        self, partition: int, states: Iterable[tuple[bytes, SuppressionState]], end_offset: int
    ) -> None:
        """Hold these states of a partition, of which nothing is held, and whose reads end at an
        offset: what was counted beyond it was counted on another topic of the same name."""
        for key, written in states:
            state = self._added(key, partition, written.entry_id)
            if state is None:
                continue
            state.read(written, is_of_this_log=written.offset < end_offset)
            # Since when the worker was away is not known, so it gets some time in any case.
            state.touched_ms = self._now_ms - LATE_MS
            for match in written.matches:
                if state.touched_ms < match.arrived_ms:
                    state.touched_ms = min(match.arrived_ms, self._now_ms)

    def settle(self, partition: int, offset: int) -> None:
        """No read of a partition below an offset comes again: it is committed."""
        self._settled[partition] = offset

    def drop(self, partition: int) -> None:
        """Hold nothing of a partition any more, and tell nothing of it."""
        for state in self._round:
            if state.partition == partition and not state.is_gone:
                self._forget(state)
        self._forgotten = dict.fromkeys(place for place in self._forgotten if place[0] != partition)
        self._settled.pop(partition, None)

    def clear(self) -> None:
        """Hold nothing any more, and tell nothing of it: the partitions are somebody else's."""
        for state in self._round:
            state.is_gone = True
        self._states.clear()
        self._count = 0
        self._round.clear()
        self._changed.clear()
        self._forgotten.clear()
        self._unmatched.clear()
        self._settled.clear()

    def _own(self, key: bytes, partition: int) -> KeyState | None:
        state = self._states.get(key)
        while state is not None and state.partition != partition:
            state = state.beside
        return state

    def _added(self, key: bytes, partition: int, entry_id: str) -> KeyState | None:
        """A new state; None where there is no room for one."""
        if self._count >= limits.SUPPRESSION_KEYS and not self._make_room():
            return None
        state = KeyState(key, partition, entry_id, self._now_ms)
        state.beside = self._states.get(key)
        self._states[key] = state
        self._count += 1
        self._round.append(state)
        self._forgotten.pop((partition, key), None)
        return state

    def _make_room(self) -> bool:
        """Forget the oldest of some keys that have nothing counted; where all of them have, see
        to it that it is audited."""
        oldest: KeyState | None = None
        seen: list[KeyState] = []
        while self._round and len(seen) < limits.SUPPRESSION_KEYS_COMPARED:
            state = self._round.popleft()
            if state.is_gone:
                continue
            seen.append(state)
            if not state.folded and (oldest is None or state.touched_ms < oldest.touched_ms):
                oldest = state
        if oldest is None:
            for state in seen:
                state.is_ending = True
                self._unmatched[state] = None
        else:
            self._forget(oldest)
        self._round.extend(state for state in seen if state is not oldest)
        return oldest is not None

    def _forget(self, state: KeyState) -> None:
        """A tombstone takes its place in the changelog."""
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
        self._forgotten[state.partition, state.key] = None


def key_of(entry: Entry, plate: str, camera: str) -> bytes:
    """The key: 16 bytes, the xxh3 of its parts; their lengths keep them apart."""
    entry_id = entry.entry_id
    if "?" not in entry.plate:
        plate = ""
    parts = f"{len(entry_id)} {len(camera)} {entry_id}{camera}{plate}"
    return xxhash.xxh3_128_digest(parts.encode())
