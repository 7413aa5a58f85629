"""The schemas of reads, fetched from a schema registry that speaks Confluent's API.

Confluent's own, Karapace, Redpanda's, and Apicurio's under `/apis/ccompat/v7`. `schema` asks for
`GET /schemas/ids/{id}`, and for each schema that it refers to for
`GET /subjects/{subject}/versions/{version}`. A schema in Protobuf is asked for as a descriptor,
`format=serialized`, which Confluent's, Karapace, Redpanda since 25.2 and Apicurio since 3.1.2 give.
What the registry says for good is a schema, usable or
not. Everything else, such as an answer that is none of a registry's, is a RegistryError: ask again,
because the reads must not be lost. A 404 means that a schema is unknown only with the registry's
own code for it; a wrong path gives a 404 as well.

The API: https://docs.confluent.io/platform/current/schema-registry/develop/api.html. An answer is
bounded in size and time. No error names the id of an unknown schema: four bytes of a value that is
no frame may be a part of a read.
"""

from __future__ import annotations

import base64
import contextlib
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from engine import limits
from engine.config import REGISTRY, SETTINGS, Settings
from engine.documents.avro import AvroSchema
from engine.documents.codec import UNREADABLE
from engine.documents.protobuf import ProtobufSchema
from engine.documents.schema_cache import JsonSchema, Schema, SchemaError, UnusableSchema
from engine.documents.value_formats import SCHEMA_REGISTRY
from engine.errors import ConfigError, HotlistError
from engine.kafka.http_answers import body_of
from engine.kafka.secret_files import read_secret, tls_context
from engine.setting_rules import is_loopback

REGISTRY_VARIABLE: Final = "HOTLIST_SCHEMA_REGISTRY_PASSWORD"

#: The registry's codes for a schema, a subject and a version that it does not have.
_UNKNOWN: Final = frozenset({40401, 40402, 40403})
_ACCEPT: Final = "application/vnd.schemaregistry.v1+json, application/json"


class RegistryError(HotlistError):
    """The registry does not answer, or not as a schema registry does; it may do so later."""


class _UnknownError(Exception):
    """The registry does not have what was asked for."""


class _TooLargeError(Exception):
    """The registry's answer is larger than any schema of a read."""


class _Reference(msgspec.Struct, frozen=True):
    subject: str
    version: int


class _Answer(msgspec.Struct, frozen=True):
    """A registry's answer with a schema; without a type it is Avro."""

    text: str = msgspec.field(name="schema")
    kind: str | None = msgspec.field(name="schemaType", default=None)
    references: tuple[_Reference, ...] | None = None


class _Refusal(msgspec.Struct, frozen=True):
    error_code: int


T = TypeVar("T")

_ANSWER: Final = msgspec.json.Decoder(_Answer)
_REFUSAL: Final = msgspec.json.Decoder(_Refusal)
#: What a schema of each type is made with, and the form in which the registry must give it.
_KINDS: Final[Mapping[str, tuple[Callable[[str, Iterable[str]], Schema], str]]] = {
    "AVRO": (AvroSchema, ""),
    "PROTOBUF": (ProtobufSchema, "format=serialized"),
}
_TYPES: Final = msgspec.json.Decoder(tuple[str, ...])


