"""`engine.serving.port`: how many clients there may be, and which of too many goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop

from engine.serving.port import Bounds, Port, log
from tests.fakes.certificates import Authority

_WAIT_S = 60


class Greeting(asyncio.Protocol):
    """Says hello to a client that has sent a line, and keeps the transport."""

    made: list[asyncio.BaseTransport]

    def __init__(self, made: list[asyncio.BaseTransport]) -> None:
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._made.append(transport)

    def data_received(self, data: bytes) -> None:
        cast(asyncio.Transport, self._transport).write(b"hello\n")


@asynccontextmanager
async def opened(
    bounds: Bounds, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Port, list[asyncio.BaseTransport]]]:
    made: list[asyncio.BaseTransport] = []
    port = Port(lambda: Greeting(made), bounds, tls)
    await port.open("127.0.0.1", 0)
    try:
        yield port, made
    finally:
        await port.close()
        for transport in made:
            cast(asyncio.Transport, transport).abort()
        await until(lambda: port.stranger_count + port.trusted_count == 0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


class Client:
    """A connection from one of this machine's addresses."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def is_served(self) -> bool:
        self._writer.write(64 * b"x" + b"\n")
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(self._reader.readline(), _WAIT_S) == b"hello\n"
        return False

    async def has_ended(self) -> None:
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(self._reader.read(), _WAIT_S) == b""

    def leave(self) -> None:
        self._writer.transport.abort()


async def connected(port: Port, address: str = "127.0.0.1", **options: Any) -> Client:
    assert port.number is not None
    return Client(
        *await asyncio.open_connection("127.0.0.1", port.number, local_addr=(address, 0), **options)
    )


async def test_the_oldest_of_one_address_goes_first() -> None:
    async with opened(Bounds(10, 2, _WAIT_S)) as (port, made):
        clients = []
        for number in range(3):
            clients.append(await connected(port))
            await until(lambda number=number: len(made) == number + 1)  # type: ignore[misc]
        await clients[0].has_ended()
        assert await clients[1].is_served()
        assert await clients[2].is_served()
        assert port.stranger_count == 2
        for client in clients:
            client.leave()
        await until(lambda: port.stranger_count == 0)


async def test_a_flood_from_one_address_takes_no_place_of_another() -> None:
    async with opened(Bounds(4, 3, _WAIT_S)) as (port, made):
        first = await connected(port, "127.0.0.2")
        await until(lambda: len(made) == 1)
        flood = []
        for number in range(20):
            flood.append(await connected(port, "127.0.0.3" if number % 2 else "127.0.0.4"))
            await until(lambda number=number: len(made) == number + 2)  # type: ignore[misc]
            assert port.stranger_count <= 4
        assert await first.is_served()
        for client in (first, *flood):
            client.leave()


async def test_no_stranger_takes_the_place_of_a_trusted_client() -> None:
    async with opened(Bounds(2, 2, _WAIT_S, trusted=1)) as (port, made):
        known = await connected(port)
        await until(lambda: len(made) == 1)
        assert port.trust(made[0])
        assert port.trust(made[0]), "it is already"
        strangers = [await connected(port) for _ in range(5)]
        await until(lambda: len(made) == 6 and port.stranger_count == 2)
        assert await known.is_served()
        assert not port.trust(made[-1]), "there is no room for another one"
        assert port.trusted_count == 1
        known.leave()
        await until(lambda: port.trusted_count == 0)
        assert port.trust(made[-1])
        assert not port.trust(made[0]), "it has left"
        for client in strangers:
            client.leave()


async def test_a_stranger_lasts_for_its_time_and_a_trusted_client_stays() -> None:
    async with opened(Bounds(4, 4, 0.3, trusted=1)) as (port, made):
        known = await connected(port)
        await until(lambda: len(made) == 1)
        assert port.trust(made[0])
        stranger = await connected(port)
        await stranger.has_ended()
        await until(lambda: port.stranger_count == 0)
        assert await known.is_served()
        stranger.leave()
        known.leave()


async def test_a_handshake_that_does_not_come_is_a_stranger_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*authority.issue("server"))
    trusting = ssl.create_default_context(cafile=str(authority.cafile))
    async with opened(Bounds(3, 3, _WAIT_S), tls) as (port, made):
        silent = [await connected(port) for _ in range(5)]
        await until(lambda: port.stranger_count == 3)
        await silent[0].has_ended()
        await silent[1].has_ended()
        wrong = await connected(port)
        assert not await wrong.is_served()
        await wrong.has_ended()
        assert not made
        client = await connected(port, ssl=trusting, server_hostname="127.0.0.1")
        assert await client.is_served()
        for each in (*silent, wrong, client):
            each.leave()
        await until(lambda: port.stranger_count == 0)
    assert not caplog.records


async def test_a_request_whose_connection_has_ended_trusts_no_client(tmp_path: Path) -> None:
    """aiohttp has no transport for it then; and neither has a client in its handshake."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*Authority(tmp_path).issue("server"))
    async with opened(Bounds(3, 3, _WAIT_S, trusted=1), tls) as (port, _):
        silent = await connected(port)
        await until(lambda: port.stranger_count == 1)
        assert not port.trust(None)
        assert (port.stranger_count, port.trusted_count) == (1, 0)
        silent.leave()
        await until(lambda: port.stranger_count == 0)


async def test_without_a_free_descriptor_a_stranger_makes_room(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(Bounds(3, 3, _WAIT_S)) as (port, made):
        stranger = await connected(port)
        await until(lambda: len(made) == 1)
        accept = socket.socket.accept
        failures = [OSError(24, "Too many open files")]

        def accepted(listener: socket.socket) -> Any:
            if failures:
                raise failures.pop()
            return accept(listener)

        monkeypatch.setattr(socket.socket, "accept", accepted)
        other = await connected(port)
        await stranger.has_ended()
        third = await connected(port)
        assert await other.is_served()
        assert await third.is_served()
        for each in (stranger, other, third):
            each.leave()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.records[0].name == log.name


async def test_an_address_that_is_taken() -> None:
    async with opened(Bounds(3, 3, _WAIT_S)) as (port, _):
        assert port.number is not None
        other = Port(lambda: Greeting([]), Bounds(3, 3, _WAIT_S))
        with pytest.raises(OSError, match="in use"):
            await other.open("127.0.0.1", port.number)
        assert other.number is None


@pytest.mark.parametrize(
    "test",
    [
        test_the_oldest_of_one_address_goes_first,
        test_no_stranger_takes_the_place_of_a_trusted_client,
        test_a_stranger_lasts_for_its_time_and_a_trusted_client_stays,
    ],
)
def test_it_serves_on_the_loop_of_a_worker(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A worker runs on uvloop, whose transports are no subclasses of asyncio's."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
