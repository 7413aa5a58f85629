"""One key of the suppression: its recent matches in one partition, and the suppressed reads since.

The key names what repeats: the entry as it lists its plate, agency and purpose, the source and its
camera, and for a partial entry the plate as read. So a corrected entry, or another source's camera
of the same name, has a key of its own.

A match suppresses a read whose own time is less than the window before or after its own, if also

* the read is not a better match (`engine.matching.quality`),
* the two reached the topic within LATE_MS plus the window of each other, and
* fewer than SUPPRESSION_MATCHES further matches of the key lie between them in the partition.

The reads and the partition's log alone decide all three, whenever matches are evicted here. A match
is kept while it may still suppress a read, or while its read may be fetched again because its
offset is not committed (`settled`). The one exception is a key with more than
SUPPRESSION_MATCHES_MOST matches that are not settled.

Pure; plain book-keeping for `engine.matching.suppression`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from sys import intern
from typing import Final

import msgspec
import orjson
import xxhash

from engine import limits
from engine.documents.fields import INTEGER_MAX
from engine.documents.model import Authority, Entry, SuppressionState
from engine.matching.quality import Quality, packed

LATE_MS: Final = 1000 * limits.SUPPRESSION_LATE_S
NO_OFFSET: Final = -1
#: The fields of each match, sorted by the first: its read's own time and offset, the number of
#: suppressed reads that it reports, when its read reached the topic, and its packed quality.
_OFFSET, _CARRIED, _ARRIVED, _QUALITY, MATCH_WIDTH = 1, 2, 3, 4, 5
#: The approximate size as written of a match, and of the rest without names.
MATCH_BYTES: Final = 128
WRITTEN_BYTES: Final = 512


_DEFAULT_S: Final = Entry.DEFAULTS["suppress_s"]


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """A read of an entry, as far as it decides whether its match is a repeat.

    `plate` is the text that matched, in normal form; `captured_ms` the read's own time, and
    `arrived_ms` its Kafka timestamp.
    """

    plate: str
    source: str
    camera: str
    captured_ms: int
    arrived_ms: int
    partition: int
    offset: int
    quality: Quality


def window_ms_of(entry: Entry) -> int:
    """Return in what time at most one match of an entry is made; 0 if each read makes one."""
    return 1000 * (_DEFAULT_S if entry.suppress_s is None else entry.suppress_s)


def key_of(entry: Entry, seen: Sighting) -> bytes:
    """Return the key: 16 bytes, the xxh3 of its parts as a JSON list."""
    listed, plate = entry.plate, seen.plate
    parts = (
        *(entry.entry_id, listed, entry.agency, entry.purpose),
        *(seen.source, seen.camera, plate if "?" in listed else ""),
    )
    return xxhash.xxh3_128_digest(orjson.dumps(parts))


def key_front(entry: Entry) -> bytes:
    """Return what begins the parts of all keys of an entry, as JSON."""
    parts = entry.entry_id, entry.plate, entry.agency, entry.purpose
    return orjson.dumps(parts).removesuffix(b"]")


def plain_key(front: bytes, source: bytes, camera: bytes) -> bytes:
    """Do as `key_of` for a `key_front` of an entry that is not partial, and for names that JSON
    writes as they are."""
    return xxhash.xxh3_128_digest(b"".join((front, b',"', source, b'","', camera, b'",""]')))


def listing_of(entry: Entry) -> str:
    """Return what an entry lists and for whom, its plate, agency and purpose, as a hash in hex."""
    parts = (entry.plate, entry.agency, entry.purpose)
    return xxhash.xxh3_64_hexdigest(orjson.dumps(parts))


def terms_of(entry: Entry) -> tuple[str, str, str, Authority]:
    """Return what a count of suppressed reads of an entry belongs to."""
    return entry.list_id, entry.agency, entry.purpose, entry.authority


def bounded(seen: Sighting) -> Sighting:
    """Return the sighting with the nearest Kafka timestamp that the changelog can hold."""
    # A producer may give a record any timestamp of 64 bits.
    if -INTEGER_MAX <= seen.arrived_ms <= INTEGER_MAX:
        return seen
    nearest_ms = max(-INTEGER_MAX, min(seen.arrived_ms, INTEGER_MAX))
    return msgspec.structs.replace(seen, arrived_ms=nearest_ms)


class KeyState:
    """The state of one key in one partition; `engine.matching.suppression` maintains its fields."""

    __slots__ = (
        "beside",
        "counted",
        "entry_id",
        "handed",
        "is_ending",
        "is_gone",
        "key",
        "last_offset",
        "listing",
        "matches",
        "partition",
        "plate",
        "row",
        "source",
        "suppressed",
        "terms",
        "touched_ms",
        "window_ms",
    )

    def __init__(self, key: bytes, partition: int, entry_id: str, touched_ms: int) -> None:
        self.key = key
        self.partition = partition
        self.entry_id = entry_id
        #: What the entry lists and for whom, and the source of the reads; None if an older version
        #: wrote the state, whose keys hold neither.
        self.listing: str | None = None
        self.source: str | None = None
        self.matches: array[int] = array("q")
        #: The highest offset of a match.
        self.last_offset = NO_OFFSET
        #: The reads suppressed since the last match, and those of them that are being audited.
        self.suppressed = 0
        self.handed = 0
        #: The highest offset that has been counted.
        self.counted = NO_OFFSET
        #: The window at the last match, and the worker's clock then.
        self.window_ms = 0
        self.touched_ms = touched_ms
        #: List, agency, purpose and authority, while there are suppressed reads.
        self.terms: tuple[str, str, str, Authority] | None = None
        #: The plate that the entry lists, if a suppressed read was counted here; not written.
        self.plate: str | None = None
        #: Whether it is evicted as soon as its count is audited, and whether it was evicted.
        self.is_ending = False
        self.is_gone = False
        #: Its row in `suppression_table`.
        self.row = -1
        #: The same key in another partition.
        self.beside: KeyState | None = None

    def name(self, entry: Entry, seen: Sighting) -> None:
        """Note whose state it is."""
        self.listing = listing_of(entry)
        self.source = intern(seen.source)

    def suppresses(self, seen: Sighting, window_ms: int) -> bool:
        """Return whether one of the matches suppresses a read of this partition or another."""
        captured_ms, arrived_ms, matches = seen.captured_ms, seen.arrived_ms, self.matches
        is_own = seen.partition == self.partition
        quality = seen.quality
        end = len(matches)
        if end and captured_ms - matches[end - MATCH_WIDTH] >= window_ms:
            return False  # the usual case: in order, and long after the last match
        late_ms = LATE_MS + window_ms
        for at in range(self._first_from(captured_ms - window_ms + 1), end, MATCH_WIDTH):
            if matches[at] >= captured_ms + window_ms:
                return False
            if (
                -late_ms <= arrived_ms - matches[at + _ARRIVED] <= late_ms
                and (not is_own or self._is_recent(matches[at + _OFFSET], seen.offset))
                and not quality.is_better_than(matches[at + _QUALITY])
            ):
                return True
        return False

    def carried_by(self, captured_ms: int, offset: int) -> int | None:
        """Return the count that this read's own match reports; None if no match is known."""
        matches = self.matches
        for at in range(self._first_from(captured_ms), len(matches), MATCH_WIDTH):
            if matches[at] != captured_ms:
                return None
            if matches[at + _OFFSET] == offset:
                return matches[at + _CARRIED]
        return None

    def suppress(self, entry: Entry, offset: int) -> None:
        """Count a suppressed read of the entry."""
        self.counted = offset
        self.suppressed += 1
        self.terms = terms_of(entry)
        self.plate = entry.plate

    def is_of(self, entry: Entry) -> bool:
        """Return whether an entry lists what this state is of. A restored one hashes it once."""
        if self.plate is None or self.terms is None:
            if listing_of(entry) != self.listing:
                return False
            self.plate = entry.plate
            return True
        _, agency, purpose, _ = self.terms
        return (entry.plate, entry.agency, entry.purpose) == (self.plate, agency, purpose)

    def match(self, seen: Sighting, settled: int) -> int:
        """Note a match; return the number of suppressed reads that it reports.

        `settled` is the offset below which no read of the partition comes again.
        """
        self.counted = seen.offset
        carried = self.suppressed - self.handed
        self.suppressed = self.handed
        self.add(seen.captured_ms, seen.offset, carried, seen.arrived_ms, seen.quality.packed)
        count = len(self.matches) // MATCH_WIDTH
        if count > limits.SUPPRESSION_MATCHES and count % limits.SUPPRESSION_MATCHES == 0:
            self._evict_matches(count, settled)
        return carried

    def add(
        self, captured_ms: int, offset: int, carried: int, arrived_ms: int, quality: int
    ) -> None:
        """Insert a match by its own time."""
        matches = self.matches
        match = (captured_ms, offset, carried, arrived_ms, quality)
        if not matches or captured_ms >= matches[len(matches) - MATCH_WIDTH]:
            matches.extend(match)
        else:
            at = self._first_from(captured_ms)
            matches[at:at] = array("q", match)
        self.last_offset = max(self.last_offset, offset)

    @property
    def size_bytes(self) -> int:
        """The approximate size as written, rounded up."""
        return WRITTEN_BYTES + MATCH_BYTES * (len(self.matches) // MATCH_WIDTH)

    def read(self, written: SuppressionState, *, is_of_this_log: bool) -> None:
        """Restore what was written.

        If that was for another topic of the same name, the times are valid and the offsets are not.
        """
        self.window_ms = 1000 * written.suppress_s
        if written.source is not None and written.listing is not None:
            self.source, self.listing = intern(written.source), intern(written.listing)
        if written.list_id and written.agency and written.purpose and written.authority:
            self.suppressed = written.suppressed
            self.terms = (written.list_id, written.agency, written.purpose, written.authority)
        if is_of_this_log:
            self.counted = written.offset
        for match in written.matches:
            offset = match.offset if is_of_this_log else NO_OFFSET
            quality = packed(match.match_type, match.confidence)
            self.add(match.captured_ms, offset, match.suppressed, match.arrived_ms, quality)

    def _first_from(self, captured_ms: int) -> int:
        """Return the position of the first match whose own time is not before this."""
        matches = self.matches
        places = range(0, len(matches), MATCH_WIDTH)
        return MATCH_WIDTH * bisect_left(places, captured_ms, key=matches.__getitem__)

    def _is_recent(self, matched: int, offset: int) -> bool:
        """Return whether few enough matches lie between a match and a read, by their offsets."""
        if (
            len(self.matches) <= limits.SUPPRESSION_MATCHES * MATCH_WIDTH
            or matched == self.last_offset
        ):
            return True
        between = sum(matched < other < offset for other in self.matches[_OFFSET::MATCH_WIDTH])
        return between < limits.SUPPRESSION_MATCHES

    def _evict_matches(self, count: int, settled: int) -> None:
        """Keep the matches that are not settled, and those before that may suppress their reads."""
        offsets = sorted(self.matches[_OFFSET::MATCH_WIDTH])
        kept_from = bisect_left(offsets, settled) - limits.SUPPRESSION_MATCHES
        if count >= limits.SUPPRESSION_MATCHES_MOST:
            kept_from = max(kept_from, count // 2)
        first = offsets[max(0, kept_from)]
        kept: array[int] = array("q")
        for at in range(0, len(self.matches), MATCH_WIDTH):
            if self.matches[at + _OFFSET] >= first:
                kept.extend(self.matches[at : at + MATCH_WIDTH])
        self.matches = kept
