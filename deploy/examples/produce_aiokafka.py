"""Produce reads with aiokafka.

    python produce_aiokafka.py [localhost:9092]

`encode` checks the read and makes its key, so that the engine need not open the value.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer

from hotlist_engine import Detection, encode


async def main(bootstrap: str = "localhost:9092", topic: str = "lpr.detections.v1") -> None:
    read = Detection(
        read_id="gate-1-000042",  # the same for the same read, to recognise a repeat
        plate="7abc 123",  # as it was read; the key is its normal form
        captured_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        source="city-north",
        camera="gate-1",
        confidence=0.93,
    )
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=5
    ) as producer:
        record = encode(read)
        await producer.send_and_wait(
            topic, key=record.key, value=record.value, headers=record.headers
        )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
