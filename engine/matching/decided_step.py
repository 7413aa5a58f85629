"""What compiled code has made of the reads of a step, for Python to take."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.index.eligibility import DENIAL_REASONS, NO_POLICY, NOT_ALLOWED
from engine.index.open_entry import OpenEntry
from engine.matching.compiled_matches import (
    AUDIT_END,
    ENTRY,
    HAS_NO_POLICY,
    IS_EXCLUDED,
    IS_MATCH,
    IS_NOT_ALLOWED,
    KEPT,
    LEFT,
    READ_TIMESTAMP_MS,
    SIZE_BYTES,
    STATE,
    VALUE_END,
    WHY,
)
from engine.matching.outcome import FoundMatch
from engine.matching.plain_match import EntryParts
from engine.matching.ready_tables import Rows

#: More than any row of a source.
_WHYS: Final = 1 << 16


def are_written(decided: Rows) -> npt.NDArray[np.bool_]:
    """Return for each read whether its match is written."""
    states = decided[:, STATE]
    written: npt.NDArray[np.bool_] = (states == IS_MATCH) | (states == KEPT)
    return written


class DecidedStep:
    """What has become of the reads of a step, by their number in it. Valid until the next one.

    `written` has the matches whose `ids` these are, each followed by what the audit records of it.
    """

    def __init__(
        self,
        decided: Rows,
        ids: Sequence[str],
        written: bytes,
        matched_at: str,
        sources: Sequence[str],
        opened: Sequence[OpenEntry | None],
    ) -> None:
        self._matched_at = matched_at
        #: By the rows that are ready: the sources, and the entries.
        self._sources = sources
        self._opened = opened
        states = decided[:, STATE]
        left = np.flatnonzero(states <= KEPT)
        #: The reads that Python decides, with what is known of them; at the end the number of all.
        self.left: list[tuple[int, int]] = [
            *zip(left.tolist(), states[left].tolist(), strict=True),
            (len(states), LEFT),
        ]
        #: The numbers of those whose match is written.
        self._matches: list[int] = np.flatnonzero(are_written(decided)).tolist() if ids else []
        self._reasons: list[int] = (states * _WHYS + decided[:, WHY]).tolist()
        #: About how large is what comes of the reads up to each one.
        self._sizes_bytes: list[int] = [0, *np.cumsum(decided[:, SIZE_BYTES]).tolist()]
        self._ids = ids
        self._written = written
        rows = decided[self._matches]
        self._value_ends: list[int] = rows[:, VALUE_END].tolist()
        #: The first of them is where the first match begins.
        self._audit_ends: list[int] = [0, *rows[:, AUDIT_END].tolist()]
        self._entries: list[int] = rows[:, ENTRY].tolist()
        self._timestamps_ms: list[int] = rows[:, READ_TIMESTAMP_MS].tolist()

    def kept(self, number: int) -> tuple[OpenEntry, FoundMatch]:
        """Return the entry and the match of a read that is KEPT."""
        at = bisect_left(self._matches, number)
        entry = self._opened[self._entries[at]]
        assert entry is not None
        return entry, self._found(at)

    def size_bytes(self, begin: int, end: int) -> int:
        """Return about how large what comes of some reads is."""
        return self._sizes_bytes[end] - self._sizes_bytes[begin]

    def filling(self, begin: int, end: int, room_bytes: int) -> int:
        """Return the number after the read of these with which they fill so much, or the end."""
        return bisect_left(self._sizes_bytes, self._sizes_bytes[begin] + room_bytes, begin + 1, end)

    def matches(self, begin: int, end: int) -> list[FoundMatch]:
        """Return the matches of some reads."""
        first, last = bisect_left(self._matches, begin), bisect_left(self._matches, end)
        return [self._found(at) for at in range(first, last)]

    def _found(self, at: int) -> FoundMatch:
        written, value_end, audit_end = (
            self._written,
            self._value_ends[at],
            self._audit_ends[at + 1],
        )
        entry = self._opened[self._entries[at]]
        assert entry is not None
        parts: EntryParts = entry.made
        return FoundMatch(
            written[self._audit_ends[at] : value_end],
            self._ids[at],
            self._matched_at,
            "exact",
            parts.key,
            parts.purpose,
            written[value_end:audit_end],
            self._timestamps_ms[at],
        )

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
