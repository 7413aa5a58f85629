"""How the engine connects to the brokers: encrypted or not, and as which user.

Every Kafka client of the engine is created with `arguments()`, so that all of them connect as the
settings say; a test finds clients that do not. `security()` checks how the settings relate and
turns them into those arguments, and `principal()` returns the name by which the broker knows us.

There are three secrets: the user's password, the client's secret and the key's password. Each is in
a variable or in a file, never in a flag, in `hotlist.toml` or in `Settings`;
`engine.kafka.secret_files` reads them. aiokafka logs each request and response at debug level,
including passwords and reads: this module suppresses those lines at every level.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from engine.config import SETTINGS, Settings
from engine.errors import ConfigError
from engine.kafka.secret_files import file_bytes, needed_secret, read_secret, tls_context
from engine.setting_rules import is_loopback

SASL_VARIABLE: Final = "HOTLIST_SASL_PASSWORD"
OAUTH_VARIABLE: Final = "HOTLIST_SASL_OAUTHBEARER_CLIENT_SECRET"
SSL_KEY_VARIABLE: Final = "HOTLIST_SSL_KEY_PASSWORD"

_LOGIN: Final = ("sasl_username",)
_OAUTH: Final = tuple(name for name in SETTINGS if name.startswith("sasl_oauthbearer_"))
#: What the mechanisms with tokens need; the others need a login.
_NEEDED: Final = {
    "OAUTHBEARER": ("sasl_oauthbearer_token_endpoint_url", "sasl_oauthbearer_client_id"),
    "AWS_MSK_IAM": (),
}

#: Arguments of aiokafka's clients beside the address.
Security = Mapping[str, Any]
#: Without encryption and without a user.
PLAINTEXT: Final[Security] = {"security_protocol": "PLAINTEXT"}


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
        found |= _sasl(settings)
    if with_ssl:
        found["ssl_context"] = _ssl_context(settings)
    return found


def _sasl(settings: Settings) -> dict[str, Any]:
    """Return the arguments for the identity of SASL."""
    mechanism = settings.sasl_mechanism
    if mechanism is None:
        raise _incomplete("sasl_mechanism", settings)
    needed = _NEEDED.get(mechanism, _LOGIN)
    for name in (*_LOGIN, "sasl_password_file", *_OAUTH):
        is_set = getattr(settings, name) is not None
        if name in needed and not is_set:
            raise _incomplete(name, settings, f"with the mechanism {mechanism}")
        is_of_it = name in _OAUTH if mechanism == "OAUTHBEARER" else name not in _OAUTH
        if is_set and (mechanism == "AWS_MSK_IAM" or not is_of_it):
            raise ConfigError(
                f"is set, and has no effect with the mechanism {mechanism}",
                where=name,
                hint="unset it, or set --sasl-mechanism (HOTLIST_SASL_MECHANISM) to another one",
            )
    if mechanism in _NEEDED:
        from engine.kafka import oauth

        provider = (
            oauth.TokenProvider(oauth.msk_fetch())
            if mechanism == "AWS_MSK_IAM"
            else _client_tokens(settings, oauth)
        )
        return {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": provider}
    return {
        "sasl_mechanism": mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": needed_secret(
            SASL_VARIABLE, settings, "sasl_password_file", settings.security_protocol
        ),
    }


def _client_tokens(settings: Settings, oauth: Any) -> Any:
    """Return what gets the tokens of a client from its endpoint."""
    url, cafile = settings.sasl_oauthbearer_token_endpoint_url, settings.sasl_oauthbearer_cafile
    client = oauth.ClientCredentials(
        url,
        settings.sasl_oauthbearer_client_id,
        needed_secret(
            OAUTH_VARIABLE, settings, "sasl_oauthbearer_client_secret_file", "OAUTHBEARER"
        ),
        settings.sasl_oauthbearer_scope,
        None if cafile is None else tls_context(cafile, "sasl_oauthbearer_cafile"),
    )
    extensions = (settings.sasl_oauthbearer_extensions or "").split(",")
    return oauth.TokenProvider(client.fetch, dict(one.split("=", 1) for one in extensions if one))


def principal(settings: Settings) -> str | None:
    """Return the name by which the broker knows us; None if it knows none.

    That is the user or the client with SASL, the common name of our certificate with SSL alone.
    Raises ConfigError if the certificate cannot be read.
    """
    with_sasl, with_ssl = _parts(settings)
    if with_sasl:
        return settings.sasl_username or settings.sasl_oauthbearer_client_id
    if with_ssl and settings.ssl_certfile is not None:
        return _common_name(settings.ssl_certfile)
    return None


def password_in_clear(settings: Settings) -> str | None:
    """Return the warning that the password crosses a network in clear; None if it does not.

    SASL PLAIN sends it so without TLS, and OAUTHBEARER its token. Looks at the bootstrap brokers as
    they are written.
    """
    mechanism = settings.sasl_mechanism
    if settings.security_protocol != "SASL_PLAINTEXT" or mechanism not in ("PLAIN", *_NEEDED):
        return None
    secret = "password" if mechanism == "PLAIN" else "token"
    for broker in settings.bootstrap.split(","):
        host = broker.rpartition(":")[0]
        if not is_loopback(host):
            return (
                f"{host} is not a loopback address, and SASL {mechanism} over SASL_PLAINTEXT sends "
                f"the {secret} in clear; set --security-protocol (HOTLIST_SECURITY_PROTOCOL) to "
                "SASL_SSL"
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


class _LeavesAtOnce(ssl.SSLObject):
    """TLS that announces its end to the broker and does not wait for the answer.

    A broker that is answering a fetch does not confirm the end, and an event loop would wait half
    a minute for that. Kafka's messages have lengths, so nothing can be cut off unnoticed.
    """

    def unwrap(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            super().unwrap()


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    context = tls_context(settings.ssl_cafile, "ssl_cafile")
    context.sslobject_class = _LeavesAtOnce
    if settings.ssl_certfile is not None:
        _load_certificate(context, settings, settings.ssl_certfile)
    return context


def _load_certificate(context: ssl.SSLContext, settings: Settings, certfile: Path) -> None:
    keyfile = settings.ssl_keyfile
    file_bytes(certfile, "ssl_certfile")
    if keyfile is not None:
        file_bytes(keyfile, "ssl_keyfile")
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
        certificate = x509.load_pem_x509_certificate(file_bytes(certfile, "ssl_certfile"))
    except ValueError:
        raise ConfigError("holds no certificate (PEM)", where=f"ssl_certfile: {certfile}") from None
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else None


def _is_no_payload(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


def _withhold_payloads() -> None:
    """Keep requests and responses out of every log. Calling it twice has no further effect."""
    logging.getLogger("aiokafka.conn").addFilter(_is_no_payload)
