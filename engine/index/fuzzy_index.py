"""The fuzzy index: entries that match more than their exact plate.

Entries with `?` are patterns. Entries with a distance are filed for plates one character apart, and
those with `confusables` alone under their skeleton. What look-alikes there are depends on the
region (`misreads`): an entry is filed by those of its own region, and a plate beyond ASCII is
looked up by those of every region. No other entries are here, and an empty index costs no lookup.
A lookup returns candidates: all that `likeness.compare` accepts and perhaps more. It finds slots
whether they are visible or not.

Belongs to one thread; the scanner reads `scan_tables` on that thread.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from engine.arrays import Bytes
from engine.index.deletion_hashes import values_by_byte
from engine.index.edit_distance import NearPlates
from engine.index.hash_table import Hashes, Marks, Slots
from engine.index.pattern_shapes import Counts, Masks
from engine.index.wildcards import Patterns, Ranges, Rows
from engine.plates.misreads import Misreads, MisreadTable
from engine.plates.normal_form import WILDCARD

#: A slot, its plate, whether look-alikes count, and the number of the table that has them.
_Filed = tuple[int, str, bool, int]


class ScanTables(NamedTuple):
    """The tables that the scanner reads.

    They say whether there are look-alikes, plates one apart and patterns, and hold the arrays of
    `edit_distance`, `pattern_shapes` and `wildcards`. The scanner writes to `scratch`. The tuple is
    flat, because a compiled function takes ten times as long with nested tuples.
    """

    has_look_alikes: bool
    has_one_apart: bool
    has_patterns: bool
    values: Hashes
    alike_hashes: Hashes
    alike_heads: Slots
    alike_marks: Hashes
    alike_placing: np.uint64
    apart_hashes: Hashes
    apart_heads: Slots
    apart_marks: Hashes
    apart_placing: np.uint64
    following: Slots
    plates: Bytes
    lengths: Bytes
    shape_counts: Counts
    shapes: Masks
    shape_marks: Marks
    level1: Rows
    level2: Rows
    ranges: Ranges
    scratch: Slots


class OnlyTables(NamedTuple):
    """The tables that `only_entry` reads, flat too: what look-alikes share, and the arrays of both
    kinds of NearPlates and of Patterns."""

    values: Hashes
    skeleton_bytes: Bytes
    alike_hashes: Hashes
    alike_heads: Slots
    alike_marks: Hashes
    alike_placing: np.uint64
    alike_following: Slots
    alike_plates: Bytes
    alike_lengths: Bytes
    alike_slots: Slots
    apart_hashes: Hashes
    apart_heads: Slots
    apart_marks: Hashes
    apart_placing: np.uint64
    apart_following: Slots
    apart_plates: Bytes
    apart_lengths: Bytes
    apart_slots: Slots
    level1: Rows
    level2: Rows
    ranges: Ranges
    allowed: Masks
    pattern_slots: Slots


class Asks(Protocol):
    """The fields of an entry that this index needs."""

    @property
    def plate(self) -> str: ...
    @property
    def region(self) -> str | None: ...
    @property
    def confusables(self) -> bool | None: ...
    @property
    def distance(self) -> int | None: ...


class Similar:
    """The fuzzy index; see the module. `misreads` defines the look-alikes."""

    def __init__(self, misreads: Misreads) -> None:
        self._number_in = misreads.number_in
        self._values = values_by_byte(misreads)
        self._skeleton_bytes: Bytes = np.frombuffer(misreads.skeleton_bytes, dtype=np.uint8)
        self._look_alikes = NearPlates(misreads, one_apart=False)
        self._one_apart = NearPlates(misreads, one_apart=True)
        self._patterns = Patterns(misreads)
        self._scratch: Slots = np.empty(1, dtype=np.int32)

    @property
    def _kinds(self) -> tuple[NearPlates, NearPlates, Patterns]:
        return self._look_alikes, self._one_apart, self._patterns

    def __len__(self) -> int:
        return len(self._look_alikes) + len(self._one_apart) + len(self._patterns)

    def copy(self) -> Similar:
        """Return an independent copy."""
        copied = copy.copy(self)
        copied._look_alikes = self._look_alikes.copy()
        copied._one_apart = self._one_apart.copy()
        copied._patterns = self._patterns.copy()
        return copied

    def put(self, found: Iterable[tuple[int, Asks]]) -> None:
        """File the slots, which must be new, whose entries match more than their exact plate."""
        by_kind: tuple[list[_Filed], ...] = tuple([] for _ in self._kinds)
        for slot, entry in found:
            plate, confusables = entry.plate, bool(entry.confusables)
            table = self._number_in(entry.region) if confusables else 0
            if WILDCARD in plate:
                by_kind[2].append((slot, plate, confusables, table))
            elif entry.distance:
                by_kind[1].append((slot, plate, confusables, table))
            elif confusables:
                by_kind[0].append((slot, plate, confusables, table))
        kinds: tuple[NearPlates | Patterns, ...] = self._kinds
        for kind, filed in zip(kinds, by_kind, strict=True):
            kind.put(
                [slot for slot, _, _, _ in filed],
                [plate for _, plate, _, _ in filed],
                [confusables for _, _, confusables, _ in filed],
                [table for _, _, _, table in filed],
            )

    def drop(self, found: Sequence[tuple[int, str]]) -> None:
        """Remove slots with these plates; slots that are not here are ignored."""
        for kind in self._kinds:
            filed = [each for each in found if each[0] in kind] if len(kind) else []
            kind.drop([slot for slot, _ in filed], [plate for _, plate in filed])

    def slots_like(self, plate: str) -> set[int]:
        """Return the slots filed here whose entries a normalized plate may be like."""
        slots: set[int] = set()
        for kind in self._kinds:
            if len(kind):
                slots.update(kind.slots_like(plate))
        return slots

    @property
    def scan_tables(self) -> ScanTables:
        """The tables for the scanner, valid until the next change."""
        alike, apart, patterns = self._look_alikes.rows, self._one_apart.rows, self._patterns.rows
        shapes = self._patterns.shapes.rows
        return ScanTables(
            len(self._look_alikes) > 0,
            len(self._one_apart) > 0,
            len(self._patterns) > 0,
            self._values,
            alike.hashes,
            alike.heads,
            alike.marks,
            alike.placing,
            apart.hashes,
            apart.heads,
            apart.marks,
            apart.placing,
            apart.following,
            apart.plates,
            apart.lengths,
            *shapes,
            patterns.level1,
            patterns.level2,
            patterns.ranges,
            self._scratch,
        )

    @property
    def only_tables(self) -> OnlyTables:
        """The tables for `only_entry`, valid until the next change."""
        patterns = self._patterns
        return OnlyTables(
            self._values,
            self._skeleton_bytes,
            *self._look_alikes.rows,
            *self._one_apart.rows,
            *patterns.rows,
            *patterns.numbered,
        )


#: The tables for scans that look up exact plates only.
NOTHING_SIMILAR: Final = Similar(
    Misreads(
        MisreadTable(
            groups=[],
            counts={},
            missing_rate=0,
            added_rate=0,
            plate_density=0,
            other_pattern_share=0,
            other_length_share=0,
        )
    )
).scan_tables
