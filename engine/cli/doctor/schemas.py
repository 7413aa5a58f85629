"""Asks the schema registry, and fetches the schemas that the sampled reads name."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from engine import limits
from engine.cli.doctor.findings import Finding
from engine.config import Settings
from engine.documents.schema_cache import SchemaCache
from engine.documents.value_formats import Values, missing_schema
from engine.errors import HotlistError
from engine.kafka.schema_registry import SchemaRegistry


class SampledSchemas:
    """The schemas of a sample of reads; at most `limits.DOCTOR_SCHEMAS` are fetched."""

    def __init__(self, settings: Settings) -> None:
        self._registry = SchemaRegistry.of(settings)
        self._cache = SchemaCache()
        self._left = limits.DOCTOR_SCHEMAS
        #: How the values of the sample are opened.
        self.values = Values(settings.value_format, self._cache)

    async def know(self, value: bytes | None) -> bool:
        """Fetch the schema that a value names, if it is not known; return whether it is now.

        Raises RegistryError if the registry gives no valid answer.
        """
        if self._registry is None or value is None:
            return True
        missing = missing_schema(value, self.values)
        if missing is None:
            return True
        if self._left == 0:
            return False
        self._left -= 1
        self._cache.put(missing, await self._registry.schema(missing))
        return True


async def ask_registry(settings: Settings) -> AsyncGenerator[Finding, None]:
    """Yield whether the schema registry answers, if the reads need one."""
    registry = SchemaRegistry.of(settings)
    if registry is None:
        return
    in_clear = registry.password_in_clear
    if in_clear is not None:
        what, _, todo = in_clear.partition("; ")
        yield Finding("schemas", "warning", what, todo)
    try:
        types = await registry.types()
    except HotlistError as error:
        yield Finding("schemas", "problem", str(error).removesuffix(f"; {error.hint}"), error.hint)
        return
    what = f"the schema registry at {registry.url} answers; it takes {', '.join(types)}"
    yield Finding("schemas", "ok", what)
