"""`engine.observability.http_server`: what is served, and nothing else, whoever asks for it in
whatever way."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client import CONTENT_TYPE_LATEST

from engine import limits
from engine.config import Settings
from engine.errors import HotlistError
from engine.observability.http_server import HttpServer
from engine.observability.metric_families import Exposition
from engine.observability.metrics import Metrics


def no_metrics(_: str) -> Exposition:
    return Exposition(b"", CONTENT_TYPE_LATEST)


@asynccontextmanager
async def serving(
    *, metrics: bytes = b"", unhealthy: str = "", unready: str = ""
) -> AsyncIterator[aiohttp.ClientSession]:
    server = HttpServer(
        *("127.0.0.1", 0, lambda _: Exposition(metrics, CONTENT_TYPE_LATEST)),
        *(lambda: unhealthy, lambda: unready),
    )
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            yield session
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        # Shape: https://prometheus.io/docs/instrumenting/content_negotiation/
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3",
            "application/openmetrics-text",
        ),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain"),
        (
            "application/openmetrics-text;version=none;escaping=\u00bc,,;",
            "application/openmetrics-text",
        ),
        (None, "text/plain"),
    ],
)
async def test_metrics_come_in_the_format_that_is_accepted(
    accept: str | None, media_type: str
) -> None:
    server = HttpServer("127.0.0.1", 0, Metrics().exposition, str, str)
    await server.start()
    headers = {} if accept is None else {"Accept": accept}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", headers=headers) as client:
        response = await client.get("/metrics")
        assert (response.status, response.content_type) == (200, media_type)
        shown = await response.text()
    await server.stop()
    assert "hotlist_reads_total 0.0" in shown
    assert shown.endswith("# EOF\n") == (media_type != "text/plain")


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
    first = HttpServer("127.0.0.1", 0, no_metrics, str, str)
    await first.start()
    port = first.port
    assert port != 0
    await first.stop()
    second = HttpServer("127.0.0.1", port, no_metrics, str, str)
    await second.start()
    await second.stop()


async def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(HotlistError) as caught:
            await HttpServer("127.0.0.1", port, no_metrics, str, str).start()
    text = str(caught.value)
    assert text.startswith(f"HTTP port: cannot listen on 127.0.0.1:{port} (")
    assert text.endswith("; choose another with --http-host and --http-port")


# Hostile clients.


@asynccontextmanager
async def listening() -> AsyncIterator[HttpServer]:
    server = HttpServer("127.0.0.1", 0, lambda _: Exposition(b"m 1\n", "text/plain"), str, str)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def answer(port: int, sent: bytes) -> bytes:
    """All that comes back until the other side ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            return await reader.read()
        return b""
    finally:
        writer.transport.abort()


_LONG = limits.HTTP_LINE_BYTES + 1


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"x" * _LONG + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: " + b"x" * _LONG + b"\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"x" * _LONG + b": a\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * (limits.HTTP_HEADERS + 1) + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ],
    ids=["line", "header", "header-name", "headers", "tls", "smuggling"],
)
async def test_what_is_no_small_request_is_refused_and_not_logged(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening() as server:
        assert (await answer(server.port, sent)).startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
        # And the next one is served.
        good = await answer(server.port, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        assert good.startswith(b"HTTP/1.1 200 ")
    assert not caplog.records


async def test_a_header_that_is_no_text_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """aiohttp quotes it in its answer, and cannot write that."""
    async with listening() as server:
        said = await answer(server.port, b"POST / HTTP/1.1\r\nHost: a\r\nExpect: \xbc\r\n\r\n")
        assert b" 200 " not in said
    assert not caplog.records


async def test_a_failure_of_our_own_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fails(_: str) -> Exposition:
        raise ValueError("not to be shown to strangers")

    server = HttpServer("127.0.0.1", 0, fails, str, str)
    await server.start()
    said = await answer(server.port, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    await server.stop()
    assert said.startswith(b"HTTP/1.1 500 ")
    assert b"strangers" not in said
    assert "strangers" in caplog.text


async def test_a_connection_is_for_one_request() -> None:
    async with listening() as server:
        for path in (b"/metrics", b"/nothing"):
            twice = (b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n") * 2
            assert (await answer(server.port, twice)).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "sent", [b"", b"GET /met", b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"]
)
async def test_who_is_slow_is_hung_up_on(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HTTP_CONNECTION_S", 0.05)
    async with listening() as server:
        said = await asyncio.wait_for(answer(server.port, sent), 30)
    assert b" 200 " not in said


async def test_who_reads_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HTTP_CONNECTION_S", 0.2)

    def huge(_: str) -> Exposition:
        return Exposition(bytes(64 * limits.MIB), CONTENT_TYPE_LATEST)

    much = HttpServer("127.0.0.1", 0, huge, str, str)
    await much.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", much.port, limit=1024)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    while much.connections < 1:
        await asyncio.sleep(0.01)
    while much.connections:
        await asyncio.sleep(0.01)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await reader.readexactly(64 * limits.MIB)
    writer.transport.abort()
    await much.stop()


async def test_connections_are_bounded_and_there_is_room_for_a_probe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "HTTP_CONNECTIONS", 3)
    async with listening() as server:
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        while server.connections < 3:
            await asyncio.sleep(0.01)
        request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
        assert (await answer(server.port, request)).startswith(b"HTTP/1.1 200 ")
        assert server.connections < 4
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(idle[0][0].read(), 30) == b"", "the oldest has ended"
        for _, writer in idle:
            writer.transport.abort()


async def test_who_hangs_on_does_not_delay_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HTTP_SHUTDOWN_S", 0.05)
    async with listening() as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /met")
        while not server.connections:
            await asyncio.sleep(0.01)
        await asyncio.wait_for(server.stop(), 30)
        assert not server.connections
        writer.transport.abort()


# Where it listens.


def test_it_listens_on_this_machine_alone_unless_told_otherwise() -> None:
    assert ipaddress.ip_address(Settings().http_host).is_loopback
    assert Settings(http_host="0.0.0.0").http_host == "0.0.0.0"


async def test_from_another_address_nobody_gets_in() -> None:
    """A loopback address is one of many: at the others nobody listens."""
    server = HttpServer(Settings().http_host, 0, no_metrics, str, str)
    await server.start()
    try:
        for address in ("127.0.0.2", "::1"):
            with pytest.raises(OSError, match=r"Connect call failed|Cannot assign|not supported"):
                await asyncio.open_connection(address, server.port)
    finally:
        await server.stop()
