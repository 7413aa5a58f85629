"""The partition that producers choose for a key by default, other than Java's (`java_partitioner`).

The reads of one plate must lie on one partition, so that one worker suppresses their repeats. Two
producers with different partitioners break that. Pure.
"""

from __future__ import annotations

import zlib
from typing import Final

_MASK: Final = 0xFFFFFFFF
_FNV_OFFSET: Final = 0x811C9DC5
_FNV_PRIME: Final = 0x01000193


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
