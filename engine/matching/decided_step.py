"""What compiled code has made of the reads of a step, for Python to take."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, NamedTuple

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


class _Matches(NamedTuple):
    """What is written: by match, the number of its read, where it begins and where its value ends,
    the row of its entry, and its read's Kafka timestamp. `begins` has the end of the last too."""

    numbers: list[int]
    begins: list[int]
    value_ends: list[int]
    entries: list[int]
    timestamps_ms: list[int]


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
        self._decided = decided
        self._ids = ids
        self._written = written
        self._matched_at = matched_at
        #: By the rows that are ready: the sources, and the entries.
        self._sources = sources
        self._opened = opened
        states = decided[:, STATE]
        left = np.flatnonzero(states <= KEPT)
        #: The reads that Python decides, their numbers and what is known of them; at the end the
        #: number of all.
        self.left: list[tuple[int, int]] = [
            *zip(left.tolist(), states[left].tolist(), strict=True),
            (len(states), LEFT),
        ]

    @cached_property
    def _reasons(self) -> list[int]:
        reasons: list[int] = (self._decided[:, STATE] * _WHYS + self._decided[:, WHY]).tolist()
        return reasons

    @cached_property
    def _sizes_bytes(self) -> list[int]:
        """About how large is what comes of the reads up to each one."""
        return [0, *np.cumsum(self._decided[:, SIZE_BYTES]).tolist()]

    @cached_property
    def _matches(self) -> _Matches:
        numbers = np.flatnonzero(are_written(self._decided))
        rows = self._decided[numbers]
        return _Matches(
            numbers.tolist(),
            [0, *rows[:, AUDIT_END].tolist()],
            rows[:, VALUE_END].tolist(),
            rows[:, ENTRY].tolist(),
            rows[:, READ_TIMESTAMP_MS].tolist(),
        )

    def kept(self, number: int) -> tuple[OpenEntry, FoundMatch]:
        """Return the entry and the match of a read that is KEPT."""
        at = bisect_left(self._matches.numbers, number)
        return self._entry(at), self._found(at)

    def size_bytes(self, begin: int, end: int) -> int:
        """Return about how large what comes of some reads is."""
        return self._sizes_bytes[end] - self._sizes_bytes[begin]

    def filling(self, begin: int, end: int, room_bytes: int) -> int:
        """Return the number after the read of these with which they fill so much, or the end."""
        return bisect_left(self._sizes_bytes, self._sizes_bytes[begin] + room_bytes, begin + 1, end)

    def matches(self, begin: int, end: int) -> list[FoundMatch]:
        """Return the matches of some reads."""
        if not self._ids:
            return []
        numbers = self._matches.numbers
        return [
            self._found(at) for at in range(bisect_left(numbers, begin), bisect_left(numbers, end))
        ]

    def _entry(self, at: int) -> OpenEntry:
        entry = self._opened[self._matches.entries[at]]
        assert entry is not None
        return entry

    def _found(self, at: int) -> FoundMatch:
        _, begins, value_ends, _, timestamps_ms = self._matches
        parts: EntryParts = self._entry(at).made
        return FoundMatch(
            self._written[begins[at] : value_ends[at]],
            self._ids[at],
            self._matched_at,
            "exact",
            parts.key,
            parts.purpose,
            self._written[value_ends[at] : begins[at + 1]],
            timestamps_ms[at],
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
