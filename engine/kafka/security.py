"""How the brokers are reached: encrypted or not, and as whom.

Every Kafka client of the engine is made with `arguments()`, so that none of them speaks in
another way than the settings say; a test looks for clients that are not. `security()` turns the
settings into those arguments once their relations are checked, `principal()` says under which
name the broker knows us, `unreachable()` finds out why no broker answers, and `hidden()` which
topics it keeps from us.

Two secrets there are, the user's password and that of the key. Each is in a variable or in a
file, never in a flag, in `hotlist.toml` or in `Settings`; here they are `Secret`, which no
message, log line or repr shows. aiokafka writes each request and response into its log at debug
level, passwords and reads among them: that is held back here whatever the level is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from engine.config import SETTINGS, Settings
from engine.errors import BrokerError, ConfigError

SASL_VARIABLE: Final = "HOTLIST_SASL_PASSWORD"
SSL_KEY_VARIABLE: Final = "HOTLIST_SSL_KEY_PASSWORD"

#: What a password has at the most, so that a wrong file is noticed.
_SECRET_BYTES: Final = 4096
_PROBE_S: Final = 3.0
#: OpenSSL's numbers for a certificate that is good, but somebody else's.
_OTHER_NAME: Final = (62, 64)

#: Arguments of aiokafka's clients beside the address.
Security = Mapping[str, Any]
#: Without encryption and without a name.
PLAINTEXT: Final[Security] = {"security_protocol": "PLAINTEXT"}


class Secret(str):
    """A text that shows itself to nobody: for aiokafka it is a str like any other."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return "<secret>"


def arguments(bootstrap: str, security: Security = PLAINTEXT) -> dict[str, Any]:
    """The arguments with which every client of the engine connects."""
    _withhold_payloads()
    return {"bootstrap_servers": bootstrap, **security}


def security(settings: Settings) -> Security:
    """What the settings say about encryption and identity.

    Raises ConfigError where they do not go together, or a file cannot be used.
    """
    found: dict[str, Any] = {"security_protocol": settings.security_protocol}
    with_sasl, with_ssl = _parts(settings)
    if with_sasl:
        for name in ("sasl_mechanism", "sasl_username"):
            if getattr(settings, name) is None:
                raise _incomplete(name, settings)
        password = _secret(SASL_VARIABLE, settings.sasl_password_file, "sasl_password_file")
        if password is None:
            raise ConfigError(
                f"is not there, and {settings.security_protocol} needs it",
                where=SASL_VARIABLE,
                hint="set it, or --sasl-password-file (HOTLIST_SASL_PASSWORD_FILE)",
            )
        found["sasl_mechanism"] = settings.sasl_mechanism
        found["sasl_plain_username"] = settings.sasl_username
        found["sasl_plain_password"] = password
    if with_ssl:
        found["ssl_context"] = _ssl_context(settings)
    return found


def principal(settings: Settings) -> str | None:
    """The name by which the broker knows us; None where it knows none.

    The user with SASL, the common name of our certificate with SSL alone. Raises ConfigError
    where the certificate cannot be read.
    """
    with_sasl, with_ssl = _parts(settings)
    if with_sasl:
        return settings.sasl_username
    if with_ssl and settings.ssl_certfile is not None:
        return _common_name(settings.ssl_certfile)
    return None


async def unreachable(bootstrap: str, security: Security = PLAINTEXT) -> BrokerError:
    """Why no broker answers there, found out by one more attempt at each address.

    The clients tell their log only that none did.
    """
    failures = [await _failure(address, security) for address in bootstrap.split(",")]
    for error in failures:
        explained = _explained(error, bootstrap, security)
        if explained is not None:
            return explained
    return BrokerError(
        "no Kafka broker answers",
        where=bootstrap,
        hint="start one, or set --bootstrap (HOTLIST_BOOTSTRAP) to where it listens",
    )


async def hidden(
    bootstrap: str, topics: Collection[str], security: Security = PLAINTEXT
) -> frozenset[str]:
    """Those of the topics that the broker does not let us see, whether or not they are there.

    In its list of topics they are missing like those that nobody has made. Asks by name, makes
    none by asking. Raises OSError, TimeoutError or KafkaError where no broker answers.
    """
    *others, last = bootstrap.split(",")
    for address in others:
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            return await _hidden(address, topics, security)
    return await _hidden(last, topics, security)


