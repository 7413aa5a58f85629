"""The partition that Java's producer chooses for a key, compiled: each match needs one.

The hash is MurmurHash2 (Austin Appleby, public domain) with the seed of Java's producer. aiokafka's
own, in Python, takes a microsecond for each byte of a key.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import numpy.typing as npt

from engine.arrays import Bytes
from engine.compiled import inlined

U32 = np.uint32
_MULTIPLIER = U32(0x5BD1E995)
_SEED = U32(0x9747B28C)
_POSITIVE = U32(0x7FFFFFFF)

Lengths = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint32]


def murmur2_partition(key: bytes, count: int) -> int:
    """Return the partition of `count` that Java's producer chooses for a key."""
    return int(_positive_hash(key)) % count


def murmur2_partitions(keys: Sequence[bytes], count: int) -> list[int]:
    """Return the partitions of keys, in one call for all of them."""
    lengths = np.array([len(key) for key in keys], dtype=np.int64)
    partitions: list[int] = (_positive_hashes(b"".join(keys), lengths) % U32(count)).tolist()
    return partitions


@inlined
def murmur2_hash(data: bytes | Bytes, begin: int, length: int) -> np.uint32:
    """Return the hash of a key in an array, not negative."""
    value = U32(_SEED ^ U32(length))
    end = begin + length
    whole = begin + length // 4 * 4
    for at in range(begin, whole, 4):
        part = U32(data[at]) | (U32(data[at + 1]) << U32(8))
        part |= (U32(data[at + 2]) << U32(16)) | (U32(data[at + 3]) << U32(24))
        part = U32(U32(part) * _MULTIPLIER)
        part = U32((part ^ (part >> U32(24))) * _MULTIPLIER)
        value = U32(U32(value * _MULTIPLIER) ^ part)
    if end > whole:
        for at in range(whole, end):
            value = U32(value ^ (U32(data[at]) << U32(8 * (at - whole))))
        value = U32(value * _MULTIPLIER)
    value = U32((value ^ (value >> U32(13))) * _MULTIPLIER)
    return U32(U32(value ^ (value >> U32(15))) & _POSITIVE)


# With their signatures, so that they are compiled before the first match comes.
@numba.njit(numba.uint32(numba.types.Bytes(numba.uint8, 1, "C", readonly=True)), cache=True)
def _positive_hash(key: bytes) -> np.uint32:
    return murmur2_hash(key, 0, len(key))


@numba.njit(
    numba.uint32[::1](
        numba.types.Bytes(numba.uint8, 1, "C", readonly=True),
        numba.types.Array(numba.int64, 1, "C"),
    ),
    cache=True,
)
def _positive_hashes(keys: bytes, lengths: Lengths) -> Hashes:
    """Return the hashes of keys that follow one another."""
    hashes = np.empty(len(lengths), dtype=np.uint32)
    begin = 0
    for number, length in enumerate(lengths):
        hashes[number] = murmur2_hash(keys, begin, length)
        begin += length
    return hashes
