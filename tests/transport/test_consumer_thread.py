"""The start of the consumer thread, while brokers come and go."""

from __future__ import annotations

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.transport.drivers import aiokafka as driver

from engine import limits
from engine.errors import BrokerError
from engine.transport.consumer_thread import ConsumerThread


class _Brokers:
    """Faust's start of a consumer, which fails a number of times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
        self.tried = 0
        self._failures = failures
        monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_start", self._start)

    async def _start(self, *_: object) -> None:
        self.tried += 1
        if self.tried <= self._failures:
            raise KafkaConnectionError("Unable to bootstrap")


async def test_a_lost_connection_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RETRY_PAUSE_S", 0.001)
    brokers = _Brokers(monkeypatch, failures=3)
    await ConsumerThread.__new__(ConsumerThread)._connect()
    assert brokers.tried == 4


async def test_without_a_broker_the_worker_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RETRY_PAUSE_S", 0.001)
    monkeypatch.setattr(limits, "CONNECT_S", 0.05)
    brokers = _Brokers(monkeypatch, failures=1_000_000)
    with pytest.raises(BrokerError, match=r"no broker takes the consumer .*KafkaConnectionError"):
        await ConsumerThread.__new__(ConsumerThread)._connect()
    assert brokers.tried > 1
