"""The schemas as validators, for tests that look at what comes out."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

_SCHEMAS = Path(__file__).parents[2] / "schemas"


@functools.cache
def validator(document: str) -> Any:
    """A JSON Schema validator for `match`, `reject` and the others; raises ValidationError."""
    schemas = [json.loads(path.read_text()) for path in _SCHEMAS.glob("*.v1.json")]
    registry: Registry[Any] = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema)) for schema in schemas
    )
    (chosen,) = (s for s in schemas if s["$id"].endswith(f"/{document}.v1.json"))
    return Draft202012Validator(chosen, registry=registry)
