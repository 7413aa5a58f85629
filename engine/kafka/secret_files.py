"""Secrets from a variable or a file, and the authorities that a connection trusts.

A `Secret` is shown by no message, log line or repr. The functions name the setting in each error.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

from engine.config import SETTINGS, Settings
from engine.errors import ConfigError

#: The maximum length of a password, so that a wrong file is noticed.
_SECRET_BYTES: Final = 4096


class Secret(str):
    """A text that is never printed: for aiokafka it is a str like any other."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return "<secret>"


def needed_secret(variable: str, settings: Settings, file: str, needed_by: str) -> Secret:
    """Read a secret from its variable or the file of a setting. Raises ConfigError without one."""
    secret = read_secret(variable, getattr(settings, file), file)
    if secret is None:
        setting = SETTINGS[file]
        raise ConfigError(
            f"is not set, and {needed_by} needs it",
            where=variable,
            hint=f"set it, or {setting.flag} ({setting.variable})",
        )
    return secret


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
    data = file_bytes(file, name)
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        return Secret("")
    return Secret(text if len(data) <= _SECRET_BYTES and text.isprintable() else "")


def file_bytes(file: Path, name: str) -> bytes:
    """Return a file's bytes. Raises ConfigError naming the setting `name`."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=f"{name}: {file}") from None


def tls_context(cafile: Path | None, name: str) -> ssl.SSLContext:
    """Return a context that trusts the file's authorities, or the system's if there is no file.

    Raises ConfigError naming the setting `name` if the file cannot be used.
    """
    if cafile is not None:
        file_bytes(cafile, name)
    try:
        return ssl.create_default_context(cafile=cafile)
    except ssl.SSLError:
        raise ConfigError("holds no certificate (PEM)", where=f"{name}: {cafile}") from None
