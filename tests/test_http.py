"""`engine.http`: what is served, and nothing else."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from engine.errors import HotlistError
from engine.http import HttpServer


@asynccontextmanager
async def serving(
    *, metrics: bytes = b"", unhealthy: str = "", unready: str = ""
) -> AsyncIterator[aiohttp.ClientSession]:
    server = HttpServer("127.0.0.1", 0, lambda: metrics, lambda: unhealthy, lambda: unready)
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            yield session
    finally:
        await server.stop()


async def test_metrics_are_as_prometheus_wants_them() -> None:
    async with serving(metrics=b"hotlist_reads_total 1.0\n") as client:
        response = await client.get("/metrics")
        assert response.status == 200
        assert response.content_type == "text/plain"
        assert "version=" in response.headers["Content-Type"]
        assert await response.read() == b"hotlist_reads_total 1.0\n"


@pytest.mark.parametrize(
    ("unhealthy", "unready", "healthz", "readyz"),
    [
        ("", "", (200, "ok\n"), (200, "ok\n")),
        ("", "lists not read", (200, "ok\n"), (503, "lists not read\n")),
        ("stopping", "stopping", (503, "stopping\n"), (503, "stopping\n")),
    ],
)
async def test_health_and_readiness_say_why_not(
    unhealthy: str, unready: str, healthz: tuple[int, str], readyz: tuple[int, str]
) -> None:
    async with serving(unhealthy=unhealthy, unready=unready) as client:
        for path, wanted in (("/healthz", healthz), ("/readyz", readyz)):
            response = await client.get(path)
            assert (response.status, await response.text()) == wanted


@pytest.mark.parametrize(
    "path", ["/", "/reads", "/tables/", "/metrics/x", "/entries?plate=ABC1234"]
)
async def test_nothing_else_is_served(path: str) -> None:
    async with serving() as client:
        assert (await client.get(path)).status == 404


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_nothing_can_be_sent(path: str) -> None:
    async with serving() as client:
        assert (await client.post(path, data=b"x")).status == 405


async def test_the_port_is_free_again_after_stop() -> None:
    first = HttpServer("127.0.0.1", 0, bytes, str, str)
    await first.start()
    port = first.port
    assert port != 0
    await first.stop()
    second = HttpServer("127.0.0.1", port, bytes, str, str)
    await second.start()
    await second.stop()


async def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(HotlistError) as caught:
            await HttpServer("127.0.0.1", port, bytes, str, str).start()
    text = str(caught.value)
    assert text.startswith(f"HTTP port: cannot listen on 127.0.0.1:{port} (")
    assert text.endswith("; choose another with --http-host and --http-port")
