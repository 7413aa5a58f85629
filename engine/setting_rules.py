"""The rules for the values of settings: what each kind may be, and `is_loopback` for hosts.

Each rule takes the written value, which is text or a value of `hotlist.toml`, and returns the value
for `Settings`. It raises ValueError with the rule; `engine.config` adds the setting and its origin.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

_TOPIC_CHARACTERS: Final = re.compile(r"[A-Za-z0-9._-]*", re.ASCII)
#: Kafka allows 249 characters in a topic's name; our longest name takes 13 of them.
_PREFIX_CHARACTERS: Final = 200
_HOST: Final = re.compile(r"\[[0-9A-Fa-f:.]+\]|[^\s:,/\[\]]+")
#: Kafka's rule for the id of a static member.
_INSTANCE_ID: Final = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,249}", re.ASCII)
#: A SASL extension as RFC 7628 has it; `auth` is the token's own.
_EXTENSION: Final = re.compile(r"(?!auth=)[A-Za-z]+=[\x20-\x7e]+", re.ASCII)
_URL: Final = re.compile(
    r"https?://(?:\[[0-9A-Fa-f:.]+\]|[^\s:,/?#\[\]]+)(?::([0-9]{1,5}))?(?:/[^\s?#]*)?", re.ASCII
)


class SecretError(ValueError):
    """A value breaks its rule, and must not be shown."""


def nonempty_text(value: Any) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text that is not empty")
    return value


def whole_number(least: int, most: int) -> Callable[[Any], int]:
    """Make the rule of a whole number from `least` to `most`."""
    rule = f"must be a whole number from {least} to {most}"

    def parse(value: Any) -> int:
        # bool is an int to Python, but `true` is not a number of anything.
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value, re.ASCII):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(rule)
        return value

    return parse


def broker_addresses(value: Any) -> str:
    """Return HOST:PORT, or several with commas between them."""
    rule = "must be HOST:PORT, or several with commas between them"
    brokers = [broker.strip() for broker in nonempty_text(value).split(",")]
    for broker in brokers:
        host, _, port = broker.rpartition(":")
        if not _HOST.fullmatch(host):
            raise ValueError(rule)
        if not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or not 1 <= int(port) <= 65535:
            raise ValueError(f"{rule}, with a port from 1 to 65535")
    return ",".join(brokers)


def topic_prefix(value: Any) -> str:
    """Return the beginning of the topics' names; it may be empty."""
    if not isinstance(value, str) or not _TOPIC_CHARACTERS.fullmatch(value):
        raise ValueError("must be letters, digits, dots, hyphens and underscores")
    if len(value) > _PREFIX_CHARACTERS:
        raise ValueError(f"must be at most {_PREFIX_CHARACTERS} characters")
    return value


def instance_id(value: Any) -> str:
    """Return the id of a static member of a consumer group."""
    if not isinstance(value, str) or not _INSTANCE_ID.fullmatch(value):
        raise ValueError("must be 1 to 249 letters, digits, dots, hyphens and underscores")
    return value


def one_of(*choices: str) -> Callable[[Any], str]:
    """Make the rule of a value that is one of two choices or more; letter case does not count."""
    rule = f"must be {', '.join(choices[:-1])} or {choices[-1]}"
    meant = {choice.upper(): choice for choice in choices}

    def parse(value: Any) -> str:
        choice = meant.get(value.strip().upper()) if isinstance(value, str) else None
        if choice is None:
            raise ValueError(rule)
        return choice

    return parse


def collector_url(value: Any) -> str:
    """Return the URL of an OpenTelemetry collector, without a slash at its end.

    Raises SecretError for a URL that may hold a password.
    """
    return _url(value, "a token for the collector goes into OTEL_EXPORTER_OTLP_HEADERS")


def registry_url(value: Any) -> str:
    """Return the URL of a schema registry, without a slash at its end.

    Raises SecretError for a URL that may hold a password.
    """
    return _url(value, "they go into schema_registry_username and schema_registry_password_file")


def token_endpoint_url(value: Any) -> str:
    """Return the URL of a token endpoint: https, or http on this machine.

    Raises SecretError for a URL that may hold a password.
    """
    url = _url(value, "they go into sasl_oauthbearer_client_id and its secret's file")
    if url.startswith("http:") and not is_loopback(urlsplit(url).hostname or ""):
        raise ValueError("must be an https URL, because the client's secret goes there")
    return url


def sasl_extensions(value: Any) -> str:
    """Return NAME=VALUE, or several with commas between them."""
    pairs = [pair.strip() for pair in nonempty_text(value).split(",")]
    if not all(map(_EXTENSION.fullmatch, pairs)):
        raise ValueError("must be NAME=VALUE, or several with commas between them")
    return ",".join(pairs)


def _url(value: Any, secrets_go: str) -> str:
    rule = "must be http://HOST:PORT or https://HOST:PORT"
    url = nonempty_text(value).strip()
    if "@" in url:
        raise SecretError(f"a URL with a user or a password in it is not possible: {secrets_go}")
    found = _URL.fullmatch(url)
    if found is None or not 1 <= int(found[1] or 80) <= 65535:
        raise ValueError(rule)
    return url.rstrip("/")


def file_path(value: Any) -> Path:
    """Return the path of a file or a directory; a leading ~ in a text is the home directory."""
    return Path(value) if isinstance(value, Path) else Path(nonempty_text(value)).expanduser()


def is_loopback(host: str) -> bool:
    """Return whether what is sent to this host stays on this machine; no name is looked up.

    An IPv6 address may have its brackets and its zone.
    """
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"
