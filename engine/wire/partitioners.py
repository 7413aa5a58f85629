"""The partition that producers choose for a key: Java's default, and what other clients do.

The reads of one plate must lie on one partition, so that one worker suppresses their repeats. Two
producers with different partitioners break that. Pure.
"""

from __future__ import annotations

import zlib
from typing import Final

_MULTIPLIER: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C
_MASK: Final = 0xFFFFFFFF
_FNV_OFFSET: Final = 0x811C9DC5
_FNV_PRIME: Final = 0x01000193


def murmur2_partition(key: bytes, count: int) -> int:
    """Return the partition of `count` that Java's producer chooses for a key."""
    return (_murmur2(key) & 0x7FFFFFFF) % count


def crc32_partition(key: bytes, count: int) -> int:
    """Return the partition that librdkafka chooses by default (`consistent_random`)."""
    return zlib.crc32(key) % count


def fnv1a_partition(key: bytes, count: int) -> int:
    """Return the partition that Sarama chooses by default (`NewHashPartitioner`)."""
    value = _FNV_OFFSET
    for byte in key:
        value = (value ^ byte) * _FNV_PRIME & _MASK
    signed = value - (1 << 32) if value & 0x80000000 else value
    return abs(signed) % count


def _murmur2(key: bytes) -> int:
    """Return MurmurHash2 (Austin Appleby, public domain) with the seed of Java's producer."""
    value = _SEED ^ len(key)
    whole = len(key) // 4 * 4
    for at in range(0, whole, 4):
        part = int.from_bytes(key[at : at + 4], "little") * _MULTIPLIER & _MASK
        part = (part ^ part >> 24) * _MULTIPLIER & _MASK
        value = (value * _MULTIPLIER & _MASK) ^ part
    if len(key) > whole:
        value = (value ^ int.from_bytes(key[whole:], "little")) * _MULTIPLIER & _MASK
    value = (value ^ value >> 13) * _MULTIPLIER & _MASK
    return value ^ value >> 15
