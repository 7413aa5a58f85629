"""The certificate with which a port listens with TLS, and how long it is valid.

A file may hold a chain: then the certificate that expires first counts, because clients reject the
whole chain with it.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

from engine.errors import ConfigError

_CERTFILE = "--tls-certfile"
_KEYFILE = "--tls-keyfile"


class ServerTls(NamedTuple):
    """TLS for a port. The certificate is valid from `begins_ms` until `expires_ms`, in milliseconds
    since 1970."""

    context: ssl.SSLContext
    begins_ms: int
    expires_ms: int


def load_server_tls(certfile: str, keyfile: str | None) -> ServerTls:
    """Load a certificate and its key from PEM files; without a key's file, both from the first.

    Raises ConfigError that names the file. An expired certificate is loaded as well.
    """
    from cryptography import x509

    try:
        certificates = x509.load_pem_x509_certificates(_read(certfile, _CERTFILE))
        begins = [each.not_valid_before_utc.timestamp() for each in certificates]
        expires = [each.not_valid_after_utc.timestamp() for each in certificates]
    except ValueError:
        raise ConfigError("holds no certificate (PEM)", where=f"{_CERTFILE}: {certfile}") from None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load(context, certfile, keyfile)
    return ServerTls(context, round(max(begins) * 1000), round(min(expires) * 1000))


def _load(context: ssl.SSLContext, certfile: str, keyfile: str | None) -> None:
    where = f"{_CERTFILE}: {certfile}" if keyfile is None else f"{_KEYFILE}: {keyfile}"
    if keyfile is not None:
        _read(keyfile, _KEYFILE)

    def refuse() -> bytes:  # else OpenSSL asks at the terminal
        raise ConfigError(
            "the key is encrypted, and no option takes its password",
            where=where,
            hint="write it without one: openssl pkey -in ENCRYPTED -out KEY",
        )

    try:
        context.load_cert_chain(certfile, keyfile, refuse)
    except (ssl.SSLError, ValueError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            what, hint = f"is not the key of the first certificate in {certfile}", ""
        elif keyfile is None:
            what, hint = "holds no private key (PEM)", f"name its file with {_KEYFILE}"
        else:
            what, hint = "holds no private key (PEM)", ""
        raise ConfigError(what, where=where, hint=hint) from None


def _read(file: str, option: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=f"{option}: {file}") from None
