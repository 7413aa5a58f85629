"""A read's JSON, checked and written again by compiled code, as decoding and encoding would do.

For the reads of listed plates. `scan_read` accepts what most producers write: ASCII without
escapes, known fields, each once, numbers of at most 15 digits without an exponent, times in UTC as
seconds or milliseconds, a plate whose normal form is the key. Spaces and the order of fields do not
matter, except in the items of lists. Any other value is left to `value_formats.decode_any`, which
decides. So what is accepted here is a read there, nothing of it is dropped there, and `encode` of
that read is what is written here, byte for byte.

Numba does not check bounds, so each read is checked against the end of the value. A property test
compares this with `decode_any` and `encode`, on hostile values as well.

Long because each field is read here, and written beside it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from engine.arrays import Bytes
from engine.compiled import compiled, inner
from engine.documents.json_tokens import (
    NO_TIME,
    end_of_text,
    is_same_text,
    past_colon,
    past_comma,
    past_space,
    past_word,
    plain_number,
    plain_time,
)
from engine.documents.model import Detection, Location, Vehicle

Column = npt.NDArray[np.int64]

#: The fields of a read in the order in which they are written, then those of its parts.
FIELDS: Final = Detection.__struct_fields__
_NAMES: Final = (*FIELDS, *Location.__struct_fields__, *Vehicle.__struct_fields__, "kind", "uri")
_READ_ID, _PLATE, _CAPTURED_AT, _SOURCE, _CAMERA, _REGION, _CONFIDENCE = range(7)
_ALTERNATES, _LOCATION, _HEADING, _VEHICLE, _IMAGES = range(7, 12)
_LAT, _LON, _MAKE, _MODEL, _COLOR, _TYPE, _KIND, _URI = range(12, 20)
assert (_NAMES[_IMAGES], _NAMES[_URI]) == ("images", "uri"), "the numbers are those of the names"
_REQUIRED: Final = (1 << _REGION) - 1
_PLACE: Final = (1 << _LAT) | (1 << _LON)
_UNKNOWN: Final = -1
_ITEMS_MOST: Final = 16
_LONGEST_NAME: Final = max(map(len, _NAMES))

_NAME_BYTES: Final[Bytes] = np.frombuffer("".join(_NAMES).encode(), dtype=np.uint8)
_NAME_LENGTHS: Final = np.array([len(name) for name in _NAMES], dtype=np.int64)
_NAMES_AT: Final = np.cumsum(_NAME_LENGTHS) - _NAME_LENGTHS

#: By field, the least and the most: characters of a text, or values of a number.
_LEAST: Final = np.zeros(len(_NAMES), dtype=np.int64)
_MOST: Final = np.zeros(len(_NAMES), dtype=np.int64)
for _field, _least, _most in (
    *((_READ_ID, 1, 64), (_PLATE, 1, 64), (_CAPTURED_AT, 20, 24), (_SOURCE, 1, 128)),
    *((_CAMERA, 1, 128), (_REGION, 2, 6), (_CONFIDENCE, 0, 1), (_HEADING, 0, 360)),
    *((_LAT, -90, 90), (_LON, -180, 180), (_MAKE, 0, 64), (_MODEL, 0, 64), (_COLOR, 0, 64)),
    *((_TYPE, 0, 64), (_KIND, 5, 8), (_URI, 1, 2048)),
):
    _LEAST[_field], _MOST[_field] = _least, _most
_IS_NUMBER: Final = sum(1 << field for field in (_CONFIDENCE, _HEADING, _LAT, _LON))
_IS_LIST: Final = (1 << _ALTERNATES) | (1 << _IMAGES)
_IS_OBJECT: Final = (1 << _LOCATION) | (1 << _VEHICLE)
_TENS: Final = np.array([10**digits for digits in range(13)], dtype=np.int64)
_KINDS: Final[Bytes] = np.frombuffer(b"plateoverview", dtype=np.uint8)

#: The columns of a row: 0 if the read was not accepted, IS_KEY if its plate is the key, IS_SPELLED
#: if that is another spelling of the key; where in the output the read begins and ends, and so do
#: texts of it and its vehicle's object, -1 if it has none; its own time in ms since 1970; and its
#: confidence as a whole number, -1 if it states none, and how many of its digits are decimals.
IS_PLAIN, AT, END = range(3)
IS_KEY: Final = 1
IS_SPELLED: Final = 2
READ_ID_AT, READ_ID_END, PLATE_AT, PLATE_END, SOURCE_AT, SOURCE_END = range(3, 9)
CAMERA_AT, CAMERA_END, REGION_AT, REGION_END, VEHICLE_AT, VEHICLE_END = range(9, 15)
CAPTURED_MS, CONFIDENCE, DECIMALS = range(15, 18)
COLUMNS: Final = 18
_COLUMN_OF: Final = np.full(len(FIELDS), _UNKNOWN, dtype=np.int64)
for _field, _column in (
    *((_READ_ID, READ_ID_AT), (_PLATE, PLATE_AT), (_SOURCE, SOURCE_AT), (_CAMERA, CAMERA_AT)),
    *((_REGION, REGION_AT), (_VEHICLE, VEHICLE_AT)),
):
    _COLUMN_OF[_field] = _column

#: The length of the `spans` of a scan: by field where its value is, and its length, -1 if absent.
SPANS: Final = 2 * len(_NAMES)
#: How much longer than its value a read may be written: a whole number gets a decimal.
ROOM_BYTES: Final = 64


@inner
def _past_name(data: Bytes, at: int, end: int, guess: int) -> tuple[int, int]:
    """Read a name and the colon after it; return its field and the position of the value, which is
    before the end. The field is _UNKNOWN if there is another thing, or a name of no field."""
    if at >= end or data[at] != 34:
        return _UNKNOWN, at
    begin = at + 1
    at = end_of_text(data, begin, min(end, begin + _LONGEST_NAME + 1))
    if at < 0:
        return _UNKNOWN, begin
    field = _UNKNOWN
    length = at - begin
    for step in range(len(_NAME_LENGTHS)):
        tried = guess + step  # most reads have their fields in order
        if tried >= len(_NAME_LENGTHS):
            tried -= len(_NAME_LENGTHS)
        if _NAME_LENGTHS[tried] == length and is_same_text(
            data, begin, _NAME_BYTES, _NAMES_AT[tried], length
        ):
            field = tried
            break
    at = past_colon(data, at, end)
    return (field if at >= 0 else _UNKNOWN), at


@inner
def _past_text(data: Bytes, at: int, end: int, field: int) -> int:
    """Return the position after a text that the field may hold, or -1."""
    if data[at] != 34:
        return -1
    stop = end_of_text(data, at + 1, min(end, at + 2 + _MOST[field]))
    if stop < 0 or stop - at - 1 < _LEAST[field]:
        return -1
    for index in range(at + 1, stop):
        if data[index] > 126:
            return -1
    return stop + 1


@inner
def _past_value(data: Bytes, at: int, end: int, spans: Column, field: int) -> int:
    """Read a text or a number, whose first byte is there; return the position after it, or -1."""
    if _IS_NUMBER >> field & 1:
        stop, kept, number, decimals = plain_number(data, at, end)
        if stop < 0:
            return -1
        if number < _LEAST[field] * _TENS[decimals] or number > _MOST[field] * _TENS[decimals]:
            return -1
        spans[2 * field], spans[2 * field + 1] = at, kept - at
        return stop
    stop = _past_text(data, at, end, field)
    if stop > 0:
        spans[2 * field], spans[2 * field + 1] = at + 1, stop - at - 2
    return stop


@inner
def _past_object(data: Bytes, at: int, end: int, spans: Column, first: int, last: int) -> int:
    """Read an object of these fields, whose first byte is there; return the position after it, or
    -1. A place must have both of its fields."""
    if data[at] != 123:
        return -1
    at = past_space(data, at + 1, end)
    seen = np.int64(0)
    guess = first
    if at < end and data[at] == 125 and first != _LAT:
        return at + 1
    while at < end:
        field, at = _past_name(data, at, end, guess)
        if field < first or field > last or seen >> field & 1:
            return -1
        seen |= np.int64(1) << field
        guess = field + 1
        if data[at] == 110 and first != _LAT:
            at = past_word(data, at, end, 4)
        else:
            at = _past_value(data, at, end, spans, field)
        if at < 0:
            return -1
        at, is_over = past_comma(data, at, end, 125)
        if is_over:
            return at if first != _LAT or seen == _PLACE else -1
    return -1


@inner
def _past_item(data: Bytes, at: int, end: int, is_image: bool) -> int:
    """Read an alternate or a picture, with its fields in order and numbers as they are written;
    return the position after it, or -1."""
    if at >= end or data[at] != 123:
        return -1
    at = past_space(data, at + 1, end)
    first = _KIND if is_image else _PLATE
    field, at = _past_name(data, at, end, first)
    if field != first:
        return -1
    begin = at + 1
    at = _past_text(data, at, end, field)
    if at < 0:
        return -1
    if is_image:
        length = at - 1 - begin
        if not (length == 5 and is_same_text(data, begin, _KINDS, 0, 5)) and not (
            length == 8 and is_same_text(data, begin, _KINDS, 5, 8)
        ):
            return -1
    at = past_space(data, at, end)
    if at < end and data[at] == 125 and not is_image:
        return at + 1
    if at >= end or data[at] != 44:
        return -1
    at = past_space(data, at + 1, end)
    second = _URI if is_image else _CONFIDENCE
    field, at = _past_name(data, at, end, second)
    if field != second:
        return -1
    if is_image:
        at = _past_text(data, at, end, field)
    else:
        stop, kept, number, decimals = plain_number(data, at, end)
        if stop != kept or decimals == 0 or number < 0 or number > _TENS[decimals]:
            return -1
        at = stop
    if at < 0:
        return -1
    at = past_space(data, at, end)
    return at + 1 if at < end and data[at] == 125 else -1


@inner
def _past_list(data: Bytes, at: int, end: int, is_image: bool) -> int:
    """Read a list of alternates or of pictures, whose first byte is there; return the position
    after it, or -1."""
    if data[at] != 91:
        return -1
    at = past_space(data, at + 1, end)
    if at < end and data[at] == 93:
        return at + 1
    for _ in range(_ITEMS_MOST):
        at = _past_item(data, at, end, is_image)
        if at < 0:
            return -1
        at, is_over = past_comma(data, at, end, 93)
        if is_over:
            return at
    return -1


@inner
def _past_read(data: Bytes, at: int, end: int, spans: Column) -> int:
    """Read a read's object; return the position after it, or -1 if it is left to `decode_any`."""
    seen = np.int64(0)
    guess = 0
    if at >= end or data[at] != 123:
        return -1
    at = past_space(data, at + 1, end)
    while at < end:
        field, at = _past_name(data, at, end, guess)
        if field < 0 or field > _IMAGES or seen >> field & 1:
            return -1
        seen |= np.int64(1) << field
        guess = field + 1
        if data[at] == 110 and field >= _REGION:
            at = past_word(data, at, end, 4)
        elif _IS_LIST >> field & 1:
            spans[2 * field] = at
            at = _past_list(data, at, end, field == _IMAGES)
            spans[2 * field + 1] = at - spans[2 * field]
        elif _IS_OBJECT >> field & 1:
            spans[2 * field + 1] = 0
            if field == _LOCATION:
                at = _past_object(data, at, end, spans, _LAT, _LON)
            else:
                at = _past_object(data, at, end, spans, _MAKE, _TYPE)
        else:
            at = _past_value(data, at, end, spans, field)
        if at < 0:
            return -1
        at, is_over = past_comma(data, at, end, 125)
        if is_over:
            return at if seen & _REQUIRED == _REQUIRED else -1
    return -1


