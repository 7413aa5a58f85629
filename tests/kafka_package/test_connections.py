"""`engine.kafka.connections`: no connection stays open, whatever a client is cancelled in."""

from __future__ import annotations

import asyncio
import gc
import itertools
import socket
import struct
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.client import ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, AIOKafkaProtocol
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from engine.demo.embedded_broker import EmbeddedBroker
from engine.kafka import connections
from engine.kafka.cluster import Cluster
from engine.kafka.topics import Topics

#: More waits than any start or stop has.
MOST = 200
KINDS = {
    "producer": (Cluster.producer, "start", "stop"),
    "consumer": (Cluster.consumer, "start", "stop"),
    "admin": (Cluster.admin, "start", "close"),
    "client": (Cluster.client, "bootstrap", "close"),
}


class CancelledAt:
    """Awaits a coroutine and cancels it at its nth wait; `was_cancelled` if it had so many."""

    def __init__(self, coroutine: Any, wait: int) -> None:
        self._coroutine = coroutine
        self._wait = wait
        self.was_cancelled = False

    def __await__(self) -> Generator[Any, Any, None]:
        steps = self._coroutine.__await__()
        try:
            awaited = steps.send(None)
            for wait in itertools.count(1):
                if wait == self._wait:
                    self.was_cancelled = True
                    if awaited is not None:
                        awaited.cancel()
                error: BaseException | None = None
                try:
                    yield awaited
                except BaseException as raised:  # noqa: BLE001 - it is passed on
                    error = raised
                if wait == self._wait and error is None:
                    error = asyncio.CancelledError()
                awaited = steps.send(None) if error is None else steps.throw(error)
        except (StopIteration, asyncio.CancelledError, KafkaError):
            return


def open_connections() -> list[AIOKafkaConnection]:
    return [
        each
        for each in gc.get_objects()
        if isinstance(each, AIOKafkaConnection) and each.connected()
    ]


async def all_closed() -> bool:
    """Whether none stays open; one that is being made is closed when it is complete."""
    for _ in range(100):
        if not open_connections():
            return True
        await asyncio.sleep(0.01)
    return False


@pytest.fixture(scope="module")
def cluster() -> Generator[Cluster, None, None]:
    # `open_connections` looks at every object, and need not look at those of other tests.
    gc.freeze()
    try:
        with EmbeddedBroker() as broker:
            yield Cluster(broker.bootstrap, Topics("lpr."))
    finally:
        gc.unfreeze()


async def cancel_everywhere(
    make: Callable[[], Any], start: str, stop: str, *, in_stop: bool
) -> int:
    """Cancel a client's start, or its stop, at each of its waits; how many there are."""
    for wait in range(1, MOST):
        client = make()
        if in_stop:
            await getattr(client, start)()
            step = CancelledAt(getattr(client, stop)(), wait)
            await step
        else:
            step = CancelledAt(getattr(client, start)(), wait)
            await step
        is_whole = not step.was_cancelled or await all_closed()
        await getattr(client, stop)()
        assert is_whole, f"cancelled at wait {wait}"
        assert await all_closed()
        if not step.was_cancelled:
            return wait - 1
    raise AssertionError("it has more waits")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("in_stop", [False, True], ids=["start", "stop"])
async def test_cancelled_at_each_wait(cluster: Cluster, kind: str, in_stop: bool) -> None:
    make, start, stop = KINDS[kind]
    waits = await cancel_everywhere(lambda: make(cluster), start, stop, in_stop=in_stop)
    assert waits >= (1 if in_stop else 3)


async def test_aiokafka_by_itself_leaves_one_open(cluster: Cluster) -> None:
    """If this fails, the seam is needed no more."""

    def make() -> AIOKafkaConsumer:
        return AIOKafkaConsumer(bootstrap_servers=cluster.bootstrap)

    try:
        with pytest.raises(AssertionError, match="cancelled at wait"):
            await cancel_everywhere(make, "start", "stop", in_stop=False)
    finally:
        for each in open_connections():
            each.close()


async def test_a_request_on_a_lost_connection_is_a_connection_error(cluster: Cluster) -> None:
    """As uvloop's transport raises once its connection was reset."""
    client = cluster.client()
    await client.bootstrap()
    node = client.get_random_node()
    assert await client.ready(node)
    connection = client._conns[node, ConnectionGroup.DEFAULT]

    def write(data: bytes) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")

    connection._writer.write = write
    with pytest.raises(KafkaConnectionError, match="the connection was lost"):
        await client.send(node, MetadataRequest([]))
    assert not connection.connected()
    await client.close()
    assert open_connections() == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_connection_that_is_reset_leaves_no_error_that_nobody_takes(kind: str) -> None:
    """asyncio would print it with a traceback, if a collection came to it before the protocol."""

    def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at_once = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        writer.transport.abort()

    def errors_left() -> list[Any]:
        protocols = [each for each in gc.get_objects() if isinstance(each, AIOKafkaProtocol)]
        # asyncio's own attribute, of the name of a private one of ours.
        closed = [vars(each)["_closed"] for each in protocols]
        return [each for each in closed if each._log_traceback]

    make, start, stop = KINDS[kind]
    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        client = make(Cluster(f"{host}:{port}", Topics("lpr.")))
        gc.disable()
        try:
            with pytest.raises(KafkaError):
                await getattr(client, start)()
            assert errors_left() == []
        finally:
            gc.enable()
            await getattr(client, stop)()


async def test_a_connection_that_comes_after_the_end(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another task is about to make one while the client closes."""
    about_to, may_go = asyncio.Event(), asyncio.Event()
    connect: Callable[..., Awaitable[Any]] = connections.connect

    async def connect_late(*args: Any, **options: Any) -> Any:
        about_to.set()
        await may_go.wait()
        return await connect(*args, **options)

    client = cluster.client()
    await client.bootstrap()
    monkeypatch.setattr(connections, "connect", connect_late)
    node = client.get_random_node()
    connecting = asyncio.create_task(client.ready(node))
    await about_to.wait()
    await client.close()
    may_go.set()
    assert not await connecting
    assert open_connections() == []


async def test_a_fetch_that_waits_to_be_tried_again_does_not_break_a_stop() -> None:
    """aiokafka waits for each fetch that it cancels, and takes its end for its own."""
    fetches, fetch = (asyncio.create_task(asyncio.sleep(3600)) for _ in range(2))
    await asyncio.sleep(0)

    class Fetcher:
        _fetch_task = fetches
        _pending_tasks = frozenset([fetch])

    class Client:
        is_closed = False

        async def close(self) -> None:
            self.is_closed = True

    class Consumer:
        def __init__(self) -> None:
            self._client = Client()
            self._fetcher = Fetcher()

        async def start(self) -> None: ...

        async def stop(self) -> None:
            fetch.cancel()
            await fetch

    consumer = Consumer()
    connections.close_whole(consumer, "_client")
    await consumer.stop()
    assert consumer._client.is_closed
    assert fetch.cancelled()
    assert fetches.cancelled()
