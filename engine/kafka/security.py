"""How the engine connects to the brokers: encrypted or not, and as which user.

Every Kafka client of the engine is created with `arguments()`, so that all of them connect as the
settings say; a test finds clients that do not. `security()` checks how the settings relate and
turns them into those arguments, and `principal()` returns the name by which the broker knows us.

There are two secrets: the user's password and the key's password. Each is in a variable or in a
file, never in a flag, in `hotlist.toml` or in `Settings`; here they are `Secret`, which no
message, log line or repr shows. aiokafka logs each request and response at debug level, including
passwords and reads: this module suppresses those lines at every level.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from engine.config import SETTINGS, Settings
from engine.errors import ConfigError
from engine.setting_rules import is_loopback

SASL_VARIABLE: Final = "HOTLIST_SASL_PASSWORD"
SSL_KEY_VARIABLE: Final = "HOTLIST_SSL_KEY_PASSWORD"

#: The maximum length of a password, so that a wrong file is noticed.
_SECRET_BYTES: Final = 4096

#: Arguments of aiokafka's clients beside the address.
Security = Mapping[str, Any]
#: Without encryption and without a user.
PLAINTEXT: Final[Security] = {"security_protocol": "PLAINTEXT"}


class Secret(str):
    """A text that is never printed: for aiokafka it is a str like any other."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return "<secret>"


def arguments(bootstrap: str, security: Security = PLAINTEXT) -> dict[str, Any]:
    """Return the arguments with which every client of the engine connects."""
    _withhold_payloads()
    return {"bootstrap_servers": bootstrap, **security}


def security(settings: Settings) -> Security:
    """Return the arguments for the settings' encryption and identity.

    Raises ConfigError if the settings contradict each other, or a file cannot be used.
    """
    found: dict[str, Any] = {"security_protocol": settings.security_protocol}
    with_sasl, with_ssl = _parts(settings)
    if with_sasl:
        for name in ("sasl_mechanism", "sasl_username"):
            if getattr(settings, name) is None:
                raise _incomplete(name, settings)
        password = read_secret(SASL_VARIABLE, settings.sasl_password_file, "sasl_password_file")
        if password is None:
            raise ConfigError(
                f"is not set, and {settings.security_protocol} needs it",
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
    """Return the name by which the broker knows us; None if it knows none.

    That is the user with SASL, the common name of our certificate with SSL alone. Raises
    ConfigError if the certificate cannot be read.
    """
    with_sasl, with_ssl = _parts(settings)
    if with_sasl:
        return settings.sasl_username
    if with_ssl and settings.ssl_certfile is not None:
        return _common_name(settings.ssl_certfile)
    return None


def password_in_clear(settings: Settings) -> str | None:
    """Return the warning that the password crosses a network in clear; None if it does not.

    Only SASL PLAIN without TLS sends it so. Looks at the bootstrap brokers as they are written.
    """
    if (settings.security_protocol, settings.sasl_mechanism) != ("SASL_PLAINTEXT", "PLAIN"):
        return None
    for broker in settings.bootstrap.split(","):
        host = broker.rpartition(":")[0]
        if not is_loopback(host):
            return (
                f"{host} is not a loopback address, and SASL PLAIN over SASL_PLAINTEXT sends the "
                "password in clear; set --security-protocol (HOTLIST_SECURITY_PROTOCOL) to SASL_SSL"
            )
    return None


def _parts(settings: Settings) -> tuple[bool, bool]:
    """Return whether SASL and SSL are in use; ConfigError for a setting without effect."""
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
                f"is set, and has no effect with the security protocol {protocol}",
                where=name,
                hint=f"set --security-protocol (HOTLIST_SECURITY_PROTOCOL) to {kinds}",
            )
    if settings.ssl_certfile is None:
        for name in ("ssl_keyfile", "ssl_key_password_file"):
            if getattr(settings, name) is not None:
                raise _incomplete("ssl_certfile", settings, f"if {name} is set")
    return with_sasl, with_ssl


def _incomplete(name: str, settings: Settings, when: str = "") -> ConfigError:
    setting = SETTINGS[name]
    return ConfigError(
        f"must be set {when or f'with the security protocol {settings.security_protocol}'}",
        where=name,
        hint=f"set {setting.flag} ({setting.variable})",
    )


def read_secret(variable: str, file: Path | None, name: str) -> Secret | None:
    """Read a secret from its variable or its file, never both; None if there is neither.

    No variable of this function holds it as plain text, so that no traceback shows it.
    """
    given = Secret(os.environ.get(variable, ""))
    if file is None:
        return given or None
    if given:
        raise ConfigError(
            f"and {name} are both set",
            where=variable,
            hint="unset one of them",
        )
    held = _one_line(file, name)
    if not held:
        raise ConfigError(
            f"must hold one line of text, at most {_SECRET_BYTES} bytes", where=f"{name}: {file}"
        )
    return held


def _one_line(file: Path, name: str) -> Secret:
    """Return the file's one line; empty if it holds anything else, which is not shown."""
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
    """TLS that announces its end to the broker and does not wait for the answer.

    A broker that is answering a fetch does not confirm the end, and an event loop would wait half
    a minute for that. Kafka's messages have lengths, so nothing can be cut off unnoticed.
    """

    def unwrap(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            super().unwrap()


def tls_context(cafile: Path | None, name: str) -> ssl.SSLContext:
    """Return a context that trusts the file's authorities, or the system's if there is no file.

    Raises ConfigError naming the setting `name` if the file cannot be used.
    """
    if cafile is not None:
        _read(cafile, name)
    try:
        return ssl.create_default_context(cafile=cafile)
    except ssl.SSLError:
        raise ConfigError("holds no certificate (PEM)", where=f"{name}: {cafile}") from None


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    context = tls_context(settings.ssl_cafile, "ssl_cafile")
    context.sslobject_class = _LeavesAtOnce
    if settings.ssl_certfile is not None:
        _load_certificate(context, settings, settings.ssl_certfile)
    return context


def _load_certificate(context: ssl.SSLContext, settings: Settings, certfile: Path) -> None:
    keyfile = settings.ssl_keyfile
    _read(certfile, "ssl_certfile")
    if keyfile is not None:
        _read(keyfile, "ssl_keyfile")
    password = read_secret(
        SSL_KEY_VARIABLE, settings.ssl_key_password_file, "ssl_key_password_file"
    )
    asked = False

    def give_password() -> bytes:  # else OpenSSL asks at the terminal
        nonlocal asked
        asked = True
        return b"" if password is None else password.encode()

    try:
        context.load_cert_chain(certfile, keyfile, give_password)
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
            raise ConfigError("the key's password is wrong", where=where) from None
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


def _is_no_payload(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


def _withhold_payloads() -> None:
    """Keep requests and responses out of every log. Calling it twice has no further effect."""
    logging.getLogger("aiokafka.conn").addFilter(_is_no_payload)