@inner
def _spelling(data: Bytes, at: int, length: int, key_at: int, key_length: int) -> int:
    """Return IS_KEY if a plate is the key, IS_SPELLED if the key is its normal form, or else 0."""
    matched = 0
    is_key = length == key_length
    for index in range(at, at + length):
        byte = data[index]
        if 97 <= byte <= 122:
            byte -= 32
        if not (48 <= byte <= 57 or 65 <= byte <= 90):
            is_key = False
            continue
        if matched == key_length or byte != data[key_at + matched]:
            return 0
        is_key = is_key and byte == data[index]
        matched += 1
    if matched != key_length:
        return 0
    return IS_KEY if is_key else IS_SPELLED


@inner
def _is_region(data: Bytes, at: int, length: int) -> bool:
    """Return whether a text is two capitals, or those, a hyphen and one to three capitals or
    digits."""
    if length != 2 and (length < 4 or length > 6 or data[at + 2] != 45):
        return False
    for index in range(length):
        byte = data[at + index]
        is_digit = index > 2 and 48 <= byte <= 57
        if index != 2 and not is_digit and not 65 <= byte <= 90:
            return False
    return True


@inner
def _written_name(out: Bytes, to: int, field: int, before: int) -> int:
    """Write what comes before a field, its name and a colon; return the position after it."""
    out[to], out[to + 1] = before, 34
    to += 2
    for index in range(_NAMES_AT[field], _NAMES_AT[field] + _NAME_LENGTHS[field]):
        out[to] = _NAME_BYTES[index]
        to += 1
    out[to], out[to + 1] = 34, 58
    return to + 2


