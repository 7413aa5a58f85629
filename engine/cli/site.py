"""The cameras' site in the options of `hotlist ingest`, and notes on what messages lacked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from typing import Any, Final

import click

from engine import clock
from engine.cli.options import with_options
from engine.cli.output import remark
from engine.errors import ConfigError
from engine.ingest.adapters import FALLBACKS, Adapted, Adapter, Fallback, Site

_NAME_CHARACTERS: Final = 128
_COUNTRY_CHARACTERS: Final = 2

_OPTIONS: Final = (
    click.option(
        "--source",
        required=True,
        envvar="HOTLIST_SOURCE",
        show_envvar=True,
        help="The organisation that runs the cameras, as the policies name it.",
    ),
    click.option(
        "--country",
        envvar="HOTLIST_COUNTRY",
        show_envvar=True,
        help="ISO 3166-1, such as US, for messages that name a state without its country.",
    ),
    click.option(
        "--camera",
        envvar="HOTLIST_CAMERA",
        show_envvar=True,
        help="Name of the camera for messages that name none; default: their sender's own id.",
    ),
    click.option(
        "--time-zone",
        envvar="HOTLIST_TIME_ZONE",
        show_envvar=True,
        metavar="ZONE",
        help="IANA name, such as Europe/Berlin, for times without a zone; default: UTC.",
    ),
)


def takes_site(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `make_site` takes to a command."""
    return with_options(command, _OPTIONS)


def make_site(source: str, country: str | None, camera: str | None, time_zone: str | None) -> Site:
    """Return the site. Raises ConfigError if an option cannot be used."""
    for flag, name in (("--source", source), ("--camera", camera)):
        if name is not None and not 1 <= len(name) <= _NAME_CHARACTERS:
            raise ConfigError(f"must have 1 to {_NAME_CHARACTERS} characters", where=flag)
    if country is not None and not (
        len(country) == _COUNTRY_CHARACTERS and country.isascii() and country.isalpha()
    ):
        raise ConfigError("must be two letters, such as US", where="--country")
    zone = None if time_zone is None else _zone(time_zone)
    return Site(source, country and country.upper(), camera, zone)


def _zone(name: str) -> tzinfo:
    try:
        return clock.zone_named(name)
    except ValueError:
        raise ConfigError(
            f"{name!r} is not an IANA time zone, such as Europe/Berlin or UTC", where="--time-zone"
        ) from None


def remarking(adapter: Adapter) -> Adapter:
    """Return the adapter, which names each kind of fallback once, on standard error."""
    named: set[Fallback] = set()

    def adapt(message: bytes, site: Site) -> Adapted:
        adapted = adapter(message, site)
        for kind in sorted(adapted.fallbacks - named):
            named.add(kind)
            remark(f"note: {FALLBACKS[kind]}")
        return adapted

    return adapt
