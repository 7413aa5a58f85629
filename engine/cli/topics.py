"""`hotlist topics`: the topics on the broker, and each role's rights on them."""

from __future__ import annotations

import click

from engine.cli.groups import Commands
from engine.cli.options import json_option, takes_settings
from engine.cli.output import json_line, table
from engine.config import Settings


@click.group("topics", cls=Commands)
def group() -> None:
    """Create the topics on the broker; show each role's rights on them."""


@group.command()
@json_option
@takes_settings("bootstrap", "prefix", "partitions", "replication")
def create(settings: Settings, as_json: bool) -> None:
    """Create all topics with the settings that the engine relies on.

    Leaves existing topics unchanged, except for a setting that a promise depends on.
    With --replication 3 or more, a new topic gets min.insync.replicas=2, so that each acknowledged
    record is on two brokers.
    """
    from engine.kafka.cluster import Cluster
    from engine.kafka.session import run
    from engine.kafka.topic_admin import create_topics

    outcome = run(
        create_topics(
            Cluster.of(settings),
            partitions=settings.partitions,
            replication=settings.replication,
        )
    )
    if as_json:
        for topic, state in outcome:
            json_line({"topic": topic, "state": state})
    else:
        table(("topic", "state"), outcome)


def _principal(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    kind, _colon, name = value.partition(":")
    if not kind or not name:
        raise click.BadParameter(f"{value!r} is none; write User:NAME")
    if name == "*":
        raise click.BadParameter(f"{value!r} is everybody, and a role is for one user")
    return value


@group.command()
@click.argument("role", required=False)
@click.option(
    "--principal",
    callback=_principal,
    metavar="User:NAME",
    help="Print the kafka-acls commands that grant ROLE to this user.",
)
@click.option(
    "--command",
    metavar="TEXT",
    default="kafka-acls.sh --bootstrap-server localhost:9092",
    show_default=True,
    help="The kafka-acls command to print, with the options that it needs to connect.",
)
@json_option
@takes_settings("prefix", "group")
def acls(
    settings: Settings, role: str | None, principal: str | None, command: str, as_json: bool
) -> None:
    """Show what each role, or only ROLE, may do on the brokers. Connects to no broker.

    With --principal, prints the commands for the cluster's administrator to review and run.
    """
    from engine.kafka.acls import kafka_acls, roles
    from engine.kafka.topics import Topics

    found = roles(Topics(settings.prefix), settings.group)
    if role is not None and role not in found:
        raise click.UsageError(f"{role!r} is no role; there are {', '.join(found)}")
    if principal is not None and role is None:
        raise click.UsageError("--principal needs a ROLE to give")
    chosen = list(found.values()) if role is None else [found[role]]
    if as_json:
        for each in chosen:
            for grant in each.grants:
                json_line(
                    {
                        "role": each.name,
                        **({} if principal is None else {"principal": principal}),
                        "resource_type": grant.kind,
                        "pattern_type": "prefixed" if grant.is_prefix else "literal",
                        "names": grant.names,
                        "operations": grant.operations,
                        "why": grant.why,
                    }
                )
    elif principal is not None:
        for line in kafka_acls(chosen[0], principal, command):
            click.echo(line)
    else:
        table(
            ("role", "may", "on", "to"),
            (
                (each.name, " ".join(grant.operations), f"{grant.kind} {name}", grant.why)
                for each in chosen
                for grant in each.grants
                for name in (f"{name}*" if grant.is_prefix else name for name in grant.names)
            ),
        )
