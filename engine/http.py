"""The worker's HTTP port: metrics for Prometheus, health for whoever restarts it.

Nothing that a read or an entry holds can be asked for here. Faust's own web server is not
used: it would serve internals.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from engine.errors import HotlistError

#: Gives the reason why not, or an empty string where all is well.
Condition = Callable[[], str]


class HttpServer:
    """Serves `/metrics`, `/healthz` and `/readyz`; 503 with the reason where a condition fails."""

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Callable[[], bytes],
        healthy: Condition,
        ready: Condition,
    ) -> None:
        self._host = host
        self._port = port
        self._metrics = metrics
        app = web.Application()
        app.router.add_get("/metrics", self._serve_metrics)
        app.router.add_get("/healthz", _condition(healthy))
        app.router.add_get("/readyz", _condition(ready))
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        """Listen. Raises HotlistError where the port cannot be had."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise HotlistError(
                f"cannot listen on {self._host}:{self._port} ({error.strerror or error})",
                where="HTTP port",
                hint="choose another with --http-host and --http-port",
            ) from error

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port listened on; the one that was found free where 0 was asked for."""
        addresses = self._runner.addresses
        return int(addresses[0][1]) if addresses else self._port

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _condition(failing: Condition) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        reason = failing()
        return web.Response(status=503 if reason else 200, text=f"{reason or 'ok'}\n")

    return answer
