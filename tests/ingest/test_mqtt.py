"""`engine.ingest.mqtt` beside a real mosquitto: nothing is acknowledged that Kafka has not got."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError

from engine import limits
from engine.errors import BrokerError
from engine.ingest.adapters import Site, frigate
from engine.ingest.metrics import IngestMetrics
from engine.ingest.mqtt import MqttAddress, MqttSource
from engine.ingest.producer import Ingest
from tests.fakes.mosquitto import Mosquitto

_TOPIC = "frigate/tracked_object_update"


def update(number: int) -> bytes:
    """A message in the shape of https://docs.frigate.video/integrations/mqtt."""
    return json.dumps(
        {
            "type": "lpr",
            "id": f"1764300000.{number}-abc",
            "camera": "gate",
            "timestamp": 1764300000.5 + number,
            "plate": f"XY{number:04}",
            "score": 0.9,
        }
    ).encode()


class Producer:
    """In the place of aiokafka's: down until it is told otherwise."""

    def __init__(self, *, is_up: bool = False) -> None:
        self.is_up = is_up
        self.keys: list[bytes] = []
        self.tries = 0

    async def send(self, _: str, *, key: bytes, value: bytes, headers: Any) -> Awaitable[None]:
        self.tries += 1
        if not self.is_up:
            raise KafkaTimeoutError
        self.keys.append(key)
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        acknowledged.set_result(None)
        return acknowledged


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as broker:
        yield broker


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RETRY_PAUSE_S", 0.02)
    monkeypatch.setattr(limits, "MQTT_RETRY_S", 0.05)
    monkeypatch.setattr(limits, "MQTT_RETRY_MOST_S", 0.2)


@asynccontextmanager
async def subscribed(
    mosquitto: Mosquitto, producer: Producer, user: str | None = None, password: str | None = None
) -> AsyncIterator[MqttSource]:
    metrics = IngestMetrics("frigate")
    ingest = Ingest(producer, "t", frigate.adapt, Site("city"), metrics)
    address = MqttAddress(
        "frigate", "127.0.0.1", mosquitto.port, _TOPIC, "hotlist-test", user, password
    )
    source = MqttSource(ingest, address)
    tasks = [asyncio.create_task(each) for each in (source.run(), ingest.look())]
    try:
        await until(lambda: source.is_subscribed or tasks[0].done())
        if tasks[0].done():
            tasks[0].result()
        yield source
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def publish(mosquitto: Mosquitto, *messages: bytes, qos: int = 1) -> None:
    await asyncio.to_thread(mosquitto.publish, _TOPIC, *messages, qos=qos)


def keys(*numbers: int) -> list[bytes]:
    return [f"XY{number:04}".encode() for number in numbers]


async def test_messages_become_reads(mosquitto: Mosquitto) -> None:
    producer = Producer(is_up=True)
    async with subscribed(mosquitto, producer) as source:
        await publish(mosquitto, *map(update, range(200)))
        await until(lambda: len(producer.keys) == 200)
        assert source.is_connected
    assert sorted(producer.keys) == keys(*range(200))


async def test_what_kafka_does_not_have_comes_again(mosquitto: Mosquitto) -> None:
    """The first process ends while Kafka is away; the second one is given everything."""
    down = Producer()
    async with subscribed(mosquitto, down):
        await publish(mosquitto, *map(update, range(100)))
        await until(lambda: down.tries > 10)
    assert down.keys == []
    up = Producer(is_up=True)
    async with subscribed(mosquitto, up):
        await until(lambda: len(set(up.keys)) == 100)
    assert sorted(set(up.keys)) == keys(*range(100))


async def test_what_kafka_has_does_not_come_again(mosquitto: Mosquitto) -> None:
    first, second = Producer(is_up=True), Producer(is_up=True)
    async with subscribed(mosquitto, first):
        await publish(mosquitto, *map(update, range(20)))
        await until(lambda: len(first.keys) == 20)
        await publish(mosquitto, b"not JSON", b'{"type": "description"}', b"")
        await publish(mosquitto, update(20))
        await until(lambda: len(first.keys) == 21)
        await asyncio.sleep(0.2)  # for the acknowledgements
    await publish(mosquitto, update(21))  # while no process runs
    async with subscribed(mosquitto, second):
        await until(lambda: second.keys)
        await publish(mosquitto, update(22))
        await until(lambda: len(second.keys) == 2)
    assert second.keys == keys(21, 22)


async def test_a_bounded_number_is_in_work(
    mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "INGEST_MESSAGES", 5)
    producer = Producer()
    working = set[bytes]()
    adapt = frigate.adapt

    def counted(message: bytes, site: Site) -> Any:
        working.add(message)
        return adapt(message, site)

    monkeypatch.setattr(frigate, "adapt", counted)
    async with subscribed(mosquitto, producer):
        await publish(mosquitto, *map(update, range(50)))
        await until(lambda: producer.tries > 50)
        assert len(working) == 5
        producer.is_up = True
        await until(lambda: len(set(producer.keys)) == 50)


async def test_a_broker_that_restarts_loses_nothing(mosquitto: Mosquitto) -> None:
    producer = Producer()
    async with subscribed(mosquitto, producer) as source:
        await publish(mosquitto, *map(update, range(10)))
        await until(lambda: producer.tries)
        await asyncio.to_thread(mosquitto.stop)
        await until(lambda: not source.is_connected)
        producer.is_up = True
        await asyncio.to_thread(mosquitto.start)
        await until(lambda: len(set(producer.keys)) == 10)
        await publish(mosquitto, update(10))
        await until(lambda: keys(10)[0] in producer.keys)


async def test_a_message_of_qos_0_is_held(mosquitto: Mosquitto) -> None:
    """The MQTT broker would not send it again."""
    producer = Producer()
    async with subscribed(mosquitto, producer):
        await publish(mosquitto, update(1), qos=0)
        await until(lambda: producer.tries > 3)
        producer.is_up = True
        await until(lambda: producer.keys)
    assert producer.keys == keys(1)


async def test_a_login(tmp_path: Path) -> None:
    with Mosquitto(tmp_path, "a-password") as broker:
        producer = Producer(is_up=True)
        async with subscribed(broker, producer, "hotlist", "a-password"):
            pass
        with pytest.raises(BrokerError, match=r"the MQTT broker does not accept the connection"):
            async with subscribed(broker, producer, "hotlist", "wrong"):
                pass


async def test_no_broker_is_one_error(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)  # not started
    with pytest.raises(BrokerError, match=f"127.0.0.1:{broker.port}: the MQTT broker does not"):
        async with subscribed(broker, Producer()):
            pass