@inner
def _written_value(data: Bytes, spans: Column, out: Bytes, to: int, field: int) -> int:
    """Write a text or a number; return the position after it."""
    at = spans[2 * field]
    stop = at + spans[2 * field + 1]
    if _IS_NUMBER >> field & 1:
        is_whole = True
        while at < stop:
            out[to] = data[at]
            is_whole = is_whole and data[at] != 46
            at += 1
            to += 1
        if is_whole:
            out[to], out[to + 1] = 46, 48
            to += 2
        return to
    out[to] = 34
    to += 1
    while at < stop:
        out[to] = data[at]
        at += 1
        to += 1
    out[to] = 34
    return to + 1


@inner
def _written_list(data: Bytes, spans: Column, out: Bytes, to: int, field: int) -> int:
    """Write a list without the spaces between its tokens; return the position after it."""
    is_inside = False  # of a text
    for index in range(spans[2 * field], spans[2 * field] + spans[2 * field + 1]):
        byte = data[index]
        if byte == 34:
            is_inside = not is_inside
        if is_inside or byte > 32:
            out[to] = byte
            to += 1
    return to


@inner
def _written_read(data: Bytes, spans: Column, out: Bytes, to: int, row: Column) -> int:
    """Write a read, and in its row where its parts are; return the position after it."""
    before = 123
    for field in range(_IMAGES + 1):
        if spans[2 * field + 1] < 0:
            continue
        to = _written_name(out, to, field, before)
        before = 44
        begin = to
        if _IS_OBJECT >> field & 1:
            inner_before = 123
            first, last = (_LAT, _LON) if field == _LOCATION else (_MAKE, _TYPE)
            for inner in range(first, last + 1):
                if spans[2 * inner + 1] >= 0:
                    to = _written_name(out, to, inner, inner_before)
                    to = _written_value(data, spans, out, to, inner)
                    inner_before = 44
            if inner_before == 123:
                out[to] = 123
                to += 1
            out[to] = 125
            to += 1
        elif _IS_LIST >> field & 1:
            to = _written_list(data, spans, out, to, field)
        else:
            to = _written_value(data, spans, out, to, field)
        column = _COLUMN_OF[field]
        if column >= 0:
            quote = 0 if field == _VEHICLE else 1
            row[column], row[column + 1] = begin + quote, to - quote
    out[to] = 125
    return to + 1


