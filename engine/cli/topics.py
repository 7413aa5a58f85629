"""`hotlist topics`: the topics on the broker, and each role's rights on them."""

from __future__ import annotations

import click

from engine.cli.groups import Commands, no_such
from engine.cli.options import json_option, takes_settings
from engine.cli.output import can_ask, json_line, plain, table
from engine.config import Settings
from engine.errors import TopicError


@click.group("topics", cls=Commands)
def group() -> None:
    """Create the topics on the broker, correct their settings; show each role's rights on them."""


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


@group.command()
@click.option("--yes", is_flag=True, help="Do not ask before the settings are changed.")
@click.option("--dry-run", is_flag=True, help="Show what would be changed, and change nothing.")
@json_option
@takes_settings("bootstrap", "prefix")
def apply(settings: Settings, as_json: bool, yes: bool, dry_run: bool) -> None:
    """Correct the settings of existing topics, after showing what changes.

    Changes only settings that would lose records, keep them for too long or refuse batches; a value
    within the allowed range stays. Never adds partitions, and never deletes a topic.
    """
    from engine.kafka.cluster import Cluster
    from engine.kafka.session import run
    from engine.kafka.topic_admin import apply_settings, faulty_settings

    cluster = Cluster.of(settings)
    wrong = run(faulty_settings(cluster))
    if as_json:
        for each in wrong:
            json_line(
                {
                    "topic": each.topic,
                    "setting": each.key,
                    "now": each.have,
                    "then": each.want,
                    "why": each.why,
                }
            )
    elif wrong:
        rows = ((each.topic, each.key, each.have, each.want, each.why) for each in wrong)
        table(("topic", "setting", "now", "then", "why"), rows)
    if not wrong:
        click.echo("every setting is as it should be", err=as_json)
        return
    for deleted in dict.fromkeys(each.deletes for each in wrong if each.deletes):
        click.echo(plain(f"Kafka will then delete {deleted}"), err=True)
    if dry_run:
        return
    if not yes:
        if not can_ask():
            what = "nothing was changed, because there is no one to ask"
            raise TopicError(what, hint="to change them without a question, add --yes")
        if not click.confirm("Change these settings?", err=True):
            raise TopicError("nothing was changed, because the answer was not yes")
    run(apply_settings(cluster, wrong))
    count = len(wrong)
    click.echo("one setting changed" if count == 1 else f"{count} settings changed", err=True)


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
        raise click.UsageError(no_such("role", role, list(found)))
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
