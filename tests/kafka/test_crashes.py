"""A part of Faust that crashes ends the worker: one that only seems to work would lose matches."""

from __future__ import annotations

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
