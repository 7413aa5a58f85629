"""Schemas that reads name, fetched from the registry while the reads wait.

The matcher stops before a read whose schema it does not know. Only such reads are opened, so a
worker asks for few schemas, and for each once. While the registry does not answer, the worker takes
no reads, is not ready and says so, and asks again: nothing is rejected because a registry is down.
"""

from __future__ import annotations

import asyncio
import logging

from engine import limits
from engine.documents.schema_cache import SchemaCache, UnusableSchema
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
        #: Schemas that are being asked for.
        self._asking: set[int] = set()
        in_clear = None if registry is None else registry.password_in_clear
        if in_clear is not None:
            log.warning("a secret crosses the network: %s", in_clear)

    async def fetch(self, schema_id: int, fetch: Fetch) -> bool:
        """Fetch the schema of a read of a fetch, as often as it takes.

        Returns False if the worker ends first, or the fetch's partition is revoked.
        """
        assert self._registry is not None
        tasks, metrics = self._runtime.tasks, self._runtime.metrics
        pause_s, waiting = limits.SCHEMA_RETRY_S, ""
        try:
            while fetch.is_ours:
                if schema_id in self._cache:
                    return True  # another fetch has waited for it too
                if schema_id in self._asking:
                    if not await tasks.comes_in_time(asyncio.ensure_future(asyncio.sleep(pause_s))):
                        return False
                    continue
                self._asking.add(schema_id)
                asking = asyncio.ensure_future(self._registry.schema(schema_id))
                try:
                    if not await tasks.comes_in_time(asking):
                        return False
                finally:
                    self._asking.discard(schema_id)
                try:
                    schema = asking.result()
                except RegistryError as error:
                    metrics.schema_fetches.labels("failed").inc()
                    waiting = f"reads wait for their schema: {error}"
                    self._health.waits(waiting)
                    log.warning("reads wait for their schema: %s", error)
                else:
                    kind = "ok"
                    if isinstance(schema, UnusableSchema):
                        kind = "unusable" if schema.is_final else "unknown"
                        if schema.is_final:
                            log.error("reads are rejected because their value %s", schema.rule)
                    metrics.schema_fetches.labels(kind).inc()
                    self._cache.put(schema_id, schema)
                    if kind == "unknown":
                        loop = asyncio.get_running_loop()
                        loop.call_later(limits.SCHEMA_UNKNOWN_S, self._cache.drop_unknown)
                    return True
                if not await tasks.comes_in_time(asyncio.ensure_future(asyncio.sleep(pause_s))):
                    return False
                pause_s = min(2 * pause_s, limits.SCHEMA_RETRY_MOST_S)
            return False
        finally:
            if waiting:
                self._health.waits("")
