"""The endpoint of `hotlist ingest`: who may send, what is answered, and what is bounded."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine import limits
from engine.errors import HotlistError
from engine.ingest.adapters import Site, openalpr, platerecognizer
from engine.ingest.producer import Ingest
from engine.ingest.webhook import Endpoint, IngestServer

_TOKEN = "a-token-of-the-tests"
_VENDORS = Path(__file__).parents[1] / "data" / "vendors"
_GROUP = (_VENDORS / "openalpr-v2.json").read_bytes()
_STREAM = (_VENDORS / "platerecognizer-stream.json").read_bytes()
_BEARER = {"Authorization": f"Bearer {_TOKEN}"}


class Producer:
    """In the place of aiokafka's; `acknowledge` says when it has a record."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes, Any]] = []
        self.acknowledge: Callable[[], asyncio.Future[None]] = _at_once

    async def send(
        self, topic: str, *, key: bytes, value: bytes, headers: Any
    ) -> asyncio.Future[None]:
        assert topic == "lpr.detections.v1"
        self.records.append((key, value, headers))
        return self.acknowledge()


def _at_once() -> asyncio.Future[None]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


@asynccontextmanager
async def listening(
    producer: Producer, adapter: Any = openalpr.adapt
) -> AsyncIterator[aiohttp.ClientSession]:
    ingest = Ingest(producer, "lpr.detections.v1", adapter, Site("city-north"))
    server = IngestServer(ingest, Endpoint("127.0.0.1", 0, _TOKEN))
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as client:
            yield client
    finally:
        await server.stop()


async def answer(response: aiohttp.ClientResponse) -> tuple[int, Any]:
    async with response:
        return response.status, await response.json()


async def test_a_message_is_taken() -> None:
    producer = Producer()
    async with listening(producer) as client:
        found = await answer(await client.post("/", data=_GROUP, headers=_BEARER))
        assert found == (200, {"reads": 1, "problems": []})
    [(key, value, headers)] = producer.records
    assert key == b"A13709"
    assert json.loads(value)["source"] == "city-north"
    assert headers == [("alternates", b"A137O9,AI3709")]


async def test_a_form_with_pictures() -> None:
    producer = Producer()
    async with listening(producer, platerecognizer.adapt) as client:
        form = aiohttp.FormData()
        form.add_field("upload", b"\xff\xd8" * 1000, filename="picture.jpg")
        form.add_field("json", _STREAM.decode())
        found = await answer(await client.post("/", data=form, headers=_BEARER))
        assert found == (200, {"reads": 2, "problems": []})
        empty = aiohttp.FormData()
        empty.add_field("upload", b"\xff\xd8", filename="picture.jpg")
        status, _ = await answer(await client.post("/", data=empty, headers=_BEARER))
        assert status == 400
    assert [key for key, _, _ in producer.records] == [b"NHK552", b"7ABC123"]


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer another-token-than-it",
        f"Token {_TOKEN}",
        f"Bearer {_TOKEN}x",
        "Basic ???",
        "Basic " + base64.b64encode(b"camera:wrong").decode(),
        "Basic " + base64.b64encode(_TOKEN.encode()).decode(),
    ],
)
async def test_nobody_without_the_token(authorization: str | None) -> None:
    producer = Producer()
    async with listening(producer) as client:
        headers = {} if authorization is None else {"Authorization": authorization}
        found = await answer(await client.post("/", data=_GROUP, headers=headers))
        assert found == (401, {"error": "the token is missing or wrong"})
    assert producer.records == []


async def test_the_token_as_a_password() -> None:
    async with listening(Producer()) as client:
        secret = base64.b64encode(f"camera-7:{_TOKEN}".encode()).decode()
        headers = {"Authorization": f"Basic {secret}"}
        status, _ = await answer(await client.post("/", data=_GROUP, headers=headers))
        assert status == 200


async def test_a_message_of_which_nothing_can_be_used() -> None:
    async with listening(Producer()) as client:
        found = await answer(await client.post("/", data=b'{"plate": 7}', headers=_BEARER))
        error = {"field": "$.data_type", "rule": "is required"}
        assert found == (400, {"error": "$.data_type: is required", **error})


async def test_a_message_that_is_too_long_or_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INGEST_MESSAGE_BYTES", 5000)
    monkeypatch.setattr(limits, "INGEST_RECEIVE_S", 0.2)

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    async with listening(Producer()) as client:
        status, _ = await answer(await client.post("/", data=b" " * 6000, headers=_BEARER))
        assert status == 413
        form = aiohttp.FormData()
        form.add_field("upload", b" " * 6000, filename="picture.jpg")
        status, _ = await answer(await client.post("/", data=form, headers=_BEARER))
        assert status == 413
        status, _ = await answer(await client.post("/", data=slowly(), headers=_BEARER))
        assert status == 408


async def test_what_the_broker_does_not_acknowledge_is_to_be_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "INGEST_DELIVERY_S", 0.1)
    producer = Producer()
    producer.acknowledge = lambda: asyncio.get_running_loop().create_future()
    async with listening(producer) as client:
        response = await client.post("/", data=_GROUP, headers=_BEARER)
        assert (response.status, response.headers["Retry-After"]) == (503, "5")
        health = await client.get("/healthz")
        assert health.status == 503
        producer.acknowledge = _at_once
        status, _ = await answer(await client.post("/", data=_GROUP, headers=_BEARER))
        assert status == 200
        assert (await client.get("/healthz")).status == 200
        text = await (await client.get("/metrics")).text()
    assert 'hotlist_ingest_messages_total{result="not_taken"} 1.0' in text
    assert "hotlist_ingest_reads_total 1.0" in text
    first, again = producer.records
    assert first == again


async def test_too_many_at_a_time_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INGEST_MESSAGES", 1)
    producer = Producer()
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    producer.acknowledge = lambda: gate
    async with listening(producer) as client:
        first = asyncio.create_task(client.post("/", data=_GROUP, headers=_BEARER))
        while not producer.records:
            await asyncio.sleep(0.01)
        status, body = await answer(await client.post("/", data=_GROUP, headers=_BEARER))
        assert (status, body) == (503, {"error": "busy, send it again"})
        gate.set_result(None)
        assert (await first).status == 200


async def test_other_requests() -> None:
    async with listening(Producer()) as client:
        for method, path, status in (("GET", "/", 405), ("POST", "/reads", 404)):
            response = await client.request(method, path, headers=_BEARER)
            assert response.status == status


async def test_a_port_that_is_taken() -> None:
    async with listening(Producer()) as client:
        ingest = Ingest(Producer(), "t", openalpr.adapt, Site("s"))
        port = client._base_url.port if client._base_url else 0
        assert port
        server = IngestServer(ingest, Endpoint("127.0.0.1", port, _TOKEN))
        with pytest.raises(HotlistError, match=f"cannot listen on 127.0.0.1:{port} "):
            await server.start()
