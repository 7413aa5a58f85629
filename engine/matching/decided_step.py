"""What compiled code has made of the reads of a step, for Python to take."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.arrays import Bytes
from engine.index.eligibility import DENIAL_REASONS, NO_POLICY, NOT_ALLOWED
from engine.index.open_entry import OpenEntry
from engine.matching import written_matches as written
from engine.matching.compiled_matches import (
    AUDIT_END,
    ENTRY,
    HAS_NO_POLICY,
    IS_EXCLUDED,
    IS_MATCH,
    IS_NOT_ALLOWED,
    KEPT,
    KEY_END,
    PAIR,
    READ_TIMESTAMP_MS,
    SIZE_BYTES,
    STATE,
    VALUE_END,
    WHY,
)
from engine.matching.outcome import FoundMatch
from engine.matching.plain_match import TO_ID
from engine.matching.ready_tables import Rows
from engine.matching.written_matches import WrittenMatches

#: More than any row of a source.
_WHYS: Final = 1 << 16
#: Columns of a decided read, and the same ones of a match.
_TAKEN: Final = (VALUE_END, AUDIT_END, KEY_END, READ_TIMESTAMP_MS, PAIR)
_TAKEN_TO: Final = (
    *(written.VALUE_END, written.AUDIT_END, written.KEY_END),
    *(written.TIMESTAMP_MS, written.PURPOSE),
)


def are_written(decided: Rows) -> npt.NDArray[np.bool_]:
    """Return for each read whether its match is written."""
    states = decided[:, STATE]
    written: npt.NDArray[np.bool_] = (states >= IS_MATCH) | (states == KEPT)
    return written


class _Written(NamedTuple):
    """What is written, and for each match the number of its read and the row of its entry."""

    matches: WrittenMatches
    numbers: list[int]
    entries: list[int]


class DecidedStep:
    """What has become of the reads of a step, by their number in it. Valid until the next one.

    `written` has the matches, each followed by what the audit records of it and by its key.
    """

    def __init__(
        self,
        decided: Rows,
        written: Bytes,
        matched_at: str,
        sources: Sequence[str],
        opened: Sequence[OpenEntry | None],
        purposes: Mapping[int, str],
    ) -> None:
        self.decided = decided
        self._data = written
        self._matched_at = matched_at
        self._purposes = purposes
        #: By the rows that are ready: the sources, and the entries.
        self._sources = sources
        self._opened = opened
        states = decided[:, STATE]
        #: What is known of each read, before those that may be repeats are admitted.
        self.states: list[int] = states.tolist()
        #: The numbers of the reads that Python decides if compiled code does not admit those that
        #: may be repeats; at the end the number of all.
        self._left: list[int] = [*np.flatnonzero(states <= KEPT).tolist(), len(states)]
        #: Whether there are such reads.
        self.are_kept = bool((states == KEPT).any())

    @cached_property
    def _reasons(self) -> list[int]:
        reasons: list[int] = (self.decided[:, STATE] * _WHYS + self.decided[:, WHY]).tolist()
        return reasons

    @cached_property
    def _sizes_bytes(self) -> list[int]:
        """About how large is what comes of the reads up to each one."""
        return [0, *np.cumsum(self.decided[:, SIZE_BYTES]).tolist()]

    @cached_property
    def _written(self) -> _Written:
        numbers = np.flatnonzero(are_written(self.decided))
        found = self.decided[numbers]
        rows = np.zeros((len(numbers), written.COLUMNS), dtype=np.int64)
        rows[:, _TAKEN_TO] = found[:, _TAKEN]
        rows[1:, written.VALUE_AT] = rows[:-1, written.KEY_END]
        rows[:, written.ID_AT] = rows[:, written.VALUE_AT] + len(TO_ID)
        matches = WrittenMatches(self._data, rows, self._matched_at, self._purposes)
        return _Written(matches, numbers.tolist(), found[:, ENTRY].tolist())

    def kept(self, number: int) -> tuple[OpenEntry, FoundMatch]:
        """Return the entry and the match of a read that is KEPT."""
        matches, numbers, entries = self._written
        at = bisect_left(numbers, number)
        entry = self._opened[entries[at]]
        assert entry is not None
        return entry, matches[at]

    def size_bytes(self, begin: int, end: int) -> int:
        """Return about how large what comes of some reads is."""
        return self._sizes_bytes[end] - self._sizes_bytes[begin]

    def filling(self, begin: int, end: int, room_bytes: int) -> int:
        """Return the number after the read of these with which they fill so much, or the end."""
        return bisect_left(self._sizes_bytes, self._sizes_bytes[begin] + room_bytes, begin + 1, end)

    def matches(self, begin: int, end: int) -> Sequence[FoundMatch]:
        """Return the matches of some reads. They stay valid."""
        if not len(self._data):
            return ()
        matches, numbers, _ = self._written
        first, last = bisect_left(numbers, begin), bisect_left(numbers, end)
        if self.are_kept:  # some of what is written may be no match
            states = self.decided[numbers[first:last], STATE]
            return matches[first:last].some(states == IS_MATCH)
        return matches[first:last].copy() if first < last else ()

    def next_left(self, begin: int) -> int:
        """Return the number of the next read that Python decides, or that of all."""
        return self._left[bisect_left(self._left, begin)]

    def denials(self, begin: int, end: int) -> Iterator[tuple[str, str | None, int]]:
        """Yield why some reads match nothing, the source if it has a policy that says so, and of
        how many."""
        for reason, count in Counter(self._reasons[begin:end]).items():
            state, why = divmod(reason, _WHYS)
            if state == IS_NOT_ALLOWED:
                yield NOT_ALLOWED, self._sources[why], count
            elif state == HAS_NO_POLICY:
                yield NO_POLICY, None, count
            elif state == IS_EXCLUDED:
                yield DENIAL_REASONS[why], None, count
