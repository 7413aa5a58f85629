"""`hotlist worker` and `hotlist demo`: the two that run the engine itself."""

from __future__ import annotations

import click

from engine.cli.options import takes_settings
from engine.config import SETTINGS, Settings


@click.command()
@takes_settings(
    "bootstrap",
    "prefix",
    "group",
    "http_host",
    "http_port",
    "delivery",
    "verify_keys",
    "purposes",
    "misreads",
)
def worker(settings: Settings) -> None:
    """Run the engine: match reads against the lists until it is told to stop.

    Serves /metrics, /healthz and /readyz at its HTTP port. Reads of a new consumer group
    start at the earliest offset kept.
    """
    from engine.worker import run_worker

    run_worker(settings)


# The flag alone counts here. A broker named by a variable or a file is the one for real
# work, and a demonstration must not write its inventions there because it was set.
@click.command()
@click.option(
    "--bootstrap",
    "broker",
    metavar=SETTINGS["bootstrap"].metavar,
    help="Use this Kafka; without the flag the demo starts a broker of its own.",
)
@click.option(
    "--reads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Stop after N reads; status 0 only if every expected match and no other came out.",
)
def demo(broker: str | None, reads: int | None) -> int:
    """Show the engine at work on synthetic reads: the matches and the rate as they come."""
    if broker is not None:
        broker = SETTINGS["bootstrap"].checked(broker, "--bootstrap")
    from engine.cli.matches import readable
    from engine.demo import run_demo

    return run_demo(broker, reads, click.echo, readable)


COMMANDS = (demo, worker)
