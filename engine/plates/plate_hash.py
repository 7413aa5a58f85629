"""The 64-bit xxh3 hash of a plate, as a compiled function.

The scanner hashes keys in a buffer without creating Python objects, so it needs a hash function
that numba can compile. A normalized plate has at most 64 bytes; up to that length `hash_at` returns
what the xxhash library returns, and a test compares the two.

The algorithm is XXH3 with seed 0 and its default secret, by Yann Collet, as specified in the
xxHash repository's `doc/xxhash_spec.md`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import xxhash

from engine.arrays import Bytes
from engine.compiled import compiled, inlined
from engine.limits import PLATE_BYTES, PLATE_CHARACTERS

#: The first 80 bytes of XXH3's default secret, as little-endian 64-bit words at every byte
#: that the algorithm reads one from.
_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b532ea371644897a20df94e38"
)
_WORD = [int.from_bytes(_SECRET[at : at + 8], "little") for at in range(len(_SECRET) - 7)]

U64 = np.uint64
#: An unused bucket in a table of hashes. A hash that is 0 is stored as 1.
EMPTY: Final = U64(0)
_EMPTY = U64(xxhash.xxh3_64_intdigest(b""))
_FLIP_1_TO_3 = U64((_WORD[0] & 0xFFFFFFFF) ^ (_WORD[4] & 0xFFFFFFFF))
_FLIP_4_TO_8 = U64(_WORD[8] ^ _WORD[16])
_FLIP_LOW_9_TO_16 = U64(_WORD[24] ^ _WORD[32])
_FLIP_HIGH_9_TO_16 = U64(_WORD[40] ^ _WORD[48])
_SECRET_0, _SECRET_8 = U64(_WORD[0]), U64(_WORD[8])
_SECRET_16, _SECRET_24 = U64(_WORD[16]), U64(_WORD[24])
_SECRET_32, _SECRET_40 = U64(_WORD[32]), U64(_WORD[40])
_SECRET_48, _SECRET_56 = U64(_WORD[48]), U64(_WORD[56])

_PRIME64_1 = U64(0x9E3779B185EBCA87)
_PRIME64_2 = U64(0xC2B2AE3D27D4EB4F)
_PRIME64_3 = U64(0x165667B19E3779F9)
_PRIME_MX1 = U64(0x165667919E3779F9)
_PRIME_MX2 = U64(0x9FB21C651E98DF25)
_LOW_32 = U64(0xFFFFFFFF)
_ODD_BYTES = U64(0x00FF00FF00FF00FF)
_ODD_PAIRS = U64(0x0000FFFF0000FFFF)


def hash_of(key: bytes) -> int:
    """Return the hash of a key of any length, from the xxhash library."""
    return xxhash.xxh3_64_intdigest(key)


@inlined
def _read64(data: Bytes, at: int) -> np.uint64:
    return (
        U64(data[at])
        | (U64(data[at + 1]) << U64(8))
        | (U64(data[at + 2]) << U64(16))
        | (U64(data[at + 3]) << U64(24))
        | (U64(data[at + 4]) << U64(32))
        | (U64(data[at + 5]) << U64(40))
        | (U64(data[at + 6]) << U64(48))
        | (U64(data[at + 7]) << U64(56))
    )


@inlined
def _read32(data: Bytes, at: int) -> np.uint64:
    return (
        U64(data[at])
        | (U64(data[at + 1]) << U64(8))
        | (U64(data[at + 2]) << U64(16))
        | (U64(data[at + 3]) << U64(24))
    )


@inlined
def _fold_product(a: np.uint64, b: np.uint64) -> np.uint64:
    """Return the low half XOR the high half of the 128-bit product."""
    a_low, a_high = a & _LOW_32, a >> U64(32)
    b_low, b_high = b & _LOW_32, b >> U64(32)
    low = a_low * b_low
    cross = (low >> U64(32)) + ((a_high * b_low) & _LOW_32) + a_low * b_high
    high = a_high * b_high + ((a_high * b_low) >> U64(32)) + (cross >> U64(32))
    return high ^ (a * b)


@inlined
def _swap_bytes(word: np.uint64) -> np.uint64:
    word = ((word & _ODD_BYTES) << U64(8)) | ((word >> U64(8)) & _ODD_BYTES)
    word = ((word & _ODD_PAIRS) << U64(16)) | ((word >> U64(16)) & _ODD_PAIRS)
    return (word << U64(32)) | (word >> U64(32))


@inlined
def _avalanche(word: np.uint64) -> np.uint64:
    word ^= word >> U64(37)
    word *= _PRIME_MX1
    return word ^ (word >> U64(32))


@inlined
def _mix16(data: Bytes, at: int, secret_low: np.uint64, secret_high: np.uint64) -> np.uint64:
    return _fold_product(_read64(data, at) ^ secret_low, _read64(data, at + 8) ^ secret_high)


@compiled
def hash_at(data: Bytes, at: int, length: int) -> np.uint64:
    """Return the hash of data[at:at + length]; the caller checks that `length` is 0 to 64."""
    size = U64(length)
    if length > 16:
        total = size * _PRIME64_1
        if length > 32:
            total += _mix16(data, at + 16, _SECRET_32, _SECRET_40)
            total += _mix16(data, at + length - 32, _SECRET_48, _SECRET_56)
        total += _mix16(data, at, _SECRET_0, _SECRET_8)
        total += _mix16(data, at + length - 16, _SECRET_16, _SECRET_24)
        return _avalanche(total)
    if length > 8:
        low = _read64(data, at) ^ _FLIP_LOW_9_TO_16
        high = _read64(data, at + length - 8) ^ _FLIP_HIGH_9_TO_16
        return _avalanche(size + _swap_bytes(low) + high + _fold_product(low, high))
    if length >= 4:
        word = (_read32(data, at + length - 4) + (_read32(data, at) << U64(32))) ^ _FLIP_4_TO_8
        word ^= ((word << U64(49)) | (word >> U64(15))) ^ ((word << U64(24)) | (word >> U64(40)))
        word *= _PRIME_MX2
        word ^= (word >> U64(35)) + size
        word *= _PRIME_MX2
        return word ^ (word >> U64(28))
    if length > 0:
        word = (
            (U64(data[at]) << U64(16))
            | (U64(data[at + (length >> 1)]) << U64(24))
            | U64(data[at + length - 1])
            | (size << U64(8))
        ) ^ _FLIP_1_TO_3
        word ^= word >> U64(33)
        word *= _PRIME64_2
        word ^= word >> U64(29)
        word *= _PRIME64_3
        return word ^ (word >> U64(32))
    return _EMPTY


assert PLATE_BYTES <= 64, "hash_at covers 64 bytes"


@inlined
def is_plain(data: Bytes, at: int, length: int) -> bool:
    """Return whether a key is certainly in normal form: 1 to 16 characters of A-Z and 0-9."""
    if length < 1 or length > PLATE_CHARACTERS:
        return False
    for position in range(at, at + length):
        byte = data[position]
        if not (48 <= byte <= 57 or 65 <= byte <= 90):
            return False
    return True


@inlined
def table_hash(data: Bytes, at: int, length: int) -> np.uint64:
    """Return the hash of a plain key as the table stores it."""
    wanted = hash_at(data, at, length)
    return U64(1) if wanted == EMPTY else wanted
