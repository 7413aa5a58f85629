"""Produce reads with confluent-kafka.

    python produce_confluent_kafka.py [localhost:9092]

`encode` checks the read and makes its key, so that the engine need not open the value. The
partitioner must be that of all other producers: librdkafka's own default is not Java's, and the
reads of one vehicle would lie on two partitions.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from confluent_kafka import KafkaError, Message, Producer

from hotlist_engine import Detection, encode


def main(bootstrap: str = "localhost:9092", topic: str = "lpr.detections.v1") -> None:
    read = Detection(
        read_id="gate-1-000043",  # the same for the same read, to recognise a repeat
        plate="7abc 123",  # as it was read; the key is its normal form
        captured_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        source="city-north",
        camera="gate-1",
        confidence=0.93,
    )
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 5,
            "partitioner": "murmur2_random",
        }
    )
    record = encode(read)
    producer.produce(
        topic, key=record.key, value=record.value, headers=record.headers, on_delivery=_delivered
    )
    if producer.flush(30):
        raise SystemExit("the broker has not acknowledged the read")


def _delivered(error: KafkaError | None, message: Message) -> None:
    if error is not None:
        raise SystemExit(f"not delivered: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
