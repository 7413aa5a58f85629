"""The endpoint of `hotlist ingest`: who may send, what is answered, and what is bounded."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from engine import limits
from engine.cli.mapping import adapter_of
from engine.errors import HotlistError
from engine.ingest.adapters import Site, hikvision, openalpr, platerecognizer
from engine.ingest.metrics import IngestMetrics
from engine.ingest.producer import Ingest
from engine.ingest.webhook import Endpoint, IngestServer

_TOKEN = "a-token-of-the-tests"
_VENDORS = Path(__file__).parents[1] / "data" / "vendors"
_FIELD = Path(__file__).parents[1] / "data" / "field" / "messages"
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
async def serving(
    producer: Producer, adapter: Any = openalpr.adapt, *, is_holding: bool = False
) -> AsyncIterator[IngestServer]:
    metrics = IngestMetrics("openalpr")
    ingest = Ingest(producer, "lpr.detections.v1", adapter, Site("city-north"), metrics)
    endpoint = Endpoint("127.0.0.1", 0, _TOKEN, is_holding=is_holding)
    server = IngestServer(ingest, endpoint)
    await server.start()
    looking = asyncio.create_task(ingest.look())
    try:
        yield server
    finally:
        await server.stop()
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


@asynccontextmanager
async def listening(
    producer: Producer, adapter: Any = openalpr.adapt, *, is_holding: bool = False
) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        serving(producer, adapter, is_holding=is_holding) as server,
        aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as client,
    ):
        yield client


def counted(name: str, count: int, **labels: str) -> str:
    """A line of the metrics."""
    shown = ",".join(f'{key}="{value}"' for key, value in {**labels, "vendor": "openalpr"}.items())
    return f"hotlist_ingest_{name}{{{shown}}} {count}.0"


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
        ready = await client.get("/readyz")
        assert (ready.status, await ready.text()) == (
            503,
            "the broker does not acknowledge reads\n",
        )
        assert (await client.get("/healthz")).status == 200
        text = await (await client.get("/metrics")).text()
        assert 'hotlist_ingest_ready{vendor="openalpr"} 0.0' in text
        producer.acknowledge = _at_once
        status, _ = await answer(await client.post("/", data=_GROUP, headers=_BEARER))
        assert status == 200
        assert (await client.get("/readyz")).status == 200
        text = await (await client.get("/metrics")).text()
    assert counted("messages_total", 1, result="not_taken") in text
    assert 'hotlist_ingest_reads_total{vendor="openalpr"} 1.0' in text
    assert 'hotlist_ingest_ready{vendor="openalpr"} 1.0' in text
    assert 'hotlist_ingest_delivery_seconds_count{vendor="openalpr"} 1.0' in text
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


@asynccontextmanager
async def half_sent(port: int, addresses: Sequence[str]) -> AsyncIterator[list[Any]]:
    """A half-sent request from each of these addresses of this machine, without a token."""
    sockets: list[Any] = []
    try:
        for address in addresses:
            _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
            sockets.append(writer)
        yield sockets
    finally:
        for writer in sockets:
            writer.transport.abort()


#: Two floods from single addresses, and strangers from a hundred others.
_STRANGERS = (
    *150 * ["127.0.0.1"],
    *150 * ["127.0.0.2"],
    *(f"127.0.1.{number}" for number in range(100)),
)


async def test_strangers_keep_no_camera_out(caplog: pytest.LogCaptureFixture) -> None:
    """Hundreds of half-sent requests, before and while cameras send. One camera keeps its
    connection; one makes one for each message, from an address that strangers use too."""
    producer = Producer()
    async with serving(producer) as server:
        url = f"http://127.0.0.1:{server.port}"
        kept = aiohttp.TCPConnector(limit=1, local_addr=("127.0.0.9", 0))
        async with aiohttp.ClientSession(url, connector=kept) as camera:
            for _ in range(3):
                status, _ = await answer(await camera.post("/", data=_GROUP, headers=_BEARER))
                assert status == 200
                async with half_sent(server.port, _STRANGERS):
                    most = limits.INGEST_STRANGERS + 1
                    while not 32 <= server.connections <= most:
                        await asyncio.sleep(0.01)
                    async with aiohttp.ClientSession(url) as other:
                        for _ in range(10):
                            found = await answer(
                                await other.post("/", data=_GROUP, headers=_BEARER)
                            )
                            assert found[0] == 200
                            assert server.connections <= most + 1
            # Still the connection of the first message: it was a trusted one all the time.
            assert [len(each) for each in kept._conns.values()] == [1]
            made = await camera.get("/metrics")
            assert counted("messages_total", 33, result="taken") in await made.text()
    assert len(producer.records) == 33
    assert not caplog.records


async def test_strangers_that_reconnect_keep_no_camera_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They come again as soon as they are hung up on, also with whole requests."""
    monkeypatch.setattr(limits, "INGEST_STRANGERS", 12)
    monkeypatch.setattr(limits, "INGEST_STRANGERS_A_PEER", 4)
    ended, is_over = 0, False

    async def stranger(port: int, number: int) -> None:
        nonlocal ended
        while not is_over:
            with contextlib.suppress(ConnectionError):  # the server has ended
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", port, local_addr=(f"127.0.2.{number % 5}", 0)
                )
                writer.write(b"POST / HTTP/1.1\r\nHost: a\r\n" + b"\r\n" * (number % 2))
                with contextlib.suppress(ConnectionError):
                    await reader.read()
                writer.transport.abort()
                await asyncio.sleep(0)
            ended += 1

    async with serving(Producer()) as server, asyncio.TaskGroup() as tasks:
        for number in range(60):
            tasks.create_task(stranger(server.port, number))
        for number in range(1, 21):
            while ended < 50 * number:
                await asyncio.sleep(0.01)
            async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as camera:
                status, _ = await answer(await camera.post("/", data=_GROUP, headers=_BEARER))
                assert status == 200
        is_over = True
        await server.stop()  # hangs up on all of them
    assert not caplog.records


