"""`hotlist topics`: the topics on the broker."""

from __future__ import annotations

import click

from engine.cli.options import json_option, takes_settings
from engine.cli.output import json_line, table
from engine.config import Settings


@click.group("topics")
def group() -> None:
    """Declare the topics on the broker."""


@group.command()
@json_option
@takes_settings("bootstrap", "prefix", "partitions", "replication")
def create(settings: Settings, as_json: bool) -> None:
    """Declare all topics with the settings that the engine relies on.

    What exists already stays as it is, except for a setting that a promise rests on.
    """
    from engine.client import run
    from engine.connection import security
    from engine.topics import Topics, create_topics

    outcome = run(
        create_topics(
            settings.bootstrap,
            Topics(settings.prefix),
            partitions=settings.partitions,
            replication=settings.replication,
            security=security(settings),
        )
    )
    if as_json:
        for topic, state in outcome:
            json_line({"topic": topic, "state": state})
    else:
        table(("topic", "state"), outcome)
