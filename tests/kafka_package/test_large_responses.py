"""`engine.kafka.large_responses`: what is received in place is what aiokafka's own stream receives.

A server of the test answers as a broker does, in pieces of any size.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import ssl
import struct
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.fetch import FetchRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kafka import large_responses
from engine.kafka.fetch_limit import FetchRoom
from engine.kafka.large_responses import receive_in_place
from tests.fakes.certificates import Authority

#: Around the head's size, a text's longest, and a socket's buffer.
SIZES = (0, 1, 60, 440, 480, 500, 512, 4_000, 32_700, 32_767, 32_768, 300_000, 2_000_000)
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [
    asyncio.new_event_loop,
    uvloop.new_event_loop,
]
_WITHIN_S = 60.0

Answer = Callable[[bytes], bytes]


class Server:
    """A broker that answers each request with what `answer` makes of it, in pieces."""

    def __init__(self, answer: Answer, pieces: Sequence[int] = (1 << 30,)) -> None:
        self._answer = answer
        self._pieces = itertools.cycle(pieces)
        self._tasks: set[asyncio.Task[None]] = set()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                rest = self._answer(await reader.readexactly(size))
                while rest:
                    piece = next(self._pieces)
                    writer.write(rest[:piece])
                    await writer.drain()
                    rest = rest[piece:]
                    if len(rest) < 2_000:  # so that small pieces arrive one by one
                        await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


class Consumer:
    """What is asked of a consumer: whether its fetcher delivers batches."""

    def __init__(self, *, delivers: bool) -> None:
        self._fetcher = SimpleNamespace(**({"_proc_fetch_request": None} if delivers else {}))


@asynccontextmanager
async def connected(
    server: Server,
    *,
    in_place: bool = True,
    delivers: bool = True,
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
) -> AsyncIterator[AIOKafkaConnection]:
    """A connection to the server, over TLS if there are contexts of both sides."""
    ours, theirs = tls or (None, None)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=theirs)
    host, port = listening.sockets[0].getsockname()[:2]
    protocol = "PLAINTEXT" if ours is None else "SSL"
    connection = AIOKafkaConnection(host, port, security_protocol=protocol, ssl_context=ours)
    connection._do_version_lookup = _nothing
    await connection.connect()
    vars(connection)["_versions"] = {FetchRequest.API_KEY: (11, 11)}
    consumer: Any = Consumer(delivers=delivers)
    if in_place:
        receive_in_place(consumer, connection)
    try:
        yield connection
    finally:
        connection.close()
        for writer in server.writers:
            writer.close()
        listening.close()
        await listening.wait_closed()


async def _nothing() -> None:
    return


def request() -> FetchRequest:
    return FetchRequest(100, 1, 1 << 20, 0, [("reads", [(0, 0, 1 << 20)])], "")


def fetched(*of_partitions: bytes) -> Callable[[bytes], bytes]:
    """An answer to a fetch (version 11): the batches of partitions from 0 on."""

    def answer(asked: bytes) -> bytes:
        _, _, correlation_id = struct.unpack(">hhi", asked[:8])
        body = struct.pack(
            ">iihiih5si", correlation_id, 0, 0, 7, 1, 5, b"reads", len(of_partitions)
        )
        for partition, data in enumerate(of_partitions):
            body += struct.pack(">ihqqqiii", partition, 0, 10, 10, 0, 0, -1, len(data)) + data
        return struct.pack(">i", len(body)) + body

    return answer


def run(made: Callable[[], asyncio.AbstractEventLoop], main: Any) -> None:
    with asyncio.Runner(loop_factory=made) as runner:
        runner.run(asyncio.wait_for(main(), _WITHIN_S))


def batches(response: Any) -> list[bytes]:
    [(topic, partitions)] = response.topics
    assert topic == "reads"
    return [bytes(each[-1]) for each in partitions]


@pytest.mark.parametrize("made", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("size", SIZES)
def test_a_fetch_is_received_as_aiokafka_receives_it(
    made: Callable[[], asyncio.AbstractEventLoop], size: int
) -> None:
    sent = [random.Random(size + each).randbytes(size) for each in range(3)]

    async def main() -> None:
        for in_place in (False, True):
            async with connected(Server(fetched(*sent)), in_place=in_place) as connection:
                for _ in range(3):
                    assert batches(await connection.send(request())) == sent

    run(made, main)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 3_000), min_size=1, max_size=6),
    pieces=st.lists(st.integers(1, 1_500), min_size=1, max_size=5),
    asked=st.integers(1, 4),
)
def test_responses_may_come_in_any_pieces_and_several_at_a_time(
    sizes: list[int], pieces: list[int], asked: int
) -> None:
    sent = [random.Random(each).randbytes(each) for each in sizes]

    async def main() -> None:
        async with connected(Server(fetched(*sent), pieces)) as connection:
            answers = await asyncio.gather(*(connection.send(request()) for _ in range(asked)))
            assert [batches(each) for each in answers] == [sent] * asked

    run(uvloop.new_event_loop, main)


@pytest.mark.parametrize("made", LOOPS, ids=["asyncio", "uvloop"])
def test_over_tls(made: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(*authority.issue("server"))
    ours = ssl.create_default_context(cafile=authority.cafile)
    sent = [random.Random(size).randbytes(size) for size in SIZES]

    async def main() -> None:
        async with connected(Server(fetched(*sent)), tls=(ours, theirs)) as connection:
            for _ in range(3):
                assert batches(await connection.send(request())) == sent

    run(made, main)


def test_a_consumer_of_records_gets_bytes() -> None:
    """aiokafka's own parser needs them."""
    sent = [bytes(100_000), bytes(5)]

    async def main() -> None:
        async with connected(Server(fetched(*sent)), delivers=False) as connection:
            [(_, partitions)] = (await connection.send(request())).topics
            assert [each[-1] for each in partitions] == sent
            assert {type(each[-1]) for each in partitions} == {bytes}

    run(uvloop.new_event_loop, main)


