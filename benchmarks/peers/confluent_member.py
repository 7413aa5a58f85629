"""A member of a librdkafka group with the cooperative-sticky assignor, until SIGTERM.

`python -m benchmarks.peers.confluent_member JOB`. It looks every key up in a dict as
`benchmarks.peers.confluent_dict` does. An offset is stored when the matches before it are
acknowledged; librdkafka commits it each second, and before it gives a partition back. It holds no
state of its partitions.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import orjson
from confluent_kafka import Consumer, Producer

from benchmarks.job import Job, give_up, job_from_arguments
from benchmarks.peers.lists import load_lists

_MESSAGES_A_CALL = 1_000
_WAIT_S = 0.01
#: As the worker's.
_SESSION_MS, _HEARTBEAT_MS = 15_000, 300


def main() -> None:
    job = job_from_arguments()
    lists = asyncio.run(load_lists(job))
    is_stopped = False

    def stop(*_: Any) -> None:
        nonlocal is_stopped
        is_stopped = True

    def on_delivery(error: Any, _: Any) -> None:
        if error is not None:
            give_up(f"a match was not delivered: {error}")

    signal.signal(signal.SIGTERM, stop)
    consumer = _consumer(job)
    producer = Producer({"bootstrap.servers": job.bootstrap, "acks": "all", "linger.ms": 1})
    consumer.subscribe([job.detections])
    while not is_stopped:
        messages = consumer.consume(_MESSAGES_A_CALL, timeout=_WAIT_S)
        for message in messages:
            plate = message.key()
            if plate in lists.entries:
                read = orjson.loads(message.value() or b"")
                for key, value in lists.matches(plate, read):
                    producer.produce(job.matches, value, key, on_delivery=on_delivery)
        producer.flush()
        for message in messages:
            consumer.store_offsets(message)
    consumer.close()


def _consumer(job: Job) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": job.bootstrap,
            "group.id": job.group,
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": 1_000,
            "session.timeout.ms": _SESSION_MS,
            "heartbeat.interval.ms": _HEARTBEAT_MS,
            "fetch.wait.max.ms": 100,
        }
    )


if __name__ == "__main__":
    main()
