"""What compiled code puts exact matches together from: JSON that is written already.

`ListedParts` has that of the lists: entries that matched or were denied lately, the sources with a
policy, and what a policy says of an agency and a purpose. It holds for one state of the lists.
`ReadParts` has that of the last reads: sources without a policy, and what came of comparing an
entry's region and vehicle with a read's.

Each is a few tables over one array of bytes, and is bounded: without room nothing is added until
all is dropped. `found_*` are for compiled code, which finds rows by texts in a read.

Belongs to one thread.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine import limits
from engine.arrays import Bytes
from engine.compiled import compiled, inner
from engine.documents.json_tokens import is_same_text
from engine.matching.plain_match import EntryParts
from engine.matching.ready_tables import NONE, TRIES, Places, Rows, RowTable, Texts

#: In the place of LISTED_AT: all matches of the entry are left to Python.
NEVER: Final = -2

#: The columns of an entry. Where its plate is, and what `EntryParts` has of it, and how long each
#: is; LISTED_AT is NONE if that is not ready yet. The number of its names in the suppression, that
#: of its region and vehicle, and that of its agency and purpose.
SLOT, PLATE_AT, PLATE_BYTES, ID_AT, ID_BYTES, LISTED_AT, LISTED_BYTES = range(7)
(AUDITED_AT, AUDITED_BYTES, FRONT_AT, FRONT_BYTES, CREATED_MS, SIZE_BYTES, WINDOW_MS, KEY_BYTES,
 NAMES, DESCRIPTION, PAIR) = range(7, 18)  # fmt: skip
_ENTRY_COLUMNS: Final = 18
#: The columns of a source; the last one is its number in the suppression.
NAME_AT, NAME_BYTES, STATE_SOURCE = range(3)
_SOURCE_COLUMNS: Final = 3
#: The columns of what a source's policy says of a pair; the rest is only there if it is ALLOWED:
#: what is hashed into a match id, the end of a match, and that of the audit's fields.
VERDICT, PART_AT, PART_BYTES, END_AT, END_BYTES, AUDIT_END_AT, AUDIT_END_BYTES = range(7)
_TERM_COLUMNS: Final = 7
ALLOWED, DENIED, BY_REGION = range(3)
#: The columns of a comparison: an entry's description; the read's region and vehicle, whose length
#: is NONE if it has none; the place of the reason if the read is excluded, else NONE; and the JSON
#: of the checks.
OF_DESCRIPTION, REGION_AT, REGION_BYTES, VEHICLE_AT, VEHICLE_BYTES = range(5)
REASON, CHECKS_AT, CHECKS_BYTES = range(5, 8)
_COMPARED_COLUMNS: Final = 8

_FNV_BASIS: Final = np.uint64(0xCBF29CE484222325)
_FNV_PRIME: Final = np.uint64(0x100000001B3)
_LOW: Final = np.uint64(0x7FFFFFFF)
#: More than the texts of an entry and of what a source's policy says of it take.
_MOST_BYTES: Final = 64 * limits.KIB
_SOURCE_PLACES: Final = 4 * limits.READY_SOURCES
_COMPARED_PLACES: Final = 4 * limits.READY_COMPARISONS
_ENTRY_PLACES: Final = 1 << (2 * limits.READY_ENTRIES).bit_length()


@inner
def _hash(data: Bytes, at: int, length: int, basis: np.uint64) -> np.uint64:
    """FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/."""
    for index in range(at, at + length):
        basis = (basis ^ np.uint64(data[index])) * _FNV_PRIME
    return basis


@inner
def _described(
    description: int, data: Bytes, region_at: int, region: int, vehicle_at: int, vehicle: int
) -> np.uint64:
    basis = (_FNV_BASIS ^ np.uint64(description)) * _FNV_PRIME
    return _hash(data, vehicle_at, vehicle, _hash(data, region_at, region, basis) * _FNV_PRIME)


@inner
def found_entry(places: Places, entries: Rows, slot: int) -> int:
    """Return the row of a slot's entry, or NONE."""
    for step in range(TRIES):
        row = places[(slot + step) & (len(places) - 1)]
        if row == NONE:
            break
        if entries[row, SLOT] == slot:
            return np.int64(row)  # type: ignore[return-value]
    return NONE


