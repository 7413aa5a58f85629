"""Compiled XXH3 beside the library."""

from __future__ import annotations

import numpy as np
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from engine.arrays import Bytes
from engine.compiled import compiled
from engine.matching.compiled_hash import LONGEST_BYTES, SHORTEST_BYTES, Sums, hash_128


@compiled
def _hash(data: Bytes, begin: int, end: int, sums: Sums, found: Sums) -> None:
    found[0], found[1] = hash_128(data, begin, end, sums)


def hashed(text: bytes, before: bytes = b"") -> str:
    found = np.zeros(2, dtype=np.uint64)
    data = np.frombuffer(before + text, dtype=np.uint8)
    _hash(data, len(before), len(before) + len(text), np.ones(8, dtype=np.uint64), found)
    upper, lower = found.tolist()
    return f"{upper:016x}{lower:016x}"


def test_texts_of_every_length_are_hashed_as_the_library_does() -> None:
    text = np.random.default_rng(1).bytes(LONGEST_BYTES)
    for length in range(SHORTEST_BYTES, LONGEST_BYTES + 1):
        assert hashed(text[:length]) == xxhash.xxh3_128_hexdigest(text[:length])


@given(st.binary(min_size=SHORTEST_BYTES, max_size=LONGEST_BYTES), st.binary(max_size=9))
def test_any_text_is_hashed_as_the_library_does(text: bytes, before: bytes) -> None:
    assert hashed(text, before) == xxhash.xxh3_128_hexdigest(text)


def test_extreme_texts_are_hashed_as_the_library_does() -> None:
    for byte in (b"\0", b"\xff"):
        for length in range(SHORTEST_BYTES, LONGEST_BYTES + 1):
            assert hashed(byte * length) == xxhash.xxh3_128_hexdigest(byte * length)
