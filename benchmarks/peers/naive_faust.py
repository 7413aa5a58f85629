"""The naive Faust agent: what everybody writes first.

`python -m benchmarks.peers.naive_faust JOB`. One event a read, its JSON parsed, a dict asked.
"""

from __future__ import annotations

import asyncio
import logging
from importlib.metadata import version
from typing import Any

import faust
import orjson

from benchmarks.job import Stopwatch, job_from_arguments
from benchmarks.peers.lists import load_lists


async def _run() -> None:
    job = job_from_arguments()
    lists = await load_lists(job)
    watch = Stopwatch()
    done = asyncio.Event()
    reads = sent = acknowledged = 0

    app = faust.App(
        job.group,
        broker=f"kafka://{job.bootstrap}",
        loop=asyncio.get_running_loop(),
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        producer_compression_type="lz4",
        producer_linger=0.02,
    )
    detections = app.topic(job.detections, key_serializer="raw", value_serializer="raw")
    matches = app.topic(job.matches, key_serializer="raw", value_serializer="raw")

    def on_acknowledged(_: Any) -> None:
        nonlocal acknowledged
        acknowledged += 1
        finish_when_drained()

    def finish_when_drained() -> None:
        if reads == job.reads and acknowledged == sent:
            watch.lap()
            done.set()

    @app.agent(detections)
    async def match_reads(stream: Any) -> None:
        nonlocal reads, sent
        async for value in stream:
            watch.reads_came(1)
            read = orjson.loads(value)
            for key, match in lists.matches(read["plate"].encode(), read):
                sent += 1
                await matches.send(key=key, value=match, callback=on_acknowledged)
            reads += 1
            finish_when_drained()

    await app.start()
    await done.wait()
    await app.stop()
    libraries = ("faust-streaming", "aiokafka", "orjson")
    watch.answer(reads, acknowledged, {name: version(name) for name in libraries})


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(_run())