@compiled
def scan_read(
    data: Bytes,
    key_at: int,
    key_length: int,
    at: int,
    length: int,
    spans: Column,
    out: Bytes,
    to: int,
    row: Column,
) -> int:
    """Write a read from `to` on, and its row; return the position after it.

    If the read is not accepted, or the key is not the normal form of its plate, IS_PLAIN is 0 and
    nothing is written. The key has 1 to 16 characters of A-Z and 0-9, and lies in `data` with the
    value. `out` must have room for as many bytes as the value has, and ROOM_BYTES more. `spans` is
    room for SPANS numbers.
    """
    row[IS_PLAIN] = 0
    for field in range(len(_NAME_LENGTHS)):
        spans[2 * field + 1] = -1
    end = at + length
    at = _past_read(data, past_space(data, at, end), end, spans)
    if at < 0 or past_space(data, at, end) != end:
        return to
    spelling = _spelling(data, spans[2 * _PLATE], spans[2 * _PLATE + 1], key_at, key_length)
    if spelling == 0:
        return to
    region_length = spans[2 * _REGION + 1]
    if region_length >= 0 and not _is_region(data, spans[2 * _REGION], region_length):
        return to
    captured_ms = plain_time(data, spans[2 * _CAPTURED_AT], spans[2 * _CAPTURED_AT + 1])
    if captured_ms == NO_TIME:
        return to
    row[REGION_AT] = row[VEHICLE_AT] = row[CONFIDENCE] = -1
    row[REGION_END] = row[VEHICLE_END] = row[DECIMALS] = 0
    if spans[2 * _CONFIDENCE + 1] >= 0:
        confidence_at = spans[2 * _CONFIDENCE]
        _, _, row[CONFIDENCE], row[DECIMALS] = plain_number(data, confidence_at, end)
    row[CAPTURED_MS] = captured_ms
    row[AT] = to
    to = _written_read(data, spans, out, to, row)
    row[END] = to
    row[IS_PLAIN] = spelling
    return to
