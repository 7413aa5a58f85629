"""The floor: aiokafka fetches record batches and does not open them.

`python -m benchmarks.engines.floor JOB`. No worker on aiokafka can be faster than this. The
consumer has the worker's settings and the worker's seam (`engine.kafka.raw_fetcher`), without
Faust, a group, commits, decompression or matching.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.job import Stopwatch, job_from_arguments
from engine import limits
from engine.kafka.raw_fetcher import deliver_batches
from engine.wire.record_batch import RawBatch
from engine.worker.main import prepare_process


async def _run() -> None:
    job = job_from_arguments()
    watch = Stopwatch()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=job.bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=limits.FETCH_PARTITION_BYTES,
        fetch_max_bytes=limits.FETCH_BYTES,
    )
    await consumer.start()
    reads = 0
    try:
        deliver_batches(consumer, job.detections.__eq__)
        consumer.assign([TopicPartition(job.detections, n) for n in range(job.partitions)])
        while reads < job.reads:
            found: dict[TopicPartition, list[RawBatch]] = await consumer.getmany(timeout_ms=500)
            if found:
                came = sum(batch.record_count for them in found.values() for batch in them)
                watch.reads_came(came)
                reads += came
        watch.lap()
    finally:
        await consumer.stop()
    watch.answer(reads, 0, {"aiokafka": version("aiokafka")})


if __name__ == "__main__":
    prepare_process()
    asyncio.run(_run())
