"""Reads that are like an entry's plate, as far as compiled code decides them.

Of a plain read whose key is like one entry alone, and not exactly, compiled code finds the entry
(`index.only_entry`). If it is known that the read's source has no policy, or one that does not
allow the entry, `deny` decides the read. The counts are those of `Decider.match`; a property test
compares the two. All else is left to Python, with what was found (`Decider.match_only`).

Belongs to one thread, because its buffers are reused; `scrub` wipes them.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine import limits
from engine.arrays import Bytes
from engine.compiled import compiled
from engine.documents import read_scan as read
from engine.index.hash_table import NO_SLOT, Hashes, Marks, Slots
from engine.index.only_entry import FITTING, find_only
from engine.index.plate_index import Index
from engine.index.wildcards import Masks, Ranges
from engine.matching import ready_parts as ready
from engine.matching.compiled_matches import (
    HAS_NO_POLICY,
    IS_NOT_ALLOWED,
    LEFT,
    SIZE_BYTES,
    STATE,
    UNKNOWN,
    WHY,
)
from engine.matching.plain_reads import FOUND_COLUMNS, PlainStep
from engine.matching.ready_parts import DENIED
from engine.matching.ready_tables import NONE, Places, Rows
from engine.matching.scanner import probe
from engine.matching.sizes import COUNT_BYTES
from engine.plates.plate_hash import U64, table_hash
from engine.wire.record_decoder import COLUMNS as RECORD_COLUMNS
from engine.wire.record_decoder import KEY_AT, KEY_LENGTH, KIND, LIKE, NO_DATA

#: The columns of a read: the slot of its only entry, NO_SLOT if none or several may match; and the
#: number of that entry's agency and purpose.
ONLY, PAIR = range(2)
_COLUMNS: Final = 2


@compiled
def _find(
    data: Bytes,
    rows: Rows,
    found: Rows,
    hashes: Hashes,
    slots: Slots,
    marks: Marks,
    placing: np.uint64,
    values: Hashes,
    skeleton_bytes: Bytes,
    alike_hashes: Hashes,
    alike_heads: Slots,
    alike_marks: Hashes,
    alike_placing: np.uint64,
    alike_following: Slots,
    alike_plates: Bytes,
    alike_lengths: Bytes,
    alike_slots: Slots,
    apart_hashes: Hashes,
    apart_heads: Slots,
    apart_marks: Hashes,
    apart_placing: np.uint64,
    apart_following: Slots,
    apart_plates: Bytes,
    apart_lengths: Bytes,
    apart_slots: Slots,
    level1: Hashes,
    level2: Hashes,
    ranges: Ranges,
    allowed: Masks,
    pattern_slots: Slots,
    terms: Hashes,
    fitting: Slots,
    only: Rows,
) -> int:
    """Write the only entry of each read; return how many reads have one.

    The arrays after `found` are those of a HashTable and of `OnlyTables`.
    """
    count = 0
    for index in range(len(rows)):
        only[index, ONLY] = NO_SLOT
        if rows[index, KIND] != LIKE or found[index, read.IS_PLAIN] == 0:
            continue
        at, length = rows[index, KEY_AT], rows[index, KEY_LENGTH]
        if probe(hashes, slots, marks, placing, table_hash(data, at, length)) >= 0:
            continue
        slot = find_only(
            values,
            skeleton_bytes,
            alike_hashes,
            alike_heads,
            alike_marks,
            alike_placing,
            alike_following,
            alike_plates,
            alike_lengths,
            alike_slots,
            apart_hashes,
            apart_heads,
            apart_marks,
            apart_placing,
            apart_following,
            apart_plates,
            apart_lengths,
            apart_slots,
            level1,
            level2,
            ranges,
            allowed,
            pattern_slots,
            data,
            at,
            length,
            terms,
            fitting,
        )
        if slot >= 0:
            only[index, ONLY] = slot
            count += 1
    return count


@compiled
def deny(
    found: Rows,
    only: Rows,
    source_places: Places,
    sources: Rows,
    terms_of: Places,
    terms: Rows,
    listed: Bytes,
    reads: Bytes,
    stranger_places: Places,
    strangers: Rows,
    seen: Bytes,
    decided: Rows,
) -> None:
    """Fill `decided` for the reads that have an only entry, as `compiled_matches.decide` does for
    exact ones; the texts are the same."""
    for index in range(len(only)):
        if only[index, ONLY] < 0:
            continue
        plain, to_be = found[index], decided[index]
        to_be[STATE] = UNKNOWN
        to_be[WHY] = to_be[SIZE_BYTES] = 0
        source_at = plain[read.SOURCE_AT]
        source_length = plain[read.SOURCE_END] - source_at
        source = ready.found_source(source_places, sources, listed, reads, source_at, source_length)
        if source == NONE:
            source = ready.found_source(
                stranger_places, strangers, seen, reads, source_at, source_length
            )
            if source != NONE:
                to_be[STATE], to_be[SIZE_BYTES] = HAS_NO_POLICY, COUNT_BYTES
            continue
        pair = U64(only[index, PAIR])
        if pair >= U64(terms_of.shape[1]):
            to_be[STATE] = LEFT
            continue
        term = terms_of[source, pair]
        if term == NONE:
            continue
        if terms[term, ready.VERDICT] == DENIED:
            to_be[STATE], to_be[WHY], to_be[SIZE_BYTES] = IS_NOT_ALLOWED, source, COUNT_BYTES
        else:
            to_be[STATE] = LEFT


class LikeReads:
    """See the module."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._only: Rows = np.zeros((0, _COLUMNS), dtype=np.int64)
        #: What the last key that was compared gave.
        self._terms: Hashes = np.zeros(limits.PLATE_CHARACTERS, dtype=np.uint64)
        self._fitting: Slots = np.empty(FITTING, dtype=np.int32)
        # Compile what is not in numba's cache now, and not when the first read waits.
        rows = np.zeros((1, RECORD_COLUMNS), dtype=np.int64)
        found = np.zeros((1, FOUND_COLUMNS), dtype=np.int64)
        self._find(NO_DATA, PlainStep(NO_DATA.data, rows, found, NO_DATA))

    def only(self, data: Bytes, step: PlainStep) -> Rows | None:
        """Return the only entry of each of a step's reads, as far as it has started; None if no
        read has one. Valid until the next call."""
        if not (step.rows[:, KIND] == LIKE).any():
            return None
        only, count = self._find(data, step)
        if not count:
            return None
        eligibility = self._index.eligibility
        active, pair_of = eligibility.active, eligibility.pair_of
        for number in np.flatnonzero(only[:, ONLY] >= 0).tolist():
            slot = int(only[number, ONLY])
            # What is active is visible.
            if slot in active:
                only[number, PAIR] = pair_of(slot)
            else:
                only[number, ONLY] = NO_SLOT
        return only

    def scrub(self) -> None:
        """Wipe what is left of the last reads."""
        self._only.fill(0)
        self._terms.fill(0)

    def _find(self, data: Bytes, step: PlainStep) -> tuple[Rows, int]:
        count = len(step.rows)
        if len(self._only) < count:
            self._only = np.zeros((count, _COLUMNS), dtype=np.int64)
        only, table = self._only[:count], self._index.plates
        number = _find(
            data,
            step.rows,
            step.found,
            table.hashes,
            table.slots,
            table.marks,
            table.placing,
            *self._index.similar.only_tables,
            self._terms,
            self._fitting,
            only,
        )
        return only, number