async def _hidden(address: str, topics: Collection[str], security: Security) -> frozenset[str]:
    connection = None
    try:
        async with asyncio.timeout(_PROBE_S):
            connection = await _connected(address, security)
            found = await connection.send(
                MetadataRequest(sorted(topics), allow_auto_topic_creation=False)
            )
    finally:
        if connection is not None:
            connection.close()
    refused = TopicAuthorizationFailedError.errno
    return frozenset(topic for code, topic, *_ in found.topics if code == refused)


async def _connected(address: str, security: Security) -> Any:
    host, _, port = address.rpartition(":")
    return await create_conn(host.strip("[]"), int(port), **security)


def _parts(settings: Settings) -> tuple[bool, bool]:
    """Whether SASL and whether SSL are in use; ConfigError for a setting that would do nothing."""
    protocol = settings.security_protocol
    with_sasl = protocol.startswith("SASL_")
    with_ssl = protocol.endswith("SSL")
    for name in SETTINGS:
        needed = (name.startswith("sasl_") and not with_sasl) or (
            name.startswith("ssl_") and not with_ssl
        )
        if needed and getattr(settings, name) is not None:
            kinds = "SASL_PLAINTEXT or SASL_SSL" if name.startswith("sasl_") else "SSL or SASL_SSL"
            raise ConfigError(
                f"is set, and does nothing with the security protocol {protocol}",
                where=name,
                hint=f"set --security-protocol (HOTLIST_SECURITY_PROTOCOL) to {kinds}",
            )
    if settings.ssl_certfile is None:
        for name in ("ssl_keyfile", "ssl_key_password_file"):
            if getattr(settings, name) is not None:
                raise _incomplete("ssl_certfile", settings, f"where {name} is set")
    return with_sasl, with_ssl


def _incomplete(name: str, settings: Settings, when: str = "") -> ConfigError:
    setting = SETTINGS[name]
    return ConfigError(
        f"must be set {when or f'with the security protocol {settings.security_protocol}'}",
        where=name,
        hint=f"set {setting.flag} ({setting.variable})",
    )


def _secret(variable: str, file: Path | None, name: str) -> Secret | None:
    """A secret from its variable or its file, never both; None where there is neither.

    No variable of this function holds it as plain text, so that no traceback shows it.
    """
    given = Secret(os.environ.get(variable, ""))
    if file is None:
        return given or None
    if given:
        raise ConfigError(
            f"and {name} are both set, and only one can be meant",
            where=variable,
            hint="take one of them away",
        )
    held = _one_line(file, name)
    if not held:
        raise ConfigError(
            f"must hold one line of text, at most {_SECRET_BYTES} bytes", where=f"{name}: {file}"
        )
    return held


def _one_line(file: Path, name: str) -> Secret:
    """The file's one line; empty where it holds something else, of which nothing is shown."""
    data = _read(file, name)
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        return Secret("")
    return Secret(text if len(data) <= _SECRET_BYTES and text.isprintable() else "")


def _read(file: Path, name: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=f"{name}: {file}") from None


