"""What a worker says of itself when it is not, or not yet, at work.

A part of Faust that crashes ends it: one that only seems to work would lose matches.
"""

from __future__ import annotations

import gc

import faust
import pytest

from engine.errors import HotlistError
from tests.kafka.conftest import Broker
from tests.kafka.worker_here import worker_here


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
