"""A fetch's response is received straight into one buffer, and its batches stay there.

aiokafka receives through a stream: what arrives is appended to a buffer, 64 KiB at a time, then
copied out as one response, and each partition's batches are copied out of that. Each of these
copies is made with the GIL, and each piece wakes a task. Here the response's length is read first,
and the rest goes from the socket to where it stays. Nothing is copied, and the GIL is needed once
for all that the socket holds.

`receive_in_place` is a seam in aiokafka: it gives one connection another protocol, and a copy of
`_handle_frame` that reads from the buffer. `tests/kafka_package/test_large_responses.py` is the
contract with aiokafka. Nothing is patched for other connections of the process.
"""

from __future__ import annotations

import asyncio
import io
import types
import weakref
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaConsumer
from aiokafka import conn as aiokafka_conn
from aiokafka.conn import AIOKafkaConnection

from engine.arrays import Bytes
from engine.kafka.raw_fetcher import delivers_batches

#: Kafka's number of the request, and the longest text in its responses before version 12.
_FETCH: Final = 1
_LONGEST_TEXT: Final = (1 << 15) - 1
#: Responses are received here until their length is known: most fit, and of a fetch's only the
#: names come before its batches.
_HEAD_BYTES: Final = 512
_LENGTH_BYTES: Final = 4


def receive_in_place(consumer: AIOKafkaConsumer, connection: AIOKafkaConnection) -> None:
    """Have responses received in place on a consumer's connection that waits for none now.

    If the consumer delivers batches, its fetcher gets what is large of a partition as a memoryview,
    whose `obj` is an array of the whole response. aiokafka's own parser needs bytes. Raises
    RuntimeError if this aiokafka has other connections.
    """
    method = AIOKafkaConnection._handle_frame
    if "BytesIO" not in method.__code__.co_names:
        raise RuntimeError("this version of aiokafka has other connections; pin aiokafka 0.14")
    names = {**vars(aiokafka_conn), "io": types.SimpleNamespace(BytesIO=_opened)}
    handle = types.FunctionType(method.__code__, names, method.__name__)
    connection._writer.transport.set_protocol(_Receiver(consumer, connection, handle))


class _Receiver(asyncio.BufferedProtocol):
    """Receives a connection's responses, each into a buffer of its size."""

    def __init__(
        self, consumer: AIOKafkaConsumer, connection: AIOKafkaConnection, handle: Any
    ) -> None:
        # As aiokafka's own task does: who no longer needs a connection just lets it go.
        self._connection = weakref.ref(connection)
        self._consumer = weakref.ref(consumer)
        self._handle = handle
        #: The protocol that handles the end, and what waits to be sent.
        self._stream = connection._protocol
        self._reader = connection._reader
        self._head = bytearray(_HEAD_BYTES)
        self._has_failed = False
        self._receive_into(None)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._room[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._has_failed:
            self._filled = 0
            return
        self._filled += nbytes
        try:
            if self._frame is None:
                self._take_small()
            elif self._filled == len(self._frame):
                frame = self._frame
                self._receive_into(None)
                self._take(frame)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends the connection
            self._has_failed = True
            self._receive_into(None)
            self._reader.set_exception(error)

    def eof_received(self) -> bool | None:
        keeps_open: bool | None = self._stream.eof_received()
        return keeps_open

    def connection_lost(self, exc: Exception | None) -> None:
        self._stream.connection_lost(exc)

    def pause_writing(self) -> None:
        self._stream.pause_writing()

    def resume_writing(self) -> None:
        self._stream.resume_writing()

    def _receive_into(self, frame: Bytes | None) -> None:
        """Receive what comes next into a response's buffer, or into the head."""
        self._frame = frame
        self._room = memoryview(self._head) if frame is None else frame.data
        self._filled = 0

    def _take_small(self) -> None:
        """Take the whole responses out of the head, and begin the one that is larger."""
        head, at = self._head, 0
        while self._filled - at >= _LENGTH_BYTES:
            begin = at + _LENGTH_BYTES
            size = int.from_bytes(head[at:begin], "big", signed=True)
            if size < 0:
                raise ValueError("a response has a negative length")
            if _LENGTH_BYTES + size > _HEAD_BYTES:
                part = head[begin : self._filled]
                self._receive_into(np.empty(size, dtype=np.uint8))
                self._room[: len(part)] = part
                self._filled = len(part)
                head[:] = bytes(_HEAD_BYTES)
                return
            if self._filled - begin < size:
                break
            at = begin + size
            self._take(bytes(head[begin:at]))
        left = head[at : self._filled]
        head[:] = left.ljust(_HEAD_BYTES, b"\0")  # nothing of a read stays
        self._filled = len(left)

    def _take(self, frame: bytes | Bytes) -> None:
        connection, consumer = self._connection(), self._consumer()
        if connection is None or connection._reader is None:
            return  # it is closed
        is_fetch = getattr(connection._requests[0][1], "API_KEY", None) == _FETCH
        keeps = is_fetch and consumer is not None and delivers_batches(consumer)
        self._handle(connection, frame if keeps else bytes(frame))


class _Parts:
    """What aiokafka reads a fetch's response from, as it would from a BytesIO: batches are views,
    and anything shorter is bytes."""

    def __init__(self, frame: Bytes) -> None:
        self._view = frame.data
        self._at = 0

    def read(self, size: int) -> bytes | memoryview:
        at = self._at
        part = self._view[at : at + size]
        self._at = at + len(part)
        return part if size > _LONGEST_TEXT else bytes(part)


def _opened(frame: bytes | Bytes) -> io.BytesIO | _Parts:
    return io.BytesIO(frame) if isinstance(frame, bytes) else _Parts(frame)
