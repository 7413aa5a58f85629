"""The compiled hash beside the xxhash library."""

from __future__ import annotations

import random

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from engine.limits import PLATE_BYTES
from engine.plates.plate_hash import hash_at, hash_of
from tests.fakes.record_batches import as_array
from tests.models.plain_python import Checked, plain

_plain_hash_at = plain(hash_at)


@pytest.mark.parametrize("length", range(PLATE_BYTES + 1))
def test_every_length_at_every_offset(length: int) -> None:
    data = random.Random(length).randbytes(128)
    for at in range(len(data) - length + 1):
        wanted = xxhash.xxh3_64_intdigest(data[at : at + length])
        assert int(hash_at(as_array(data), at, length)) == wanted


@given(st.binary(max_size=16), st.binary(max_size=PLATE_BYTES), st.binary(max_size=16))
def test_compiled_plain_and_library_agree(before: bytes, key: bytes, after: bytes) -> None:
    data = as_array(before + key + after)
    wanted = xxhash.xxh3_64_intdigest(key)
    assert hash_of(key) == wanted
    assert int(hash_at(data, len(before), len(key))) == wanted
    assert int(_plain_hash_at(data, len(before), len(key))) == wanted


@given(st.binary(max_size=PLATE_BYTES))
def test_it_reads_nothing_but_the_key(key: bytes) -> None:
    assert int(_plain_hash_at(Checked(as_array(key)), 0, len(key))) == hash_of(key)


@pytest.mark.parametrize("fill", [0x00, 0x7F, 0x80, 0xFF])
def test_bytes_at_the_edges(fill: int) -> None:
    for length in range(PLATE_BYTES + 1):
        key = bytes([fill]) * length
        assert int(hash_at(as_array(key), 0, length)) == xxhash.xxh3_64_intdigest(key)
