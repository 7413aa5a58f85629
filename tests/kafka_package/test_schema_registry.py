"""The registry's client against a registry that is in order, denies, lies, or never ends.

The shapes of the answers are those in `tests.fakes.schema_registry`. A 404 without a code is what a
wrong path gives, as in https://github.com/confluentinc/schema-registry/issues/1699.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from engine import limits
from engine.config import Settings
from engine.documents.avro import AvroSchema
from engine.documents.protobuf import ProtobufSchema
from engine.documents.schema_cache import JsonSchema, Schema, UnusableSchema
from engine.errors import ConfigError, DocumentError
from engine.kafka.schema_registry import REGISTRY_VARIABLE, RegistryError, SchemaRegistry
from tests.fakes.certificates import Authority
from tests.fakes.documents import detection_json
from tests.fakes.proto_files import DETECTION_PROTO, descriptor_of, in_base64
from tests.fakes.schema_registry import DETECTION, FakeRegistry, avro, fake_registry

_URL = "http://127.0.0.1:8081"
_SET: dict[str, Any] = {"value_format": "schema-registry", "schema_registry_url": _URL}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REGISTRY_VARIABLE, raising=False)


def client(url: str = _URL, **settings: Any) -> SchemaRegistry:
    found = SchemaRegistry.of(
        Settings(value_format="schema-registry", schema_registry_url=url, **settings)
    )
    assert found is not None
    return found


async def fetched(registry: FakeRegistry, schema_id: int = 7) -> Schema:
    async with fake_registry(registry):
        return await client(registry.url).schema(schema_id)


def rule_of(schema: Schema) -> str:
    """Why no value can be decoded with a schema."""
    with pytest.raises(DocumentError) as caught:
        schema.to_json(b"")
    assert caught.value.reason == "unknown_schema"
    assert len(caught.value.rule) <= 256
    return caught.value.rule


async def test_avro_and_json_schemas_are_fetched_by_their_ids() -> None:
    registry = FakeRegistry()
    registry.add(7, DETECTION)
    registry.add(8, DETECTION, schemaType="AVRO", references=[])
    registry.add(9, '{"type":"object"}', schemaType="JSON")
    proto = in_base64(descriptor_of(DETECTION_PROTO))
    registry.add(10, DETECTION_PROTO, schemaType="PROTOBUF", base64=proto)
    async with fake_registry(registry):
        asked = client(f"{registry.url}/")
        for number in (7, 8):
            assert isinstance(await asked.schema(number), AvroSchema)
        assert isinstance(await asked.schema(9), JsonSchema)
        assert isinstance(await asked.schema(10), ProtobufSchema)
        assert await asked.types() == ("AVRO", "JSON", "PROTOBUF")
    ids = [f"/schemas/ids/{number}" for number in (7, 8, 9, 10, 10)]
    assert registry.asked == [*ids, "/schemas/types"]


async def test_references_are_fetched_once_each_before_those_that_need_them() -> None:
    place = {"type": "record", "name": "geo.Place", "fields": [{"name": "lat", "type": "double"}]}
    seen = {"type": "record", "name": "geo.Seen", "fields": [{"name": "at", "type": "geo.Place"}]}
    read = {
        "type": "record",
        "name": "Read",
        "fields": [{"name": "x", "type": "geo.Seen"}, {"name": "y", "type": "geo.Place"}],
    }
    to_place = {"name": "geo.Place", "subject": "geo/place", "version": 2}
    registry = FakeRegistry()
    registry.versions["geo/place", 2] = {"schema": json.dumps(place)}
    registry.versions["seen", 1] = {"schema": json.dumps(seen), "references": [to_place]}
    references = [{"name": "geo.Seen", "subject": "seen", "version": 1}, to_place]
    registry.add(7, json.dumps(read), references=references)
    registry.answer = _unquoted(registry)
    schema = await fetched(registry)
    assert json.loads(schema.to_json(bytes(16))) == {"x": {"at": {"lat": 0.0}}, "y": {"lat": 0.0}}
    assert len(registry.asked) == 3


def _unquoted(registry: FakeRegistry) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Answers as the registry does, for subjects with a slash, which clients must quote."""

    async def answer(request: web.Request) -> web.Response:
        parts = request.rel_url.raw_path.split("/")
        if parts[1] == "schemas":
            return web.json_response(registry.schemas[int(parts[3])])
        assert request.query == {"deleted": "true"}
        subject = parts[2].replace("%2F", "/")
        return web.json_response(registry.versions[subject, int(parts[4])])

    return answer


