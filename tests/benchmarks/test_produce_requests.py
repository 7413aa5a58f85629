"""Produce requests made beforehand, against a broker of sockets alone."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiokafka import errors
from aiokafka.protocol.api import RequestHeader_v1, ResponseHeader_v0
from aiokafka.protocol.produce import ProduceRequest_v7, ProduceResponse_v7

from benchmarks.measures.produce_requests import PartitionProducer

_TOPIC = "reads"
_PARTITION = 3


def _answer(code: int) -> bytes:
    body = ProduceResponse_v7([(_TOPIC, [(_PARTITION, code, 7, -1, 0)])], 0)
    message: bytes = ResponseHeader_v0(0).encode() + body.encode()
    return len(message).to_bytes(4, "big") + message


@contextmanager
def _broker(answers: list[bytes]) -> Iterator[tuple[tuple[str, int], list[bytes]]]:
    """A broker that answers its first requests with these bytes, whatever they are, and then
    closes the connection; and the record batches that it got."""
    batches: list[bytes] = []

    def serve() -> None:
        with server.accept()[0] as connection, connection.makefile("rb") as received:
            for answer in answers:
                message = io.BytesIO(received.read(int.from_bytes(received.read(4), "big")))
                RequestHeader_v1.SCHEMA.decode(message)
                request = ProduceRequest_v7.decode(message)
                assert request.required_acks == -1
                ((topic, ((partition, batch),)),) = request.topics
                assert (topic, partition) == (_TOPIC, _PARTITION)
                batches.append(batch)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=serve)
        serving.start()
        yield server.getsockname(), batches
        serving.join()


def _send_all(producer: PartitionProducer, *batches: bytes) -> None:
    for batch in batches:
        producer.send(producer.request(batch))
    producer.wait_answered()


def test_answers_are_counted_however_they_come() -> None:
    whole = _answer(0)
    for cut in range(len(whole)):
        answers = [whole[:cut], whole[cut:] + whole[:cut], whole[cut:]]
        with (
            _broker(answers) as (address, batches),
            PartitionProducer(address, _TOPIC, _PARTITION) as producer,
            pytest.raises(ConnectionError),  # two answers to three requests
        ):
            _send_all(producer, b"one", b"two", b"three")
        assert batches == [b"one", b"two", b"three"]


def test_a_request_may_be_sent_again_and_all_are_waited_for() -> None:
    with _broker([_answer(0)] * 3) as (address, batches):
        with PartitionProducer(address, _TOPIC, _PARTITION) as producer:
            request = producer.request(b"batch")
            for _ in range(3):
                producer.send(request)
            producer.wait_answered()
        assert batches == [b"batch"] * 3


def test_what_the_broker_refuses_is_an_error() -> None:
    code = errors.NotLeaderForPartitionError.errno
    with (
        _broker([_answer(code)]) as (address, _),
        PartitionProducer(address, _TOPIC, _PARTITION) as producer,
        pytest.raises(errors.NotLeaderForPartitionError),
    ):
        _send_all(producer, b"batch")