@inner
def found_source(
    places: Places, sources: Rows, texts: Bytes, data: Bytes, at: int, length: int
) -> int:
    """Return the row of a source, or NONE."""
    place = _hash(data, at, length, _FNV_BASIS)
    for step in range(TRIES):
        row = places[(place + np.uint64(step)) & np.uint64(len(places) - 1)]
        if row == NONE:
            break
        if sources[row, NAME_BYTES] == length and is_same_text(
            data, at, texts, sources[row, NAME_AT], length
        ):
            return np.int64(row)  # type: ignore[return-value]
    return NONE


@inner
def found_compared(
    places: Places,
    compared: Rows,
    texts: Bytes,
    description: int,
    data: Bytes,
    region_at: int,
    region: int,
    vehicle_at: int,
    vehicle: int,
) -> int:
    """Return the row of a comparison of an entry's description with these parts of a read, or
    NONE."""
    place = _described(description, data, region_at, region, vehicle_at, vehicle)
    for step in range(TRIES):
        row = places[(place + np.uint64(step)) & np.uint64(len(places) - 1)]
        if row == NONE:
            break
        if (
            compared[row, OF_DESCRIPTION] == description
            and compared[row, REGION_BYTES] == region
            and compared[row, VEHICLE_BYTES] == vehicle
            and is_same_text(data, region_at, texts, compared[row, REGION_AT], region)
            and is_same_text(data, vehicle_at, texts, compared[row, VEHICLE_AT], vehicle)
        ):
            return np.int64(row)  # type: ignore[return-value]
    return NONE


@compiled
def _place_of_source(texts: Bytes, at: int, length: int) -> int:
    return np.int64(_hash(texts, at, length, _FNV_BASIS) & _LOW)  # type: ignore[return-value]


@compiled
def _place_of_compared(texts: Bytes, row: Rows) -> int:
    place = _described(
        row[OF_DESCRIPTION],
        texts,
        row[REGION_AT],
        row[REGION_BYTES],
        row[VEHICLE_AT],
        row[VEHICLE_BYTES],
    )
    return np.int64(place & _LOW)  # type: ignore[return-value]


def _added_source(sources: RowTable, texts: Texts, source: bytes, number: int = NONE) -> int:
    at, length = texts.add(source)
    row = sources.add(at, length, number)
    sources.place(row, _place_of_source(texts.data, at, length))
    return row


