"""`hotlist worker` and `hotlist demo`: the two commands that run the engine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from engine.cli.groups import Command
from engine.cli.options import takes_settings
from engine.cli.output import remark
from engine.cli.value_types import Count
from engine.config import REGISTRY, SETTINGS, Settings
from engine.errors import ConfigError

if TYPE_CHECKING:
    from engine.demo.screen import Screen


@click.command(cls=Command)
@takes_settings(
    "bootstrap",
    "prefix",
    "group",
    "group_instance_id",
    "session_timeout",
    "client_rack",
    "rebalance",
    "http_host",
    "http_port",
    "delivery",
    "verify_keys",
    *REGISTRY,
    "log_format",
    "log_level",
    "otlp_endpoint",
    "purposes",
    "misreads",
    "checkpoint_key",
    "checkpoint_dir",
    "require_entries",
)
@click.option(
    "--insecure",
    is_flag=True,
    help="Do not warn that the password crosses the network in clear, without TLS.",
)
def worker(settings: Settings, insecure: bool) -> None:
    """Run the engine: match reads against the lists until SIGTERM or Ctrl-C.

    Serves /metrics, /healthz and /readyz on its HTTP port. A new consumer group starts at the
    earliest offset. SIGUSR1 makes the log one level more verbose, SIGUSR2 one level less.
    """
    from engine.worker.main import run_worker

    if insecure and settings.security_protocol != "SASL_PLAINTEXT":
        raise ConfigError("would do nothing without SASL_PLAINTEXT", where="--insecure")
    run_worker(settings, warns=not insecure)


# Only the flag counts here. A broker from a variable or a file is for real work, and a
# demonstration must not write its inventions there by accident.
@click.command(cls=Command)
@click.option(
    "--bootstrap",
    "broker",
    metavar=SETTINGS["bootstrap"].metavar,
    help="Use this Kafka; default: the demo starts its own broker.",
)
@click.option(
    "--reads",
    type=Count(),
    metavar="N",
    help="Stop after N reads; status 0 only if exactly the expected matches came out.",
)
@click.option(
    "--plain",
    is_flag=True,
    help="Print plain lines also on a terminal. NO_COLOR is honoured.",
)
def demo(broker: str | None, reads: int | None, plain: bool) -> int:
    """Show the engine at work in a simulated city: rates, delays, matches, and what the sources'
    policies deny.

    Runs until Ctrl-C, and then reports whether exactly the expected matches came out.
    """
    if broker is not None:
        broker = SETTINGS["bootstrap"].checked(broker, "--bootstrap")
    from engine.cli.tail import readable
    from engine.demo.run import run_demo

    return run_demo(broker, reads, click.echo, readable, None if plain else live_screen())


def live_screen() -> Screen | None:
    """Return the screen that draws the demo on this terminal; None if it cannot be drawn on."""
    if not sys.stdout.isatty():
        return None
    try:
        from engine.demo.screen import on_terminal
    except ModuleNotFoundError:
        remark(
            "without the package rich in plain lines; run: pip install 'hotlist-engine[embedded]'"
        )
        return None
    return on_terminal()


COMMANDS = (demo, worker)
