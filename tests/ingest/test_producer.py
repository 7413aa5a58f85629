"""`engine.ingest.producer`: what is held is sent once, and nothing is forgotten that is not
sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import limits
from engine.errors import BrokerError
from engine.ingest.adapters import Site, axis, openalpr
from engine.ingest.producer import Ingest

_VENDORS = Path(__file__).parents[1] / "data" / "vendors"


def state(name: str) -> bytes:
    return (_VENDORS / f"axis-{name}.json").read_bytes()


class Producer:
    """In the place of aiokafka's; keeps what it is given, and the promises that it gave."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.promises: list[asyncio.Future[None]] = []

    async def send(
        self, topic: str, *, key: bytes, value: bytes, headers: Any
    ) -> asyncio.Future[None]:
        self.keys.append(key)
        self.promises.append(asyncio.get_running_loop().create_future())
        return self.promises[-1]


def an_ingest(producer: Producer) -> Ingest:
    return Ingest(producer, "t", axis.adapt, Site("city"))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def test_two_who_send_what_is_owed_send_it_once() -> None:
    producer = Producer()
    ingest = an_ingest(producer)
    taking = asyncio.create_task(ingest.take(state("lost")))
    finishing = asyncio.create_task(ingest.finish())
    await until(lambda: producer.promises)
    await asyncio.sleep(0.01)
    assert producer.keys == [b"5AB1234"]
    producer.promises[0].set_result(None)
    await asyncio.gather(taking, finishing)
    assert (producer.keys, ingest.sent) == ([b"5AB1234"], 1)


async def test_what_is_not_acknowledged_is_owed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The camera need not tell of the car again."""
    monkeypatch.setattr(limits, "INGEST_DELIVERY_S", 0.01)
    producer = Producer()
    ingest = an_ingest(producer)
    assert (await ingest.take(state("new"))).car is not None
    with pytest.raises(BrokerError, match="send the message again"):
        await ingest.take(state("lost"))
    monkeypatch.setattr(limits, "INGEST_DELIVERY_S", 10)
    finishing = asyncio.create_task(ingest.finish())
    await until(lambda: len(producer.promises) == 2)
    producer.promises[1].set_result(None)
    await finishing
    assert (producer.keys, ingest.sent) == ([b"5AB1234"] * 2, 1)


async def test_a_car_of_which_nothing_more_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.limits.CAR_LOOK_S", 0.001)
    now_s = 0.0
    producer = Producer()
    ingest = Ingest(producer, "t", axis.adapt, Site("city"), None, lambda: now_s)
    await ingest.take(state("update"))
    looking = asyncio.create_task(ingest.look())
    await asyncio.sleep(0.02)
    assert producer.keys == []
    now_s = limits.CAR_SETTLES_S
    await until(lambda: producer.keys)
    producer.promises[0].set_result(None)
    await until(lambda: ingest.sent)
    looking.cancel()
    assert producer.keys == [b"5AB1234"]


async def test_it_takes_no_more_than_it_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INGEST_DELIVERY_S", 0.01)
    monkeypatch.setattr(limits, "CARS_HELD", 1)
    ingest = an_ingest(Producer())
    assert not ingest.is_behind
    with pytest.raises(BrokerError):
        await ingest.take(state("lost"))
    assert ingest.is_behind


_GROUP = (_VENDORS / "openalpr-v2.json").read_bytes()


@pytest.mark.parametrize("is_back", [True, False])
async def test_a_stop_waits_for_the_broker_and_says_what_is_lost(
    monkeypatch: pytest.MonkeyPatch, is_back: bool
) -> None:
    monkeypatch.setattr(limits, "INGEST_DRAIN_S", 30 if is_back else 0.05)
    producer = Producer()
    ingest = Ingest(producer, "t", openalpr.adapt, Site("city"))
    looking = asyncio.create_task(ingest.look())
    for _ in range(2):
        assert len(ingest.hold(_GROUP).reads) == 1
    await until(lambda: len(producer.promises) == 2)
    if is_back:
        finishing = asyncio.create_task(ingest.finish())
        done, _ = await asyncio.wait({finishing}, timeout=0.01)
        assert not done
        for each in producer.promises:
            each.set_result(None)
        await finishing
        assert ingest.sent == 2
    else:
        with pytest.raises(BrokerError, match="2 reads are lost: the broker has not ack"):
            await ingest.finish()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


async def test_a_failure_counts_for_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent to an endpoint that is not ready, so it becomes ready by itself."""
    monkeypatch.setattr(limits, "INGEST_DELIVERY_S", 0.01)
    now_s = 100.0
    ingest = Ingest(Producer(), "t", openalpr.adapt, Site("city"), None, lambda: now_s)
    with pytest.raises(BrokerError):
        await ingest.take(_GROUP)
    reasons = [ingest.not_ready]
    now_s += limits.INGEST_FAILED_S
    reasons.append(ingest.not_ready)
    assert reasons == ["the broker does not acknowledge reads", None]
