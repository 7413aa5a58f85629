"""`hotlist audit report`: summarises the audit of a period as a table, JSON or CSV."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from engine.cli.groups import Command
from engine.cli.options import json_option, takes_settings
from engine.cli.output import json_line, plain, reading, remark, table
from engine.clock import parse_time
from engine.config import Settings
from engine.documents.fields import COUNTED_EVENTS

if TYPE_CHECKING:
    from engine.audit.report import AuditReport, ReportLine

#: In the order of the help; `engine.audit.report` knows their fields.
_BY = ("agency", "purpose", "list", "source", "event", "operator")
_DEFAULT_BY = "agency,purpose,list,source"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
#: A spreadsheet would take a cell that starts so for a formula; others choose the names in lists.
_FORMULA = ("=", "+", "-", "@")
_FOREVER_MS = 1 << 62


class _TimeType(click.ParamType):
    """A time of the day in UTC, or a date, which is its midnight; in ms since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = f"{value}T00:00:00Z" if _DATE.fullmatch(value) else value
        try:
            return parse_time(text)
        except ValueError:
            self.fail(
                f"{value!r} is not possible: must be a time in UTC such as "
                "2026-01-31T12:00:00Z, or a date",
                param,
                ctx,
            )


class _ByType(click.ParamType):
    """Names separated by commas."""

    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        names = tuple(name.strip() for name in value.split(","))
        if not set(names) <= set(_BY) or len(set(names)) < len(names):
            self.fail(
                f"{value!r} is not possible: must be some of {', '.join(_BY)}, each once",
                param,
                ctx,
            )
        return names


@click.command(cls=Command)
@click.option(
    "--from",
    "from_ms",
    type=_TimeType(),
    metavar="TIME",
    default=0,
    help="Start of the period (UTC), such as 2026-01-31 or 2026-01-31T12:00:00Z.",
)
@click.option(
    "--to",
    "to_ms",
    type=_TimeType(),
    metavar="TIME",
    default=_FOREVER_MS,
    help="End of the period, exclusive.",
)
@click.option(
    "--by",
    type=_ByType(),
    metavar="NAMES",
    default=_DEFAULT_BY,
    show_default=True,
    help=f"The fields to count by, separated by commas: {', '.join(_BY)}.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with a header row.")
@json_option
@takes_settings("bootstrap", "prefix")
def report(
    settings: Settings, from_ms: int, to_ms: int, by: tuple[str, ...], as_csv: bool, as_json: bool
) -> None:
    """Count the matches and changes of a period. Without --from and --to, of all time.

    Counts each once, even if a crash left it on the topic twice. The report does not verify:
    hotlist audit verify says whether the audit can be relied on.
    """
    from engine.audit.report import AuditReport
    from engine.cli.audit.audit_reader import report as report_topic
    from engine.kafka.session import run

    if as_csv and as_json:
        raise click.UsageError("--csv and --json: only one of them is possible")
    if from_ms >= to_ms:
        raise click.UsageError("--to must be after --from")
    summed = AuditReport(by, from_ms, to_ms)
    run(report_topic(settings, summed, reading))
    rows = summed.rows()
    counted = ("count",) if "event" in by else COUNTED_EVENTS
    if as_csv:
        _print_csv(by, counted, rows)
    elif as_json:
        for row in rows:
            json_line({**dict(zip(by, row.values, strict=True)), **_counts(counted, row.counts)})
    else:
        _print_table(by, counted, rows)
    _remark(summed)


def _counts(counted: tuple[str, ...], counts: Counter[str]) -> dict[str, int]:
    if counted == ("count",):
        return {"count": counts.total()}
    return {event: counts[event] for event in counted}


def _print_table(by: tuple[str, ...], counted: tuple[str, ...], rows: list[ReportLine]) -> None:
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row.counts)
    if "event" not in by:  # leave out the columns that are empty
        counted = tuple(event for event in counted if total[event]) or counted
    lines = [
        (*("-" if value is None else value for value in row.values), *_cells(counted, row.counts))
        for row in rows
    ]
    lines.append(("total", *("" for _ in by[1:]), *_cells(counted, total)))
    table((*by, *(name.replace("_", " ") for name in counted)), lines)


def _cells(counted: tuple[str, ...], counts: Counter[str]) -> Iterator[str]:
    return (f"{count:,}" for count in _counts(counted, counts).values())


def _print_csv(by: tuple[str, ...], counted: tuple[str, ...], rows: list[ReportLine]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*by, *counted))
    for row in rows:
        counts = _counts(counted, row.counts).values()
        writer.writerow((*(_harmless(value or "") for value in row.values), *counts))
    click.echo(text.getvalue().encode(), nl=False)


def _harmless(value: str) -> str:
    """Return a cell that is no formula and, because csv does not quote a CR, stays in its row."""
    cell = plain(value)
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _remark(summed: AuditReport) -> None:
    if summed.repeats:
        remark(f"recorded more than once and counted once: {summed.repeats:,}")
    if summed.unsound:
        remark(
            f"not counted, because unreadable, invalid or changed: {summed.unsound:,}; "
            "see hotlist audit verify"
        )
