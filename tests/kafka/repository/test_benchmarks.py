"""The benchmarked worker on a real Kafka: it counts what it delivers, and the topics go again."""

from __future__ import annotations

import uuid

from benchmarks import fill, runner
from benchmarks.definitions import Input, load_engines

TINY = Input(
    reads=40_000,
    short_reads=1_000,
    distinct_reads=20_000,
    partitions=3,
    codec="zstd",
    batch_bytes=16_384,
    entries=500,
    sources=80,
    hit_rate=0.02,
)


def test_the_worker_finds_every_match_and_nothing_is_left(real_kafka: str) -> None:
    prefix = f"bench-test-{uuid.uuid4().hex[:8]}."
    try:
        filled = fill.fill(real_kafka, prefix, TINY)
        one, _ = runner.run_engine("hotlist", load_engines()["hotlist"], filled)
        assert one.reads == 40_000
        assert one.matches == filled.expected.reads > 0
    finally:
        fill.remove(real_kafka, prefix)
    assert not [name for name in fill.topic_names(real_kafka) if prefix in name]
