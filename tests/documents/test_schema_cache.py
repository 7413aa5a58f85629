"""What the cache of schemas keeps, and for how long."""

from __future__ import annotations

import pytest

from engine import limits
from engine.documents.schema_cache import JsonSchema, SchemaCache, SchemaMissing, UnusableSchema


def test_a_schema_stays_and_the_first_one_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SCHEMAS", 3)
    cache, schema = SchemaCache(), JsonSchema()
    for number in range(1, 5):
        cache.put(number, schema)
    with pytest.raises(SchemaMissing) as caught:
        cache.get(1)
    assert caught.value.schema_id == 1
    assert all(cache.get(number) is schema for number in (2, 3, 4))


def test_an_unknown_schema_is_asked_for_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    cache = SchemaCache()
    unknown, broken = UnusableSchema("must be known", is_final=False), UnusableSchema("is broken")
    cache.put(1, unknown)
    cache.put(2, broken)
    now_s += limits.SCHEMA_UNKNOWN_S - 1
    assert cache.get(1) is unknown
    now_s += 1
    with pytest.raises(SchemaMissing):
        cache.get(1)
    assert cache.get(2) is broken
    cache.drop_unknown()
    assert list(cache._known) == [2]  # nothing of a read that matched nothing stays
