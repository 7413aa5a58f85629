"""The worker's HTTP port: metrics for Prometheus, health for the supervisor, a status page.

No request can read anything of a read or an entry, and no request changes anything. Faust's own
web server is not used, because it would serve internals.

A connection serves one small request and lasts a few seconds at most, whatever the client sends or
does not read. `engine.serving.port` bounds the number of connections: see `limits.HTTP_*`. Nothing
of this reaches the log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from engine import limits
from engine.observability.metric_families import Exposition
from engine.observability.status import Status
from engine.observability.status_page import Page, status_json
from engine.serving.http_port import HttpPort
from engine.serving.port import Bounds

#: Returns the reason why the condition fails, or an empty string if all is well.
Condition = Callable[[], str]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer:
    """Serves `/metrics`, `/healthz` and `/readyz`; 503 with the reason if a condition fails.

    `metrics` is given the request's header `Accept`, an empty string if it has none.

    With `status`, it also serves the page at `/` and `/status`, and `/status.json`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Callable[[str], Exposition],
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
        bounds = Bounds(
            limits.HTTP_CONNECTIONS, limits.HTTP_CONNECTIONS_A_PEER, limits.HTTP_CONNECTION_S
        )
        self._listening = HttpPort(app, bounds, shutdown_timeout=limits.HTTP_SHUTDOWN_S)

    async def start(self) -> None:
        """Start listening. Raises HotlistError if the port is not available."""
        hint = "choose another with --http-host and --http-port"
        await self._listening.open(self._host, self._port, "HTTP port", hint)

    async def stop(self) -> None:
        """Stop listening, and close the connections that are still open."""
        await self._listening.close()

    @property
    def port(self) -> int:
        """The port that the server listens on; if 0 was asked for, the free port it was given."""
        return self._port if self._listening.number is None else self._listening.number

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return self._listening.connections

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        shown = self._metrics(",".join(request.headers.getall("Accept", [])))
        return web.Response(body=shown.body, headers={"Content-Type": shown.content_type})


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