async def test_what_the_registry_says_for_good_rejects_reads() -> None:
    registry = FakeRegistry()
    registry.add(1, "message M {}", schemaType="PROTOBUF")
    registry.add(2, "message M {}")
    registry.add(3, '"string"', references=[{"name": "a", "subject": "a", "version": 1}])
    registry.add(4, '"' + "a" * limits.SCHEMA_BYTES + '"')
    registry.add(8, "a", schemaType="OTHER")
    many = [{"name": "a", "subject": f"a{n}", "version": 1} for n in range(100)]
    registry.add(5, '"string"', references=many)
    for n in range(100):
        registry.versions[f"a{n}", 1] = {"schema": '"string"'}
    around = {"name": "b", "subject": "b", "version": 1}
    registry.add(6, '"string"', references=[around])
    registry.versions["b", 1] = {"schema": '"string"', "references": [around]}
    async with fake_registry(registry):
        asked = client(registry.url)
        expected = {
            1: "cannot be used: the registry gives no descriptor of it",
            8: "is neither Avro, Protobuf nor JSON Schema",
            2: "cannot be used: it is no JSON",
            3: "refers to one that the registry does not have",
            4: "is larger than 512 KiB",
            5: "refers to more than a schema of reads needs",
        }
        for number, why in expected.items():
            rule = f"names schema {number} of the registry, which {why}"
            schema = await asked.schema(number)
            assert isinstance(schema, UnusableSchema)
            assert (rule_of(schema), schema.is_final) == (rule, True)
        assert isinstance(await asked.schema(6), AvroSchema)  # a circle ends
        unknown = await asked.schema(0x41424331)  # which may be a part of a plate
    assert isinstance(unknown, UnusableSchema)
    assert not unknown.is_final
    assert rule_of(unknown) == "must name a schema that the schema registry has"


def _with(status: int, text: str, kind: str = "text/html") -> Any:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=text, content_type=kind)

    return answer


_JSON = "application/vnd.schemaregistry.v1+json"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (_with(200, "<html>log in</html>"), "answers with what is no schema"),
        (_with(200, "{}", _JSON), "answers with what is no schema"),
        (_with(200, '{"schema":' + "[" * 100_000, _JSON), "answers with what is no schema"),
        (_with(404, "<html>no such page</html>"), "answers with status 404"),
        (_with(404, '{"error_code":404,"message":"HTTP 404"}', _JSON), "answers with status 404"),
        (_with(500, '{"error_code":50001}', _JSON), "answers with status 500"),
        (_with(429, ""), "answers with status 429"),
        (_with(401, '{"error_code":401}', _JSON), "denies the request with status 401"),
        (_with(403, ""), "denies the request with status 403"),
    ],
)
async def test_what_is_no_answer_of_a_registry_is_asked_again(answer: Any, message: str) -> None:
    registry = FakeRegistry(answer=answer)
    with pytest.raises(RegistryError) as caught:
        await fetched(registry)
    assert str(caught.value).startswith(f"schema registry {registry.url}: {message}; ")


async def test_an_answer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SCHEMA_FETCH_S", 0.3)

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b" ")
            await asyncio.sleep(0.05)

    with pytest.raises(RegistryError, match=r"does not answer \(TimeoutError\)"):
        await fetched(FakeRegistry(answer=endless))


