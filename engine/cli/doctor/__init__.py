"""`hotlist doctor`: checks a deployment from outside; `hotlist ingest --check`, before it runs.

The modules, in the order in which data passes them:

    asking          a connection to the brokers, and checks that fail as findings
    checks          the questions to the brokers
    ingest_checks   what would keep hotlist ingest from its work
    worker_ports    the questions to the workers
    schemas         the questions to the schema registry
    transactions    open transactions that hold records back
    findings        the meaning of the answers; pure
    topic_settings  the topics' settings and whether topics fit together; pure
    rights          what a role needs and a login lacks; pure
    read_sample     the latest reads, judged; pure
    report          how findings are shown
"""

from __future__ import annotations

import click

from engine.cli.doctor.report import report_findings
from engine.cli.groups import Command
from engine.cli.options import json_option, takes_settings
from engine.config import REGISTRY, Settings
from engine.errors import ConfigError
from engine.versions import versions

__all__ = ["COMMANDS", "ingest_checks", "report"]


@click.command(cls=Command)
@json_option
@click.option("--role", help="The role whose rights this login needs, see: hotlist topics acls.")
@click.option(
    "--worker",
    "workers",
    multiple=True,
    metavar="URL",
    help="A worker's HTTP port, such as http://127.0.0.1:9108; may be repeated.",
)
@takes_settings("bootstrap", "prefix", "group", "client_rack", *REGISTRY)
def doctor(settings: Settings, as_json: bool, role: str | None, workers: tuple[str, ...]) -> None:
    """Check a deployment from outside; report what is wrong and how to fix it.

    Checks brokers, topics and their settings, rights, workers and their lag, lists, clocks, and
    whether the latest reads follow the schema. Changes nothing. Status 1 if there is a problem.
    """
    from engine.cli.doctor.checks import Looking, examine
    from engine.kafka.acls import roles
    from engine.kafka.topics import Topics

    known = roles(Topics(settings.prefix), settings.group)
    if role is not None and role not in known:
        raise ConfigError(f"{role!r} is none; there are {', '.join(known)}", where="--role")

    if not as_json:
        shown = versions(("aiokafka", "faust-streaming", "numba"))
        click.echo(", ".join(f"{name} {version}" for name, version in shown.items()))
    findings = examine(settings, Looking(role, workers))
    report_findings(findings, as_json=as_json, where=settings.bootstrap)


COMMANDS = (doctor,)
