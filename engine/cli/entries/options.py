"""The flags that fill in fields of entries, one at a time or for all rows of a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import with_options
from engine.cli.value_types import OneOf
from engine.clock import format_time
from engine.list_files.text import ENCODINGS

if TYPE_CHECKING:
    from engine.list_files.rows import Supplied

_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
#: Longer than any term, and less than the years that a time can hold.
_LONGEST_MS = 100 * 366 * _UNITS_MS["d"]


class Duration(click.ParamType):
    """A length of time such as `30d` or `12h`, in milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([0-9]{1,9})([mhdw])", value, re.ASCII)
        length_ms = int(found[1]) * _UNITS_MS[found[2]] if found else 0
        if not 0 < length_ms <= _LONGEST_MS:
            self.fail(f"{value!r} is not a length of time such as 45m, 12h, 30d or 8w", param, ctx)
        return length_ms


class WeeklyHours(click.ParamType):
    """An entry's hours in one line (`engine.documents.hours`), converted to its document's form."""

    name = "hours"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from engine.documents.hours import parse_hours

        try:
            return parse_hours(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


_ROW_OPTIONS = (
    click.option(
        "--list", "list_id", metavar="LIST", help="The hot list that the entry belongs to."
    ),
    click.option("--agency", metavar="AGENCY", help="The agency that receives the matches."),
    click.option("--purpose", metavar="CODE", help="A code of the purposes file."),
    click.option(
        "--authority-kind", metavar="KIND", help="case, warrant, ncic, statute or contract."
    ),
    click.option("--authority-ref", metavar="TEXT", help="The authority's number or name on file."),
    click.option(
        "--requested-by", metavar="NAME", help="Who asked for the entry; default: the operator."
    ),
    click.option(
        "--expires-in",
        "expires_in_ms",
        type=Duration(),
        metavar="TIME",
        help="Time from now to the expiry, such as 12h or 30d.",
    ),
)


def row_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags that may fill in fields of any entry."""
    return with_options(command, _ROW_OPTIONS)


_FILE_OPTIONS = (
    click.option(
        "--profile",
        default="hotlist",
        show_default=True,
        metavar="NAME|FILE",
        help="Description of the columns: a shipped one such as hotlist, genetec, ncic or plates, "
        "your own .toml file, or auto to propose one with --dry-run.",
    ),
    click.option(
        "--write-profile",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="With --profile auto: write the proposal to this new file, not to standard output.",
    ),
    click.option(
        "--encoding",
        type=OneOf("encoding that files are read in", ENCODINGS),
        default="auto",
        show_default=True,
        help="The file's text encoding.",
    ),
    click.option(
        "--time-zone",
        metavar="ZONE",
        help="Time zone of dates that have none, such as America/Chicago.",
    ),
    click.option("--dry-run", is_flag=True, help="Show the difference; send nothing."),
    click.option(
        "--skip-invalid",
        is_flag=True,
        help="Send the valid rows; leave the entries of invalid rows as they are.",
    ),
)


take_over_option = click.option(
    "--take-over", is_flag=True, help="Replace entries of another list or agency with the same id."
)


def file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags that control how a file is parsed, and those of `row_options`."""
    return with_options(command, (*_ROW_OPTIONS, *_FILE_OPTIONS))


def supplied_by(values: Mapping[str, Any], operator: str, now_ms: int) -> Supplied:
    """Return the fields that flags, operator and clock supply to entries.

    `values` has the flags of `row_options` by their names.
    """
    from engine.list_files.rows import Supplied

    names = ("list_id", "agency", "purpose", "requested_by")
    flags: dict[str, Any] = {name: values[name] for name in names if values[name]}
    authority = {"kind": values["authority_kind"], "reference": values["authority_ref"]}
    if given := {part: text for part, text in authority.items() if text is not None}:
        flags["authority"] = given
    fresh = {"created_at": format_time(now_ms), "requested_by": operator}
    if values["expires_in_ms"] is not None:
        fresh["expires_at"] = format_time(now_ms + values["expires_in_ms"])
    return Supplied(flags, fresh)
