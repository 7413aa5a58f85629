"""The fields of entries in JSON, found by compiled code: a row of numbers for each record.

For loading a list of millions. `scan` accepts the entries that programs write: JSON without escapes
in texts, each field once, no unknown fields, times with or without milliseconds, neither areas nor
hours. Id, plate and reference must be ASCII. Any other value is left to `codec`, which decides. So
a row says less than `decode_entry`, and never more: what is accepted here is an entry there, except
for the values of shared fields: the caller checks each different one once (`text_numbers`).

Numba does not check bounds, so each read is checked against the end of the value. A property test
compares this with `codec`, on hostile values as well.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from engine.arrays import Bytes
from engine.compiled import compiled, inner
from engine.documents.json_tokens import (
    NO_TIME,
    digits,
    end_of_text,
    past_colon,
    past_flat_object,
    past_space,
    past_word,
    plain_time,
)
from engine.limits import PLATE_CHARACTERS
from engine.plates.plate_hash import EMPTY, hash_at

Rows = npt.NDArray[np.int64]
Column = npt.NDArray[np.int64]

#: The fields, in the order of their columns. The first are texts, each with a position and a length
#: in bytes, which is negative if the field is absent. `vehicle` is the text of an object.
TEXTS: Final = (
    *("entry_id", "plate", "reference", "list_id", "agency", "purpose", "kind", "requested_by"),
    *("created_at", "expires_at", "vehicle", "starts_at", "region", "instructions"),
)
#: Each with a column for its value, which is negative if the field is absent.
NUMBERS: Final = ("confusables", "priority", "suppress_s", "distance")
#: The names in an entry that are no columns: an object with fields of TEXTS, and what only `codec`
#: reads.
_OTHERS: Final = ("authority", "area", "hours")
_ID, _PLATE, _REFERENCE = 0, 1, 2
_KIND, _CREATED, _VEHICLE, _STARTS = map(
    TEXTS.index, ("kind", "created_at", "vehicle", "starts_at")
)
_FIRST_NUMBER: Final = len(TEXTS)
_AUTHORITY: Final = _FIRST_NUMBER + len(NUMBERS)
_IN_AUTHORITY: Final = (1 << _REFERENCE) | (1 << _KIND)
#: What an entry must have: the texts up to `expires_at`.
_REQUIRED: Final = (1 << _VEHICLE) - 1

#: The columns behind those of the fields: whether the entry was accepted; the hashes of the
#: record's key and of the plate, as a hash table stores them; how many characters of the plate are
#: known, and whether others are not; three times in ms since 1970, NO_TIME for no start.
_VALUES_AT: Final = 2 * len(TEXTS)
IS_PLAIN: Final = _VALUES_AT + len(NUMBERS)
KEY_HASH, PLATE_HASH, KNOWN, HAS_WILDCARD = range(IS_PLAIN + 1, IS_PLAIN + 5)
CREATED_MS, EXPIRES_MS, STARTS_MS = range(IS_PLAIN + 5, IS_PLAIN + 8)
COLUMNS: Final = IS_PLAIN + 8
#: The length of the `guess` of a scan.
GUESSES: Final = 24

#: `hash_at` hashes up to this length.
_KEY_BYTES: Final = 64
_REFERENCE_BYTES: Final = 128
#: Texts that are longer are left to `codec`: instructions in four bytes a character.
_TEXT_BYTES: Final = 8000
_DIGITS: Final = 6

_NAMES: Final = (*TEXTS, *NUMBERS, *_OTHERS)
_NAME_BYTES: Final[Bytes] = np.frombuffer("".join(_NAMES).encode(), dtype=np.uint8)
_NAME_LENGTHS: Final = np.array([len(name) for name in _NAMES], dtype=np.int64)
_NAMES_AT: Final = np.cumsum(_NAME_LENGTHS) - _NAME_LENGTHS
_UNKNOWN: Final = -1


def at(name: str) -> int:
    """Return the column of a text's position; its length is in the next one."""
    return 2 * TEXTS.index(name)


def value_of(name: str) -> int:
    """Return the column of a number."""
    return _VALUES_AT + NUMBERS.index(name)


@inner
def _is_name(data: Bytes, at: int, length: int, field: int) -> bool:
    if length != _NAME_LENGTHS[field]:
        return False
    begin = _NAMES_AT[field]
    for index in range(length):  # noqa: SIM110 - compiled
        if data[at + index] != _NAME_BYTES[begin + index]:
            return False
    return True


@inner
def _field_of(data: Bytes, at: int, length: int, guess: int) -> int:
    """Return the field that a name names; entries of one program have theirs in one order."""
    if _is_name(data, at, length, guess):
        return guess
    for field in range(len(_NAME_LENGTHS)):
        if _is_name(data, at, length, field):
            return field
    return _UNKNOWN


@inner
def _hash(data: Bytes, at: int, length: int) -> int:
    hashed = hash_at(data, at, length)
    return np.int64(1) if hashed == EMPTY else np.int64(hashed)  # type: ignore[return-value]


