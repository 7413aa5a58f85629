"""What a process of `hotlist ingest` shows of itself: `/metrics`, `/healthz` and `/readyz`."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from engine import limits
from engine.ingest.producer import Ingest
from engine.serving.http_port import HttpPort
from engine.serving.port import Bounds


def add_status(app: web.Application, ingest: Ingest) -> None:
    """Add the three routes to an application."""

    async def health(_: web.Request) -> web.Response:
        # A restart would lose the reads that are held, so it never asks for one by itself.
        return web.Response(text="ok\n")

    async def ready(_: web.Request) -> web.Response:
        reason = ingest.not_ready
        if reason is not None:
            return web.Response(status=503, text=f"{reason}\n")
        return web.Response(text="ok\n")

    async def metrics(_: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=ingest.metrics.exposition(), headers=headers)

    app.router.add_get("/healthz", health)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", metrics)


def status_port(ingest: Ingest) -> HttpPort:
    """Return a port that serves the three routes and nothing else."""
    app = web.Application()
    add_status(app, ingest)
    bounds = Bounds(
        limits.HTTP_CONNECTIONS, limits.HTTP_CONNECTIONS_A_PEER, limits.HTTP_CONNECTION_S
    )
    return HttpPort(app, bounds, shutdown_timeout=limits.HTTP_SHUTDOWN_S)
