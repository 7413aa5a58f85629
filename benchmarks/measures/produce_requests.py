"""Produce requests that are made beforehand, and one connection for each partition to send them.

At tens of millions of reads a minute a pacer may not take a share of the processor that belongs to
what is measured. aiokafka's producer copies a batch several times on its way to the socket, and has
one request on its way at a time. Here a request is made once, with its batch in it, and sent over
and over: one system call, which needs no GIL.

The broker handles the requests of one connection in order, and so the requests need no numbers of
their own.
"""

from __future__ import annotations

import io
import socket
from typing import Final, Self

from aiokafka import errors
from aiokafka.protocol.produce import ProduceRequest_v7, ProduceResponse_v7

_ALL_REPLICAS: Final = -1
_ANSWER_MS: Final = 60_000
_LENGTH_BYTES: Final = 4
_HEADER_BYTES: Final = 4
_RECEIVED_BYTES: Final = 65_536


class PartitionProducer:
    """A connection to the leader of a partition, at `address`. For one thread at a time."""

    def __init__(self, address: tuple[str, int], topic: str, partition: int) -> None:
        self._topic = topic
        self._partition = partition
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()
        self._unanswered = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, batch: bytes) -> bytes:
        """The request that produces a record batch, as it is sent; it may be sent many times."""
        produced = [(self._topic, [(self._partition, batch)])]
        request = ProduceRequest_v7(None, _ALL_REPLICAS, _ANSWER_MS, produced)
        message: bytes = request.build_request_header(0, "pacer").encode() + request.encode()
        return len(message).to_bytes(_LENGTH_BYTES, "big") + message

    def send(self, request: bytes) -> None:
        """Send a request, and take the answers that are there.

        Waits while the socket is full. Raises KafkaError if the broker has refused one, OSError if
        the connection is lost.
        """
        self._socket.sendall(request)
        self._unanswered += 1
        self._receive(socket.MSG_DONTWAIT)

    def wait_answered(self) -> None:
        """Wait until all requests are acknowledged. Raises as `send` does."""
        while self._unanswered:
            self._receive(0)

    def _receive(self, flags: int) -> None:
        try:
            received = self._socket.recv(_RECEIVED_BYTES, flags)
        except BlockingIOError:
            return
        if not received:
            raise ConnectionError("the broker has closed the connection")
        self._received += received
        while (answer := self._next_answer()) is not None:
            self._unanswered -= 1
            for _, partitions in ProduceResponse_v7.decode(io.BytesIO(answer)).topics:
                for _, code, *_ in partitions:
                    if code:
                        raise errors.for_code(code)

    def _next_answer(self) -> bytes | None:
        """Take an answer's body out of what is received; None if it is not there yet."""
        size = int.from_bytes(self._received[:_LENGTH_BYTES], "big")
        end = _LENGTH_BYTES + size
        if len(self._received) < max(end, _LENGTH_BYTES + _HEADER_BYTES):
            return None
        answer = bytes(self._received[_LENGTH_BYTES + _HEADER_BYTES : end])
        del self._received[:end]
        return answer
