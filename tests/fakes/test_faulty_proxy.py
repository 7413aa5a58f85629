"""Each thing that the network of the fault tests can do, before a server that echoes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.fakes.faulty_proxy import FaultyProxy

#: Longer than anything here takes.
WAIT_S = 30.0
#: Shorter than any wait that a test means, and long enough for what must not come.
MOMENT_S = 0.2

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that sends back what it gets, so many times, and knows how its connections ended."""

    def __init__(self) -> None:
        self.port = 0
        self.times = 1
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.open_count = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        how = "closed"
        self.open_count += 1
        try:
            while data := await reader.read(1 << 16):
                for _ in range(self.times):
                    writer.write(data)
                    await writer.drain()
        except ConnectionResetError:
            how = "reset"
        finally:
            writer.close()
            self.open_count -= 1
            self.ended.put_nowait(how)


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[FaultyProxy, Echo]]:
    echo = Echo()
    server = await asyncio.start_server(echo.answer, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(WAIT_S), server, FaultyProxy(0, echo.port) as proxy:
        yield proxy, echo
        abort_opened()
        proxy.reset()
        while echo.open_count:
            await asyncio.sleep(0.01)


#: What a test has opened, to be closed at its end.
_opened: list[asyncio.StreamWriter] = []


async def opened(proxy: FaultyProxy) -> Streams:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    _opened.append(writer)
    return reader, writer


def abort_opened() -> None:
    for writer in _opened:
        writer.transport.abort()
    _opened.clear()


async def connected(proxy: FaultyProxy) -> Streams:
    reader, writer = await opened(proxy)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    return reader, writer


async def nothing_comes(reader: asyncio.StreamReader) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(MOMENT_S):
            await reader.read(1)


async def test_it_passes_on_what_comes() -> None:
    async with proxied() as (proxy, echo):
        reader, writer = await connected(proxy)
        other, _ = await connected(proxy)
        assert proxy.connection_count == 2
        data = bytes(range(256)) * 4096
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        writer.close()
        assert await echo.ended.get() == "closed"
        await nothing_comes(other)


async def test_paused_it_passes_nothing_and_closes_nothing() -> None:
    async with proxied() as (proxy, echo):
        reader, writer = await connected(proxy)
        proxy.pause()
        writer.write(b"waits")
        await nothing_comes(reader)
        writer.close()
        await asyncio.sleep(MOMENT_S)
        assert echo.ended.empty(), "the end of a connection does not get through either"
        proxy.resume()
        assert await echo.ended.get() == "closed"


async def test_what_waited_comes_when_it_resumes() -> None:
    async with proxied() as (proxy, _):
        reader, writer = await connected(proxy)
        proxy.pause()
        writer.write(b"waits")
        await nothing_comes(reader)
        proxy.resume()
        assert await reader.readexactly(5) == b"waits"


async def test_cut_both_ends_see_an_end_in_order() -> None:
    async with proxied() as (proxy, echo):
        reader, _ = await connected(proxy)
        proxy.cut()
        assert await reader.read() == b""
        assert await echo.ended.get() == "closed"
        again, _ = await connected(proxy)
        await nothing_comes(again)


async def test_cut_while_a_client_reads_late_nothing_fails() -> None:
    """The end comes behind what waits already; what the proxy holds back goes nowhere."""
    failures: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: failures.append(about))
    async with proxied() as (proxy, echo):
        reader, writer = await connected(proxy)
        echo.times = 256
        writer.write(bytes(1 << 16))
        [connection] = proxy._connections
        while not connection.outer.transport.get_write_buffer_size():
            await asyncio.sleep(0.01)
        proxy.cut()
        assert len(await reader.read()) > 1 << 16
        while proxy.connection_count:
            await asyncio.sleep(0.01)
    assert failures == []


async def test_reset_both_ends_see_a_reset() -> None:
    async with proxied() as (proxy, echo):
        reader, _ = await connected(proxy)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert await echo.ended.get() == "reset"


async def test_refusing_it_takes_no_new_connections_until_it_is_mended() -> None:
    async with proxied() as (proxy, _):
        reader, writer = await connected(proxy)
        proxy.refuse()
        with contextlib.suppress(ConnectionResetError):  # on connecting, or on reading
            refused, _ = await opened(proxy)
            assert await refused.read() == b""
        writer.write(b"goes on")
        assert await reader.readexactly(7) == b"goes on"
        proxy.mend()
        await connected(proxy)


async def test_a_broker_that_is_away_resets_whoever_connects() -> None:
    async with asyncio.timeout(WAIT_S), FaultyProxy(0, 1) as proxy:
        reader, _ = await opened(proxy)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        abort_opened()
        assert proxy.connection_count == 0


async def test_half_closed_towards_the_client_the_other_way_stays_open() -> None:
    async with proxied() as (proxy, echo):
        reader, writer = await connected(proxy)
        proxy.half_close(towards_broker=False)
        assert await reader.read() == b""
        writer.write(b"still goes out, and its echo nowhere")
        await asyncio.sleep(MOMENT_S)
        assert echo.ended.empty()
        writer.close()
        assert await echo.ended.get() == "closed"


async def test_half_closed_towards_the_broker_it_may_still_answer() -> None:
    async with proxied() as (proxy, echo):
        reader, writer = await connected(proxy)
        proxy.half_close(towards_broker=True)
        assert await echo.ended.get() == "closed", "it sees the end"
        assert await reader.read() == b"", "and ends its own half"
        writer.close()


async def test_slow_it_takes_its_time() -> None:
    """No less than its rate and its latency ask for; how much more is a matter of the machine."""
    async with proxied() as (proxy, _):
        reader, writer = await connected(proxy)
        proxy.slow(bytes_a_second=40_000, latency_s=0.02)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        writer.write(bytes(8_000))
        await reader.readexactly(8_000)
        assert loop.time() - began_s >= 2 * 8_000 / 40_000 / 2
        proxy.mend()
        writer.write(bytes(1 << 20))
        assert await reader.readexactly(1 << 20) == bytes(1 << 20)
