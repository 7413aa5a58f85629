"""The worker's HTTP port: metrics for Prometheus, health for the supervisor, a status page.

No request can read anything of a read or an entry, and no request changes anything. Faust's own
web server is not used, because it would serve internals.

A connection serves one small request and lasts a few seconds at most, whatever the client sends or
does not read. The number of connections is limited too: see `limits.HTTP_*`. Connections beyond
the limits are closed, and none of this reaches the log.
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
from engine.observability.status_page import Page, status_json

#: For aiohttp, which logs each malformed request with a trace and its content.
_log = logging.getLogger(__name__)

#: Returns the reason why the condition fails, or an empty string if all is well.
Condition = Callable[[], str]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer:
    """Serves `/metrics`, `/healthz` and `/readyz`; 503 with the reason if a condition fails.

    With `status`, it also serves the page at `/` and `/status`, and `/status.json`.
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
        """Start listening. Raises HotlistError if the port is not available."""
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
        """Stop listening, and close the connections that are still open."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port that the server listens on; if 0 was asked for, the free port it was given."""
        if self._listener is None:
            return self._port
        return int(self._listener.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        server = self._runner.server
        return 0 if server is None else len(server.connections)

    def _admit(self) -> asyncio.Protocol:
        """Return the protocol of the next connection."""
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


#: The page and its data are only for the client that asks, at that time.
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
        body = status_json(status())
        return web.Response(body=body, content_type="application/json", headers=_PRIVATE)

    return answer


@web.middleware
async def _one_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Close the connection after its first answer, even if that is an error."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.force_close()
        raise
    response.force_close()
    return response


def _is_ours(record: logging.LogRecord) -> bool:
    """Return whether a record reports our failures, and not what a client has sent."""
    error = record.exc_info[1] if record.exc_info else None
    # About the content of a header, aiohttp may log text that cannot be encoded in UTF-8.
    return not isinstance(error, HttpProcessingError | ConnectionError | UnicodeEncodeError)


_log.addFilter(_is_ours)


def _abort(protocol: web.RequestHandler) -> None:
    """Close a connection if it is still open, with data that was not read yet."""
    if protocol.transport is not None:
        protocol.transport.abort()


class _HangUp(asyncio.Protocol):
    """The protocol of connections beyond the limit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()
