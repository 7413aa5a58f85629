"""XXH3 with 128 bits, of what matches and keys are named by, without the GIL.

For texts of SHORTEST_BYTES to LONGEST_BYTES, without a seed. A test compares it with the library.

Format: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from engine.arrays import Bytes
from engine.compiled import inlined, inner

Sums = npt.NDArray[np.uint64]

SHORTEST_BYTES: Final = 9
#: Longer ones are hashed in several blocks.
LONGEST_BYTES: Final = 1024

_SECRET: Final[Bytes] = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
        "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
        "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
        "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
        "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
        "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
    ),
    dtype=np.uint8,
)
_PRIME_1: Final = np.uint64(0x9E3779B185EBCA87)
_PRIME_2: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_PRIME_3: Final = np.uint64(0x165667B19E3779F9)
_PRIME_4: Final = np.uint64(0x85EBCA77C2B2AE63)
_PRIME_5: Final = np.uint64(0x27D4EB2F165667C5)
_MIX: Final = np.uint64(0x165667919E3779F9)
_FIRST: Final = np.array(
    [0xC2B2AE3D, _PRIME_1, _PRIME_2, _PRIME_3, _PRIME_4, 0x85EBCA77, _PRIME_5, 0x9E3779B1],
    dtype=np.uint64,
)
_LOW: Final = np.uint64(0xFFFFFFFF)
_0, _1, _8, _16, _32, _64 = (np.uint64(each) for each in (0, 1, 8, 16, 32, 64))
_37, _54 = np.uint64(37), np.uint64(54)
_SHORT: Final = np.uint64(0x85EBCA77 - 1)
#: Where the parts of the secret begin that are mixed with the end of a text.
_STRIPE_END: Final = np.uint64(192 - 64 - 7)
_MERGE_LOW, _MERGE_HIGH = np.uint64(11), np.uint64(192 - 64 - 11)
_MIDDLE_END: Final = np.uint64(136 - 17 - 16)
_128, _160, _240, _3 = (np.uint64(each) for each in (128, 160, 240, 3))


@inlined
def _word(data: Bytes, at: np.uint64) -> np.uint64:
    """Return eight bytes, the lowest first."""
    found = np.uint64(0)
    for index in range(8):
        found |= np.uint64(data[at + np.uint64(index)]) << np.uint64(8 * index)
    return found


@inlined
def _product(one: np.uint64, other: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Multiply to 128 bits; return the lower and the upper half."""
    low, high = one & _LOW, one >> _32
    other_low, other_high = other & _LOW, other >> _32
    lowest, middle = low * other_low, high * other_low
    crossed = (lowest >> _32) + (middle & _LOW) + low * other_high
    upper = (middle >> _32) + (crossed >> _32) + high * other_high
    return (crossed << _32) | (lowest & _LOW), upper


@inlined
def _multiplied(one: np.uint64, other: np.uint64) -> np.uint64:
    """Multiply to 128 bits, and return both halves as one."""
    low, high = _product(one, other)
    return low ^ high


@inlined
def reversed_bytes(number: np.uint64) -> np.uint64:
    """Return a number with its eight bytes in the other order."""
    found = np.uint64(0)
    for index in range(8):
        byte = (number >> np.uint64(8 * index)) & np.uint64(0xFF)
        found |= byte << np.uint64(56 - 8 * index)
    return found


@inlined
def _avalanche(mixed: np.uint64) -> np.uint64:
    mixed = (mixed ^ (mixed >> _37)) * _MIX
    return mixed ^ (mixed >> _32)


@inlined
def _mixed(data: Bytes, at: np.uint64, secret: np.uint64) -> np.uint64:
    return _multiplied(
        _word(data, at) ^ _word(_SECRET, secret),
        _word(data, at + _8) ^ _word(_SECRET, secret + _8),
    )


@inner
def _mixed_pair(
    low: np.uint64,
    high: np.uint64,
    data: Bytes,
    one: np.uint64,
    other: np.uint64,
    secret: np.uint64,
) -> tuple[np.uint64, np.uint64]:
    low += _mixed(data, one, secret)
    low ^= _word(data, other) + _word(data, other + _8)
    high += _mixed(data, other, secret + _16)
    high ^= _word(data, one) + _word(data, one + _8)
    return low, high


@inner
def _merged(sums: Sums, secret: np.uint64, start: np.uint64) -> np.uint64:
    for index in range(4):
        at = secret + np.uint64(16 * index)
        start += _multiplied(
            sums[2 * index] ^ _word(_SECRET, at), sums[2 * index + 1] ^ _word(_SECRET, at + _8)
        )
    return _avalanche(start)


@inner
def _accumulate(data: Bytes, at: np.uint64, secret: np.uint64, sums: Sums) -> None:
    for index in range(8):
        step = np.uint64(8 * index)
        word = _word(data, at + step)
        keyed = word ^ _word(_SECRET, secret + step)
        sums[index ^ 1] += word
        sums[index] += (keyed & _LOW) * (keyed >> _32)


@inner
def _short(data: Bytes, at: np.uint64, length: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Hash a text of up to sixteen bytes."""
    first, last = _word(data, at), _word(data, at + length - _8)
    flip = _word(_SECRET, _32) ^ _word(_SECRET, _32 + _8)
    low, high = _product(first ^ last ^ flip, _PRIME_1)
    low += (length - _1) << _54
    last ^= _word(_SECRET, _32 + _16) ^ _word(_SECRET, _32 + _16 + _8)
    high += last + (last & _LOW) * _SHORT
    low ^= reversed_bytes(high)
    lower, upper = _product(low, _PRIME_2)
    return _avalanche(upper + high * _PRIME_2), _avalanche(lower)


@inner
def hash_128(data: Bytes, begin: int, end: int, sums: Sums) -> tuple[np.uint64, np.uint64]:
    """Return the upper and the lower half of a text's hash. `sums` are eight numbers to work on."""
    at, length = np.uint64(begin), np.uint64(end - begin)
    low, high = length * _PRIME_1, _0
    if length <= _16:
        return _short(data, at, length)
    if length > _240:
        for index in range(8):
            sums[index] = _FIRST[index]
        last = (length - _1) // _64
        for stripe in range(last):
            number = np.uint64(stripe)
            _accumulate(data, at + number * _64, number * _8, sums)
        _accumulate(data, at + length - _64, _STRIPE_END, sums)
        return (
            _merged(sums, _MERGE_HIGH, ~(length * _PRIME_2)),
            _merged(sums, _MERGE_LOW, low),
        )
    if length > _128:
        step = _32
        while step < _160:
            low, high = _mixed_pair(low, high, data, at + step - _32, at + step - _16, step - _32)
            step += _32
        low, high = _avalanche(low), _avalanche(high)
        while step <= length:
            low, high = _mixed_pair(
                low, high, data, at + step - _32, at + step - _16, _3 + step - _160
            )
            step += _32
        low, high = _mixed_pair(low, high, data, at + length - _16, at + length - _32, _MIDDLE_END)
    else:
        steps = (length - _1) // _32
        for index in range(steps + _1):
            step = (steps - np.uint64(index)) * _16
            low, high = _mixed_pair(
                low, high, data, at + step, at + length - _16 - step, _0 + step + step
            )
    upper = low * _PRIME_1 + high * _PRIME_4 + length * _PRIME_2
    return _0 - _avalanche(upper), _avalanche(low + high)
