"""`hotlist doctor`: checks a deployment from outside.

The modules, in the order in which data passes them:

    checks          the questions to the brokers
    worker_ports    the questions to the workers
    transactions    open transactions that hold records back
    findings        the meaning of the answers; pure
    topic_settings  the topics' settings and whether topics fit together; pure
    read_sample     the latest reads, judged; pure
"""

from __future__ import annotations

import click

from engine.cli.options import json_option, takes_settings
from engine.cli.output import json_line, plain
from engine.config import Settings
from engine.errors import ConfigError, HotlistError
from engine.versions import versions

__all__ = ["COMMANDS"]

_MARKS = {"ok": "  ok     ", "note": "  note   ", "warning": "! warning", "problem": "X PROBLEM"}


class DoctorError(HotlistError):
    """Something is wrong with the deployment."""


@click.command()
@json_option
@click.option("--role", help="The role whose rights this login needs, see: hotlist topics acls.")
@click.option(
    "--worker",
    "workers",
    multiple=True,
    metavar="URL",
    help="A worker's HTTP port, such as http://127.0.0.1:9108; may be repeated.",
)
@takes_settings("bootstrap", "prefix", "group", "value_format")
def doctor(settings: Settings, as_json: bool, role: str | None, workers: tuple[str, ...]) -> None:
    """Check a deployment from outside; report what is wrong and how to fix it.

    Checks brokers, topics and their settings, rights, workers and their lag, lists, clocks, and
    whether the latest reads follow the schema. Changes nothing. Status 1 if there is a problem.
    """
    from engine.cli.doctor.checks import Looking, examine
    from engine.kafka.acls import roles
    from engine.kafka.session import run
    from engine.kafka.topics import Topics

    known = roles(Topics(settings.prefix), settings.group)
    if role is not None and role not in known:
        raise ConfigError(f"{role!r} is none; there are {', '.join(known)}", where="--role")

    async def look() -> int:
        problems = 0
        async for finding in examine(settings, Looking(role, workers)):
            problems += finding.state == "problem"
            if as_json:
                json_line(finding._asdict())
                continue
            click.echo(plain(f"{_MARKS[finding.state]}  {finding.check:8} {finding.what}"))
            if finding.todo:
                click.echo(plain(f"{'':21} {finding.todo}"))
        return problems

    if not as_json:
        shown = versions(("aiokafka", "faust-streaming", "numba"))
        click.echo(", ".join(f"{name} {version}" for name, version in shown.items()))
    problems = run(look())
    if problems:
        found = "one problem" if problems == 1 else f"{problems} problems"
        raise DoctorError(f"found {found}", where=settings.bootstrap)


COMMANDS = (doctor,)
