"""What a worker says of itself when it is not, or not yet, at work.

A part of Faust that crashes ends it: one that only seems to work would lose matches.
"""

from __future__ import annotations

import gc
from typing import Any

import faust
import pytest

from engine.clock import SystemClock, format_time
from engine.errors import HotlistError
from engine.kafka.topics import Topics
from tests.fakes.examples import a_policy, a_read, an_entry
from tests.kafka.conftest import Broker
from tests.kafka.following import matched_reads, reads, sent
from tests.kafka.records import produce, until
from tests.kafka.worker_here import worker_here


class SetClock:
    """A clock that a test sets."""

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms

    def now_ms(self) -> int:
        return self.at_ms


def ending_entry(**fields: Any) -> tuple[dict[str, Any], int]:
    """An entry that ends in an hour, and when that is."""
    ends_ms = SystemClock().now_ms() + 3_600_000
    return an_entry(expires_at=format_time(ends_ms), **fields), ends_ms


async def test_an_entry_ends_to_the_millisecond(broker: Broker, prefix: str) -> None:
    topics = Topics(prefix)
    entry, ends_ms = ending_entry()
    await produce(broker.bootstrap, topics.hotlist, sent(entry))
    await produce(broker.bootstrap, topics.policies, sent(a_policy()))
    clock = SetClock(ends_ms - 1000)
    async with worker_here(
        broker.bootstrap, prefix, has_topics=broker.is_real, clock=clock
    ) as worker:
        await worker.ready()
        for number, at_ms in enumerate([ends_ms - 1, ends_ms, ends_ms + 1]):
            clock.at_ms = at_ms
            read = a_read(read_id=f"{at_ms - ends_ms}")
            await produce(broker.bootstrap, topics.detections, reads(read))
            await worker.has_processed(number + 1)
    assert await matched_reads(broker.bootstrap, prefix) == ["-1"]


async def test_an_entry_starts_and_ends_while_nothing_comes(broker: Broker, prefix: str) -> None:
    """No reads, no control records, no message from anyone; and then it is forgotten."""
    topics = Topics(prefix)
    entry, ends_ms = ending_entry()
    starts_ms = ends_ms - 1000
    entry["starts_at"] = format_time(starts_ms)
    await produce(broker.bootstrap, topics.hotlist, sent(entry))
    clock = SetClock(starts_ms - 1)
    async with worker_here(
        broker.bootstrap, prefix, has_topics=broker.is_real, clock=clock
    ) as worker:
        await worker.ready()
        lists = worker.worker.lists
        for at_ms, active, held in [
            (starts_ms - 1, 0, 1),
            (starts_ms, 1, 1),
            (ends_ms - 1, 1, 1),
            (ends_ms, 0, 0),
        ]:
            clock.at_ms = at_ms

            async def looked(since_ms: int = at_ms) -> bool:
                await worker.alive()
                return lists.expired_until_ms >= since_ms

            await until(looked, f"the clock is looked at, {at_ms - ends_ms} ms from the end")
            assert (lists.index.active_count, len(lists.index)) == (active, held)
        assert lists.index.find(entry["entry_id"]) is None
        assert not lists.has_ended


async def test_a_crash_inside_faust_ends_the_worker(
    broker: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps: list[faust.App] = []
    start = faust.App.start

    async def noted(app: faust.App) -> None:
        apps.append(app)
        await start(app)

    monkeypatch.setattr(faust.App, "start", noted)
    with pytest.raises((HotlistError, RuntimeError), match="the fetcher is gone"):  # noqa: PT012
        async with worker_here(broker.bootstrap, prefix, has_topics=broker.is_real) as worker:
            await worker.ready()
            await apps[0].consumer.crash(RuntimeError("the fetcher is gone"))
            await worker.has_processed(1)


async def test_it_is_not_ready_between_the_lists_and_the_reads(
    broker: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate is open then, but nobody takes reads yet."""
    said: list[str] = []
    async with worker_here(broker.bootstrap, prefix, has_topics=broker.is_real) as worker:
        monkeypatch.setattr(gc, "collect", lambda: said.append(worker.worker.not_ready_because))
        await worker.ready()
        monkeypatch.undo()
    assert said
    assert set(said) == {"joining the consumer group"}
