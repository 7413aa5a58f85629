"""A schema registry of our own, and values as its serializers frame them.

The shape of the answers and of the frame:
https://docs.confluent.io/platform/current/schema-registry/develop/api.html (schema, schemaType,
    references, error_code 40401 to 40403)
https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop (wire format)
https://github.com/Aiven-Open/karapace and https://docs.redpanda.com/api/doc/schema-registry/, which
    give the same answers
"""

from __future__ import annotations

import io
import json
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import fastavro
from aiohttp import web

_TYPE: Final = "application/vnd.schemaregistry.v1+json"
#: The schema that we ship for reads in Avro.
DETECTION: Final = (Path(__file__).parents[2] / "schemas/detection.v1.avsc").read_text("utf-8")

Answer = Callable[[web.Request], web.StreamResponse]


def framed(schema_id: int, data: bytes) -> bytes:
    """A value as Confluent's serializers frame it."""
    return struct.pack(">bI", 0, schema_id) + data


def avro(schema: str, value: Any) -> bytes:
    """A value as fastavro writes it, which Confluent's serializer for Python uses too."""
    written = io.BytesIO()
    fastavro.schemaless_writer(written, fastavro.parse_schema(json.loads(schema)), value)
    return written.getvalue()


@dataclass(slots=True)
class FakeRegistry:
    """The schemas by their ids, those by subject and version, and what replaces any answer.

    A schema in Protobuf may have its descriptor as `base64`.
    """

    url: str = ""
    schemas: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    versions: dict[tuple[str, int], Mapping[str, Any]] = field(default_factory=dict)
    answer: Callable[[web.Request], Any] | None = None
    asked: list[str] = field(default_factory=list)
    logins: list[str | None] = field(default_factory=list)

    def add(self, schema_id: int, schema: str, **others: Any) -> None:
        """Register a schema; without a type it is Avro, as registries leave that out."""
        self.schemas[schema_id] = {"schema": schema, **others}

    async def _any(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        self.logins.append(request.headers.get("Authorization"))
        if self.answer is not None:
            answer: web.StreamResponse = await self.answer(request)
            return answer
        match request.path.strip("/").split("/"):
            case ["schemas", "types"]:
                return _json(["AVRO", "JSON", "PROTOBUF"])
            case ["schemas", "ids", number]:
                found = self.schemas.get(int(number))
                if request.query.get("format") == "serialized" and found and "base64" in found:
                    found = {**found, "schema": found["base64"]}
                return _json(found) if found else _refused(40403, "Schema not found")
            case ["subjects", subject, "versions", number]:
                found = self.versions.get((subject, int(number)))
                if found:
                    return _json({"subject": subject, "id": 99, "version": int(number), **found})
                return _refused(40401, f"Subject '{subject}' not found.")
        return web.Response(status=404, text="<html>not found</html>", content_type="text/html")


def _json(content: Any) -> web.Response:
    return web.Response(body=json.dumps(content).encode(), headers={"Content-Type": _TYPE})


def _refused(code: int, message: str) -> web.Response:
    body = json.dumps({"error_code": code, "message": message}).encode()
    return web.Response(status=404, body=body, headers={"Content-Type": _TYPE})


@asynccontextmanager
async def fake_registry(
    registry: FakeRegistry, port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[FakeRegistry]:
    """The registry, served on a free port or on this one."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", registry._any)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
    await site.start()
    registry.url = f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield registry
    finally:
        await runner.cleanup()
