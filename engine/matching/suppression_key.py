"""One key of the suppression: its recent matches in one partition, and the reads folded since.

A match folds a read whose own time lies less than the window from that of the match, before or
after, where also

* the two reached the topic within LATE_MS and the window of each other, and
* fewer than SUPPRESSION_MATCHES further matches of the key lie between them in the partition.

Both are said by the partition's log, whenever something is forgotten here: what may still fold
a read, or may be asked for again because its offset is not committed yet (`settled`), is kept.
The one exception is a key with more than SUPPRESSION_MATCHES_MOST matches that are not settled.

Pure; plain book-keeping for `engine.matching.suppression`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import Final

from engine import limits
from engine.documents.codec import encode
from engine.documents.model import Authority, Entry, RecentMatch, SuppressionState

LATE_MS: Final = 1000 * limits.SUPPRESSION_LATE_S
NO_OFFSET: Final = -1
#: What stands for each match, in the order of the first: its read's own time, its offset, how
#: many folded reads it carries, and when its read reached the topic.
_OFFSET, _CARRIED, _ARRIVED, _WIDTH = 1, 2, 3, 4
#: Of what is written: a match and the rest, without the names of agencies and the like.
_MATCH_BYTES: Final = 80
_WRITTEN_BYTES: Final = 512


class KeyState:
    """See the module. Its fields are for `engine.matching.suppression` to keep."""

    __slots__ = (
        "beside",
        "counted",
        "entry_id",
        "folded",
        "handed",
        "is_ending",
        "is_gone",
        "key",
        "last_offset",
        "matches",
        "partition",
        "terms",
        "touched_ms",
        "window_ms",
    )

    def __init__(self, key: bytes, partition: int, entry_id: str, touched_ms: int) -> None:
        self.key = key
        self.partition = partition
        self.entry_id = entry_id
        self.matches: array[int] = array("q")
        #: The highest offset of a match.
        self.last_offset = NO_OFFSET
        #: Reads folded since the last match, and those of them that are being audited.
        self.folded = 0
        self.handed = 0
        #: The highest offset that is accounted for.
        self.counted = NO_OFFSET
        #: The window that held at the last match, and the worker's clock then.
        self.window_ms = 0
        self.touched_ms = touched_ms
        #: List, agency, purpose and authority, while there are folded reads.
        self.terms: tuple[str, str, str, Authority] | None = None
        #: To be forgotten as soon as its count is audited; forgotten.
        self.is_ending = False
        self.is_gone = False
        #: The same key in another partition.
        self.beside: KeyState | None = None

    def is_near(
        self, captured_ms: int, arrived_ms: int, window_ms: int, offset: int | None
    ) -> bool:
        """Whether a match folds a read; its `offset` where it is of the same partition."""
        matches = self.matches
        end = len(matches)
        if end and captured_ms - matches[end - _WIDTH] >= window_ms:
            return False  # in order, and long after the last
        late_ms = LATE_MS + window_ms
        for at in range(self._first_from(captured_ms - window_ms + 1), end, _WIDTH):
            if matches[at] >= captured_ms + window_ms:
                return False
            if -late_ms <= arrived_ms - matches[at + _ARRIVED] <= late_ms and (
                offset is None or self._is_recent(matches[at + _OFFSET], offset)
            ):
                return True
        return False

    def carried_by(self, captured_ms: int, offset: int) -> int | None:
        """What the match of this very read carries; None where it is not known to have one."""
        matches = self.matches
        for at in range(self._first_from(captured_ms), len(matches), _WIDTH):
            if matches[at] != captured_ms:
                return None
            if matches[at + _OFFSET] == offset:
                return matches[at + _CARRIED]
        return None

    def fold(self, entry: Entry, offset: int) -> None:
        """Count a read of the entry that is folded."""
        self.counted = offset
        self.folded += 1
        self.terms = (entry.list_id, entry.agency, entry.purpose, entry.authority)

    def match(self, captured_ms: int, offset: int, arrived_ms: int, settled: int) -> int:
        """Note a match; how many folded reads it carries. `settled` is the offset below which
        no read of the partition comes again."""
        self.counted = offset
        carried = self.folded - self.handed
        self.folded = self.handed
        self.add(captured_ms, offset, carried, arrived_ms)
        count = len(self.matches) // _WIDTH
        if count > limits.SUPPRESSION_MATCHES and count % limits.SUPPRESSION_MATCHES == 0:
            self._forget_matches(count, settled)
        return carried

    def add(self, captured_ms: int, offset: int, carried: int, arrived_ms: int) -> None:
        """File a match under its own time."""
        matches = self.matches
        match = (captured_ms, offset, carried, arrived_ms)
        if not matches or captured_ms >= matches[len(matches) - _WIDTH]:
            matches.extend(match)
        else:
            at = self._first_from(captured_ms)
            matches[at:at] = array("q", match)
        self.last_offset = max(self.last_offset, offset)

    def document(self) -> SuppressionState:
        """What is written of it."""
        matches = self.matches
        counting = self.terms if self.folded else None
        list_id, agency, purpose, authority = counting or (None, None, None, None)
        return SuppressionState(
            entry_id=self.entry_id,
            matches=tuple(
                [RecentMatch(*matches[at : at + _WIDTH]) for at in range(0, len(matches), _WIDTH)]
            ),
            suppress_s=self.window_ms // 1000,
            offset=self.counted,
            suppressed=self.folded,
            list_id=list_id,
            agency=agency,
            purpose=purpose,
            authority=authority,
        )

    @property
    def size_bytes(self) -> int:
        """About as many as what is written of it has, and a little more."""
        return _WRITTEN_BYTES + _MATCH_BYTES * (len(self.matches) // _WIDTH)

    def written(self) -> bytes:
        """The document as JSON."""
        return encode(self.document())

    def read(self, written: SuppressionState, *, is_of_this_log: bool) -> None:
        """Take over what was written. Where that was about another topic of the same name, the
        times hold and the offsets do not."""
        self.window_ms = 1000 * written.suppress_s
        if written.list_id and written.agency and written.purpose and written.authority:
            self.folded = written.suppressed
            self.terms = (written.list_id, written.agency, written.purpose, written.authority)
        if is_of_this_log:
            self.counted = written.offset
        for match in written.matches:
            offset = match.offset if is_of_this_log else NO_OFFSET
            self.add(match.captured_ms, offset, match.suppressed, match.arrived_ms)

    def _first_from(self, captured_ms: int) -> int:
        """Where the first match stands whose own time is not before this."""
        matches = self.matches
        places = range(0, len(matches), _WIDTH)
        return _WIDTH * bisect_left(places, captured_ms, key=matches.__getitem__)

    def _is_recent(self, matched: int, offset: int) -> bool:
        """Whether few enough matches lie between one at an offset and a read."""
        if len(self.matches) <= limits.SUPPRESSION_MATCHES * _WIDTH or matched == self.last_offset:
            return True
        between = sum(matched < other < offset for other in self.matches[_OFFSET::_WIDTH])
        return between < limits.SUPPRESSION_MATCHES

    def _forget_matches(self, count: int, settled: int) -> None:
        """Keep what is not settled, and as many matches before it as may fold reads of it."""
        offsets = sorted(self.matches[_OFFSET::_WIDTH])
        kept_from = bisect_left(offsets, settled) - limits.SUPPRESSION_MATCHES
        if count >= limits.SUPPRESSION_MATCHES_MOST:
            kept_from = max(kept_from, count // 2)
        first = offsets[max(0, kept_from)]
        kept: array[int] = array("q")
        for at in range(0, len(self.matches), _WIDTH):
            if self.matches[at + _OFFSET] >= first:
                kept.extend(self.matches[at : at + _WIDTH])
        self.matches = kept
