"""Events that are written in an array, and records of a chain that compiled code makes of them.

They are those that `chain` seals one by one, byte for byte; a property test compares the two. Only
the processor's own SHA-256 is faster than that (`compiled_hash`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt

from engine.arrays import Bytes
from engine.audit.chain import TO_HASH, TO_PREVIOUS, AuditedEvent, Chain
from engine.audit.compiled_hash import HAS_SHA256, PADDING_BYTES, hash_text
from engine.compiled import compiled, inner
from engine.documents.written_numbers import put_hex, written_number
from engine.wire.record_columns import (
    COLUMNS,
    HEADERS_AT,
    HEADERS_END,
    KEY_AT,
    KEY_END,
    NONE,
    VALUE_AT,
    VALUE_END,
    RecordColumns,
    put_text,
)

_HASH_BYTES: Final = 64
#: A sequence number, and the braces and quotes beside it.
_NUMBER_BYTES: Final = 24

Places = npt.NDArray[np.int64]

_1 = np.uint64(1)


class WrittenEvents(Sequence[AuditedEvent]):
    """Events of one kind and one time, a row of `places` for each: where its fields begin and end.

    They are canonical JSON, and were checked before.
    """

    def __init__(self, event: str, at_ms: int, data: Bytes, places: Places) -> None:
        self.event: Final = event
        self.at_ms: Final = at_ms
        self.data: Final = data
        self.places: Final = places

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, at: int) -> AuditedEvent: ...
    @overload
    def __getitem__(self, at: slice) -> WrittenEvents: ...
    def __getitem__(self, at: int | slice) -> AuditedEvent | WrittenEvents:
        if isinstance(at, slice):
            return WrittenEvents(self.event, self.at_ms, self.data, self.places[at])
        begin, end = self.places[at].tolist()
        return AuditedEvent(self.event, self.at_ms, self.data[begin:end].tobytes())


def seal_written(
    chain: Chain, events: WrittenEvents, room_bytes: int, beside_bytes: int
) -> RecordColumns:
    """Seal events until they fill so much, with so much beside each; return the records.

    Only where HAS_SHA256.
    """
    front, middle = chain.around(events.event, events.at_ms)
    parts = (chain.id.encode(), front, TO_HASH, b'"' + TO_PREVIOUS, middle)
    fixed = np.frombuffer(bytearray().join(parts), dtype=np.uint8)
    fixed_at = np.cumsum([0, *map(len, parts)])
    head = np.frombuffer(bytearray(chain.head.encode()), dtype=np.uint8)
    lengths = events.places[:, 1] - events.places[:, 0]
    beside = len(fixed) + 2 * _HASH_BYTES + _NUMBER_BYTES
    out = np.empty(int(lengths.sum()) + (len(lengths) + 1) * beside, dtype=np.uint8)
    text = np.empty(int(lengths.max(initial=0)) + beside + PADDING_BYTES, dtype=np.uint8)
    records = np.empty((len(lengths), COLUMNS), dtype=np.int64)
    count = _seal(
        *(events.data, events.places, fixed, fixed_at, head, chain.sequence),
        *(room_bytes, beside_bytes, text, out, records),
    )
    chain.go_on(count, head.tobytes())
    return RecordColumns(out, out, records[:count])


@inner
def _put_digits(state: npt.NDArray[np.uint32], head: Bytes) -> None:
    """Write a hash as hexadecimal digits."""
    for index in range(len(state)):
        put_hex(np.uint64(state[index]), 8, head, 8 * index)


@compiled
def _seal(
    data: Bytes,
    places: Places,
    fixed: Bytes,
    fixed_at: Places,
    head: Bytes,
    sequence: int,
    room_bytes: int,
    beside_bytes: int,
    text: Bytes,
    out: Bytes,
    records: Places,
) -> int:
    """Write the chain's id, and the records behind it; return their number. `head` is the hash of
    the record before them, and then of the last one."""
    state = np.empty(8, dtype=np.uint32)
    front, to_hash, to_previous, middle = fixed_at[1:5]
    key_bytes, front_bytes = front, to_hash - front
    to_hash_bytes, middle_bytes = to_previous - to_hash, fixed_at[5] - middle
    to_previous_bytes = middle - to_previous
    to = put_text(fixed, 0, key_bytes, out, np.uint64(0))
    used_bytes = 0
    for number in range(len(places)):
        if used_bytes >= room_bytes:
            return number
        about, about_bytes = places[number, 0], places[number, 1] - places[number, 0]
        # What is hashed: all but the hash, behind the hash of the record before.
        end = put_text(head, 0, _HASH_BYTES, text, np.uint64(0))
        end = put_text(fixed, front, front_bytes, text, end)
        end = put_text(data, about, about_bytes, text, end)
        back = end
        end = put_text(fixed, to_previous + 1, to_previous_bytes - 1, text, end)
        end = put_text(head, 0, _HASH_BYTES, text, end)
        end = put_text(fixed, middle, middle_bytes, text, end)
        end = written_number(text, end, sequence + number)
        text[end] = 125
        end += _1
        text_bytes: Any = np.int64(end)
        front_end: Any = np.int64(back)
        begin = to
        to = put_text(text, _HASH_BYTES, front_end - _HASH_BYTES, out, to)
        to = put_text(fixed, to_hash, to_hash_bytes, out, to)
        hash_at = to
        to += np.uint64(_HASH_BYTES)
        out[to] = 34
        to = put_text(text, front_end, text_bytes - front_end, out, to + _1)
        hash_text(text, text_bytes, state)
        _put_digits(state, head)
        put_text(head, 0, _HASH_BYTES, out, hash_at)
        row = records[number]
        row[KEY_AT], row[KEY_END] = 0, key_bytes
        row[VALUE_AT], row[VALUE_END] = np.int64(begin), np.int64(to)
        row[HEADERS_AT] = row[HEADERS_END] = NONE
        used_bytes += row[VALUE_END] - row[VALUE_AT] + beside_bytes
    return len(places)


def _compile() -> None:
    """Compile what is not in numba's cache now, and not when the first match waits."""
    nothing = WrittenEvents("match", 0, np.zeros(0, np.uint8), np.zeros((0, 2), np.int64))
    seal_written(Chain("-"), nothing, 0, 0)


if HAS_SHA256:
    _compile()
