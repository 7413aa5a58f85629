"""The webhook of `hotlist ingest --listen`: its address, its token, its certificate, its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from engine import limits
from engine.cli.options import secret_of, with_options
from engine.cli.output import remark
from engine.config import Settings
from engine.errors import ConfigError
from engine.ingest.adapters import NEVER_RESENT, Adapter, Site
from engine.serving.certificate import ServerTls, load_server_tls
from engine.setting_rules import is_loopback

if TYPE_CHECKING:
    from engine.ingest.webhook import Endpoint

INGEST_VARIABLE: Final = "HOTLIST_INGEST_TOKEN"


class Address(click.ParamType):
    """HOST:PORT; converted to both."""

    name = "host:port"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Return host and port; fail with the rule."""
        host, _, port = str(value).rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            self.fail(f"{value!r} is not of the form 127.0.0.1:9109", param, ctx)
        return host.strip("[]"), int(port)


def listen_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the endpoint to a command."""
    options = (
        click.option(
            "--listen",
            type=Address(),
            metavar="HOST:PORT",
            help="Serve the vendor's webhook on this address, until SIGTERM or Ctrl-C.",
        ),
        click.option(
            "--token-file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="FILE",
            help="File with the token that --listen requires; default: the variable "
            f"{INGEST_VARIABLE}.",
        ),
        click.option(
            "--token-in-url",
            is_flag=True,
            help="Also accept the token in the path or as ?token=, for cameras that send no "
            "password.",
        ),
        click.option(
            "--tls-certfile",
            type=click.Path(exists=True, dir_okay=False),
            help="Certificate to listen with TLS.",
        ),
        click.option(
            "--tls-keyfile",
            type=click.Path(exists=True, dir_okay=False),
            help="The certificate's private key.",
        ),
        click.option(
            "--insecure",
            is_flag=True,
            help="Do not warn that a token or a password crosses the network in clear, without "
            "TLS.",
        ),
    )
    return with_options(command, options)


def make_endpoint(
    address: tuple[str, int],
    token_file: Path | None,
    certfile: str | None,
    keyfile: str | None,
    *,
    vendor: str,
    is_in_url: bool = False,
) -> Endpoint:
    """Return where to listen for a vendor, with the token and TLS. Raises ConfigError."""
    from engine.ingest.webhook import Endpoint

    token, tls = token_of(token_file), tls_of(certfile, keyfile)
    return Endpoint(*address, token, tls, is_in_url, vendor in NEVER_RESENT, vendor)


def warn_if_in_url(endpoint: Endpoint) -> None:
    """Warn on one line if the token may be in the URL."""
    if endpoint.is_in_url:
        remark(
            "warning: with --token-in-url, the token is in the path or the query of requests, and "
            "proxies write these into their logs; give it only to cameras that send no password"
        )


def warn_if_in_clear(endpoint: Endpoint) -> None:
    """Warn on one line if the token must cross a network without TLS."""
    if endpoint.tls is None and not is_loopback(endpoint.host):
        remark(
            f"warning: {endpoint.host} is not a loopback address, and without TLS every sender's "
            "token crosses the network in clear; set --tls-certfile, or --insecure if a proxy "
            "does TLS"
        )


@contextlib.contextmanager
def stopping() -> Iterator[asyncio.Event]:
    """Yield an event that SIGTERM and SIGINT set, with a bounded log for what happens meanwhile."""
    from engine.observability.logs import Log

    log = Log("console", "warning", {})  # it bounds how many lines of a kind there may be
    log.begin()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    try:
        yield stopped
    finally:
        log.end()


async def serve_webhook(
    settings: Settings, adapter: Adapter, site: Site, endpoint: Endpoint
) -> None:
    """Accept messages until SIGTERM or SIGINT."""
    from engine.ingest.metrics import IngestMetrics
    from engine.ingest.producer import ingesting
    from engine.ingest.webhook import IngestServer

    metrics = IngestMetrics(endpoint.vendor)
    if endpoint.tls is not None:
        metrics.show_certificate(endpoint.tls.expires_ms)
    with stopping() as stopped:
        async with ingesting(settings, adapter, site, metrics) as ingest:
            server = IngestServer(ingest, endpoint)
            await server.start()
            async with ingest.sending_held():
                scheme = "http" if endpoint.tls is None else "https"
                remark(f"listening at {scheme}://{endpoint.host}:{server.port}/")
                try:
                    await stopped.wait()
                finally:
                    await server.stop()


def token_of(path: Path | None) -> str:
    """Return the token that messages must carry, from its file or its variable.

    Raises ConfigError if there is none, or a short one.
    """
    where = INGEST_VARIABLE if path is None else str(path)
    token = secret_of(INGEST_VARIABLE, path) or ""
    if len(token) < limits.INGEST_TOKEN_CHARACTERS:
        raise ConfigError(
            f"must hold a token of {limits.INGEST_TOKEN_CHARACTERS} characters or more, "
            "which --listen requires from every sender",
            where=where,
            hint="make one with: openssl rand -hex 24",
        )
    return token


def tls_of(certfile: str | None, keyfile: str | None) -> ServerTls | None:
    """Return the TLS to listen with, None without a certificate. Raises ConfigError."""
    if certfile is not None:
        return load_server_tls(certfile, keyfile)
    if keyfile is not None:
        raise ConfigError("would do nothing without --tls-certfile", where="--tls-keyfile")
    return None
