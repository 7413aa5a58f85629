"""The scanner: from a batch's decompressed records to the few that may match.

`scan` walks the records (`walk`) in a compiled loop without the GIL, because in Python the
expensive part of a read is creating its object, not matching it. For each record that Python must
process, it writes one row of numbers into an array. The rows are a superset of the matches:
`likeness` decides on each one. Keys are looked up exactly and, if any entry needs it, in the fuzzy
index. So are the alternates that a read's header names.

If `walk` finds that a batch does not follow the format to the last byte, aiokafka's parser reads
it. So that parser accepts every batch that the scanner accepts, with the same records (a property
test checks this).

Numba does not check bounds; a missing check here reads foreign memory.

Long because the loop takes each table by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from engine import limits
from engine.arrays import Bytes
from engine.compiled import compiled, inlined, inner
from engine.index.deletion_hashes import key_terms, one_left_out_is_held
from engine.index.edit_distance import has_look_alike, is_one_apart
from engine.index.fuzzy_index import NOTHING_SIMILAR, ScanTables
from engine.index.hash_table import Hashes, HashTable, Slots, first_place, is_marked
from engine.index.pattern_shapes import SUMS, Counts, Masks, may_fit
from engine.index.wildcards import find_fitting
from engine.plates.plate_hash import EMPTY, U64, is_plain, table_hash
from engine.wire.record_batch import RawBatch
from engine.wire.record_decoder import (
    ALTERNATES_TWICE,
    ASKING,
    COLUMNS,
    HIT,
    KEY_AT,
    KEY_LENGTH,
    KIND,
    LIKE,
    MALFORMED,
    NO_ALTERNATES,
    NO_DATA,
    OFFSET,
    PLAIN,
    SAMPLED,
    SLOT,
    SPAN,
    Headers,
    Malformed,
    Rows,
    headers_of,
    walk,
)

_MIX = U64(0x9E3779B97F4A7C15)
#: The same for Python's own numbers.
_MIX_INT: Final = int(_MIX)
_MASK: Final = (1 << 64) - 1
_COMMA: Final = ord(",")


@inner
def in_sample(offset: int, every: int) -> bool:
    """Return whether a read is in the sample: one in `every`, spread over the offsets."""
    return every > 0 and (((U64(offset) * _MIX) >> U64(32)) * U64(every)) >> U64(32) == 0


def is_sampled(offset: int, every: int) -> bool:
    """Return whether a read is in the sample whose keys are checked, as the scanner does."""
    return every > 0 and (((offset * _MIX_INT & _MASK) >> 32) * every) >> 32 == 0


@inlined
def probe(
    hashes: Hashes, slots: Slots, marks: Hashes, placing: np.uint64, wanted: np.uint64
) -> int:
    """Return the slot filed under a hash in a HashTable, or -1."""
    if not is_marked(marks, wanted):
        return -1
    mask = U64(len(hashes) - 1)
    position = first_place(wanted, placing, mask)
    while hashes[position] != EMPTY:
        if hashes[position] == wanted:
            return np.int64(slots[position])  # type: ignore[return-value]
        position = (position + U64(1)) & mask
    return -1


@compiled
def _scan(
    data: Bytes,
    headers: Headers,
    hashes: Hashes,
    slots: Slots,
    marks: Hashes,
    placing: np.uint64,
    has_alike: bool,
    has_apart: bool,
    has_patterns: bool,
    values: Hashes,
    alike_hashes: Hashes,
    alike_heads: Slots,
    alike_marks: Hashes,
    alike_placing: np.uint64,
    apart_hashes: Hashes,
    apart_heads: Slots,
    apart_marks: Hashes,
    apart_placing: np.uint64,
    following: Slots,
    plates: Bytes,
    lengths: Bytes,
    shape_counts: Counts,
    shapes: Masks,
    shape_marks: Hashes,
    level1: Hashes,
    level2: Hashes,
    ranges: Rows,
    scratch: Slots,
    sample_every: int,
    terms: Hashes,
    sums: Hashes,
    rows: Rows,
) -> tuple[int, int]:
    """Fill `rows`; return (rows filled or MALFORMED, records seen from `from_offset` on).

    The arrays before `sample_every` are those of a HashTable and of `ScanTables`.

    Each batch is walked first and probed then. Probing many records in a row keeps several cache
    misses under way at once, which probing while walking would not.
    """
    has_similar = has_alike or has_apart or has_patterns
    at = 0
    kept = 0
    seen = 0
    for number in range(len(headers)):
        at, filled = walk(data, at, headers[number], rows, kept)
        if at < 0:
            return MALFORMED, 0
        seen += filled - kept
        for index in range(kept, filled):
            kind = rows[index, KIND]
            if kind <= PLAIN:
                text_at, length = int(rows[index, KEY_AT]), int(rows[index, KEY_LENGTH])
                is_like = False
                if kind == PLAIN:
                    wanted = U64(rows[index, SLOT])
                else:
                    wanted = table_hash(data, text_at, length)
                    is_like = bool(rows[index, SLOT] == ALTERNATES_TWICE)
                slot = probe(hashes, slots, marks, placing, wanted)
                # The rest of the alternates header, and the number of alternates before it.
                rest_at, rest_end, parts = 0, -1, 0
                if kind == ASKING:
                    rest_at = int(rows[index, SLOT] // SPAN)
                    rest_end = rest_at + int(rows[index, SLOT] % SPAN)
                while (has_similar or kind == ASKING) and not is_like:
                    if has_similar:
                        # What all three kinds of lookups begin with.
                        total = key_terms(values, data, text_at, length, terms)
                        if has_alike:
                            is_like = has_look_alike(
                                alike_hashes, alike_heads, alike_marks, alike_placing, total
                            )
                        if (
                            has_apart
                            and not is_like
                            and one_left_out_is_held(apart_marks, total, terms, length)
                        ):
                            is_like = is_one_apart(
                                apart_hashes,
                                apart_heads,
                                apart_marks,
                                apart_placing,
                                following,
                                plates,
                                lengths,
                                values,
                                data,
                                text_at,
                                length,
                            )
                        if (
                            has_patterns
                            and not is_like
                            and may_fit(
                                shape_counts,
                                shapes,
                                shape_marks,
                                terms,
                                length,
                                sums,
                            )
                        ):
                            is_like = (
                                find_fitting(level1, level2, ranges, data, text_at, length, scratch)
                                > 0
                            )
                    if is_like or rest_at > rest_end:
                        break
                    parts += 1
                    text_at = rest_at
                    while rest_at < rest_end and data[rest_at] != _COMMA:
                        rest_at += 1
                    length = rest_at - text_at
                    rest_at += 1
                    if parts > limits.ALTERNATES or not is_plain(data, text_at, length):
                        is_like = True
                        break
                    wanted = table_hash(data, text_at, length)
                    is_like = probe(hashes, slots, marks, placing, wanted) >= 0
                if is_like:
                    rows[index, KIND] = LIKE
                    if kind == PLAIN:
                        rows[index, SLOT] = NO_ALTERNATES
                elif slot >= 0:
                    rows[index, KIND] = HIT
                    rows[index, SLOT] = slot
                elif in_sample(rows[index, OFFSET], sample_every):
                    rows[index, KIND] = SAMPLED
                    rows[index, SLOT] = NO_ALTERNATES
                else:
                    continue
            for column in range(COLUMNS):
                rows[kept, column] = rows[index, column]
            kept += 1
    if at != len(data):
        return MALFORMED, 0
    return kept, seen


class Scanner:
    """A scanner for one thread, because it reuses its rows.

    One in `sample_every` reads that are no hit is sampled, by its offset, so that its key is
    checked against its value; 0 samples none.
    """

    def __init__(self, sample_every: int) -> None:
        #: May be changed between two scans.
        self.sample_every = sample_every
        self._rows: Rows = np.empty((1024, COLUMNS), dtype=np.int64)
        #: What the last key that was compared with entries gave.
        self._terms: Hashes = np.zeros(limits.PLATE_CHARACTERS, dtype=np.uint64)
        self._sums: Hashes = np.zeros(SUMS, dtype=np.uint64)
        # Compile what is not in numba's cache now, and not when the first read waits.
        self._scan(NO_DATA, np.empty((0, 5), dtype=np.int64), HashTable(), NOTHING_SIMILAR)

    def scan(
        self,
        batches: Sequence[RawBatch],
        data: Bytes,
        table: HashTable,
        scan_tables: ScanTables = NOTHING_SIMILAR,
    ) -> tuple[Rows, int]:
        """Return the rows of the batches' records, and how many records were seen.

        `table` has the exact plates, and `scan_tables` are those of the fuzzy index. `data` holds
        the decompressed records of all batches, one after the other. Positions in the rows refer to
        `data`. The rows are valid until the next call. Raises Malformed and TooManyRecords.

        Several batches are checked together. If one batch's count is too high by as many as the
        next one's is too low, a record may be attributed to the wrong batch (brokers refuse such
        batches).
        """
        headers = headers_of(batches, len(data))
        count = sum(batch.record_count for batch in batches)
        if len(self._rows) < count:
            self._rows = np.empty((count, COLUMNS), dtype=np.int64)
        return self._scan(data, headers, table, scan_tables)

    def scrub(self) -> None:
        """Wipe the rows, because trying plates finds the one behind a key's hash.

        The rows of the last scan are no longer valid afterwards.
        """
        self._rows.fill(0)
        self._terms.fill(0)
        self._sums.fill(0)

    def _scan(
        self, data: Bytes, headers: Headers, table: HashTable, scan_tables: ScanTables
    ) -> tuple[Rows, int]:
        filled, seen = _scan(
            data,
            headers,
            table.hashes,
            table.slots,
            table.marks,
            table.placing,
            *scan_tables,
            self.sample_every,
            self._terms,
            self._sums,
            self._rows,
        )
        if filled == MALFORMED:
            raise Malformed
        return self._rows[:filled], seen
