"""A network that fails: a TCP proxy in front of one listener of a broker."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

_CHUNK_BYTES = 64 * 1024
#: While it is slow: small, so that a limited rate is not a row of lumps.
_SLOW_CHUNK_BYTES = 2 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(eq=False, slots=True)
class _Connection:
    """Both halves of a connection, `outer` towards the client and `inner` towards the broker."""

    outer: asyncio.StreamWriter
    inner: asyncio.StreamWriter
    #: Once one is false, what comes from that side goes nowhere any more.
    passes_to_outer: bool = True
    passes_to_inner: bool = True


class FaultyProxy:
    """An async context manager that passes connections on to `target_port` on this machine.

    What it does to connections it does to all of them. Faults may overlap; `mend` ends those
    that last. The port listens all the time: while `refuse` is in force, who connects is reset.
    """

    def __init__(self, port: int, target_port: int) -> None:
        self._port = port
        self._target_port = target_port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._latency_s = 0.0
        self._bytes_a_second: float | None = None
        self._answers_flow = False
        self._refuses = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[_Connection] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def connection_count(self) -> int:
        """Connections that are passed on now, in one direction at least."""
        return len(self._connections)

    def pause(self) -> None:
        """Let nothing through any more, in either direction, and close nothing: how a broken
        network looks from both ends."""
        self._flowing.clear()

    def resume(self) -> None:
        """Let through what waits and what follows."""
        self._flowing.set()

    def slow(self, bytes_a_second: float, latency_s: float, *, answers_flow: bool = False) -> None:
        """Pass so many bytes a second in each direction of a connection, each so much later.

        `answers_flow`: only towards the broker. So small requests get through, those that fetch or
        keep a group's membership among them, and what is produced hardly does.
        """
        self._bytes_a_second, self._latency_s = bytes_a_second, latency_s
        self._answers_flow = answers_flow

    def refuse(self) -> None:
        """Take no new connections."""
        self._refuses = True

    def mend(self) -> None:
        """End all faults that last; connections that are gone stay gone."""
        self._bytes_a_second, self._latency_s, self._refuses = None, 0.0, False
        self._answers_flow = False
        self._flowing.set()

    def cut(self) -> None:
        """Close all connections in order, both ends of each."""
        for connection in list(self._connections):
            connection.outer.close()
            connection.inner.close()

    def reset(self) -> None:
        """Break all connections off: both ends get a reset (RST)."""
        for connection in list(self._connections):
            _abort(connection.outer)
            _abort(connection.inner)

    def half_close(self, *, towards_broker: bool) -> None:
        """End one direction of all connections, the one towards the broker or towards the
        client; the other one stays open."""
        for connection in list(self._connections):
            writer = connection.inner if towards_broker else connection.outer
            if towards_broker:
                connection.passes_to_inner = False
            else:
                connection.passes_to_outer = False
            with contextlib.suppress(OSError, RuntimeError):  # of one that is closing by itself
                writer.write_eof()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection: _Connection | None = None
        try:
            if self._refuses:
                _abort(writer)
                return
            inner_reader, inner_writer = await asyncio.open_connection(
                "127.0.0.1", self._target_port
            )
            connection = made = _Connection(writer, inner_writer)
            self._connections.add(made)
            async with asyncio.TaskGroup() as both:
                both.create_task(
                    self._pump(reader, inner_writer, True, lambda: made.passes_to_inner)
                )
                both.create_task(
                    self._pump(inner_reader, writer, False, lambda: made.passes_to_outer)
                )
        except asyncio.CancelledError:
            pass  # the server's own callback would log it
        except OSError:
            _abort(writer)  # the broker is away
        finally:
            self._tasks.discard(task)
            if connection is not None:
                self._connections.discard(connection)
                _abort(connection.inner)
                _abort(connection.outer)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        towards_broker: bool,
        passes: Callable[[], bool],
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(self._chunk_bytes(towards_broker)):
                await self._flowing.wait()
                if self._is_slow(towards_broker):
                    await asyncio.sleep(self._takes_s(len(chunk)))
                if writer.is_closing() or not passes():
                    continue
                writer.write(chunk)
                await writer.drain()
            await self._flowing.wait()
        if passes():
            writer.close()

    def _is_slow(self, towards_broker: bool) -> bool:
        is_meant = towards_broker or not self._answers_flow
        return is_meant and bool(self._latency_s or self._bytes_a_second)

    def _chunk_bytes(self, towards_broker: bool) -> int:
        rated = self._bytes_a_second is not None and self._is_slow(towards_broker)
        return _SLOW_CHUNK_BYTES if rated else _CHUNK_BYTES

    def _takes_s(self, size_bytes: int) -> float:
        rate = self._bytes_a_second
        return self._latency_s + (0.0 if rate is None else size_bytes / rate)


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the other end gets a reset, and what waits is lost.

    One that is closing may still have something to send. Once that is sent, its socket is closed,
    and asyncio's transport fails if it is then aborted (`_SelectorSocketTransport._write_ready`
    calls `_call_connection_lost` and does not count that).
    """
    found = writer.get_extra_info("socket")
    if found.fileno() < 0:
        return
    with contextlib.suppress(OSError):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