@pytest.mark.parametrize("made", LOOPS, ids=["asyncio", "uvloop"])
def test_large_batches_are_views_of_one_array_and_counted_as_it(
    made: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    sent = [bytes(100_000), bytes(200_000), bytes(5)]

    async def main() -> None:
        async with connected(Server(fetched(*sent))) as connection:
            response = await connection.send(request())
            [(_, partitions)] = response.topics
            large, larger, small = (each[-1] for each in partitions)
            assert isinstance(small, bytes)
            assert large.obj is larger.obj
            room = FetchRoom()
            held = [room.hold(each) for each in (large, larger)]
            assert 300_005 <= room.held_bytes == large.obj.nbytes
            del response, partitions, large, larger, held[0]
            assert room.held_bytes > 300_000, "a view is left"
            held.clear()
            await asyncio.sleep(0)  # asyncio holds what has woken this task
            assert room.held_bytes == 0

    run(made, main)


def _cut_short(asked: bytes) -> bytes:
    """A whole response whose last batch ends before its own length."""
    whole = fetched(bytes(9_000))(asked)
    return struct.pack(">i", len(whole) - 5) + whole[4:-1]


@pytest.mark.parametrize("made", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "answer",
    [
        lambda asked: b"\xff\xff\xff\xff",
        lambda asked: struct.pack(">i", 600) + bytes(600),
        _cut_short,
        lambda asked: struct.pack(">i", 6) + asked[4:8] + b"\x00\x00",
    ],
    ids=["negative length", "of another request", "large and cut short", "small and cut short"],
)
def test_a_response_that_is_wrong_ends_the_connection(
    made: Callable[[], asyncio.AbstractEventLoop], answer: Answer
) -> None:
    async def main() -> None:
        for in_place in (False, True):
            async with connected(Server(answer), in_place=in_place) as connection:
                with pytest.raises(KafkaError):
                    await connection.send(request())
                assert not connection.connected()

    run(made, main)


@pytest.mark.parametrize("made", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("received", [0, 3, 4, 100, 5_000])
def test_a_connection_that_ends_inside_a_response_fails_who_waits(
    made: Callable[[], asyncio.AbstractEventLoop], received: int
) -> None:
    async def main() -> None:
        server = Server(lambda asked: fetched(bytes(10_000))(asked)[:received])
        async with connected(server) as connection:
            waiting = asyncio.ensure_future(connection.send(request()))
            while not server.writers:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            server.writers[0].close()
            with pytest.raises(KafkaConnectionError):
                await waiting
            assert not connection.connected()

    run(made, main)


def test_a_head_keeps_nothing_of_what_it_received() -> None:
    secret = b"B AB 1234"

    async def main() -> None:
        for size in (100, 400, 5_000):
            sent = secret + bytes(size)
            async with connected(Server(fetched(sent))) as connection:
                assert batches(await connection.send(request())) == [sent]
                receiver = connection._writer.transport.get_protocol()
                assert secret not in bytes(receiver._head)

    run(uvloop.new_event_loop, main)


def test_a_connection_that_nobody_holds_is_let_go() -> None:
    async def main() -> None:
        async with connected(Server(fetched(b""))) as connection:
            assert batches(await connection.send(request())) == [b""]
        await connection._closed_fut

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(uvloop.new_event_loop, main)


def test_another_aiokafka_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AIOKafkaConnection, "_handle_frame", lambda self, frame: None)
    with pytest.raises(RuntimeError, match="pin aiokafka"):
        large_responses.receive_in_place(Consumer(delivers=True), object())
