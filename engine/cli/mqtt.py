"""The MQTT source of `hotlist ingest --mqtt`: its address, its login, its end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import click

from engine.cli.options import secret_of, with_options
from engine.cli.output import remark
from engine.cli.webhook import stopping
from engine.config import Settings
from engine.errors import ConfigError
from engine.ingest.adapters import Adapter, Site
from engine.setting_rules import is_loopback

if TYPE_CHECKING:
    from engine.ingest.mqtt import MqttAddress, MqttSource

MQTT_VARIABLE: Final = "HOTLIST_MQTT_PASSWORD"
#: The topics of vendors that publish to MQTT themselves.
_TOPICS: Final = {"frigate": "frigate/tracked_object_update"}
#: Vendors that report a car several times. The read is held for seconds, so it cannot be kept by
#: the MQTT broker until Kafka has it.
_WITHOUT: Final = frozenset({"axis"})
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


def mqtt_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the MQTT source to a command."""
    options = (
        click.option(
            "--mqtt",
            metavar="URL",
            help="Take the vendor's messages from mqtt://[user@]host[:port][/topic], or mqtts://, "
            "until SIGTERM or Ctrl-C; --listen then serves only the status.",
        ),
        click.option(
            "--mqtt-password-file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="FILE",
            help=f"File with the MQTT user's password; default: the variable {MQTT_VARIABLE}.",
        ),
    )
    return with_options(command, options)


def make_address(url: str, vendor: str, source: str, password_file: Path | None) -> MqttAddress:
    """Return where the messages are and how to log in. Raises ConfigError."""
    try:
        from engine.ingest.mqtt import MqttAddress
    except ImportError:
        raise ConfigError(
            "needs the extra mqtt", where="--mqtt", hint="pip install 'hotlist-engine[mqtt]'"
        ) from None
    if vendor in _WITHOUT:
        raise ConfigError(f"does not take messages of {vendor}", where="--mqtt")
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in _PORTS or not parts.hostname or port == 0 or parts.query:
        raise ConfigError(
            "must be mqtt://host[:1883][/topic] or mqtts://host[:8883][/topic]", where="--mqtt"
        )
    if parts.password is not None:
        raise ConfigError(
            f"must not have the password in it; set {MQTT_VARIABLE} or --mqtt-password-file",
            where="--mqtt",
        )
    topic = unquote(parts.path.removeprefix("/")) or _TOPICS.get(vendor, "")
    if not topic:
        raise ConfigError(f"must name the topic of {vendor}'s messages", where="--mqtt")
    password = secret_of(MQTT_VARIABLE, password_file)
    user = None if parts.username is None else unquote(parts.username)
    if (user is None) != (password is None):
        raise ConfigError(
            "needs a user with a password, and a password with a user: mqtt://user@host and "
            f"{MQTT_VARIABLE} or --mqtt-password-file",
            where="--mqtt",
        )
    return MqttAddress(
        vendor,
        parts.hostname,
        port or _PORTS[parts.scheme],
        topic,
        # Fixed, so that the broker knows the session again after a restart.
        f"hotlist-ingest-{vendor}-{source}",
        user,
        password,
        ssl.create_default_context() if parts.scheme == "mqtts" else None,
    )


def warn_if_mqtt_in_clear(address: MqttAddress) -> None:
    """Warn on one line if reads, or a password, cross a network without TLS."""
    if address.tls is None and not is_loopback(address.host):
        remark(
            f"warning: {address.host} is not a loopback address, and without TLS messages and the "
            "password cross the network in clear; use mqtts://"
        )


async def serve_mqtt(
    settings: Settings,
    adapter: Adapter,
    site: Site,
    address: MqttAddress,
    listen: tuple[str, int] | None,
) -> None:
    """Take messages from an MQTT broker until SIGTERM or SIGINT."""
    from engine.ingest.metrics import IngestMetrics
    from engine.ingest.mqtt import MqttSource
    from engine.ingest.producer import ingesting
    from engine.ingest.status_routes import status_port

    with stopping() as stopped:
        async with ingesting(settings, adapter, site, IngestMetrics(address.vendor)) as ingest:
            port = status_port(ingest)
            if listen is not None:
                await port.open(*listen, where="", hint="choose another address with --listen")
                remark(f"status at http://{listen[0]}:{port.number}/readyz")
            try:
                async with ingest.sending_held():
                    remark(f"subscribing to {address.topic} at {address.host}:{address.port}")
                    await _take_until(stopped, MqttSource(ingest, address))
            finally:
                if listen is not None:
                    await port.close()


async def _take_until(stopped: asyncio.Event, source: MqttSource) -> None:
    """Take messages until the event is set. Raises what ends the source."""
    taking = asyncio.create_task(source.run())
    waiting = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({taking, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if taking.done():
            taking.result()
    finally:
        for task in (taking, waiting):
            task.cancel()
        await asyncio.gather(taking, waiting, return_exceptions=True)
