"""The partitions that clients choose, beside aiokafka's hash and published values."""

from __future__ import annotations

import zlib

import pytest
from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.java_partitioner import murmur2_partition, murmur2_partitions
from engine.wire.partitioners import crc32_partition, fnv1a_partition


@given(st.binary(max_size=60), st.integers(1, 1000))
def test_murmur2_is_that_of_the_java_producer(key: bytes, count: int) -> None:
    assert murmur2_partition(key, count) == (murmur2(key) & 0x7FFFFFFF) % count


@given(st.lists(st.binary(max_size=20), max_size=9), st.integers(1, 1000))
def test_keys_together_have_the_partitions_of_each(keys: list[bytes], count: int) -> None:
    assert murmur2_partitions(keys, count) == [murmur2_partition(key, count) for key in keys]


@given(st.binary(max_size=60), st.integers(1, 1000))
def test_crc32_is_that_of_librdkafka(key: bytes, count: int) -> None:
    assert crc32_partition(key, count) == zlib.crc32(key) % count


@pytest.mark.parametrize(
    ("key", "value"), [(b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"foobar", 0xBF9CF968)]
)
def test_fnv1a_has_the_published_values(key: bytes, value: int) -> None:
    """http://www.isthe.com/chongo/tech/comp/fnv/ lists them; Sarama takes them as signed."""
    signed = value - 2**32 if value >= 2**31 else value
    assert fnv1a_partition(key, 2**31) == abs(signed)
