"""How findings are shown, and what they make of the command's status."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

import click

from engine.cli.doctor.findings import Finding
from engine.cli.output import json_line, plain
from engine.errors import HotlistError

_MARKS: Final = {
    "ok": "  ok     ",
    "note": "  note   ",
    "warning": "! warning",
    "problem": "X PROBLEM",
}
#: As wide as the longest name of a check.
_CHECK: Final = len("transactions")
_TODO: Final = len("X PROBLEM") + 2 + _CHECK + 3


class DoctorError(HotlistError):
    """Something is wrong with the deployment."""


def report_findings(findings: AsyncGenerator[Finding, None], *, as_json: bool, where: str) -> None:
    """Print each finding as it is made. Raises DoctorError, with `where`, if one is a problem."""
    from engine.kafka.session import run

    async def look() -> int:
        problems = 0
        async for finding in findings:
            problems += finding.state == "problem"
            if as_json:
                json_line(finding._asdict())
                continue
            click.echo(plain(f"{_MARKS[finding.state]}  {finding.check:{_CHECK}} {finding.what}"))
            if finding.todo:
                click.echo(plain(f"{'':{_TODO}}{finding.todo}"))
        return problems

    problems = run(look())
    if problems:
        found = "one problem" if problems == 1 else f"{problems} problems"
        raise DoctorError(f"found {found}", where=where)