class ListedParts:
    """What is ready of the lists; see the module."""

    def __init__(self) -> None:
        self._texts = Texts(limits.READY_BYTES)
        self.entries = RowTable(limits.READY_ENTRIES, _ENTRY_COLUMNS, _ENTRY_PLACES)
        self.sources = RowTable(limits.READY_SOURCES, _SOURCE_COLUMNS, _SOURCE_PLACES)
        self.terms = RowTable(limits.READY_TERMS, _TERM_COLUMNS)
        #: The row of what a source's policy says of a pair.
        self.terms_of: Places = np.full(
            (limits.READY_SOURCES, limits.READY_PAIRS), NONE, dtype=np.int32
        )
        _place_of_source(self.texts, 0, 0)  # compile it now, and not when the first hit waits

    @property
    def texts(self) -> Bytes:
        return self._texts.data

    def has_room(self) -> bool:
        """Return whether an entry, a source and what it says can be added."""
        tables = self.entries, self.sources, self.terms
        return self._texts.has_room(_MOST_BYTES) and not any(each.is_full for each in tables)

    def add_entry(self, slot: int, plate: bytes, pair: int) -> int:
        """Add an entry; return its row."""
        plate_at, plate_bytes = self._texts.add(plate)
        row = self.entries.add(
            slot, plate_at, plate_bytes, *(NONE, 0) * 4, 0, 0, 0, 0, NONE, NONE, pair
        )
        self.entries.place(row, slot)
        return row

    def add_parts(self, row: int, parts: EntryParts, names: int, description: int) -> None:
        """Add what the matches of an entry are made of; `names` are those of its states."""
        add = self._texts.add
        texts = (
            *(*add(parts.id_part), *add(parts.listed), *add(parts.audited)),
            *add(parts.key_front),
        )
        numbers = parts.created_ms, parts.size_bytes, parts.window_ms, len(parts.key), names
        self.entries.rows[row, ID_AT : DESCRIPTION + 1] = *texts, *numbers, description

    def leave(self, row: int) -> None:
        """Leave all matches of an entry to Python."""
        self.entries.rows[row, LISTED_AT] = NEVER

    def add_source(self, source: bytes, number: int) -> int:
        """Add a source and its number in the suppression; return its row."""
        return _added_source(self.sources, self._texts, source, number)

    def has_terms(self, source: int, pair: int) -> bool:
        """Return whether it is known what the policy of a source, by its row, says of a pair."""
        return bool(self.terms_of[source, pair] != NONE)

    def add_terms(self, source: int, pair: int, verdict: int, *texts: bytes) -> None:
        """Add what the policy of a source, by its row, says of a pair; see the columns."""
        where = [number for text in texts or (b"",) * 3 for number in self._texts.add(text)]
        self.terms_of[source, pair] = self.terms.add(verdict, *where)

    def clear(self) -> None:
        """Drop everything. No text stays in memory."""
        self.terms_of[: self.sources.count] = NONE
        for table in (self.entries, self.sources, self.terms):
            table.clear()
        self._texts.wipe()


class ReadParts:
    """What is ready of the last reads; see the module."""

    def __init__(self) -> None:
        self._texts = Texts(limits.READY_READS_BYTES)
        self.sources = RowTable(limits.READY_SOURCES, _SOURCE_COLUMNS, _SOURCE_PLACES)
        self.compared = RowTable(limits.READY_COMPARISONS, _COMPARED_COLUMNS, _COMPARED_PLACES)
        #: What was added, or had no room.
        self.known_sources: set[bytes] = set()
        self.known_compared: set[tuple[int, bytes | None, bytes | None]] = set()
        _place_of_compared(self.texts, self.compared.rows[0])  # compile it too

    @property
    def texts(self) -> Bytes:
        return self._texts.data

    def add_source(self, source: bytes) -> None:
        """Add a source without a policy, if there is room and it is not there."""
        if source in self.known_sources:
            return
        self.known_sources.add(source)
        if self._texts.has_room(len(source)) and not self.sources.is_full:
            _added_source(self.sources, self._texts, source)

    def has_compared(self, kind: int, region: bytes | None, vehicle: bytes | None) -> bool:
        """Return whether a comparison was added, or had no room."""
        return (kind, region, vehicle) in self.known_compared

    def add_compared(
        self, kind: int, region: bytes | None, vehicle: bytes | None, reason: int, checks: bytes
    ) -> None:
        """Add what came of a comparison, if there is room; see the columns."""
        self.known_compared.add((kind, region, vehicle))
        size_bytes = sum(len(text or b"") for text in (region, vehicle, checks))
        if self._texts.has_room(size_bytes) and not self.compared.is_full:
            add = self._texts.add
            parts = [(0, NONE) if text is None else add(text) for text in (region, vehicle)]
            numbers = *parts[0], *parts[1], reason, *add(checks)
            row = self.compared.add(kind, *numbers)
            self.compared.place(row, _place_of_compared(self.texts, self.compared.rows[row]))

    def clear(self) -> None:
        """Drop everything. No text stays in memory."""
        self.sources.clear()
        self.compared.clear()
        self.known_sources.clear()
        self.known_compared.clear()
        self._texts.wipe()
