"""`hotlist traffic`: reads of a made-up city, for a deployment that has no cameras yet."""

from __future__ import annotations

import time
from pathlib import Path

import click

from engine import limits
from engine.cli.groups import Command
from engine.cli.options import takes_settings
from engine.cli.output import counted
from engine.cli.value_types import Amount, Count
from engine.clock import SystemClock
from engine.config import Settings


@click.command(cls=Command)
@click.option(
    "--rate",
    type=Amount(0.1, 1_000_000),
    default=500,
    show_default=True,
    metavar="N",
    help="Reads a second.",
)
@click.option(
    "--listed",
    type=Amount(0, 1),
    default=0.005,
    show_default=True,
    metavar="SHARE",
    help="The share of reads that show a listed plate, 0 to 1.",
)
@click.option("--reads", type=Count(), metavar="N", help="Stop after N reads.")
@click.option(
    "--lists",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIRECTORY",
    help="Send nothing; write the city's entries.csv and policies.json there.",
)
@takes_settings("bootstrap", "prefix")
def traffic(
    settings: Settings, rate: float, listed: float, reads: int | None, directory: Path | None
) -> None:
    """Send reads of a simulated city at a steady rate, until stopped.

    The reads match once you import the lists that --lists writes. Do not use a prefix that real
    cameras send to.
    """
    from engine.demo.traffic import send_traffic, write_lists
    from engine.kafka.session import run
    from engine.kafka.topics import Topics

    if directory is not None:
        for path in write_lists(directory):
            click.echo(f"wrote {path}")
        return
    topic = Topics(settings.prefix).detections
    reported_s = time.monotonic()

    def report(sent: int) -> None:
        nonlocal reported_s
        if time.monotonic() - reported_s >= limits.TRAFFIC_REPORT_S:
            reported_s = time.monotonic()
            click.echo(f"{sent:,} made-up reads sent to {topic}")

    count = run(
        send_traffic(settings, SystemClock(), rate=rate, listed=listed, reads=reads, sent=report)
    )
    click.echo(f"sent {counted(count, 'made-up read')} to {topic}")


COMMANDS = (traffic,)
