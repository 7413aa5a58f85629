"""The HTTP endpoint of `hotlist ingest`: a vendor's webhook in, detections out.

`POST /` takes one message, as the body or as the field `json` of a form (whose files are not
kept). The sender proves that it knows the token: as `Authorization: Bearer TOKEN`, or as the
password of `Basic`, which is the only one that many cameras can send. Answers are JSON.

    200  accepted: the broker has all its reads, or it has none; `reads` says how many, `problems`
         which parts gave none
    400  it gives no read, and `field` and `rule` say why; sending it again is useless
    401  the token is missing or wrong
    408, 413  too slow, too long
    503  not accepted: busy, or the broker does not acknowledge; most senders send it again

Nothing of a message is logged, returned or kept. The number of messages in work is bounded; further
senders get 503 before their message is read.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ssl
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import aiohttp
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest

from engine import limits
from engine.errors import BrokerError, HotlistError
from engine.ingest.adapters import AdapterError
from engine.ingest.producer import Ingest

_RETRY_AFTER = {"Retry-After": "5"}
_RESULTS = ("taken", "bad", "unauthorized", "unreadable", "not_taken")


class Endpoint(NamedTuple):
    """The address to listen on, the token that messages must come with, and TLS."""

    host: str
    port: int
    token: str
    tls: ssl.SSLContext | None = None


class IngestServer:
    """The endpoint's server; see the module."""

    def __init__(self, ingest: Ingest, endpoint: Endpoint) -> None:
        self._ingest = ingest
        self._endpoint = endpoint
        self._in_work = 0
        self._is_failing = False
        self._registry = CollectorRegistry()
        self._messages = Counter(
            "hotlist_ingest_messages_total",
            "Messages, by what became of them.",
            ["result"],
            registry=self._registry,
        )
        self._reads = Counter(
            "hotlist_ingest_reads_total", "Reads of them.", registry=self._registry
        )
        for result in _RESULTS:
            self._messages.labels(result)
        app = web.Application(
            client_max_size=limits.INGEST_MESSAGE_BYTES, middlewares=[self._counted]
        )
        app.router.add_post("/", self._take)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=limits.INGEST_DELIVERY_S
        )
        self._site: web.TCPSite | None = None

    async def start(self) -> None:
        """Start listening. Raises HotlistError if the port is not available."""
        await self._runner.setup()
        host, port, _, tls = self._endpoint
        self._site = web.TCPSite(self._runner, host, port, ssl_context=tls)
        try:
            await self._site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise HotlistError(
                f"cannot listen on {host}:{port} ({error.strerror or error})",
                hint="choose another address with --listen",
            ) from error

    async def stop(self) -> None:
        """Answer the requests in work, then stop listening."""
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port that the server listens on; if 0 was asked for, the free port it was given."""
        return int(self._runner.addresses[0][1]) if self._runner.addresses else self._endpoint.port

    @web.middleware
    async def _counted(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Count the result of each message; turn aiohttp's own errors into JSON."""
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = _answer(error.status, error=error.reason.lower())
        if request.method == "POST" and request.path == "/":
            results = {200: "taken", 400: "bad", 401: "unauthorized", 503: "not_taken"}
            self._messages.labels(results.get(response.status, "unreadable")).inc()
        return response

    async def _take(self, request: web.Request) -> web.Response:
        if not self._is_known(request):
            return _answer(
                401, error="the token is missing or wrong", headers={"WWW-Authenticate": "Bearer"}
            )
        if self._in_work >= limits.INGEST_MESSAGES or self._ingest.is_behind:
            return _answer(503, error="busy, send it again", headers=_RETRY_AFTER)
        self._in_work += 1
        try:
            return await self._answer_to(request)
        finally:
            self._in_work -= 1

    async def _answer_to(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(limits.INGEST_RECEIVE_S):
                message = await _message(request)
        except TimeoutError:
            return _answer(408, error=f"was not sent within {limits.INGEST_RECEIVE_S:g} s")
        try:
            adapted = await self._ingest.take(message)
        except AdapterError as error:
            return _answer(400, error=str(error), field=error.field, rule=error.rule)
        except BrokerError as error:
            self._is_failing = True
            return _answer(503, error=error.what, headers=_RETRY_AFTER)
        self._is_failing = False
        self._reads.inc(len(adapted.reads))
        problems = [{"field": each.field, "rule": each.rule} for each in adapted.problems]
        return _answer(200, reads=len(adapted.reads), problems=problems)

    def _is_known(self, request: web.Request) -> bool:
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        secret = given.strip().encode("utf-8", "surrogateescape")
        if kind.lower() == "basic":
            try:
                secret = base64.b64decode(secret, validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                return False
        elif kind.lower() != "bearer":
            return False
        return hmac.compare_digest(secret, self._endpoint.token.encode())

    async def _health(self, _: web.Request) -> web.Response:
        if self._is_failing or self._ingest.is_behind:
            return web.Response(status=503, text="the broker does not acknowledge reads\n")
        return web.Response(text="ok\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=generate_latest(self._registry), headers=headers)


def _answer(status: int, *, headers: dict[str, str] | None = None, **body: object) -> web.Response:
    return web.json_response(body, status=status, headers=headers)


async def _message(request: web.Request) -> bytes:
    """Return the body, or the field `json` of a form, without keeping its files."""
    if request.content_type != "multipart/form-data":
        return await request.read()
    too_long = web.HTTPRequestEntityTooLarge(
        max_size=limits.INGEST_MESSAGE_BYTES, actual_size=limits.INGEST_MESSAGE_BYTES + 1
    )
    found = bytearray()
    passed_bytes = 0
    try:
        async for part in await request.multipart():
            if not isinstance(part, aiohttp.BodyPartReader):
                raise web.HTTPBadRequest(reason="a form within a form")
            is_message = part.name == "json"
            while chunk := await part.read_chunk():
                passed_bytes += len(chunk)
                if passed_bytes > limits.INGEST_MESSAGE_BYTES:
                    raise too_long
                if is_message:
                    found += chunk
    except (ValueError, AssertionError, aiohttp.ClientError) as error:
        raise web.HTTPBadRequest(reason="the form cannot be read") from error
    return bytes(found)