class _LeavesAtOnce(ssl.SSLObject):
    """TLS whose end is told to the broker and not waited for.

    A broker that answers a fetch just then does not say goodbye, and an event loop would wait half
    a minute for that. What Kafka sends has lengths, so nothing can be cut off unnoticed.
    """

    def unwrap(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            super().unwrap()


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    cafile = settings.ssl_cafile
    if cafile is not None:
        _read(cafile, "ssl_cafile")
    try:
        context = ssl.create_default_context(cafile=cafile)
    except ssl.SSLError:
        raise ConfigError("holds no certificate (PEM)", where=f"ssl_cafile: {cafile}") from None
    context.sslobject_class = _LeavesAtOnce
    if settings.ssl_certfile is not None:
        _load_certificate(context, settings, settings.ssl_certfile)
    return context


def _load_certificate(context: ssl.SSLContext, settings: Settings, certfile: Path) -> None:
    keyfile = settings.ssl_keyfile
    _read(certfile, "ssl_certfile")
    if keyfile is not None:
        _read(keyfile, "ssl_keyfile")
    password = _secret(SSL_KEY_VARIABLE, settings.ssl_key_password_file, "ssl_key_password_file")
    asked = False

    def tell() -> bytes:  # else OpenSSL asks at the terminal
        nonlocal asked
        asked = True
        return b"" if password is None else password.encode()

    try:
        context.load_cert_chain(certfile, keyfile, tell)
    except (ssl.SSLError, ValueError) as error:
        where = f"ssl_certfile: {certfile}" if keyfile is None else f"ssl_keyfile: {keyfile}"
        if asked and password is None:
            raise ConfigError(
                "the key is encrypted",
                where=where,
                hint=f"set {SSL_KEY_VARIABLE}, or --ssl-key-password-file "
                "(HOTLIST_SSL_KEY_PASSWORD_FILE)",
            ) from None
        if asked:
            raise ConfigError("the key's password is not the right one", where=where) from None
        reason = getattr(error, "reason", None) or "not a certificate and its key (PEM)"
        raise ConfigError(f"cannot be used: {reason}", where=where) from None


def _common_name(certfile: Path) -> str | None:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        certificate = x509.load_pem_x509_certificate(_read(certfile, "ssl_certfile"))
    except ValueError:
        raise ConfigError("holds no certificate (PEM)", where=f"ssl_certfile: {certfile}") from None
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else None


async def _failure(address: str, security: Security) -> BaseException | None:
    """What an attempt at one address ends with; None where it answers after all."""
    connection = None
    try:
        async with asyncio.timeout(_PROBE_S):
            connection = await _connected(address, security)
            await connection.send(MetadataRequest([]))
    except (KafkaError, OSError, TimeoutError, ValueError) as error:
        return error
    finally:
        if connection is not None:
            connection.close()
    return None


def _explained(
    error: BaseException | None, bootstrap: str, security: Security
) -> BrokerError | None:
    protocol = security["security_protocol"]
    match error:
        case AuthenticationFailedError() | SaslAuthenticationFailed():
            return BrokerError(
                f"the broker does not take the user {security.get('sasl_plain_username')!r} "
                "with this password",
                where=bootstrap,
                hint=f"set --sasl-username (HOTLIST_SASL_USERNAME) and {SASL_VARIABLE}",
            )
        case UnsupportedSaslMechanismError():
            return BrokerError(
                f"the broker does not offer {security.get('sasl_mechanism')}",
                where=bootstrap,
                hint="set --sasl-mechanism (HOTLIST_SASL_MECHANISM) to one that it offers",
            )
        case ssl.SSLCertVerificationError() if error.verify_code in _OTHER_NAME:
            return BrokerError(
                "the broker's certificate is for another name",
                where=bootstrap,
                hint="set --bootstrap (HOTLIST_BOOTSTRAP) to a name that stands in it",
            )
        case ssl.SSLCertVerificationError():
            return BrokerError(
                f"the broker's certificate is not trusted ({error.verify_message})",
                where=bootstrap,
                hint="set --ssl-cafile (HOTLIST_SSL_CAFILE) to the authority that signed it",
            )
        case ssl.SSLError() | ConnectionResetError():
            return _hung_up(protocol, bootstrap)
        case KafkaError():
            return _hung_up(protocol, bootstrap)
    return None


def _hung_up(protocol: str, bootstrap: str) -> BrokerError:
    own = ", or it asks for a certificate (--ssl-certfile)" if protocol.endswith("SSL") else ""
    return BrokerError(
        f"the broker ends the connection, which is {protocol}",
        where=bootstrap,
        hint="set --security-protocol (HOTLIST_SECURITY_PROTOCOL) to what it speaks there"
        + own
        + "; behind a proxy it may be away",
    )


def _is_no_payload(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


def _withhold_payloads() -> None:
    """Keep requests and responses out of every log. Twice is the same as once."""
    logging.getLogger("aiokafka.conn").addFilter(_is_no_payload)
