"""Schemas that reads name, fetched from the registry while the reads wait.

The matcher stops before a read whose schema it does not know. Only such reads are opened, so a
worker asks for few schemas, and for each once. While the registry does not answer, the worker takes
no reads, is not ready and says so, and asks again: nothing is rejected because a registry is down.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from engine import limits
from engine.documents.schema_cache import Schema, SchemaCache, UnusableSchema
from engine.kafka.schema_registry import RegistryError, SchemaRegistry
from engine.transport.fetch import Fetch
from engine.transport.runtime import Runtime
from engine.worker.health import Health

log = logging.getLogger(__name__)


class SchemaFetcher:
    """See the module. What it fetches goes into `cache`. Without a registry no read names any."""

    def __init__(
        self, registry: SchemaRegistry | None, cache: SchemaCache, runtime: Runtime, health: Health
    ) -> None:
        self._registry = registry
        self._cache = cache
        self._runtime = runtime
        self._health = health
        #: By schema, the fetches that wait for it, and the task that asks for it.
        self._asking: dict[int, tuple[list[Fetch], asyncio.Task[bool]]] = {}
        in_clear = None if registry is None else registry.password_in_clear
        if in_clear is not None:
            log.warning("a secret crosses the network: %s", in_clear)

    async def fetch(self, schema_id: int, fetch: Fetch) -> bool:
        """Fetch the schema of a read of a fetch, as often as it takes.

        Returns False if the worker ends first, or the partitions of all fetches that wait for it
        are revoked.
        """
        if schema_id in self._cache:
            return True  # it came for another fetch, after this one was matched
        if schema_id not in self._asking:
            waiting: list[Fetch] = []
            asking = asyncio.create_task(self._ask(schema_id, waiting))
            self._asking[schema_id] = waiting, asking
            asking.add_done_callback(lambda _: self._asking.pop(schema_id))
        waiting, asking = self._asking[schema_id]
        waiting.append(fetch)
        return await asyncio.shield(asking)

    async def _ask(self, schema_id: int, waiting: Sequence[Fetch]) -> bool:
        """Ask for a schema until it comes; return False if nothing waits for it any more."""
        assert self._registry is not None
        tasks, pause_s, said = self._runtime.tasks, limits.SCHEMA_RETRY_S, False
        try:
            while any(fetch.is_ours for fetch in waiting):
                asking = asyncio.ensure_future(self._registry.schema(schema_id))
                if not await tasks.comes_in_time(asking):
                    return False
                try:
                    schema = asking.result()
                except RegistryError as error:
                    said = True
                    self._runtime.metrics.schema_fetches.labels("failed").inc()
                    self._health.waits(f"reads wait for their schema: {error}")
                    log.warning("reads wait for their schema: %s", error)
                else:
                    self._keep(schema_id, schema)
                    return True
                if not await tasks.comes_in_time(asyncio.ensure_future(asyncio.sleep(pause_s))):
                    return False
                pause_s = min(2 * pause_s, limits.SCHEMA_RETRY_MOST_S)
            return False
        finally:
            if said:
                self._health.waits("")

    def _keep(self, schema_id: int, schema: Schema) -> None:
        """Put a schema into the cache, or that it cannot be used."""
        kind = "ok"
        if isinstance(schema, UnusableSchema):
            kind = "unusable" if schema.is_final else "unknown"
            if schema.is_final:
                log.error("reads are rejected because their value %s", schema.rule)
        self._runtime.metrics.schema_fetches.labels(kind).inc()
        self._cache.put(schema_id, schema)
        if kind == "unknown":
            loop = asyncio.get_running_loop()
            loop.call_later(limits.SCHEMA_UNKNOWN_S, self._cache.drop_unknown)
