"""Quix Streams: a streaming data frame with one function applied.

`python -m benchmarks.peers.quix_frame JOB`, in an environment with `quix.txt`. Values stay bytes
until a plate is listed. Quix flushes its producer and commits at a checkpoint, every five
seconds and at the end.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Any

import orjson
from quixstreams import Application

from benchmarks.job import Stopwatch, job_from_arguments
from benchmarks.peers.lists import load_lists


def main() -> None:
    job = job_from_arguments()
    lists = asyncio.run(load_lists(job))
    entries = lists.entries
    watch = Stopwatch()
    reads = matches = 0
    app = Application(
        broker_address=job.bootstrap,
        consumer_group=job.group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        loglevel="ERROR",
        consumer_extra_config={
            "max.partition.fetch.bytes": 4 * 1024 * 1024,
            "queued.min.messages": 500_000,
            "check.crcs": False,
        },
        producer_extra_config={"acks": "all", "compression.type": "lz4", "linger.ms": 20},
    )

    def match_read(value: bytes, key: bytes, _timestamp: int, _headers: Any) -> list[Any]:
        nonlocal reads, matches
        if not reads:
            watch.reads_came(1)
        reads += 1
        if reads == job.reads:
            app.stop()
        if key not in entries:
            return []
        found = lists.found(key, orjson.loads(value))
        matches += len(found)
        return found

    detections = app.topic(job.detections, key_deserializer="bytes", value_deserializer="bytes")
    sink = app.topic(job.matches, key_serializer="str", value_serializer="json")
    frame = app.dataframe(detections).apply(match_read, expand=True, metadata=True)
    frame.to_topic(sink, key=lambda match: match["entry"]["entry_id"])
    app.run()
    watch.lap()
    libraries = ("quixstreams", "confluent-kafka", "orjson")
    watch.answer(reads, matches, {name: version(name) for name in libraries})


if __name__ == "__main__":
    main()
