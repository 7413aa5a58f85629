"""A plain confluent-kafka loop with a dict.

`python -m benchmarks.peers.confluent_dict JOB`. librdkafka fetches in threads of its own;
`consume` hands over thousands of messages a call, the key is looked up as it is, and only the
value of a listed plate is parsed. Offsets are committed by librdkafka's timer, which does not
wait for matches.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from confluent_kafka import Consumer, Producer, libversion, version

from benchmarks.job import Stopwatch, give_up, job_from_arguments
from benchmarks.peers.lists import load_lists

_MESSAGES_A_CALL = 10_000


def main() -> None:
    job = job_from_arguments()
    lists = asyncio.run(load_lists(job))
    entries = lists.entries
    watch = Stopwatch()
    reads = matches = 0

    def on_delivery(error: Any, _: Any) -> None:
        nonlocal matches
        if error is not None:
            give_up(f"a match was not delivered: {error}")
        matches += 1

    consumer = Consumer(
        {
            "bootstrap.servers": job.bootstrap,
            "group.id": job.group,
            "auto.offset.reset": "earliest",
            "max.partition.fetch.bytes": 4 * 1024 * 1024,
            "queued.min.messages": 500_000,
            "queued.max.messages.kbytes": 256 * 1024,
            "check.crcs": False,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": job.bootstrap,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 20,
        }
    )
    consumer.subscribe([job.detections])
    while reads < job.reads:
        messages = consumer.consume(_MESSAGES_A_CALL, timeout=0.5)
        if not messages:
            continue
        watch.reads_came(len(messages))
        for message in messages:
            plate = message.key()
            if plate in entries:
                read = orjson.loads(message.value() or b"")
                for key, value in lists.matches(plate, read):
                    producer.produce(job.matches, value, key, on_delivery=on_delivery)
        reads += len(messages)
        producer.poll(0)
    producer.flush()
    watch.lap()
    consumer.close()
    versions = {"confluent-kafka": version(), "librdkafka": libversion()[0]}
    watch.answer(reads, matches, {name: str(of) for name, of in versions.items()})


if __name__ == "__main__":
    main()
