"""The partition that Java's producer chooses for a key, compiled: each match needs one.

The hash is MurmurHash2 (Austin Appleby, public domain) with the seed of Java's producer. aiokafka's
own, in Python, takes a microsecond for each byte of a key.
"""

from __future__ import annotations

import numba
import numpy as np

U32 = np.uint32
_MULTIPLIER = U32(0x5BD1E995)
_SEED = U32(0x9747B28C)
_POSITIVE = U32(0x7FFFFFFF)


def murmur2_partition(key: bytes, count: int) -> int:
    """Return the partition of `count` that Java's producer chooses for a key."""
    return int(_positive_hash(key)) % count


# With its signature, so that it is compiled before the first match comes.
@numba.njit(numba.uint32(numba.types.Bytes(numba.uint8, 1, "C", readonly=True)), cache=True)
def _positive_hash(key: bytes) -> np.uint32:
    length = len(key)
    value = U32(_SEED ^ U32(length))
    whole = length // 4 * 4
    for at in range(0, whole, 4):
        part = U32(key[at]) | (U32(key[at + 1]) << U32(8))
        part |= (U32(key[at + 2]) << U32(16)) | (U32(key[at + 3]) << U32(24))
        part = U32(U32(part) * _MULTIPLIER)
        part = U32((part ^ (part >> U32(24))) * _MULTIPLIER)
        value = U32(U32(value * _MULTIPLIER) ^ part)
    if length > whole:
        for at in range(whole, length):
            value = U32(value ^ (U32(key[at]) << U32(8 * (at - whole))))
        value = U32(value * _MULTIPLIER)
    value = U32((value ^ (value >> U32(13))) * _MULTIPLIER)
    return U32(U32(value ^ (value >> U32(15))) & _POSITIVE)