async def test_a_client_without_the_token_has_one_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "INGEST_STRANGER_S", 0.3)
    async with serving(Producer()) as server:
        for first in (b"GET /healthz", b"GET /nothing", b"POST /"):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write((first + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n") * 2)
            said = await asyncio.wait_for(reader.read(), 60)
            assert said.count(b"HTTP/1.1 ") == 1
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\n")
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()


_GZIP = gzip.compress(_GROUP)
_FORM = "multipart/form-data; boundary=b"

#: Bodies that cannot be read: their headers, the body and the result that counts them.
_BROKEN: dict[str, tuple[dict[str, str], bytes, str]] = {
    "gzip": ({"Content-Encoding": "gzip"}, _GROUP, "broken_encoding"),
    "cut gzip": ({"Content-Encoding": "gzip"}, _GZIP[:-20], "bad"),  # a document that is cut
    "wrong gzip": (
        {"Content-Encoding": "gzip"},
        _GZIP[:30] + b"xxxx" + _GZIP[34:],
        "broken_encoding",
    ),
    "deflate": ({"Content-Encoding": "deflate"}, _GROUP, "broken_encoding"),
    "form": ({"Content-Type": _FORM}, _GROUP, "broken_form"),
    "cut form": (
        {"Content-Type": _FORM},
        b"--b\r\nContent-Disposition: form-data; n",
        "broken_form",
    ),
    "form without a boundary": ({"Content-Type": "multipart/form-data"}, b"--b--", "broken_form"),
    "form in a form": (
        {"Content-Type": _FORM},
        b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n",
        "broken_form",
    ),
    "gzip of a form": (
        {"Content-Type": _FORM, "Content-Encoding": "gzip"},
        b"--b--",
        "broken_encoding",
    ),
    "no document": ({}, b"\xff\xfe", "bad"),
    "empty": ({}, b"", "bad"),
    "charset": ({"Content-Type": "application/json; charset=no-such"}, b"{}", "bad"),
    "content type": ({"Content-Type": '";;/='}, b"{}", "bad"),
}


@pytest.mark.parametrize("name", _BROKEN)
async def test_a_body_that_cannot_be_read_is_refused_for_good(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A camera sends again what gets a 5xx, for ever."""
    headers, body, result = _BROKEN[name]
    async with listening(Producer()) as client:
        sent = client.post("/", data=body, headers={**_BEARER, **headers})
        status, said = await answer(await sent)
        assert status == 400, said
        text = await (await client.get("/metrics")).text()
        again, _ = await answer(await client.post("/", data=_GROUP, headers=_BEARER))
        assert again == 200
    assert counted("messages_total", 1, result=result) in text
    assert not caplog.records


async def test_a_message_in_gzip_is_taken() -> None:
    producer = Producer()
    async with listening(producer) as client:
        headers = {**_BEARER, "Content-Encoding": "gzip"}
        status, said = await answer(await client.post("/", data=_GZIP, headers=headers))
        assert (status, said["reads"]) == (200, 1)


async def test_a_small_gzip_of_a_huge_body_is_too_long() -> None:
    bomb = gzip.compress(bytes(limits.INGEST_MESSAGE_BYTES + 1))
    async with listening(Producer()) as client:
        headers = {**_BEARER, "Content-Encoding": "gzip"}
        status, _ = await answer(await client.post("/", data=bomb, headers=headers))
        assert status == 413


_ANPR = (_FIELD / "hikvision" / "anpr.xml").read_bytes()
_ANPR_FORM = (
    b'--boundary\r\nContent-Disposition: form-data; name="anpr.xml"; filename="anpr.xml"\r\n'
    b"Content-Type: text/xml\r\nContent-Length: %d\r\n\r\n%b\r\n--boundary\r\n"
    b'Content-Disposition: form-data; name="licensePlatePicture.jpg"\r\n'
    b"Content-Type: image/pjpeg\r\nContent-Length: 0\r\n\r\n\r\n--boundary--\r\n"
    % (len(_ANPR), _ANPR)
)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data; boundary=boundary", _ANPR_FORM),
        ("Multipart/Form-Data;boundary=boundary", _ANPR_FORM),
        ("multipart/form-data", _ANPR_FORM),
        ("application/xml", _ANPR_FORM),
        ('application/xml; charset="UTF-8"', _ANPR),
        ("text/xml", _ANPR),
        ("application/x-www-form-urlencoded", _ANPR),
        ("application/octet-stream", _ANPR),
        ("", _ANPR),
    ],
)
async def test_what_a_hikvision_camera_calls_its_body(content_type: str, body: bytes) -> None:
    """The form without a boundary in its type, or under the type of a part, was refused."""
    producer = Producer()
    async with listening(producer, hikvision.adapt) as client:
        headers = {**_BEARER, "Content-Type": content_type}
        found = await answer(await client.post("/alarm?channel=1", data=body, headers=headers))
    assert found == (200, {"reads": 1, "problems": []})
    assert [key for key, _, _ in producer.records] == [b"KR5MT77"]


_FORM_ADAPTER = adapter_of("generic", _FIELD / "generic" / "nedap-lumo.toml")
_QUERY = (_FIELD / "generic" / "nedap-lumo.txt").read_text().strip()


@asynccontextmanager
async def taking_forms(producer: Producer, token: str = _TOKEN) -> AsyncIterator[IngestServer]:
    ingest = Ingest(
        producer, "lpr.detections.v1", _FORM_ADAPTER, Site("city"), IngestMetrics("openalpr")
    )
    server = IngestServer(
        ingest, Endpoint("127.0.0.1", 0, token, is_in_url=True, vendor="generic", is_form=True)
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def test_a_message_in_the_query_of_a_get(caplog: pytest.LogCaptureFixture) -> None:
    """Its reads are sent, no cache keeps the answer, and nothing shows the token or the plate."""
    producer = Producer()
    async with (
        taking_forms(producer) as server,
        aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as client,
    ):
        said = []
        for query, headers in (
            (_QUERY, _BEARER),
            (f"{_QUERY}&token={_TOKEN}", {}),
            (f"token={_TOKEN}&lp=KR3160", {}),
            (f"token={_TOKEN}", {}),
            (f"{_QUERY}&token=another-9f2c", {}),
            (f"lp=%ff&token={_TOKEN}", {}),
        ):
            async with client.get(URL(f"/lpr?{query}", encoded=True), headers=headers) as response:
                assert response.headers["Cache-Control"] == "no-store"
                said.append((response.status, await response.text()))
        assert [status for status, _ in said] == [200, 200, 400, 400, 401, 400]
        assert json.loads(said[2][1])["field"] == "$.unit"
        metrics = await (await client.get("/metrics")).text()
        for status in ("/healthz", "/readyz"):
            assert (await client.get(status)).status == 200
    keys = [key for key, _, _ in producer.records]
    ids = {json.loads(value)["read_id"] for _, value, _ in producer.records}
    assert (keys, len(ids)) == ([b"KR3160", b"KR3160"], 1)
    assert counted("messages_total", 2, result="taken") in metrics
    assert counted("messages_total", 3, result="bad") in metrics
    assert counted("messages_total", 1, result="challenged") in metrics
    shown = metrics + "".join(text for _, text in said) + caplog.text
    assert not [secret for secret in (_TOKEN, "another-9f2c", "KR3160") if secret in shown]


async def test_the_fields_of_a_form() -> None:
    """From the body, the query, or both; a value that begins like JSON is a value."""
    producer = Producer()
    first, _, rest = _QUERY.partition("&")
    async with (
        taking_forms(producer) as server,
        aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as client,
    ):
        for query, body in (("", _QUERY), (rest, first), (_QUERY, ""), ("note=[1]", _QUERY)):
            headers = {**_BEARER, "Content-Type": "application/x-www-form-urlencoded"}
            sent = client.post(URL(f"/?{query}", encoded=True), data=body, headers=headers)
            assert await answer(await sent) == (200, {"reads": 1, "problems": []})
        for data, result in ((aiohttp.FormData({"lp": "KR3160"}, default_to_multipart=True), 400),):
            status, body = await answer(await client.post("/", data=data, headers=_BEARER))
            assert (status, "only urlencoded forms" in body["error"]) == (result, True)
    assert {value for _, value, _ in producer.records} == {producer.records[0][1]}


async def test_other_requests() -> None:
    async with listening(Producer()) as client:
        for method, path in (("GET", "/"), ("GET", "/hook"), ("DELETE", "/")):
            response = await client.request(method, path, headers=_BEARER)
            assert response.status == 405


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("path", ["/", "/NotificationInfo/TollgateInfo", "/a//b?c=%ff", "/healthz"])
async def test_a_camera_may_insist_on_its_path(method: str, path: str) -> None:
    producer = Producer()
    async with listening(producer) as client:
        sent = client.request(method, path, data=_GROUP, headers=_BEARER)
        assert await answer(await sent) == (200, {"reads": 1, "problems": []})
        status, _ = await answer(await client.request(method, path, data=_GROUP))
        assert status == 401
        text = await (await client.get("/metrics")).text()
    assert len(producer.records) == 1
    assert counted("messages_total", 1, result="taken") in text
    assert counted("messages_total", 1, result="challenged") in text
    assert counted("messages_total", 0, result="unauthorized") in text


async def test_only_a_wrong_token_counts_as_one() -> None:
    """Each message of a camera with Digest may begin with a challenge."""
    async with serving(Producer()) as server:
        url = f"http://127.0.0.1:{server.port}/"
        right = aiohttp.DigestAuthMiddleware("camera", _TOKEN)
        async with aiohttp.ClientSession(middlewares=[right]) as client:
            status, _ = await answer(await client.post(url, data=_GROUP))
            assert status == 200
        async with aiohttp.ClientSession() as client:
            for wrong in ("Bearer wrong-token-of-it", ""):
                headers = {"Authorization": wrong}
                status, _ = await answer(await client.post(url, data=_GROUP, headers=headers))
                assert status == 401
            text = await (await client.get(f"{url}metrics")).text()
    assert counted("messages_total", 1, result="challenged") in text
    assert counted("messages_total", 2, result="unauthorized") in text


async def test_digest_by_a_client_of_another_make() -> None:
    """It asks, is challenged, answers, and goes on with the same nonce."""
    producer = Producer()
    async with serving(producer) as server:
        url = f"http://127.0.0.1:{server.port}"
        for password, status in (("wrong-token-of-it", 401), (_TOKEN, 200)):
            digest = aiohttp.DigestAuthMiddleware("camera", password)
            async with aiohttp.ClientSession(url, middlewares=(digest,)) as client:
                for _ in range(3):
                    found, _ = await answer(await client.post("/hook?a=b", data=_GROUP))
                    assert found == status
    assert len(producer.records) == 3


async def test_a_digest_that_was_overheard_is_of_no_use() -> None:
    sent: list[str] = []

    async def overhear(request: Any, handler: Any) -> Any:
        sent.append(request.headers.get("Authorization", ""))
        return await handler(request)

    producer = Producer()
    async with serving(producer) as server:
        url = f"http://127.0.0.1:{server.port}"
        digest = aiohttp.DigestAuthMiddleware("camera", _TOKEN)
        async with aiohttp.ClientSession(url, middlewares=(digest, overhear)) as client:
            status, _ = await answer(await client.post("/", data=_GROUP))
            assert status == 200
        async with aiohttp.ClientSession(url) as other:
            again = await other.post("/", data=_GROUP, headers={"Authorization": sent[-1]})
            assert again.status == 401
            challenges = again.headers.getall("WWW-Authenticate")
            assert [each.split()[0] for each in challenges] == [
                "Digest",
                "Digest",
                "Basic",
                "Bearer",
            ]
            assert "stale=true" in challenges[0]
    assert len(producer.records) == 1


async def test_a_form_that_is_encoded_as_a_url() -> None:
    producer = Producer()
    async with listening(producer, platerecognizer.adapt) as client:
        for data in ({"hook": "a", "json": _STREAM.decode()}, b"json=" + _STREAM):
            found = await answer(await client.post("/", data=data, headers=_BEARER))
            assert found == (200, {"reads": 2, "problems": []})
    assert len(producer.records) == 4


def _part(body: bytes, kind: str = "application/json") -> bytes:
    return f"--b\r\nContent-Type: {kind}\r\n\r\n".encode() + body + b"\r\n"


async def test_several_messages_in_one_form() -> None:
    """One that gives no read does not cost the others; if none does, the form is refused."""
    headers = {**_BEARER, "Content-Type": _FORM}
    producer = Producer()
    async with listening(producer) as client:
        mixed = _part(b"{}") + _part(_GROUP) + _part(b"\xff" * 2000, "image/jpeg") + b"--b--"
        status, said = await answer(await client.post("/", data=mixed, headers=headers))
        assert (status, said["reads"]) == (200, 1)
        assert said["problems"] == [{"field": "$.data_type", "rule": "is required"}]
        status, said = await answer(
            await client.post("/", data=2 * _part(b"{}") + b"--b--", headers=headers)
        )
        assert (status, said["field"]) == (400, "$.data_type")
        status, said = await answer(
            await client.post("/", data=_part(b"\xff", "image/jpeg") + b"--b--", headers=headers)
        )
        assert (status, said["error"].partition(": ")[2]) == (
            400,
            "is a form without a message in JSON or XML",
        )
    assert len(producer.records) == 1


async def test_a_message_whose_results_all_failed_is_not_accepted() -> None:
    message = json.loads(_STREAM)
    for result in message["data"]["results"]:
        result["plate"] = "-"
    async with listening(Producer(), platerecognizer.adapt) as client:
        status, _ = await answer(await client.post("/", json=message, headers=_BEARER))
        assert status == 400


async def _cut(port: int, body: bytes, *, is_open: bool = False) -> bytes:
    """Send a form that ends before its length, and return what is said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {_TOKEN}\r\n"
    head += f"Content-Type: {_FORM}\r\nContent-Length: {len(body) + 500}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    if not is_open:
        writer.write_eof()
    said = await asyncio.wait_for(reader.read(), 60)
    writer.transport.abort()
    return said


async def test_a_form_that_is_cut_within_a_picture(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Cameras that announce more than they send never send again."""
    monkeypatch.setattr(limits, "INGEST_RECEIVE_S", 0.3)
    whole = _part(_GROUP) + _part(b"\xff\xd8", "image/jpeg")[:-2]
    producer = Producer()
    async with serving(producer) as server:
        assert b" 200 OK" in await _cut(server.port, whole, is_open=True)
        await _cut(server.port, whole)
        async with asyncio.timeout(60):
            while len(producer.records) < 2:
                await asyncio.sleep(0.01)
        assert b" 408 " in await _cut(server.port, _part(_GROUP)[:-50], is_open=True)
    assert len(producer.records) == 2
    assert not caplog.records


async def test_a_picture_beyond_the_limit_does_not_cost_the_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "INGEST_MESSAGE_BYTES", 5000)
    body = _part(_GROUP) + _part(bytes(10_000), "image/jpeg") + b"--b--"
    producer = Producer()
    async with listening(producer) as client:
        headers = {**_BEARER, "Content-Type": _FORM}
        status, _ = await answer(await client.post("/", data=body, headers=headers))
        assert status == 200
    assert len(producer.records) == 1


async def test_a_port_that_is_taken() -> None:
    async with listening(Producer()) as client:
        ingest = Ingest(Producer(), "t", openalpr.adapt, Site("s"))
        port = client._base_url.port if client._base_url else 0
        assert port
        server = IngestServer(ingest, Endpoint("127.0.0.1", port, _TOKEN))
        with pytest.raises(HotlistError, match=f"cannot listen on 127.0.0.1:{port} "):
            await server.start()


async def test_a_sender_that_never_sends_again_is_answered_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its reads are held until the broker has them; beyond the bound they are refused, counted."""
    monkeypatch.setattr(limits, "INGEST_SPOOL_READS", 2)
    producer = Producer()
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    producer.acknowledge = lambda: gate
    async with listening(producer, is_holding=True) as client:
        for _ in range(2):
            found = await answer(await client.post("/", data=_GROUP, headers=_BEARER))
            assert found == (200, {"reads": 1, "problems": []})
        response = await client.post("/", data=_GROUP, headers=_BEARER)
        assert await answer(response) == (503, {"error": "too many reads wait for the broker"})
        assert (await client.get("/readyz")).status == 503
        status, _ = await answer(await client.post("/", data=b"{}", headers=_BEARER))
        assert status == 400
        text = await (await client.get("/metrics")).text()
        assert counted("held_reads", 2) in text
        assert counted("refused_reads_total", 1) in text
        assert counted("reads_total", 0) in text
        gate.set_result(None)
        async with asyncio.timeout(60):
            while (await client.get("/readyz")).status != 200:
                await asyncio.sleep(0.01)
        text = await (await client.get("/metrics")).text()
    assert counted("held_reads", 0) in text
    assert counted("held_bytes", 0) in text
    assert counted("reads_total", 2) in text
    assert counted("problems_total", 1, reason="missing_field") in text
    assert len(producer.records) == 2
