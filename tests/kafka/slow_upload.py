"""A network that takes little in: a TCP proxy before a broker, slow in one direction."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 64 * 1024
_SLOW_CHUNK_BYTES = 2 * 1024


class SlowUpload:
    """An async context manager that passes connections on to `target_port` on this machine.

    While `bytes_a_second` is set, each connection passes no more than that towards the broker; what
    comes from it passes as ever. So small requests get through, those that fetch or keep a group's
    membership among them, and what is produced hardly does.
    """

    def __init__(self, port: int, target_port: int) -> None:
        self.bytes_a_second: float | None = None
        self._port = port
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self._target_port)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._upload(reader, to_broker))
                both.create_task(_pass(from_broker, writer))
        except asyncio.CancelledError:
            pass  # the server's own callback would log it
        finally:
            self._tasks.discard(task)

    async def _upload(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(
                _SLOW_CHUNK_BYTES if self.bytes_a_second else _CHUNK_BYTES
            ):
                if self.bytes_a_second:
                    await asyncio.sleep(len(chunk) / self.bytes_a_second)
                writer.write(chunk)
                await writer.drain()
        writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    writer.close()
