"""Records of matches that compiled code has written: their headers, written by compiled code too.

The bytes are those of `records.match_record`; a property test compares the two.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.arrays import Bytes
from engine.compiled import compiled
from engine.matching import written_matches as match
from engine.matching.written_matches import ID_BYTES, WrittenMatches
from engine.wire import record_columns as record
from engine.wire.record_columns import RecordColumns, Spans, put_length, put_text

#: The length of a key, written, takes no more.
_LENGTH_BYTES: Final = 5
#: Where a key and a value begin and end: the columns of a record, and those of a match.
_PLACES: Final = (record.KEY_AT, record.KEY_END, record.VALUE_AT, record.VALUE_END)
_PLACES_IN_MATCH: Final = (match.AUDIT_END, match.KEY_END, match.VALUE_AT, match.VALUE_END)


def match_columns(found: WrittenMatches, before_id: bytes, before_key: bytes) -> RecordColumns:
    """Return the records of matches. All headers begin with `before_id`; the id follows, then
    `before_key`, and then the length of the key, and the key."""
    data, rows = found.data, found.rows
    spans = np.empty((len(rows), record.COLUMNS), dtype=np.int64)
    spans[:, _PLACES] = rows[:, _PLACES_IN_MATCH]
    keys_bytes = int((rows[:, match.KEY_END] - rows[:, match.AUDIT_END]).sum())
    fixed_bytes = len(before_id) + ID_BYTES + len(before_key) + _LENGTH_BYTES
    headers = np.empty(len(rows) * fixed_bytes + keys_bytes, dtype=np.uint8)
    fixed = np.frombuffer(bytearray(before_id + before_key), dtype=np.uint8)
    _write_headers(data, rows, fixed, len(before_id), headers, spans)
    return RecordColumns(data, headers, spans)


@compiled
def _write_headers(
    data: Bytes, rows: Spans, fixed: Bytes, before_id: int, out: Bytes, spans: Spans
) -> None:
    to = np.uint64(0)
    for number in range(len(rows)):
        row = rows[number]
        key_bytes = row[match.KEY_END] - row[match.AUDIT_END]
        spans[number, record.HEADERS_AT] = np.int64(to)
        to = put_text(fixed, 0, before_id, out, to)
        to = put_text(data, row[match.ID_AT], ID_BYTES, out, to)
        to = put_text(fixed, before_id, len(fixed) - before_id, out, to)
        to = put_length(out, to, key_bytes)
        to = put_text(data, row[match.AUDIT_END], key_bytes, out, to)
        spans[number, record.HEADERS_END] = np.int64(to)


def _compile() -> None:
    """Compile what is not in numba's cache now, and not when the first match waits."""
    nothing = np.zeros(0, dtype=np.uint8)
    match_columns(
        WrittenMatches(nothing, np.zeros((0, match.COLUMNS), dtype=np.int64), "", {}), b"", b""
    )


_compile()
