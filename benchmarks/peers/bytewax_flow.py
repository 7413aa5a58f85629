"""Bytewax: its Kafka source, one flat map over batches, its Kafka sink.

`python -m benchmarks.peers.bytewax_flow JOB`, in an environment with `bytewax.txt`. The key of a
message is looked up as it is, and only the value of a listed plate is parsed. One worker: a
second one would wait for the same interpreter. The flow ends at the end of the topic; its sink
flushes after every batch.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Any

import orjson
from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main
from confluent_kafka import OFFSET_BEGINNING

from benchmarks.job import Stopwatch, job_from_arguments
from benchmarks.peers.lists import load_lists

_MESSAGES_A_BATCH = 10_000


def main() -> None:
    job = job_from_arguments()
    lists = asyncio.run(load_lists(job))
    entries = lists.entries
    watch = Stopwatch()
    reads = matches = 0

    def match_reads(messages: list[Any]) -> list[Any]:
        nonlocal reads, matches
        watch.reads_came(len(messages))
        reads += len(messages)
        found = [
            KafkaSinkMessage(key=key, value=value)
            for message in messages
            if message.key in entries
            for key, value in lists.matches(message.key, orjson.loads(message.value))
        ]
        matches += len(found)
        return found

    source = KafkaSource(
        [job.bootstrap],
        [job.detections],
        tail=False,
        starting_offset=OFFSET_BEGINNING,
        batch_size=_MESSAGES_A_BATCH,
        add_config={
            "max.partition.fetch.bytes": str(4 * 1024 * 1024),
            "queued.min.messages": "500000",
            "check.crcs": "false",
        },
    )
    sink = KafkaSink(
        [job.bootstrap], job.matches, add_config={"acks": "all", "compression.type": "lz4"}
    )
    flow = Dataflow("match_reads")
    found = op.flat_map_batch("match", op.input("reads", flow, source), match_reads)
    op.output("matches", found, sink)
    run_main(flow)
    watch.lap()
    libraries = ("bytewax", "confluent-kafka", "orjson")
    watch.answer(reads, matches, {name: version(name) for name in libraries})


if __name__ == "__main__":
    main()
