"""A schema that a read waits for: fetched once, again while the registry is down, and given up."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from engine import limits
from engine.config import Settings
from engine.documents.avro import AvroSchema
from engine.documents.schema_cache import SchemaCache, UnusableSchema
from engine.kafka.schema_registry import SchemaRegistry
from engine.observability.metrics import Metrics
from engine.tasks import Supervisor
from engine.worker.schemas import SchemaFetcher
from tests.fakes.event_loop import settle
from tests.fakes.schema_registry import DETECTION, FakeRegistry, fake_registry


class Waiting:
    """A fetcher for one fetch, and what it reports."""

    def __init__(self, url: str) -> None:
        self.tasks, self.metrics, self.cache = Supervisor(), Metrics(), SchemaCache()
        self.reasons: list[str] = []
        self.fetch: Any = SimpleNamespace(is_ours=True)
        runtime: Any = SimpleNamespace(tasks=self.tasks, metrics=self.metrics)
        health: Any = SimpleNamespace(waits=self.reasons.append)
        settings = Settings(value_format="schema-registry", schema_registry_url=url)
        registry = SchemaRegistry.of(settings)
        self.fetcher = SchemaFetcher(registry, self.cache, runtime, health)

    async def comes(self, schema_id: int = 7) -> bool:
        async with asyncio.timeout(30):
            return await self.fetcher.fetch(schema_id, self.fetch)

    async def has_failed(self) -> None:
        async with asyncio.timeout(30):
            while not self.reasons:
                await asyncio.sleep(0.01)

    def count(self, result: str) -> float:
        value = self.metrics.registry.get_sample_value(
            "hotlist_schema_fetches_total", {"result": result}
        )
        assert value is not None
        return value


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SCHEMA_RETRY_S", 0.01)
    monkeypatch.setattr(limits, "SCHEMA_RETRY_MOST_S", 0.02)


async def test_reads_wait_while_the_registry_is_down_and_say_for_what() -> None:
    async with fake_registry(FakeRegistry()) as registry:
        port = int(registry.url.rpartition(":")[2])
    waiting = Waiting(registry.url)
    coming = asyncio.create_task(waiting.comes())
    await waiting.has_failed()
    assert waiting.reasons[-1].startswith(
        f"reads wait for their schema: schema registry {registry.url}: does not answer"
    )
    registry.add(7, DETECTION)
    async with fake_registry(registry, port):
        assert await coming
    assert isinstance(waiting.cache.get(7), AvroSchema)
    assert waiting.reasons[-1] == ""
    assert (waiting.count("ok"), waiting.count("failed") >= 1) == (1, True)


async def test_an_id_that_the_registry_does_not_know_is_dropped_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SCHEMA_UNKNOWN_S", 0.05)
    dropped = asyncio.Event()
    monkeypatch.setattr(SchemaCache, "drop_unknown", lambda _: dropped.set())
    async with fake_registry(FakeRegistry()) as registry:
        assert await Waiting(registry.url).comes()
    async with asyncio.timeout(30):
        await dropped.wait()


async def test_what_the_registry_says_for_good_is_kept() -> None:
    registry = FakeRegistry()
    registry.add(8, "message M {}")
    async with fake_registry(registry):
        waiting = Waiting(registry.url)
        assert await waiting.comes()
        assert await waiting.comes(8)
    assert isinstance(waiting.cache.get(7), UnusableSchema)
    assert isinstance(waiting.cache.get(8), UnusableSchema)
    assert (waiting.count("unknown"), waiting.count("unusable"), waiting.reasons) == (1, 1, [])


@pytest.mark.parametrize("ends", [True, False], ids=["the worker ends", "it is revoked"])
async def test_it_is_given_up(ends: bool) -> None:
    async with fake_registry(FakeRegistry()) as registry:
        pass
    waiting = Waiting(registry.url)
    coming = asyncio.create_task(waiting.comes())
    await waiting.has_failed()
    if ends:
        waiting.tasks.stop()
    else:
        waiting.fetch.is_ours = False
    assert not await coming
    assert waiting.reasons[-1] == ""


async def test_two_fetches_that_wait_for_a_schema_ask_for_it_once() -> None:
    async with fake_registry(FakeRegistry()) as registry:
        registry.add(7, DETECTION)
        here = Waiting(registry.url)
        assert all(await asyncio.gather(here.comes(), here.comes()))
        assert here.count("ok") == 1
        assert len(registry.asked) == 1


async def test_it_is_asked_for_as_long_as_one_of_its_fetches_is_ours() -> None:
    async with fake_registry(FakeRegistry()) as registry:
        port = int(registry.url.rpartition(":")[2])
    here = Waiting(registry.url)
    revoked, ours = here.fetch, SimpleNamespace(is_ours=True)
    first = asyncio.create_task(here.comes())
    await here.has_failed()
    here.fetch = ours
    second = asyncio.create_task(here.comes())
    await settle()
    revoked.is_ours = False
    registry.add(7, DETECTION)
    async with fake_registry(registry, port):
        assert all(await asyncio.gather(first, second))
    assert here.reasons[-1] == ""