@inner
def _past_value(data: Bytes, at: int, end: int, row: Column, field: int) -> int:
    """Read the value of a field, whose first byte is there; return the position after it, or -1."""
    if data[at] == 110:  # null
        return -1 if field < _VEHICLE else past_word(data, at, end, 4)
    if field == _VEHICLE:
        if data[at] != 123:
            return -1
        stop = past_flat_object(data, at, end)
        row[2 * field], row[2 * field + 1] = at, stop - at
        return stop
    if field < _FIRST_NUMBER:
        if data[at] != 34:
            return -1
        stop = end_of_text(data, at + 1, end)
        row[2 * field], row[2 * field + 1] = at + 1, stop - at - 1
        return -1 if stop < 0 else stop + 1
    if field == _FIRST_NUMBER:  # a bool
        is_true = data[at] == 116
        row[_VALUES_AT] = 1 if is_true else 0
        return past_word(data, at, end, 4 if is_true else 5)
    if field >= _AUTHORITY:  # an area, or hours
        return -1
    stop = at
    while stop < end and stop - at <= _DIGITS and 48 <= data[stop] <= 57:
        stop += 1
    length = stop - at
    if length == 0 or length > _DIGITS or (data[at] == 48 and length > 1):
        return -1
    row[_VALUES_AT + field - _FIRST_NUMBER] = digits(data, at, length)
    return stop


@inner
def _past_entry(data: Bytes, at: int, end: int, row: Column, guess: Column) -> int:
    """Read an entry's object; return the position after it, or -1 if it is left to `codec`.

    `guess` says which field came at which place before. Numba cannot cache a function that calls
    itself (https://github.com/numba/numba/issues/6061), so the authority is read in the same loop.
    """
    seen = np.int64(0)
    place = 0
    is_inside = False  # of the authority
    if at >= end or data[at] != 123:
        return -1
    at = past_space(data, at + 1, end)
    while at < end and data[at] == 34:
        begin = at + 1
        at = end_of_text(data, begin, end)
        if at < 0:
            return -1
        field = _field_of(data, begin, at - begin, guess[place])
        if field == _UNKNOWN or seen >> field & 1:
            return -1
        if is_inside != bool(_IN_AUTHORITY >> field & 1):
            return -1
        seen |= np.int64(1) << field
        guess[place] = field
        place = min(place + 1, GUESSES - 1)
        at = past_colon(data, at, end)
        if at < 0:
            return -1
        if field == _AUTHORITY:
            if data[at] != 123:
                return -1
            is_inside = True
            at = past_space(data, at + 1, end)
            continue
        at = _past_value(data, at, end, row, field)
        if at < 0:
            return -1
        at = past_space(data, at, end)
        if at < end and data[at] == 125 and is_inside:
            is_inside = False
            at = past_space(data, at + 1, end)
        if at >= end:
            return -1
        if data[at] == 125:
            return at + 1 if seen & _REQUIRED == _REQUIRED and not is_inside else -1
        if data[at] != 44:
            return -1
        at = past_space(data, at + 1, end)
    return -1


@inner
def _is_plain(data: Bytes, key_at: int, key_length: int, row: Column) -> bool:
    """Return whether the texts of each entry's own are valid, and fill the last columns."""
    id_at, length = row[2 * _ID], row[2 * _ID + 1]
    if length < 1 or length > _KEY_BYTES or length != key_length:
        return False
    for index in range(length):
        byte = data[id_at + index]
        if byte > 126 or byte != data[key_at + index]:
            return False
    at, length = row[2 * _PLATE], row[2 * _PLATE + 1]
    if length < 1 or length > PLATE_CHARACTERS:
        return False
    unknown = 0
    for index in range(at, at + length):
        byte = data[index]
        if byte == 63:
            unknown += 1
        elif not (48 <= byte <= 57 or 65 <= byte <= 90):
            return False
    row[KNOWN], row[HAS_WILDCARD] = length - unknown, 1 if unknown else 0
    row[PLATE_HASH] = _hash(data, at, length)
    at, length = row[2 * _REFERENCE], row[2 * _REFERENCE + 1]
    if length < 1 or length > _REFERENCE_BYTES:
        return False
    for index in range(at, at + length):
        if data[index] > 126:
            return False
    for field in range(_REFERENCE + 1, _FIRST_NUMBER):
        if row[2 * field + 1] > _TEXT_BYTES:
            return False
    row[CREATED_MS] = plain_time(data, row[2 * _CREATED], row[2 * _CREATED + 1])
    row[EXPIRES_MS] = plain_time(data, row[2 * _CREATED + 2], row[2 * _CREATED + 3])
    row[STARTS_MS] = NO_TIME
    if row[2 * _STARTS + 1] >= 0:
        row[STARTS_MS] = plain_time(data, row[2 * _STARTS], row[2 * _STARTS + 1])
        if row[STARTS_MS] == NO_TIME:
            return False
    return bool(row[CREATED_MS] != NO_TIME and row[EXPIRES_MS] != NO_TIME)


@compiled
def scan(data: Bytes, spans: Rows, guess: Column, rows: Rows) -> None:
    """Write a row for each record: of `spans`, with the key's and the value's position and length.

    The spans must lie in `data`; a negative length means that there is none. `guess` is GUESSES
    numbers below the number of names, at first zeros.
    """
    for index in range(len(spans)):
        key_at, key_length, value_at, length = spans[index]
        row = rows[index]
        for column in range(_FIRST_NUMBER):
            row[2 * column + 1] = -1
        for column in range(_VALUES_AT, IS_PLAIN):
            row[column] = -1
        row[IS_PLAIN] = 0
        row[KEY_HASH] = 0
        if 0 <= key_length <= _KEY_BYTES:
            row[KEY_HASH] = _hash(data, key_at, key_length)
        if length < 0:
            continue
        end = value_at + length
        begin = past_space(data, value_at, end)
        at = _past_entry(data, begin, end, row, guess)
        if at < 0 or past_space(data, at, end) != end:
            continue
        if _is_plain(data, key_at, key_length, row):
            row[IS_PLAIN] = 1
