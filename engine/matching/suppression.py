"""Suppression: at most one match of an entry at a camera in the entry's `suppress_s`.

A read is suppressed if its own time is less than `suppress_s` before or after that of an emitted
match of the same key, and it is not a better match than that one (`engine.matching.quality`). A
better match is emitted, and remembered beside the other one. Each match in a window is better than
all before it, so there are few. Only the reads' own times count, so late and out-of-order reads are
compared where they belong.

The key is the entry, as it lists its plate, agency and purpose, and the camera of a source. For a
partial entry it includes the read's plate, because another plate is another vehicle. A suppressed
read is counted, and the key's next match reports the number. If the entry has ended or lists
something else, no match may come, and the number is audited. Its matches stay until they are old,
so that an entry which is listed again in the same words does not repeat a match.

Most exact matches are admitted by compiled code (`engine.matching.compiled_admission`), with the
same answers and states; `admit` is for all others.

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
nothing or are denied. Of the others, the state has their times, offsets and quality, two hashes,
their source, and the agency and authority that a count belongs to.

Versions before this one left the source and what the entry lists out of their keys. Their states
are restored, suppress nothing, and stay as they are in case such a version owns the partition
again. Their counts are audited when the entry ends or the state is old.

If a partition is revoked, its state may be kept for some time. If the partition comes back, only
the keys that changed meanwhile are restored.

Pure: belongs to one thread, which also sets the clock. No I/O.

Long because Python's way and that of compiled code share one order of reads and one state.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from engine import limits
from engine.documents.model import Authority, Entry, SuppressionState
from engine.matching.compiled_admission import REPEATED, UNANSWERED, Admitted, admit_one, admit_rows
from engine.matching.plain_reads import PlainRead, PlainStep
from engine.matching.ready_parts import ListedParts
from engine.matching.ready_tables import Rows
from engine.matching.suppression_key import (
    LATE_MS,
    KeyState,
    Sighting,
    bounded,
    key_of,
    terms_of,
    window_ms_of,
)
from engine.matching.suppression_names import StateSubject
from engine.matching.suppression_states import KeyStates, is_old
from engine.matching.written_states import SuppressionRecord

SUPPRESSED: Final = -1

#: The entries with an id on the lists: the one in force, and the one that a transaction stages.
Listed = Callable[[str], Iterable[Entry]]


class Unmatched(NamedTuple):
    """A count of suppressed reads that no match will report, with their entry and last offset.

    `source` is None if an older version counted them.
    """

    partition: int
    key: bytes
    entry_id: str
    list_id: str
    agency: str
    purpose: str
    authority: Authority
    source: str | None
    suppressed: int
    offset: int


class Suppression:
    """The suppression state of a worker; see the module."""

    def __init__(self) -> None:
        self.states: KeyStates = KeyStates()
        self._unmatched: dict[KeyState, None] = {}
        #: Those whose count is being audited.
        self._handed: set[KeyState] = set()
        #: The offset below which no read comes again, by partition.
        self._settled: dict[int, int] = {}
        self._now_ms = 0

    def __len__(self) -> int:
        """Return the number of keys, each counted once for every partition."""
        return self.states.count

    def concerns(self, entry: Entry) -> bool:
        """Return whether a match of an entry may be a repeat, or must be remembered."""
        return entry.suppress_s != 0 or self.states.count != 0

    def admit(self, entry: Entry, seen: Sighting, key: bytes | None = None) -> int:
        """Decide whether a read makes a match of an entry; `key` is their `key_of` if it is known.

        Returns SUPPRESSED, or for a match the number of reads suppressed since the last one.
        """
        if not self.concerns(entry):
            return 0
        window_ms = window_ms_of(entry)
        seen = bounded(seen)
        key = key or key_of(entry, seen)
        own: KeyState | None = None
        is_repeat = False
        state, kept = self.states.first(key), self.states.kept
        while state is not None:
            if state.partition == seen.partition:
                own = state
            if state.partition not in kept:
                is_repeat = is_repeat or state.suppresses(seen, window_ms)
            state = state.beside
        if own is None:
            own = self._added(key, seen.partition, entry.entry_id) if window_ms else None
            if own is None:
                return 0  # nothing may be suppressed, or there is no room to count it
        elif seen.offset <= own.counted:
            carried = own.carried_by(seen.captured_ms, seen.offset)
            if carried is not None:
                return carried
            return SUPPRESSED if is_repeat else 0
        elif not window_ms and not own.suppressed:
            return 0
        if own.listing is None:
            own.name(entry, seen)
        self.states.note_change(own)
        if is_repeat:
            own.suppress(entry, seen.offset)
            return SUPPRESSED
        own.is_ending = False
        own.window_ms = window_ms
        own.touched_ms = self._now_ms
        return own.match(seen, self._settled.get(seen.partition, 0))

    def admit_ready(
        self,
        step: PlainStep,
        decided: Rows,
        listed: ListedParts,
        begin: int,
        *,
        partition: int,
        room_bytes: int,
    ) -> Admitted | None:
        """Let compiled code admit the reads of a step from a number on, until one that Python must
        decide, or until what comes of them takes so much; None if Python must decide all."""
        states = self.states
        most = len(decided) - begin
        is_crowded = states.count + most > limits.SUPPRESSION_KEYS
        if is_crowded or not states.are_admitted or not states.table.has_room(most):
            return None
        admitted = admit_rows(
            *(states.table, step, decided, listed, begin),
            partition=partition,
            room_bytes=room_bytes,
            now_ms=self._now_ms,
        )
        states.note_admitted(partition, admitted.added, admitted.changed_bytes)
        return admitted

    def admit_plain(
        self, entry: Entry, read: PlainRead, key: bytes, partition: int, window_ms: int
    ) -> int | None:
        """Do as `admit` for an exact match whose confidence is known, by compiled code; return None
        with nothing done if Python must decide."""
        states = self.states
        is_crowded = states.count >= limits.SUPPRESSION_KEYS
        if is_crowded or not states.are_admitted or not states.table.has_room(1):
            return None
        names = states.table.names
        admitted = admit_one(
            *(states.table, key, names.of_entry(entry), names.of_source(read.source), read),
            partition=partition,
            window_ms=window_ms,
            now_ms=self._now_ms,
        )
        states.note_admitted(partition, admitted.added, admitted.changed_bytes)
        if admitted.end == UNANSWERED:
            return None
        return SUPPRESSED if admitted.end == REPEATED else 0

    def make_ready(self, key: bytes, entry: Entry, partition: int) -> None:
        """Let compiled code admit the next reads of a key to which Python has just admitted one of
        an entry, if the key is simple."""
        state = self.states.own(key, partition)
        if state is not None and (not state.suppressed or state.terms == terms_of(entry)):
            self._hand_over(state, entry)

    def _hand_over(self, state: KeyState, entry: Entry | None = None) -> None:
        """Let compiled code hold a state, if its key is simple."""
        if (
            state.listing is None
            or state.handed
            or state.is_ending
            or state.is_gone
            or state in self._unmatched
            or state.partition in self.states.kept
        ):
            return
        names = self.states.table.names
        if entry is not None:
            self.states.hand_over(state, names.of_entry(entry))
        elif state.suppressed and state.terms is not None and state.plate is not None:
            of = StateSubject(state.entry_id, state.listing, state.plate, *state.terms)
            self.states.hand_over(state, names.number_of(of))

    def take_changes(self) -> Sequence[SuppressionRecord]:
        """Return the latest state of each key that has changed since the last call."""
        return self.states.take_changes()

    def turn_to(self, now_ms: int) -> None:
        """Set the worker's clock."""
        self._now_ms = now_ms

    def tidy(self, listed: Listed, most: int = limits.SUPPRESSION_KEYS_A_STEP) -> None:
        """Check so many keys in turn, and evict those that are old.

        A count is scheduled to be audited if no match will report it: the entry has ended or lists
        another plate, agency or purpose, or the state is old and of an older version. A key with a
        count stays until that is audited.
        """
        self.states.table.trim_names()
        for state in self.states.visit(most, self._now_ms):
            is_old = self._is_old(state)
            if not state.suppressed:
                if is_old:
                    self.states.evict(state)
            elif not _is_listed(state, listed) or (is_old and state.listing is None):
                self._unmatched[state] = None
            elif is_old and state.matches:
                del state.matches[:]
                self.states.note_change(state)
            else:
                self._hand_over(state)

    def _is_old(self, state: KeyState) -> bool:
        return is_old(self._now_ms, state.touched_ms, state.window_ms)

    def take_unmatched(self, most: int = limits.AUDIT_STEP_CHANGES) -> list[Unmatched]:
        """Return at most so many counts to be audited; pass them to `audited` afterwards."""
        taken: list[Unmatched] = []
        while self._unmatched and len(taken) < most:
            state, _ = self._unmatched.popitem()
            if state.is_gone or state.terms is None or state.handed or not state.suppressed:
                continue
            state.handed = state.suppressed
            self._handed.add(state)
            taken.append(
                Unmatched(
                    state.partition,
                    state.key,
                    state.entry_id,
                    *state.terms,
                    state.source,
                    state.suppressed,
                    state.counted,
                )
            )
        return taken

    def audited(self, taken: Iterable[Unmatched]) -> None:
        """Note that these counts are audited; states dropped or restored since are not changed."""
        for unmatched in taken:
            state = self.states.own(unmatched.key, unmatched.partition)
            if state is None or state.handed != unmatched.suppressed:
                continue
            state.suppressed -= state.handed
            state.handed = 0
            self._handed.discard(state)
            if not state.suppressed and (state.is_ending or self._is_old(state)):
                self.states.evict(state)
            else:
                self.states.note_change(state)
        self._handed = {state for state in self._handed if not state.is_gone}

    def restore(
        self,
        partition: int,
        states: Iterable[tuple[bytes, SuppressionState | None]],
        end_offset: int,
    ) -> None:
        """Restore the states of a partition, in the place of those of the same keys; None for a key
        that has no state any more.

        A state with an offset of `end_offset` or more was written for another topic of the same
        name, because the partition's reads end there.
        """
        for key, written in states:
            if (former := self.states.own(key, partition)) is not None:
                self.states.remove(former)
            if written is None or not (state := self._added(key, partition, written.entry_id)):
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

    def drop(self, partition: int) -> int:
        """Drop the state of a partition; return how many changes of it were ever reported."""
        self.states.drop((partition,))
        self._settled.pop(partition, None)
        return self.states.reported[partition]

    def revoke(self, partitions: Collection[int], keep: Collection[int]) -> dict[int, int]:
        """Note that partitions are revoked. Keep the states of those in `keep` in case they come
        back, except of those with a change that is not reported, and drop the others.

        Returns how many changes were ever reported of each that is kept now.
        """
        for state in (*self._unmatched, *self._handed):
            if state.partition in partitions:
                state.is_ending, state.handed = False, 0
                self._unmatched.pop(state, None)
                self._handed.discard(state)
        for partition in partitions:
            self._settled.pop(partition, None)
        kept = self.states.revoke(partitions, keep)
        return {partition: self.states.reported[partition] for partition in kept}

    def kept(self, ends: Mapping[int, int]) -> set[int]:
        """Return the partitions whose state is kept and goes with the end of their reads."""
        kept = self.states.kept.intersection(ends)
        return kept - self.states.counted_from({each: ends[each] for each in kept})

    def take_back(self, partition: int) -> bool:
        """Use the kept state of a partition from now on; False if it was dropped meanwhile."""
        if partition not in self.states.kept:
            return False
        self.states.kept.remove(partition)
        return True

    def drop_kept(self, partitions: Collection[int]) -> None:
        """Drop what is kept of these partitions."""
        if kept := self.states.kept.intersection(partitions):
            self.states.drop(kept)

    def _added(self, key: bytes, partition: int, entry_id: str) -> KeyState | None:
        """Add and return a new state; None if there is no room for one.

        There is none if all states compared have counts; these are scheduled to be audited.
        """
        crowded = self.states.make_room()
        for state in crowded:
            state.is_ending = True
            self._unmatched[state] = None
        if crowded:
            return None
        state = KeyState(key, partition, entry_id, self._now_ms)
        self.states.add(state)
        return state


def _is_listed(state: KeyState, listed: Listed) -> bool:
    """Return whether an entry lists what the state is of."""
    return any(state.listing is None or state.is_of(entry) for entry in listed(state.entry_id))
