"""`hotlist worker` and `hotlist demo`: the two that run the engine itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from engine.cli.options import takes_settings
from engine.cli.output import remark
from engine.config import SETTINGS, Settings

if TYPE_CHECKING:
    from engine.demo.screen import Screen


@click.command()
@takes_settings(
    "bootstrap",
    "prefix",
    "group",
    "http_host",
    "http_port",
    "delivery",
    "verify_keys",
    "log_format",
    "log_level",
    "otlp_endpoint",
    "purposes",
    "misreads",
)
def worker(settings: Settings) -> None:
    """Run the engine: match reads against the lists until it is told to stop.

    Serves /metrics, /healthz and /readyz at its HTTP port. Reads of a new consumer group
    start at the earliest offset kept. SIGUSR1 makes the log one step more talkative, SIGUSR2
    one step quieter.
    """
    from engine.worker.main import run_worker

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
@click.option(
    "--plain",
    is_flag=True,
    help="Plain lines on a terminal too; elsewhere there are no others. NO_COLOR is honoured.",
)
def demo(broker: str | None, reads: int | None, plain: bool) -> int:
    """Show the engine at work in a made-up city, live: rates, delays, matches, and what the
    sources' policies deny.

    Ends with Ctrl-C, and then says whether exactly the expected matches came out.
    """
    if broker is not None:
        broker = SETTINGS["bootstrap"].checked(broker, "--bootstrap")
    from engine.cli.tail import readable
    from engine.demo.run import run_demo

    return run_demo(broker, reads, click.echo, readable, None if plain else _live())


def _live() -> Screen | None:
    """What draws the demo on the terminal; None where there is none."""
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
