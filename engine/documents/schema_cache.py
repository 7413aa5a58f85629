"""The schemas of a registry that a process knows, by their ids.

A value names the schema that it was written with. `SchemaMissing` says that the cache does not have
it: the caller fetches it (`kafka.schema_registry`), puts it here, and decodes the value again. So
nothing here waits. One thread puts schemas, others may read them.
"""

from __future__ import annotations

import time
from typing import NamedTuple, Protocol

from engine import limits
from engine.errors import DocumentError


class SchemaError(ValueError):
    """A schema cannot be used; the text says why, and has no part of a value."""


class Schema(Protocol):
    """A schema, as far as values need it."""

    def to_json(self, data: bytes) -> bytes:
        """Return the JSON of a value without its frame; raises DocumentError if there is none."""


class JsonSchema:
    """A JSON Schema: its values are JSON already."""

    def to_json(self, data: bytes) -> bytes:
        return data


class UnusableSchema(NamedTuple):
    """A schema that no value can be decoded with, because of `rule`.

    One that the registry does not have may be registered later: `is_final` is False, and the cache
    keeps it for `limits.SCHEMA_UNKNOWN_S`.
    """

    rule: str
    is_final: bool = True

    def to_json(self, data: bytes) -> bytes:
        raise DocumentError("unknown_schema", rule=self.rule)


class SchemaMissing(Exception):
    """The cache does not have the schema that a value names."""

    def __init__(self, schema_id: int) -> None:
        super().__init__()
        self.schema_id = schema_id


class SchemaCache:
    """See the module. Beyond `limits.SCHEMAS` the schema that was put first is removed."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Schema, float]] = {}

    def put(self, schema_id: int, schema: Schema) -> None:
        """Add a schema."""
        until_s = float("inf")
        if isinstance(schema, UnusableSchema) and not schema.is_final:
            until_s = time.monotonic() + limits.SCHEMA_UNKNOWN_S
        while len(self._known) >= limits.SCHEMAS:
            del self._known[next(iter(self._known))]
        self._known[schema_id] = schema, until_s

    def drop_unknown(self) -> None:
        """Remove what the registry did not have long ago: such an id may be a part of a read."""
        now_s = time.monotonic()
        for schema_id in [each for each, (_, end_s) in self._known.items() if end_s <= now_s]:
            del self._known[schema_id]

    def __contains__(self, schema_id: int) -> bool:
        return self._find(schema_id) is not None

    def get(self, schema_id: int) -> Schema:
        """Return a schema; raises SchemaMissing if it must be fetched first."""
        schema = self._find(schema_id)
        if schema is None:
            raise SchemaMissing(schema_id)
        return schema

    def _find(self, schema_id: int) -> Schema | None:
        schema, until_s = self._known.get(schema_id, (None, 0.0))
        return schema if until_s > time.monotonic() else None
