"""Numbers as JSON and in hex, written by compiled code.

Those that write JSON return the position after it.

Places in arrays have no sign here: numba tests it each time, and that takes thrice the time.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.arrays import Bytes
from engine.compiled import inner
from engine.plates.confidence import PARTS

_0, _1, _10, _PARTS = np.uint64(0), np.uint64(1), np.uint64(10), np.uint64(PARTS)
_ZERO: Final = np.uint8(48)
_LOW, _ZERO_DIGIT, _TEN_DIGIT = np.uint64(15), np.uint64(48), np.uint64(87)


@inner
def written_number(out: Bytes, to: np.uint64, number: int) -> np.uint64:
    """Write a whole number."""
    if number < 0:
        out[to] = 45
        to += _1
        number = -number
    left = np.uint64(number)
    end = to + _1
    above = left // _10
    while above != _0:
        end += _1
        above //= _10
    at = end
    while at > to:
        at -= _1
        above = left // _10
        out[at] = np.uint8(left - above * _10) + _ZERO
        left = above
    return end


@inner
def written_confidence(out: Bytes, to: np.uint64, parts: int) -> np.uint64:
    """Write a confidence of so many ten-thousandths, with at least one decimal."""
    to = written_number(out, to, parts // PARTS)
    out[to] = 46
    left, unit = np.uint64(parts % PARTS), _PARTS // _10
    to += _1
    while True:
        digit = left // unit
        out[to] = np.uint8(digit) + _ZERO
        to += _1
        left -= digit * unit
        unit //= _10
        if left == _0:
            return to


@inner
def put_hex(number: np.uint64, digits: int, out: Bytes, to: int) -> None:
    """Write a number's last digits in hex, the highest first."""
    for index in range(digits):
        digit = (number >> np.uint64(4 * (digits - 1 - index))) & _LOW
        out[to + index] = digit + (_ZERO_DIGIT if digit < _10 else _TEN_DIGIT)
