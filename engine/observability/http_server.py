"""The worker's HTTP port: metrics for Prometheus, health for whoever restarts it, a status page.

Nothing that a read or an entry holds can be asked for here, and nothing is changed by asking.
Faust's own web server is not used: it would serve internals.

A connection is for one small request and lasts a few seconds at the most, whatever the other
side sends or does not read, and there are only so many at a time: see `limits.HTTP_*`. What is
beyond that is hung up on, and none of it reaches the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CONTENT_TYPE_LATEST

from engine import limits
from engine.errors import HotlistError
from engine.observability.status import Status
from engine.observability.status_page import Page, as_json

#: For aiohttp, which tells of each request that is none with a trace and what was sent.
_log = logging.getLogger(__name__)

#: Gives the reason why not, or an empty string where all is well.
Condition = Callable[[], str]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer:
    """Serves `/metrics`, `/healthz` and `/readyz`; 503 with the reason where a condition fails.

    With `status`, the page at `/` and `/status`, and `/status.json`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Callable[[], bytes],
        healthy: Condition,
        ready: Condition,
        status: Callable[[], Status] | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._metrics = metrics
        app = web.Application(middlewares=[_one_request])
        app.router.add_get("/metrics", self._serve_metrics)
        app.router.add_get("/healthz", _condition(healthy))
        app.router.add_get("/readyz", _condition(ready))
        if status is not None:
            page = Page()
            app.router.add_get("/", _page(page, status))
            app.router.add_get("/status", _page(page, status))
            app.router.add_get("/status.json", _json(status))
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_log,
            shutdown_timeout=limits.HTTP_SHUTDOWN_S,
            max_line_size=limits.HTTP_LINE_BYTES,
            max_field_size=limits.HTTP_LINE_BYTES,
            max_headers=limits.HTTP_HEADERS,
        )
        self._listener: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises HotlistError where the port cannot be had."""
        await self._runner.setup()
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                self._admit, self._host, self._port
            )
        except OSError as error:
            await self._runner.cleanup()
            raise HotlistError(
                f"cannot listen on {self._host}:{self._port} ({error.strerror or error})",
                where="HTTP port",
                hint="choose another with --http-host and --http-port",
            ) from error

    async def stop(self) -> None:
        """Stop listening, and hang up on whoever is still there."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port listened on; the one that was found free where 0 was asked for."""
        if self._listener is None:
            return self._port
        return int(self._listener.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        server = self._runner.server
        return 0 if server is None else len(server.connections)

    def _admit(self) -> asyncio.Protocol:
        """What speaks with the next connection."""
        if self.connections >= limits.HTTP_CONNECTIONS:
            return _HangUp()
        assert self._runner.server is not None
        protocol = self._runner.server()
        asyncio.get_running_loop().call_later(limits.HTTP_CONNECTION_S, _abort, protocol)
        return protocol

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _condition(failing: Condition) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        reason = failing()
        return web.Response(status=503 if reason else 200, text=f"{reason or 'ok'}\n")

    return answer


#: What stands in the page and in its data is for those alone who asked for it, now.
_PRIVATE: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def _page(page: Page, status: Callable[[], Status]) -> Handler:
    headers = {**_PRIVATE, "Content-Security-Policy": page.policy, "X-Frame-Options": "DENY"}

    async def answer(request: web.Request) -> web.StreamResponse:
        body = page.rendered(status())
        return web.Response(body=body, content_type="text/html", charset="utf-8", headers=headers)

    return answer


def _json(status: Callable[[], Status]) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        body = as_json(status())
        return web.Response(body=body, content_type="application/json", headers=_PRIVATE)

    return answer


@web.middleware
async def _one_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Ends the connection with its first answer, a refusal among them."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.force_close()
        raise
    response.force_close()
    return response


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a record tells of our failures, and not of what somebody has sent."""
    error = record.exc_info[1] if record.exc_info else None
    # Of what stands in a header, aiohttp may say something that has no UTF-8.
    return not isinstance(error, HttpProcessingError | ConnectionError | UnicodeEncodeError)


_log.addFilter(_is_ours)


def _abort(protocol: web.RequestHandler) -> None:
    """End a connection if it still lasts, with what was not read yet."""
    if protocol.transport is not None:
        protocol.transport.abort()


class _HangUp(asyncio.Protocol):
    """For those who are too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()
