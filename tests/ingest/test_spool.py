"""`engine.ingest.spool`: what is held is delivered once, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka.errors import KafkaTimeoutError, UnknownError

from engine import limits
from engine.documents.read_record import ReadRecord
from engine.ingest.spool import ReadSpool, SpoolFullError
from tests.fakes.event_loop import settle


class Producer:
    """In the place of aiokafka's: gives up as often as it is told, and acknowledges on demand."""

    def __init__(self) -> None:
        self.given: list[bytes] = []
        self.acknowledgements: list[asyncio.Future[None]] = []
        self.refusals = 0

    async def hand_over(self, record: ReadRecord) -> asyncio.Future[None]:
        if self.refusals:
            self.refusals -= 1
            raise KafkaTimeoutError
        self.given.append(record.key)
        self.acknowledgements.append(asyncio.get_running_loop().create_future())
        return self.acknowledgements[-1]


def records(count: int, first: int = 0, value: bytes = b"{}") -> list[ReadRecord]:
    return [ReadRecord(b"%d" % (first + each), value, []) for each in range(count)]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


@asynccontextmanager
async def running(spool: ReadSpool) -> AsyncIterator[None]:
    task = asyncio.create_task(spool.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_held_is_delivered_once() -> None:
    producer, took_s, now_s = Producer(), list[float](), 5.0
    spool = ReadSpool(producer.hand_over, took_s.append, lambda: now_s)
    async with running(spool):
        spool.put(records(3))
        spool.put([])
        await until(lambda: len(producer.given) == 3)
        assert (len(spool), spool.held_bytes > 3 * 512) == (3, True)
        now_s = 7.5
        for each in producer.acknowledgements:
            each.set_result(None)
        await spool.drained()
        spool.put(records(1, 3))
        await until(lambda: len(producer.given) == 4)
        producer.acknowledgements[-1].set_result(None)
        await spool.drained()
    assert producer.given == [b"0", b"1", b"2", b"3"]
    assert (len(spool), spool.held_bytes) == (0, 0)
    assert took_s == [2.5, 2.5, 2.5, 0]


async def test_what_the_producer_gives_up_is_handed_over_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "RETRY_PAUSE_S", 0)
    producer = Producer()
    producer.refusals = 2
    spool = ReadSpool(producer.hand_over, lambda _: None)
    async with running(spool):
        spool.put(records(1))
        await until(lambda: producer.given)
        producer.acknowledgements[0].set_exception(UnknownError())
        await until(lambda: len(producer.given) == 2)
        assert len(spool) == 1
        producer.acknowledgements[1].set_result(None)
        await spool.drained()
    assert producer.given == [b"0", b"0"]


async def test_the_producer_has_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INGEST_SPOOL_IN_FLIGHT", 4)
    producer = Producer()
    spool = ReadSpool(producer.hand_over, lambda _: None)
    async with running(spool):
        spool.put(records(10))
        for done in range(10):
            await until(lambda: len(producer.given) == min(10, done + 4))  # noqa: B023
            await settle()
            assert len(producer.given) == min(10, done + 4)
            producer.acknowledgements[done].set_result(None)
        await spool.drained()


async def test_a_full_spool_takes_nothing_of_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INGEST_SPOOL_READS", 5)
    spool = ReadSpool(Producer().hand_over, lambda _: None)
    spool.put(records(4))
    with pytest.raises(SpoolFullError, match="too many reads wait for the broker"):
        spool.put(records(2, 4))
    assert (len(spool), spool.is_full) == (4, False)
    spool.put(records(1, 4))
    assert (len(spool), spool.is_full) == (5, True)
    spool.put([])


async def test_bytes_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INGEST_SPOOL_BYTES", 4000)
    spool = ReadSpool(Producer().hand_over, lambda _: None)
    spool.put(records(1, value=bytes(2000)))
    with pytest.raises(SpoolFullError):
        spool.put(records(1, value=bytes(2000)))
    assert len(spool) == 1
