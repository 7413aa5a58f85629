"""A client closes every connection that it has made, however its start or its stop ends.

aiokafka leaves a connection open in three cases: if the client is cancelled while it asks the first
broker for the cluster; if another task is making a connection while the client closes; and if its
stop is cancelled before it comes to the connections, after which a second stop does nothing. The
stop of a consumer without a group even cancels itself if it comes soon after the start. An event
loop that ends then reports an unclosed socket.

`close_whole` is a seam in aiokafka: it gives one client copies of the two methods that make
connections, with a `create_conn` that remembers them. `tests/kafka_package/test_connections.py` is
the contract with aiokafka. Nothing is patched for other clients of the process.

A connection that was lost prints nothing by itself, not even the traceback that asyncio prints if a
collection of cycles finds its future before its protocol (`connect`).

A request on a connection that was lost a moment ago is a KafkaConnectionError too, which aiokafka's
tasks wait out. uvloop raises RuntimeError there (aio-libs/aiokafka issue 1038), which ends them.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiokafka import client as aiokafka_client
from aiokafka import conn as aiokafka_conn
from aiokafka.errors import KafkaConnectionError

_SEAMS: Final = ("bootstrap", "_get_conn")
_Method = Callable[[], Awaitable[None]]


def _with(function: Any, **replaced: Any) -> Any:
    """Copy a function of aiokafka, with other objects under some of its module's names. Raises
    RuntimeError if it uses none of that name."""
    if not replaced.keys() <= {*function.__code__.co_names}:
        raise RuntimeError("this version of aiokafka connects otherwise; pin aiokafka 0.14")
    copied = types.FunctionType(
        function.__code__,
        {**function.__globals__, **replaced},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


class _Protocol(aiokafka_conn.AIOKafkaProtocol):  # type: ignore[misc]  # aiokafka has no types
    """Takes note of the error with which the connection ends. asyncio does so in `__del__`, which
    may be too late."""

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if self._closed.done() and not self._closed.cancelled():
            self._closed.exception()


class _Connection(aiokafka_conn.AIOKafkaConnection):  # type: ignore[misc]
    connect = _with(aiokafka_conn.AIOKafkaConnection.connect, AIOKafkaProtocol=_Protocol)


async def connect(host: str, port: int, **options: Any) -> Any:
    """Connect to a broker, as aiokafka's `create_conn` does. Raises KafkaError and OSError."""
    connection = _Connection(host, port, **options)
    await connection.connect()
    return connection


class _Connections:
    """The connections that one client has made."""

    def __init__(self, prepare: Callable[[Any], None] | None) -> None:
        self._prepare = prepare
        self._made: list[Any] = []
        self._is_closed = False

    async def create(self, host: str, port: int, **options: Any) -> Any:
        """Make a connection. Raises KafkaConnectionError if the client has been closed."""
        connection = await connect(host, port, **options)
        if self._is_closed:
            connection.close()
            raise KafkaConnectionError("the client is closed")
        if self._prepare is not None:
            self._prepare(connection)
        connection.send = _reporting(connection, connection.send)
        self._made = [each for each in self._made if each.connected()]
        self._made.append(connection)
        return connection

    def close(self) -> None:
        """Close all of them, and each that is made from now on. Waits for nothing."""
        self._is_closed = True
        while self._made:
            self._made.pop().close()


def _reporting(connection: Any, send: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a connection's `send`: it raises KafkaConnectionError if the connection is lost."""

    def wrapped(*args: Any, **options: Any) -> Any:
        try:
            return send(*args, **options)
        except RuntimeError as error:
            connection.close()
            raise KafkaConnectionError(f"the connection was lost: {error}") from error

    return wrapped


def close_whole(
    client: Any,
    holds: str = "",
    *,
    start: str = "start",
    stop: str = "stop",
    prepare: Callable[[Any], None] | None = None,
) -> None:
    """Have a new client close all its connections when its start fails and when it stops.

    `holds` names the attribute with the AIOKafkaClient in it, empty if it is one itself. `start`
    and `stop` are the names of its methods. `prepare` is called with each connection before it is
    used. Raises RuntimeError if this aiokafka makes connections in another way.
    """
    inner = getattr(client, holds) if holds else client
    connections = _Connections(prepare)
    for seam in _SEAMS:
        method = getattr(aiokafka_client.AIOKafkaClient, seam)
        copied = _with(method, create_conn=connections.create)
        setattr(inner, seam, types.MethodType(copied, inner))
    setattr(client, start, _starting(getattr(client, start), connections))
    setattr(client, stop, _stopping(client, inner, getattr(client, stop), connections))


def _starting(method: _Method, connections: _Connections) -> _Method:
    """Wrap a client's start: close its connections if it fails or is cancelled."""

    async def wrapped() -> None:
        try:
            await method()
        except BaseException:
            connections.close()
            raise

    return wrapped


def _stopping(client: Any, inner: Any, method: _Method, connections: _Connections) -> _Method:
    """Wrap a client's stop: close its connections, however it ends."""

    async def wrapped() -> None:
        try:
            try:
                await method()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                # aiokafka's own: of a task that it cancelled before that had begun, or of a fetch
                # that was waiting to be tried again.
                if (fetcher := getattr(client, "_fetcher", None)) is not None:
                    await _end(fetcher._fetch_task, *fetcher._pending_tasks)
                await inner.close()
        finally:
            connections.close()

    return wrapped


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