class SchemaRegistry(NamedTuple):
    """A registry; `headers` may hold the password."""

    url: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, settings: Settings) -> SchemaRegistry | None:
        """Return the registry of the settings; None if they have none.

        Raises ConfigError if they contradict each other, or a file cannot be used.
        """
        if settings.value_format != SCHEMA_REGISTRY:
            for name in REGISTRY[1:]:
                if getattr(settings, name) is not None:
                    raise ConfigError(
                        f"is set, and has no effect with the value format {settings.value_format}",
                        where=name,
                        hint=f"set --value-format (HOTLIST_VALUE_FORMAT) to {SCHEMA_REGISTRY}",
                    )
            return None
        url = settings.schema_registry_url
        if url is None:
            raise _incomplete("schema_registry_url", f"with the value format {SCHEMA_REGISTRY}")
        tls = None
        cafile = settings.schema_registry_cafile
        if url.startswith("https:"):
            tls = tls_context(cafile, "schema_registry_cafile")
        elif cafile is not None:
            raise ConfigError(
                "is set, and has no effect with an http URL",
                where="schema_registry_cafile",
                hint="set --schema-registry-url to an https URL",
            )
        return cls(url, {"Accept": _ACCEPT, "Accept-Encoding": "identity", **_login(settings)}, tls)

    @property
    def password_in_clear(self) -> str | None:
        """The warning that the password crosses a network in clear; None if it does not."""
        host = urlsplit(self.url).hostname or ""
        if "Authorization" not in self.headers or self.tls is not None or is_loopback(host):
            return None
        return f"{self.url} sends the schema registry's password in clear; use an https URL"

    async def schema(self, schema_id: int) -> Schema:
        """Fetch a schema. Raises RegistryError if the registry gives no valid answer."""
        async with self._session() as session:
            try:
                answer = await self._get(session, f"/schemas/ids/{schema_id}", _ANSWER)
            except _UnknownError:
                rule = "must name a schema that the schema registry has"
                return UnusableSchema(rule, is_final=False)
            except _TooLargeError:
                why = f"is larger than {limits.size_text(limits.SCHEMA_BYTES)}"
                return _unusable(schema_id, why)
            kind = answer.kind or "AVRO"
            if kind == "JSON":
                return JsonSchema()
            if kind not in _KINDS:
                return _unusable(schema_id, "is neither Avro, Protobuf nor JSON Schema")
            make, form = _KINDS[kind]
            try:
                if form:
                    path = f"/schemas/ids/{schema_id}?{form}"
                    answer = await self._get(session, path, _ANSWER)
                return make(answer.text, await self._references(session, answer, form))
            except _UnknownError:
                return _unusable(schema_id, "refers to one that the registry does not have")
            except _TooLargeError:
                return _unusable(schema_id, "refers to more than a schema of reads needs")
            except SchemaError as error:
                return _unusable(schema_id, f"cannot be used: {error}")

    async def types(self) -> tuple[str, ...]:
        """Ask which types of schemas the registry has; raises RegistryError as `schema` does."""
        async with self._session() as session:
            try:
                return await self._get(session, "/schemas/types", _TYPES)
            except (_UnknownError, _TooLargeError):
                raise self._no_registry("with what is no list of types") from None

    async def _references(
        self, session: aiohttp.ClientSession, answer: _Answer, form: str
    ) -> list[str]:
        """Return the schemas that a schema refers to, each after those that it refers to itself."""
        texts: list[str] = []
        asked: set[_Reference] = set()

        async def add(references: tuple[_Reference, ...] | None) -> None:
            for each in references or ():
                if each in asked:
                    continue
                asked.add(each)
                if len(asked) > limits.SCHEMA_REFERENCES:
                    raise _TooLargeError
                subject = quote(each.subject, safe="")
                path = f"/subjects/{subject}/versions/{each.version}?deleted=true&{form}"
                found = await self._get(session, path, _ANSWER)
                await add(found.references)
                texts.append(found.text)

        await add(answer.references)
        return texts

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers=self.headers,
            auto_decompress=False,  # a bomb stays packed
            timeout=aiohttp.ClientTimeout(total=limits.SCHEMA_FETCH_S),
        )

    async def _get(
        self, session: aiohttp.ClientSession, path: str, decoder: msgspec.json.Decoder[T]
    ) -> T:
        """Return what an answer with status 200 holds."""
        try:
            async with session.get(
                f"{self.url}{path}",
                ssl=True if self.tls is None else self.tls,
                max_redirects=limits.SCHEMA_REDIRECTS,
            ) as answer:
                body = await body_of(answer, limits.SCHEMA_BYTES)
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise RegistryError(
                f"does not answer ({type(error).__name__})",
                where=self._where,
                hint="check --schema-registry-url, and that the registry runs",
            ) from None
        if status == 200:
            if body is None:
                raise _TooLargeError
            with contextlib.suppress(*UNREADABLE):
                return decoder.decode(body)
            raise self._no_registry("with what is no schema")
        if status == 404 and body is not None and _code(body) in _UNKNOWN:
            raise _UnknownError
        if status == 501 and "format=" in path:  # as Redpanda answers that does not have it
            raise SchemaError("the registry gives no descriptor of it")
        if status in (401, 403):
            raise RegistryError(
                f"denies the request with status {status}",
                where=self._where,
                hint="check --schema-registry-username, its password, and its rights",
            )
        raise self._no_registry(f"with status {status}")

    @property
    def _where(self) -> str:
        return f"schema registry {self.url}"

    def _no_registry(self, how: str) -> RegistryError:
        return RegistryError(
            f"answers {how}",
            where=self._where,
            hint="check --schema-registry-url; Apicurio's ends in /apis/ccompat/v7",
        )


def _code(body: bytes) -> int | None:
    try:
        return _REFUSAL.decode(body).error_code
    except UNREADABLE:
        return None


def _unusable(schema_id: int, why: str) -> UnusableSchema:
    return UnusableSchema(f"names schema {schema_id} of the registry, which {why}")


def _login(settings: Settings) -> dict[str, str]:
    """Return the header with the user and the password; none if no user is set."""
    user = settings.schema_registry_username
    password = read_secret(
        REGISTRY_VARIABLE, settings.schema_registry_password_file, "schema_registry_password_file"
    )
    if user is None and password is None:
        return {}
    if user is None:
        raise _incomplete("schema_registry_username", "if its password is set")
    if password is None:
        raise ConfigError(
            "is not set, and schema_registry_username needs it",
            where=REGISTRY_VARIABLE,
            hint="set it, or --schema-registry-password-file",
        )
    login = base64.b64encode(b":".join((user.encode(), password.encode()))).decode()
    return {"Authorization": f"Basic {login}"}


def _incomplete(name: str, when: str) -> ConfigError:
    setting = SETTINGS[name]
    hint = f"set {setting.flag} ({setting.variable})"
    return ConfigError(f"must be set {when}", where=name, hint=hint)