async def test_an_answer_without_end_is_cut_off_and_a_bomb_stays_packed() -> None:
    async def large(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(64):
            await answer.write(b"x" * limits.MIB)
        return answer

    async def packed(request: web.Request) -> web.Response:
        body = gzip.compress(json.dumps({"schema": '"string"'}).encode())
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    assert "is larger than" in rule_of(await fetched(FakeRegistry(answer=large)))
    with pytest.raises(RegistryError, match="what is no schema"):
        await fetched(FakeRegistry(answer=packed))


async def test_a_registry_without_descriptors_gives_an_unusable_schema() -> None:
    """https://docs.redpanda.com/api/doc/schema-registry/: status 501 for an unsupported format."""

    async def no_format(request: web.Request) -> web.Response:
        if "format" in request.query:
            return web.Response(status=501, text='{"error_code":501}', content_type=_JSON)
        return web.json_response({"schema": "message M {}", "schemaType": "PROTOBUF"})

    found = await fetched(FakeRegistry(answer=no_format))
    assert "the registry gives no descriptor of it" in rule_of(found)


async def test_no_registry_at_all_is_an_error_with_what_to_do() -> None:
    async with fake_registry(FakeRegistry()) as registry:
        asked = client(registry.url)
    with pytest.raises(RegistryError, match=r"does not answer .*; check --schema-registry-url"):
        await asked.schema(7)


async def test_a_redirect_is_followed_without_the_password_for_another_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(REGISTRY_VARIABLE, "geheim")
    there = FakeRegistry()
    there.add(7, DETECTION)

    async def elsewhere(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"{there.url}{request.path}")

    async with fake_registry(there), fake_registry(FakeRegistry(answer=elsewhere)) as here:
        asked = client(here.url, schema_registry_username="jo")
        assert isinstance(await asked.schema(7), AvroSchema)
    assert here.logins == [f"Basic {base64.b64encode(b'jo:geheim').decode()}"]
    assert there.logins == [None]


async def test_the_certificate_is_checked_with_the_authorities_of_the_file(
    tmp_path: Path,
) -> None:
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*ours.issue("registry"))
    registry = FakeRegistry()
    registry.add(7, DETECTION)
    async with fake_registry(registry, tls=tls):
        trusting = client(registry.url, schema_registry_cafile=ours.cafile)
        assert isinstance(await trusting.schema(7), AvroSchema)
        for cafile in (others.cafile, None):
            with pytest.raises(RegistryError, match="does not answer"):
                await client(registry.url, schema_registry_cafile=cafile).schema(7)
    assert len(registry.asked) == 1


async def test_redirects_in_a_circle_end() -> None:
    async def again(request: web.Request) -> web.Response:
        raise web.HTTPFound(request.path)

    registry = FakeRegistry(answer=again)
    with pytest.raises(RegistryError, match="TooManyRedirects"):
        await fetched(registry)
    assert len(registry.asked) <= limits.SCHEMA_REDIRECTS + 1


def test_the_password_of_a_file_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("geheim\n")
    asked = client(schema_registry_username="jo", schema_registry_password_file=file)
    assert asked.headers["Authorization"] == f"Basic {base64.b64encode(b'jo:geheim').decode()}"
    assert asked.password_in_clear is None
    assert asked._replace(url="http://localhost/apis").password_in_clear is None, "without a port"
    far = client(
        "http://registry:8081", schema_registry_username="jo", schema_registry_password_file=file
    )
    assert far.password_in_clear is not None
    assert "in clear; use an https URL" in far.password_in_clear
    assert "geheim" not in far.password_in_clear


@pytest.mark.parametrize(
    ("settings", "where", "message"),
    [
        (
            {"value_format": "schema-registry"},
            "schema_registry_url",
            "must be set with the value format schema-registry; set --schema-registry-url ",
        ),
        (
            {"schema_registry_url": _URL},
            "schema_registry_url",
            "is set, and has no effect with the value format json; set --value-format ",
        ),
        (
            _SET | {"schema_registry_username": "jo"},
            REGISTRY_VARIABLE,
            "is not set, and schema_registry_username needs it; set it, or ",
        ),
        (
            _SET | {"schema_registry_cafile": Path("ca.pem")},
            "schema_registry_cafile",
            "is set, and has no effect with an http URL; set --schema-registry-url to an https URL",
        ),
        (
            _SET | {"schema_registry_url": "https://r", "schema_registry_cafile": Path("no-such")},
            "schema_registry_cafile",
            "no-such: cannot be read: No such file or directory",
        ),
    ],
)
def test_settings_that_contradict_each_other(
    settings: dict[str, Any], where: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        SchemaRegistry.of(Settings(**settings))
    assert str(caught.value).startswith(f"{where}: {message}")


def test_a_password_without_a_user_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REGISTRY_VARIABLE, "geheim")
    with pytest.raises(ConfigError, match="schema_registry_username: must be set"):
        client()


def test_a_url_with_a_password_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        client("http://jo:geheim@registry")
    assert "schema_registry_password_file" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_json_goes_through_a_json_schema_as_it_is() -> None:
    data = json.dumps(detection_json()).encode()
    assert JsonSchema().to_json(data) == data
    assert avro('"string"', "a") == b"\2a"
