"""The contract with aiokafka's producers about how hard they compress."""

from __future__ import annotations

from typing import Any

import cramjam
import pytest
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
    assert compressed != lz4_encode(plain, 9), "the level makes no difference here"
    assert bytes(cramjam.lz4.decompress(compressed)) == plain
    assert bytes(Decompressor().decompress(LZ4, memoryview(compressed)).data) == plain
