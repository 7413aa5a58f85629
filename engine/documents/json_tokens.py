"""The tokens of JSON that entries and reads are made of, read by compiled code.

Each function takes a position in `data` and the end of what it may read, and returns -1 for what it
does not accept: escapes, nested objects, numbers that can be written in several ways. Numba does
not check bounds.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.arrays import Bytes
from engine.compiled import inner

#: What `plain_time` returns for a text that it does not accept.
NO_TIME: Final = -(1 << 62)
_DAYS_BEFORE_MONTH: Final = np.array(
    [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365], dtype=np.int64
)
_DAY_MS: Final = 86_400_000
#: 0.0001 with so many decimals, as a whole number; of fewer than four, no number is smaller.
_SMALLEST: Final = np.array([10 ** max(0, decimals - 4) for decimals in range(13)], dtype=np.int64)


@inner
def past_space(data: Bytes, at: int, end: int) -> int:
    while at < end and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += 1
    return at


@inner
def end_of_text(data: Bytes, at: int, end: int) -> int:
    """Return the position of the quote that ends a text without escapes, or -1."""
    while at < end:
        byte = data[at]
        if byte == 34:
            return at
        if byte < 32 or byte == 92:
            return -1
        at += 1
    return -1


@inner
def past_word(data: Bytes, at: int, end: int, length: int) -> int:
    """Return the position after `true`, `false` or `null`, known by its length; or -1."""
    if at + length > end:
        return -1
    if length == 5:
        found = (
            data[at] == 102
            and data[at + 1] == 97
            and data[at + 2] == 108
            and data[at + 3] == 115
            and data[at + 4] == 101
        )
    elif data[at] == 116:
        found = data[at + 1] == 114 and data[at + 2] == 117 and data[at + 3] == 101
    else:
        found = (
            data[at] == 110 and data[at + 1] == 117 and data[at + 2] == 108 and data[at + 3] == 108
        )
    return at + length if found else -1


@inner
def past_colon(data: Bytes, at: int, end: int) -> int:
    """Return the position of a value, from that of the quote that ends its name; or -1."""
    at = past_space(data, at + 1, end)
    if at >= end or data[at] != 58:
        return -1
    at = past_space(data, at + 1, end)
    return at if at < end else -1


@inner
def past_comma(data: Bytes, at: int, end: int, closing: int) -> tuple[int, bool]:
    """Read what follows a value: a comma, or the bracket that closes what the value is in. Return
    the position of what comes then, and whether it was the bracket; `end` if it was neither."""
    at = past_space(data, at, end)
    if at < end and data[at] == closing:
        return at + 1, True
    if at >= end or data[at] != 44:
        return end, False
    return past_space(data, at + 1, end), False


@inner
def past_flat_object(data: Bytes, at: int, end: int) -> int:
    """Return the position after an object of texts and nulls without escapes, or -1."""
    at = past_space(data, at + 1, end)
    if at < end and data[at] == 125:
        return at + 1
    while at < end and data[at] == 34:
        at = end_of_text(data, at + 1, end)
        if at < 0:
            return -1
        at = past_colon(data, at, end)
        if at < 0:
            return -1
        if data[at] == 34:
            at = end_of_text(data, at + 1, end) + 1
        elif data[at] == 110:
            at = past_word(data, at, end, 4)
        else:
            return -1
        if at <= 0:
            return -1
        at, is_over = past_comma(data, at, end, 125)
        if is_over:
            return at
    return -1


@inner
def digits(data: Bytes, at: int, count: int) -> int:
    """Return a number of so many digits, or a negative one if another character is there."""
    number = 0
    for index in range(at, at + count):
        if data[index] < 48 or data[index] > 57:
            return -(1 << 40)
        number = 10 * number + int(data[index] - 48)
    return number


@inner
def is_same_text(data: Bytes, at: int, other: Bytes, other_at: int, length: int) -> bool:
    for index in range(length):  # noqa: SIM110 - compiled
        if data[at + index] != other[other_at + index]:
            return False
    return True


@inner
def plain_number(data: Bytes, at: int, end: int) -> tuple[int, int, int, int]:
    """Read a number of up to three digits and up to twelve decimals, without an exponent.

    Returns the position after it, -1 if it is another one; the position after the last decimal
    that is needed, at least one if there are any; the number as a whole number; and how many of
    that one's digits are decimals. It has at most 15 digits, so the float nearest to it is written
    with these digits again. Not accepted are -0.0, and numbers nearer to zero than 0.0001, which
    are written in several ways.
    """
    is_negative = at < end and data[at] == 45
    if is_negative:
        at += 1
    first = at
    number = np.int64(0)
    decimals = 0
    while at < end and at - first < 3 and 48 <= data[at] <= 57:
        number = 10 * number + np.int64(data[at] - 48)
        at += 1
    if at == first or (data[first] == 48 and at - first > 1):
        return -1, 0, 0, 0
    needed = at
    if at < end and data[at] == 46:
        at += 1
        first = at
        needed = at + 1
        while at < end and at - first < 12 and 48 <= data[at] <= 57:
            number = 10 * number + np.int64(data[at] - 48)
            at += 1
            decimals += 1
            if data[at - 1] != 48:
                needed = at
        if decimals == 0:
            return -1, 0, 0, 0
    if (number == 0 and is_negative) or 0 < number < _SMALLEST[decimals]:
        return -1, 0, 0, 0
    if is_negative:
        number = -number
    return at, needed, number, decimals  # type: ignore[return-value]


@inner
def plain_time(data: Bytes, at: int, length: int) -> int:
    """Return a time such as 2026-01-31T12:00:00.000Z, or without the milliseconds; or NO_TIME."""
    if (length != 24 and length != 20) or data[at + length - 1] != 90:
        return NO_TIME
    if data[at + 4] != 45 or data[at + 7] != 45 or data[at + 10] != 84:
        return NO_TIME
    if data[at + 13] != 58 or data[at + 16] != 58:
        return NO_TIME
    year, month, day = digits(data, at, 4), digits(data, at + 5, 2), digits(data, at + 8, 2)
    hour, minute = digits(data, at + 11, 2), digits(data, at + 14, 2)
    second, ms = digits(data, at + 17, 2), 0
    if length == 24:
        if data[at + 19] != 46:
            return NO_TIME
        ms = digits(data, at + 20, 3)
    if year < 1900 or year > 2999 or month < 1 or month > 12 or day < 1:
        return NO_TIME
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59 or ms < 0:
        return NO_TIME
    is_leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
    leap = 1 if is_leap else 0
    days = _DAYS_BEFORE_MONTH[month] - _DAYS_BEFORE_MONTH[month - 1]
    if day > days + (leap if month == 2 else 0):
        return NO_TIME
    before = year - 1
    days = 365 * before + before // 4 - before // 100 + before // 400 - 719_162
    days += _DAYS_BEFORE_MONTH[month - 1] + day - 1 + (leap if month > 2 else 0)
    in_day = ((hour * 60 + minute) * 60 + second) * 1000 + ms
    return int(days * _DAY_MS + in_day)
