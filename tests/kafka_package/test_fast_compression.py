"""The contract with aiokafka's producers about how hard they compress."""

from __future__ import annotations

import random
from typing import Any

import cramjam
import pytest
from aiokafka import codec
from aiokafka.record import default_records

from engine.kafka import fast_compression
from engine.kafka.fast_compression import lz4_encode, use_fast_compression
from engine.wire.decompress import Decompressor
from tests.fakes.record_batches import LZ4

_HEADER_BYTES = 61
_VALUE = b'{"match_id":"%d","plate":"AB12CD","text":"stop and call"}'


def _builders() -> list[Any]:
    compiled = fast_compression._compiled_builder()
    builders = [default_records._DefaultRecordBatchBuilderPy]
    return builders if compiled is None else [*builders, compiled.DefaultRecordBatchBuilder]


def _built(builder_class: Any, compression: int) -> bytes:
    builder = builder_class(
        magic=2,
        compression_type=compression,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    for number in range(500):
        builder.append(number, 1, b"key", _VALUE % number, [])
    return bytes(builder.build())[_HEADER_BYTES:]


@pytest.mark.parametrize("builder_class", _builders())
def test_batches_are_compressed_by_our_function(builder_class: Any) -> None:
    use_fast_compression()
    plain, compressed = _built(builder_class, 0), _built(builder_class, LZ4)
    assert compressed == lz4_encode(plain)
    assert compressed != bytes(codec.lz4_encode(plain)), "the level makes no difference here"
    assert bytes(cramjam.lz4.decompress(compressed)) == plain
    assert bytes(Decompressor().decompress(LZ4, memoryview(compressed)).data) == plain


_KIB = 1024


@pytest.mark.parametrize("around_bytes", [64 * _KIB, 256 * _KIB, 1024 * _KIB, 4096 * _KIB])
@pytest.mark.parametrize("beside_bytes", [-1, 0, 1])
def test_a_payload_of_any_size_comes_back(around_bytes: int, beside_bytes: int) -> None:
    """Whatever the size of the blocks that its frame says."""
    size_bytes = around_bytes + beside_bytes
    some = random.Random(size_bytes).randbytes(997)
    for payload in (
        bytes(size_bytes),
        (some * (size_bytes // len(some) + 1))[:size_bytes],
        random.Random(size_bytes).randbytes(size_bytes),
    ):
        frame = lz4_encode(payload)
        assert frame[4] & 0x20, "brokers do not take blocks that refer to each other"
        assert bytes(cramjam.lz4.decompress(frame)) == payload


@pytest.mark.parametrize("size_bytes", [0, 1, 100])
def test_a_small_payload_comes_back(size_bytes: int) -> None:
    assert bytes(cramjam.lz4.decompress(lz4_encode(bytes(size_bytes)))) == bytes(size_bytes)
