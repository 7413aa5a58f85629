"""What a writer learns from the times that a broker gives records."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import RecordMetadata

from engine.cli.output import warn_of_clock
from engine.clock import SystemClock
from engine.kafka.writer import Outbox

PART = TopicPartition("lists", 0)
NO_CLOCK = -(10**15)


class Producer:
    """Acknowledges each batch. The broker's clock is ahead by `ahead_ms`; with None it stamps
    nothing, and with NO_CLOCK what librdkafka's own broker does (rdkafka_mock_handlers.c)."""

    def __init__(self, ahead_ms: int | None) -> None:
        self.ahead_ms = ahead_ms

    def create_batch(self) -> Any:
        return SimpleNamespace(append=lambda **_: 1, record_count=lambda: 1)

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
        stamped_ms = -1 if self.ahead_ms is None else SystemClock().now_ms() + self.ahead_ms
        stamped_ms = 1234 if self.ahead_ms == NO_CLOCK else stamped_ms
        future = asyncio.get_running_loop().create_future()
        future.set_result(RecordMetadata(topic, partition, PART, 7, stamped_ms, 1, 0))
        return future


async def ahead_s(*ahead_ms: int | None) -> float:
    producer = Producer(None)
    box = Outbox(producer, "localhost:1", "lists", [0])
    for each in ahead_ms:
        producer.ahead_ms = each
        await box.send(b"key", b"value")
        await box.flush()
    assert box.next_offsets == {PART: 8}
    return box.broker_ahead_s


async def test_a_broker_whose_clock_is_another() -> None:
    assert await ahead_s(None, None) == 0
    assert await ahead_s(NO_CLOCK, NO_CLOCK) == 0
    assert await ahead_s(0, 0) == 0
    assert 300 < await ahead_s(0, 600_000, None, 0) <= 600
    assert -600 <= await ahead_s(0, -600_000, 3_000) < -300


def test_it_is_remarked(capsys: pytest.CaptureFixture[str]) -> None:
    warn_of_clock("lpr.hotlist.v1", 1.5)
    assert capsys.readouterr().err == ""
    warn_of_clock("lpr.hotlist.v1", -600.0)
    said = capsys.readouterr().err
    assert said.startswith("the clock of the broker that leads lpr.hotlist.v1 is 10 min behind the")
    warn_of_clock("lpr.hotlist.v1", 60.0)
    assert " ahead of the local one; " in capsys.readouterr().err
