"""`engine.transport.consumer`: how Faust's loop passes messages on."""

from __future__ import annotations

import asyncio

import pytest
from mode.services import Service

from engine.transport.consumer import Consumer
from tests.fakes.event_loop import tasks_made


@pytest.fixture
async def consumer() -> Consumer:
    """One that is not connected to anything, as far as a race needs it."""
    made = Consumer.__new__(Consumer)
    Service.__init__(made, loop=asyncio.get_running_loop())
    return made


async def _pass_on() -> str:
    return "passed on"


async def test_a_message_that_need_not_wait_takes_one_task(consumer: Consumer) -> None:
    passing_on, suspended = _pass_on(), asyncio.Event().wait()
    with tasks_made() as made:
        found = await consumer.wait_first(passing_on, suspended)
    assert found.done == [passing_on]
    assert found.results == ["passed on"]
    assert not found.stopped
    assert made == [passing_on]


async def test_one_that_waits_is_dropped_if_the_flow_is_suspended(consumer: Consumer) -> None:
    suspended, full = asyncio.Event(), asyncio.Event()
    was_dropped = asyncio.Event()

    async def pass_on() -> None:
        try:
            await full.wait()
        except asyncio.CancelledError:
            was_dropped.set()
            raise

    racing = asyncio.create_task(consumer.wait_first(pass_on(), suspended.wait()))
    await asyncio.sleep(0)
    assert not racing.done()
    suspended.set()
    found = await racing
    assert found.results == [True]
    await was_dropped.wait()


async def test_one_that_waits_is_passed_on_when_there_is_room(consumer: Consumer) -> None:
    has_room = asyncio.Event()
    racing = asyncio.create_task(consumer.wait_first(has_room.wait(), asyncio.Event().wait()))
    await asyncio.sleep(0)
    has_room.set()
    assert (await racing).results == [True]


async def test_an_error_is_raised(consumer: Consumer) -> None:
    async def pass_on() -> None:
        raise ValueError("too bad")

    with pytest.raises(ValueError, match="too bad"):
        await consumer.wait_first(pass_on(), asyncio.Event().wait())


async def test_a_consumer_that_has_stopped_says_so(consumer: Consumer) -> None:
    vars(consumer)["_stopped"].set()  # as mode does
    assert (await consumer.wait_first(_pass_on(), asyncio.Event().wait())).stopped


async def test_who_is_cancelled_meanwhile_leaves_nothing_behind(consumer: Consumer) -> None:
    dropped = asyncio.Event()

    async def pass_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            dropped.set()

    for turns in range(1, 4):
        dropped.clear()
        racing = asyncio.create_task(consumer.wait_first(pass_on(), asyncio.Event().wait()))
        for _ in range(turns):
            await asyncio.sleep(0)
        racing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await racing
        await dropped.wait()
