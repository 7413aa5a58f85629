"""Entries packed many at a time, by compiled code, from the rows of `entry_scan`.

What comes out is what `EntryStore.put` keeps for the same entry, except for times: one that few of
a step's entries share is packed as its milliseconds, without a look at the table. The layout is
that of `packed_entry`, and a test compares the two ways.

Pure; numba does not check bounds, so `pack` is given as much room as all its texts could take.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.arrays import Bytes
from engine.compiled import compiled, inner
from engine.documents import entry_scan as scan
from engine.documents.entry_scan import Column, Rows
from engine.index.eligibility import Pair
from engine.index.hash_table import Hashes
from engine.index.packed_entry import COMMON, RARE
from engine.index.timer_wheel import Times

#: The fields whose values are shared: the table of each, in the order of `SharedColumns`.
SHARED: Final = {
    "list_id": "names",
    "agency": "names",
    "purpose": "names",
    "kind": "names",
    "requested_by": "requesters",
    "created_at": "times",
    "expires_at": "times",
    "vehicle": "vehicles",
    "starts_at": "times",
    "region": "names",
    "instructions": "instructions",
}
_LIST, _CREATED, _EXPIRES, _VEHICLE = 0, 5, 6, 7
_STARTS, _REGION, _INSTRUCTIONS = 8, 9, 10
assert [place.name for place in COMMON] == ["entry_id", "plate", "reference", *list(SHARED)[:8]]
assert [place.name for place in RARE] == [
    *("starts_at", "region", "confusables", "priority", "instructions"),
    *("area", "suppress_s", "distance", "hours"),
], "`pack` writes the fields in this order"

_PLAIN_PLACES: Final = len(COMMON)
_ALL_PLACES: Final = len(COMMON) + len(RARE)
_OWN_TEXTS: Final = np.array([scan.at(name) for name in ("entry_id", "plate", "reference")])
_TIMES_MS: Final = np.array([scan.CREATED_MS, scan.EXPIRES_MS, scan.STARTS_MS])
_CONFUSABLES, _PRIORITY, _SUPPRESS_S, _DISTANCE = map(scan.value_of, scan.NUMBERS)
#: What an entry takes besides its texts and its shared values, at most: heads and numbers.
_BESIDE_BYTES: Final = 96
#: In `lengths` of a value: it is a time, which is packed as its milliseconds.
AS_TIME: Final = 0
#: Below it, a number takes fewer bytes in MessagePack than `pack` writes for a time.
LEAST_TIME: Final = 1 << 32


class SharedColumns(NamedTuple):
    """The shared values of some rows: for each field, the number of each row's value, and by number
    where its packed form lies in `data`."""

    numbers: npt.NDArray[np.int32]
    data: Bytes
    at: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]


class Asking(NamedTuple):
    """The fields of an entry that matches more than its exact plate."""

    plate: str
    confusables: bool | None
    distance: int | None
    region: str | None = None


class PackedRows(NamedTuple):
    """Packed entries, and by what they are filed: each has one position in all arrays.

    `pairs` has the positions of each agency and purpose; `starts_ms` is NEVER_MS if an entry has no
    start. `asking` has the positions of those that match more than their exact plate.
    """

    packed: list[bytes]
    ids: Hashes
    plates: Hashes
    revisions: npt.NDArray[np.int64]
    starts_ms: Times
    expires_ms: Times
    pairs: list[tuple[Pair, npt.NDArray[np.int64]]]
    asking: list[tuple[int, Asking]]


def pack_rows(data: Bytes, rows: Rows, values: SharedColumns) -> list[bytes]:
    """Return the entries of the rows as `EntryStore` keeps them."""
    texts = int(rows[:, _OWN_TEXTS + 1].sum())
    shared = sum(
        int(lengths[numbers[numbers >= 0]].sum())
        for numbers, lengths in zip(values.numbers, values.lengths, strict=True)
    )
    room: Bytes = np.empty(texts + shared + _BESIDE_BYTES * len(rows), dtype=np.uint8)
    ends: Column = np.empty(len(rows), dtype=np.int64)
    _pack(data, rows, *values, room, ends)
    view = room.data
    begins = [0, *ends[:-1].tolist()]
    return [bytes(view[begin:end]) for begin, end in zip(begins, ends.tolist(), strict=True)]


@inner
def _put_text(data: Bytes, at: int, length: int, room: Bytes, to: int) -> int:
    if length < 32:
        room[to] = 0xA0 | length
    else:
        room[to] = 0xD9
        to += 1
        room[to] = length
    to += 1
    for index in range(length):
        room[to + index] = data[at + index]
    return to + length


@inner
def _put_number(number: int, bytes_: int, room: Bytes, to: int) -> int:
    """Write a number of so many bytes after its head."""
    for index in range(bytes_):
        room[to + index] = number >> (8 * (bytes_ - 1 - index)) & 0xFF
    return to + bytes_


@inner
def _put_small(number: int, room: Bytes, to: int) -> int:
    """Write a number, or None for a negative one."""
    if number < 0:
        room[to] = 0xC0
        return to + 1
    if number < 0x80:
        room[to] = number
        return to + 1
    if number <= 0xFF:
        room[to] = 0xCC
        return _put_number(number, 1, room, to + 1)
    if number <= 0xFFFF:
        room[to] = 0xCD
        return _put_number(number, 2, room, to + 1)
    room[to] = 0xCE
    return _put_number(number, 4, room, to + 1)


@inner
def _put_shared(
    field: int,
    number: int,
    time_ms: int,
    values: Bytes,
    values_at: Rows,
    lengths: Rows,
    room: Bytes,
    to: int,
) -> int:
    if number < 0:
        room[to] = 0xC0
        return to + 1
    length = lengths[field, number]
    if length == AS_TIME:
        room[to] = 0xCF
        return _put_number(time_ms, 8, room, to + 1)
    at = values_at[field, number]
    for index in range(length):
        room[to + index] = values[at + index]
    return int(to + length)


@compiled
def _pack(
    data: Bytes,
    rows: Rows,
    numbers: npt.NDArray[np.int32],
    values: Bytes,
    values_at: Rows,
    lengths: Rows,
    room: Bytes,
    ends: Column,
) -> None:
    """Write the entries one after the other; `ends` gets where each ends."""
    to = 0
    for index in range(len(rows)):
        row = rows[index]
        is_rare = row[_CONFUSABLES] >= 0 or row[_DISTANCE] >= 0 or row[_PRIORITY] >= 0
        is_rare = is_rare or row[_SUPPRESS_S] >= 0 or numbers[_STARTS, index] >= 0
        is_rare = is_rare or numbers[_REGION, index] >= 0 or numbers[_INSTRUCTIONS, index] >= 0
        if is_rare:
            room[to], room[to + 1], room[to + 2] = 0xDC, 0, _ALL_PLACES
            to += 3
        else:
            room[to] = 0x90 | _PLAIN_PLACES
            to += 1
        for column in _OWN_TEXTS:
            to = _put_text(data, row[column], row[column + 1], room, to)
        for field in range(_LIST, _VEHICLE + 1):
            time_ms = row[_TIMES_MS[field - _CREATED]] if _CREATED <= field <= _EXPIRES else 0
            to = _put_shared(
                field, numbers[field, index], time_ms, values, values_at, lengths, room, to
            )
        if is_rare:
            number = numbers[_STARTS, index]
            time_ms = row[_TIMES_MS[2]]
            to = _put_shared(_STARTS, number, time_ms, values, values_at, lengths, room, to)
            number = numbers[_REGION, index]
            to = _put_shared(_REGION, number, 0, values, values_at, lengths, room, to)
            room[to] = 0xC0 if row[_CONFUSABLES] < 0 else 0xC2 + row[_CONFUSABLES]
            to = _put_small(row[_PRIORITY], room, to + 1)
            number = numbers[_INSTRUCTIONS, index]
            to = _put_shared(_INSTRUCTIONS, number, 0, values, values_at, lengths, room, to)
            room[to] = 0xC0
            to = _put_small(row[_SUPPRESS_S], room, to + 1)
            to = _put_small(row[_DISTANCE], room, to)
            room[to] = 0xC0
            to += 1
        ends[index] = to
