"""Plain reads decided, and their exact matches written, by compiled code.

From what `ready_parts` holds, and without the GIL. `ready_matches` says what is left to Python.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.arrays import Bytes
from engine.compiled import compiled, inner
from engine.documents import read_scan as read
from engine.documents.json_tokens import is_same_text
from engine.documents.written_numbers import put_hex, written_confidence, written_number
from engine.matching import ready_parts as ready
from engine.matching.compiled_hash import SHORTEST_BYTES, Sums, hash_128, reversed_bytes
from engine.matching.plain_reads import EXACT_PARTS
from engine.matching.ready_parts import BY_REGION, DENIED
from engine.matching.ready_tables import NONE, Places, Rows
from engine.matching.sizes import COUNT_BYTES
from engine.wire.record_columns import put_text
from engine.wire.record_decoder import (
    KEY_AT,
    KEY_LENGTH,
    SLOT,
    TIMESTAMP_MS,
    VALUE_AT,
    VALUE_LENGTH,
)

#: What becomes of a read: Python decides it, and may `learn` from it; Python decides it; it is a
#: match if it is no repeat; it is denied, or excluded; it is a match; it is a repeat.
UNKNOWN, LEFT, KEPT, HAS_NO_POLICY, IS_NOT_ALLOWED, IS_EXCLUDED, IS_MATCH, IS_REPEAT = range(8)
#: The columns of a read: that, and the row of its source if it is denied, or the place of the
#: reason if it is excluded; about how large what comes of it is; then of a match: its Kafka
#: timestamp, the rows of its entry, source, terms and comparison, the number of its agency and
#: purpose, and where its value ends, the audit's fields, and its record's key; and the key of its
#: state if it may be a repeat.
(STATE, WHY, SIZE_BYTES, READ_TIMESTAMP_MS, ENTRY, SOURCE, TERMS, COMPARED, PAIR, VALUE_END,
 AUDIT_END, KEY_END, KEY_LOW, KEY_HIGH, COLUMNS) = range(15)  # fmt: skip
#: The length of an id in hex, and more than the numbers of a match take.
ID_BYTES: Final = 32
NUMBERS_BYTES: Final = 64
#: Room for a text that an id or a key is the hash of; a longer one is left to Python.
HASHED_BYTES: Final = 320
#: What `plain_key` puts around the source and the camera, and how long each of the three parts is.
_PARTS: Final = (b',"', b'","', b'",""]')
_AROUND: Final[Bytes] = np.frombuffer(b"".join(_PARTS), dtype=np.uint8)
_TO_SOURCE, _TO_CAMERA, _END = map(len, _PARTS)


@compiled
def decide(
    data: Bytes,
    rows: Rows,
    found: Rows,
    entry_places: Places,
    entries: Rows,
    source_places: Places,
    sources: Rows,
    terms_of: Places,
    terms: Rows,
    listed: Bytes,
    reads: Bytes,
    stranger_places: Places,
    strangers: Rows,
    compared_places: Places,
    compared: Rows,
    seen: Bytes,
    are_kept: bool,
    hashed: Bytes,
    sums: Sums,
    ids: Bytes,
    decided: Rows,
) -> int:
    """Fill `decided` and the `ids` of the matches; return more than how much is to be written.

    `reads` has the plain reads as `found` says, `listed` and `seen` have the texts of `ListedParts`
    and of `ReadParts`. With `are_kept` every match may be a repeat.
    """
    room, written = 0, 0
    for index in range(len(rows)):
        row, plain, to_be = rows[index], found[index], decided[index]
        to_be[STATE] = LEFT
        to_be[WHY] = to_be[SIZE_BYTES] = 0
        if plain[read.IS_PLAIN] == 0:
            continue
        entry = ready.found_entry(entry_places, entries, row[SLOT])
        if entry == NONE:
            to_be[STATE] = UNKNOWN
            continue
        if entries[entry, ready.PLATE_BYTES] != row[KEY_LENGTH] or not is_same_text(
            data, row[KEY_AT], listed, entries[entry, ready.PLATE_AT], row[KEY_LENGTH]
        ):
            continue
        source_at = plain[read.SOURCE_AT]
        source_length = plain[read.SOURCE_END] - source_at
        source = ready.found_source(source_places, sources, listed, reads, source_at, source_length)
        if source == NONE:
            source = ready.found_source(
                stranger_places, strangers, seen, reads, source_at, source_length
            )
            if source == NONE:
                to_be[STATE] = UNKNOWN
            else:
                to_be[STATE], to_be[SIZE_BYTES] = HAS_NO_POLICY, COUNT_BYTES
            continue
        term = terms_of[source, entries[entry, ready.PAIR]]
        if term == NONE:
            to_be[STATE] = UNKNOWN
            continue
        if terms[term, ready.VERDICT] == DENIED:
            to_be[STATE], to_be[WHY], to_be[SIZE_BYTES] = IS_NOT_ALLOWED, source, COUNT_BYTES
            continue
        after_value = row[VALUE_AT] + row[VALUE_LENGTH]  # the number of headers
        if (
            terms[term, ready.VERDICT] == BY_REGION
            or plain[EXACT_PARTS] < 0
            or data[after_value] != 0
        ):
            continue
        if entries[entry, ready.LISTED_AT] < 0:
            if entries[entry, ready.LISTED_AT] == NONE:
                to_be[STATE] = UNKNOWN
            continue
        region_at, vehicle_at = plain[read.REGION_AT], plain[read.VEHICLE_AT]
        region = NONE if region_at < 0 else plain[read.REGION_END] - region_at
        vehicle = NONE if vehicle_at < 0 else plain[read.VEHICLE_END] - vehicle_at
        likeness = ready.found_compared(
            compared_places,
            compared,
            seen,
            entries[entry, ready.DESCRIPTION],
            reads,
            region_at,
            region,
            vehicle_at,
            vehicle,
        )
        if likeness == NONE:
            to_be[STATE] = UNKNOWN
            continue
        if compared[likeness, ready.REASON] != NONE:
            to_be[STATE], to_be[WHY] = IS_EXCLUDED, compared[likeness, ready.REASON]
            continue
        read_id_at = plain[read.READ_ID_AT]
        read_id_length = plain[read.READ_ID_END] - read_id_at
        id_length, part_length = entries[entry, ready.ID_BYTES], terms[term, ready.PART_BYTES]
        id_text = id_length + part_length + read_id_length
        if id_text < SHORTEST_BYTES or id_text > HASHED_BYTES:
            continue
        is_kept = are_kept or entries[entry, ready.WINDOW_MS] != 0
        camera_at = plain[read.CAMERA_AT]
        camera_length = plain[read.CAMERA_END] - camera_at
        front_length = entries[entry, ready.FRONT_BYTES]
        key_text = front_length + source_length + camera_length + len(_AROUND)
        if is_kept and (key_text < SHORTEST_BYTES or key_text > HASHED_BYTES):
            continue
        to = put_text(listed, entries[entry, ready.ID_AT], id_length, hashed, np.uint64(0))
        to = put_text(listed, terms[term, ready.PART_AT], part_length, hashed, to)
        put_text(reads, read_id_at, read_id_length, hashed, to)
        upper, lower = hash_128(hashed, 0, id_text, sums)
        put_hex(upper, 16, ids, written)
        put_hex(lower, 16, ids, written + ID_BYTES // 2)
        written += ID_BYTES
        if is_kept:
            to_be[STATE] = KEPT
            front_at = entries[entry, ready.FRONT_AT]
            to = put_text(listed, front_at, front_length, hashed, np.uint64(0))
            to = put_text(_AROUND, 0, _TO_SOURCE, hashed, to)
            to = put_text(reads, source_at, source_length, hashed, to)
            to = put_text(_AROUND, _TO_SOURCE, _TO_CAMERA, hashed, to)
            to = put_text(reads, camera_at, camera_length, hashed, to)
            put_text(_AROUND, _TO_SOURCE + _TO_CAMERA, _END, hashed, to)
            upper, lower = hash_128(hashed, 0, key_text, sums)
            # As two numbers, each with its lowest byte first.
            to_be[KEY_LOW] = np.int64(reversed_bytes(upper))
            to_be[KEY_HIGH] = np.int64(reversed_bytes(lower))
        else:
            to_be[STATE] = IS_MATCH
            to_be[SIZE_BYTES] = entries[entry, ready.SIZE_BYTES] + row[VALUE_LENGTH]
        to_be[READ_TIMESTAMP_MS] = row[TIMESTAMP_MS]
        to_be[ENTRY], to_be[SOURCE], to_be[TERMS], to_be[COMPARED] = entry, source, term, likeness
        to_be[PAIR] = entries[entry, ready.PAIR]
        room += (
            entries[entry, ready.LISTED_BYTES]
            + entries[entry, ready.AUDITED_BYTES]
            + entries[entry, ready.KEY_BYTES]
            + terms[term, ready.END_BYTES]
            + terms[term, ready.AUDIT_END_BYTES]
            + compared[likeness, ready.CHECKS_BYTES]
            + (plain[read.END] - plain[read.AT])
            + (plain[read.PLATE_END] - plain[read.PLATE_AT])
            + row[KEY_LENGTH]
        )
    return room


@inner
def _age_s(since_ms: int, now_ms: int) -> int:
    """See `verification.age_s`."""
    return (now_ms - since_ms) // 1000 if since_ms < now_ms else 0


@compiled
def write(
    data: Bytes,
    rows: Rows,
    found: Rows,
    decided: Rows,
    entries: Rows,
    terms: Rows,
    listed: Bytes,
    reads: Bytes,
    compared: Rows,
    seen: Bytes,
    ids: Bytes,
    fixed: Bytes,
    fixed_at: Rows,
    now_ms: int,
    out: Bytes,
) -> int:
    """Write the matches, each followed by what the audit records of it and by its key; return
    their size.

    `ids` has their ids in order, and `fixed` what all of them have, where `fixed_at` says.
    """
    to, number = np.uint64(0), 0
    for index in range(len(rows)):
        to_be = decided[index]
        if to_be[STATE] != IS_MATCH and to_be[STATE] != KEPT:
            continue
        plain = found[index]
        entry, term = entries[to_be[ENTRY]], terms[to_be[TERMS]]
        checks = compared[to_be[COMPARED]]
        id_at = number * ID_BYTES
        number += 1
        plate_at = plain[read.PLATE_AT]
        plate_length = plain[read.PLATE_END] - plate_at
        to = put_text(fixed, fixed_at[0], fixed_at[1] - fixed_at[0], out, to)
        to = put_text(ids, id_at, ID_BYTES, out, to)
        to = put_text(fixed, fixed_at[1], fixed_at[2] - fixed_at[1], out, to)
        to = written_confidence(out, to, plain[EXACT_PARTS])
        to = put_text(listed, entry[ready.LISTED_AT], entry[ready.LISTED_BYTES], out, to)
        to = put_text(reads, plain[read.AT], plain[read.END] - plain[read.AT], out, to)
        to = put_text(fixed, fixed_at[2], fixed_at[3] - fixed_at[2], out, to)
        to = put_text(reads, plate_at, plate_length, out, to)
        to = put_text(fixed, fixed_at[3], fixed_at[4] - fixed_at[3], out, to)
        to = put_text(data, rows[index, KEY_AT], rows[index, KEY_LENGTH], out, to)
        to = put_text(fixed, fixed_at[4], fixed_at[5] - fixed_at[4], out, to)
        to = put_text(seen, checks[ready.CHECKS_AT], checks[ready.CHECKS_BYTES], out, to)
        to = written_number(out, to, _age_s(entry[ready.CREATED_MS], now_ms))
        to = put_text(fixed, fixed_at[5], fixed_at[6] - fixed_at[5], out, to)
        to = written_number(out, to, _age_s(plain[read.CAPTURED_MS], now_ms))
        to = put_text(listed, term[ready.END_AT], term[ready.END_BYTES], out, to)
        to_be[VALUE_END] = np.int64(to)
        to = put_text(listed, entry[ready.AUDITED_AT], entry[ready.AUDITED_BYTES], out, to)
        to = put_text(fixed, fixed_at[6], fixed_at[7] - fixed_at[6], out, to)
        to = put_text(ids, id_at, ID_BYTES, out, to)
        to = put_text(listed, term[ready.AUDIT_END_AT], term[ready.AUDIT_END_BYTES], out, to)
        to_be[AUDIT_END] = np.int64(to)
        # What is hashed into an id begins with the entry's.
        to = put_text(listed, entry[ready.ID_AT], entry[ready.KEY_BYTES], out, to)
        to_be[KEY_END] = np.int64(to)
    return np.int64(to)  # type: ignore[return-value]
