"""A plain aiokafka loop with a dict.

`python -m benchmarks.peers.aiokafka_dict JOB`. Records come in bulk (`getmany`), the key is
looked up as it is, and only the value of a listed plate is parsed. Offsets are committed once a
second, after the matches so far are acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from importlib.metadata import version
from typing import Any

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.job import Job, Stopwatch, job_from_arguments
from benchmarks.peers.lists import PlainLists, load_lists

_COMMIT_EVERY_S = 1.0


async def _drain(
    job: Job, lists: PlainLists, consumer: Any, producer: Any, watch: Stopwatch
) -> tuple[int, int]:
    entries = lists.entries
    reads = matches = 0
    sent: list[Any] = []
    commit_at_s = time.monotonic() + _COMMIT_EVERY_S
    while reads < job.reads:
        found = await consumer.getmany(timeout_ms=500)
        if found:
            watch.reads_came(sum(map(len, found.values())))
        for records in found.values():
            reads += len(records)
            for record in records:
                if record.key in entries:
                    for key, value in lists.matches(record.key, orjson.loads(record.value)):
                        sent.append(await producer.send(job.matches, key=key, value=value))
        if time.monotonic() >= commit_at_s or reads >= job.reads:
            matches += len(await asyncio.gather(*sent))
            sent.clear()
            await consumer.commit()
            commit_at_s = time.monotonic() + _COMMIT_EVERY_S
    watch.lap()
    return reads, matches


async def _run() -> None:
    job = job_from_arguments()
    lists = await load_lists(job)
    watch = Stopwatch()
    consumer = AIOKafkaConsumer(
        job.detections,
        bootstrap_servers=job.bootstrap,
        group_id=job.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=job.bootstrap, acks="all", compression_type="lz4", linger_ms=20
    )
    await consumer.start()
    await producer.start()
    reads, matches = await _drain(job, lists, consumer, producer, watch)
    await consumer.stop()
    await producer.stop()
    libraries = ("aiokafka", "orjson", "uvloop")
    watch.answer(reads, matches, {name: version(name) for name in libraries})


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    uvloop.run(_run())
