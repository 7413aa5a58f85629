"""Reads admitted by compiled code to the suppression's simple keys (`suppression_table`).

The answers and the states are those of `Suppression.admit`, in the order of the reads; a property
test compares the two. It stops at a read whose answer is not known here, so that Python
decides that one before the next: the key is Python's, or the match has suppressed reads to
report.

Long because what numba compiles takes each array as a parameter of its own.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.compiled import compiled, inner
from engine.documents import read_scan as read
from engine.documents.fields import INTEGER_MAX
from engine.matching import ready_parts as ready
from engine.matching.compiled_matches import (
    ENTRY,
    IS_MATCH,
    IS_REPEAT,
    KEPT,
    KEY_HIGH,
    KEY_LOW,
    SIZE_BYTES,
    SOURCE,
    STATE,
)
from engine.matching.plain_reads import EXACT_PARTS, PlainRead, PlainStep
from engine.matching.quality import CLOSENESS, QUALITY_WIDTH
from engine.matching.ready_parts import ListedParts
from engine.matching.ready_tables import Places, Rows
from engine.matching.suppression_key import LATE_MS
from engine.matching.suppression_rows import (
    ADDED,
    ARRIVED,
    CAPTURED,
    CARRIED_UNIT,
    CHANGED_BYTES,
    COMPILED,
    COUNTED,
    HOLDER,
    MATCHES,
    NAMES,
    NO_ROW,
    OF_OFFSET,
    OF_SOURCE,
    PACKED,
    PACKED_COLUMNS,
    PARTITION,
    REPEATS,
    SUPPRESSED,
    TAKEN_BYTES,
    TOUCHED_MS,
    WINDOW_MS,
    added_row,
    found_row,
    noted_change,
)
from engine.matching.suppression_table import StateTable, key_numbers, most_matches
from engine.plates.confidence import PARTS
from engine.wire.record_decoder import OFFSET, TIMESTAMP_MS, VALUE_LENGTH

_EXACT: Final = CLOSENESS["exact"] * QUALITY_WIDTH
_TENTH: Final = PARTS // 10


@inner
def _is_better(parts: int, packed: int) -> bool:
    """See `Quality.is_better_than`, for an exact match of so many ten-thousandths."""
    if packed > _EXACT + _TENTH:
        return False
    if packed < _EXACT:
        return True
    other = packed - _EXACT
    return 10 * other <= PARTS and parts >= 10 * other and parts > other


@inner
def _is_suppressed(
    matches: Rows, count: int, captured_ms: int, arrived_ms: int, window_ms: int, parts: int
) -> bool:
    """See `KeyState.suppresses`; with so few matches none is too far back."""
    late_ms = LATE_MS + window_ms
    for number in range(count - 1, -1, -1):
        at = PACKED_COLUMNS * number
        if matches[at + CAPTURED] >= captured_ms + window_ms:
            continue
        if matches[at + CAPTURED] <= captured_ms - window_ms:
            return False
        quality = matches[at + PACKED] % CARRIED_UNIT - 1
        if -late_ms <= arrived_ms - matches[at + ARRIVED] <= late_ms and not _is_better(
            parts, quality
        ):
            return True
    return False


@inner
def _carried(matches: Rows, count: int, captured_ms: int, offset: int) -> int:
    """See `KeyState.carried_by`; negative if no match is known."""
    for number in range(count):
        at = PACKED_COLUMNS * number
        if matches[at + CAPTURED] == captured_ms and matches[at + OF_OFFSET] == offset:
            return matches[at + PACKED] // CARRIED_UNIT  # type: ignore[no-any-return]
    return -1


@inner
def _insert(
    matches: Rows, count: int, captured_ms: int, offset: int, arrived_ms: int, packed: int
) -> None:
    """See `KeyState.add`."""
    number = count
    if count and captured_ms < matches[PACKED_COLUMNS * (count - 1) + CAPTURED]:
        while number and matches[PACKED_COLUMNS * (number - 1) + CAPTURED] >= captured_ms:
            number -= 1
        for at in range(PACKED_COLUMNS * count - 1, PACKED_COLUMNS * number - 1, -1):
            matches[at + PACKED_COLUMNS] = matches[at]
    at = PACKED_COLUMNS * number
    matches[at + CAPTURED], matches[at + OF_OFFSET] = captured_ms, offset
    matches[at + ARRIVED], matches[at + PACKED] = arrived_ms, packed


#: What becomes of a read: Python decides it, it is a match that reports no repeat, or a repeat.
UNANSWERED, ADMITTED, REPEATED = range(3)


@inner
def _answer(
    rows: Rows,
    places: Places,
    seed: int,
    free: Places,
    all_matches: Rows,
    changed: Places,
    counts: Rows,
    low: int,
    high: int,
    partition: int,
    window_ms: int,
    names: int,
    source: int,
    captured_ms: int,
    offset: int,
    arrived_ms: int,
    parts: int,
    now_ms: int,
    most_matches: int,
) -> int:
    """Do as `Suppression.admit`, or do nothing and return UNANSWERED."""
    arrived_ms = max(-INTEGER_MAX, min(arrived_ms, INTEGER_MAX))
    row = found_row(rows, places, seed, low, high)
    is_repeat = False
    if row != NO_ROW:
        if rows[row, HOLDER] != COMPILED or rows[row, PARTITION] != partition or window_ms == 0:
            return UNANSWERED
        matches, count = all_matches[row], rows[row, MATCHES]
        is_repeat = _is_suppressed(matches, count, captured_ms, arrived_ms, window_ms, parts)
        if offset <= rows[row, COUNTED]:
            carried = _carried(matches, count, captured_ms, offset)
            if carried > 0:
                return UNANSWERED
            return REPEATED if is_repeat and carried < 0 else ADMITTED
        if not is_repeat and (rows[row, SUPPRESSED] != 0 or count >= most_matches):
            return UNANSWERED
    elif window_ms == 0:
        return ADMITTED
    else:
        row = added_row(rows, places, seed, free, counts, low, high)
        counts[ADDED] += 1
        rows[row, HOLDER], rows[row, PARTITION] = COMPILED, partition
        rows[row, NAMES], rows[row, OF_SOURCE] = names, source
    counts[CHANGED_BYTES] += noted_change(rows, row, changed, counts)
    rows[row, COUNTED] = offset
    if is_repeat:
        rows[row, SUPPRESSED] += 1
        rows[row, NAMES] = names
        return REPEATED
    rows[row, WINDOW_MS], rows[row, TOUCHED_MS] = window_ms, now_ms
    packed = _EXACT + parts + 1
    _insert(all_matches[row], rows[row, MATCHES], captured_ms, offset, arrived_ms, packed)
    rows[row, MATCHES] += 1
    return ADMITTED


@compiled
def _admit_one(
    rows: Rows,
    places: Places,
    seed: int,
    free: Places,
    all_matches: Rows,
    changed: Places,
    counts: Rows,
    low: int,
    high: int,
    partition: int,
    window_ms: int,
    names: int,
    source: int,
    captured_ms: int,
    offset: int,
    arrived_ms: int,
    parts: int,
    now_ms: int,
    most_matches: int,
) -> int:
    """Admit one read, with room for a row and a change."""
    counts[CHANGED_BYTES] = counts[TAKEN_BYTES] = counts[ADDED] = counts[REPEATS] = 0
    return _answer(
        rows,
        places,
        seed,
        free,
        all_matches,
        changed,
        counts,
        low,
        high,
        partition,
        window_ms,
        names,
        source,
        captured_ms,
        offset,
        arrived_ms,
        parts,
        now_ms,
        most_matches,
    )


@compiled
def _admit(
    scanned: Rows,
    found: Rows,
    decided: Rows,
    entries: Rows,
    sources: Rows,
    rows: Rows,
    places: Places,
    seed: int,
    free: Places,
    all_matches: Rows,
    changed: Places,
    counts: Rows,
    begin: int,
    room_bytes: int,
    partition: int,
    now_ms: int,
    most_matches: int,
) -> int:
    """Admit the reads of a step from `begin` on that are KEPT: they become IS_MATCH or IS_REPEAT.
    Return the number of the first one that Python must decide, or the one after the read with which
    the outcome has so much more, or the number of all.

    There must be room for a row and a change of each.
    """
    counts[CHANGED_BYTES] = counts[TAKEN_BYTES] = counts[ADDED] = counts[REPEATS] = 0
    for index in range(begin, len(decided)):
        to_be = decided[index]
        if to_be[STATE] < KEPT:
            return index
        if to_be[STATE] == KEPT:
            answer = _answer(
                rows,
                places,
                seed,
                free,
                all_matches,
                changed,
                counts,
                to_be[KEY_LOW],
                to_be[KEY_HIGH],
                partition,
                entries[to_be[ENTRY], ready.WINDOW_MS],
                entries[to_be[ENTRY], ready.NAMES],
                sources[to_be[SOURCE], ready.STATE_SOURCE],
                found[index, read.CAPTURED_MS],
                scanned[index, OFFSET],
                scanned[index, TIMESTAMP_MS],
                found[index, EXACT_PARTS],
                now_ms,
                most_matches,
            )
            if answer == UNANSWERED:
                return index
            if answer == REPEATED:
                to_be[STATE] = IS_REPEAT
                counts[REPEATS] += 1
            else:
                to_be[STATE] = IS_MATCH
                to_be[SIZE_BYTES] = (
                    entries[to_be[ENTRY], ready.SIZE_BYTES] + scanned[index, VALUE_LENGTH]
                )
        counts[TAKEN_BYTES] += to_be[SIZE_BYTES]
        if counts[TAKEN_BYTES] + counts[CHANGED_BYTES] >= room_bytes:
            return index + 1
    return len(decided)


class Admitted(NamedTuple):
    """Reads that compiled code has admitted: the number after the last one, about how large the
    states are that have changed and the matches, and how many states are new and reads
    suppressed."""

    end: int
    changed_bytes: int
    size_bytes: int
    added: int
    suppressed: int


def admit_rows(
    table: StateTable,
    step: PlainStep,
    decided: Rows,
    listed: ListedParts,
    begin: int,
    *,
    partition: int,
    room_bytes: int,
    now_ms: int,
) -> Admitted:
    """Admit the reads of a step from a number on, as far as their answers are known here and until
    what comes of them takes so much. There must be room for a state of each."""
    table.make_changes_room(len(decided) - begin)
    end = _admit(
        step.rows,
        step.found,
        decided,
        listed.entries.rows,
        listed.sources.rows,
        table.rows,
        table.places,
        table.seed,
        table.free,
        table.matches,
        table.changed,
        table.counts,
        begin,
        room_bytes,
        partition,
        now_ms,
        most_matches(),
    )
    return Admitted(end, *table.counts[CHANGED_BYTES:].tolist())


def admit_one(
    table: StateTable,
    key: bytes,
    names: int,
    source: int,
    read_: PlainRead,
    *,
    partition: int,
    window_ms: int,
    now_ms: int,
) -> Admitted:
    """Admit a read whose confidence is known; `end` is the answer. There must be room for a
    state."""
    table.make_changes_room(1)
    low, high = key_numbers(key)
    columns = read_.columns
    answer = _admit_one(
        table.rows,
        table.places,
        table.seed,
        table.free,
        table.matches,
        table.changed,
        table.counts,
        low,
        high,
        partition,
        window_ms,
        names,
        source,
        columns[read.CAPTURED_MS],
        read_.offset,
        read_.timestamp_ms,
        columns[EXACT_PARTS],
        now_ms,
        most_matches(),
    )
    return Admitted(answer, *table.counts[CHANGED_BYTES:].tolist())
