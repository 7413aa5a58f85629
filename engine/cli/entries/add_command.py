"""`entries add`: its flags, and the entry made from them."""

from __future__ import annotations

from typing import Any

import click
import orjson

from engine.cli.entries.options import WeeklyHours, row_options, supplied_by, take_over_option
from engine.cli.groups import Command
from engine.cli.options import json_option, operator_header, operator_name, takes_settings
from engine.cli.output import json_line, plain
from engine.clock import SystemClock
from engine.config import Settings

#: The flags of `add` whose values become fields of the entry unchanged.
_ENTRY_FLAGS = frozenset(
    {
        "entry_id",
        "plate",
        "created_at",
        "expires_at",
        "starts_at",
        "region",
        "confusables",
        "distance",
        "priority",
        "instructions",
        "hours",
        "suppress_s",
    }
)


@click.command("add", cls=Command)
@click.option(
    "--id",
    "entry_id",
    metavar="ID",
    help="The entry's id; default: made from list, agency and plate.",
)
@click.option(
    "--plate",
    required=True,
    metavar="PLATE",
    help="The plate in normal form; ? for one unknown character.",
)
@row_options
@click.option("--created-at", metavar="TIME", help="RFC 3339 in UTC; default: now.")
@click.option("--expires-at", metavar="TIME", help="RFC 3339 in UTC; or use --expires-in.")
@click.option("--starts-at", metavar="TIME", help="RFC 3339 in UTC; default: at once.")
@click.option("--region", metavar="CODE", help="ISO 3166-2 such as US-CA, or a country.")
@click.option("--confusables", is_flag=True, help="Also match OCR look-alikes.")
@click.option(
    "--distance",
    type=int,
    metavar="0|1",
    help="1: also match with one character misread, missing or added.  [default: 0]",
)
@click.option("--vehicle-make", metavar="TEXT", help="Do not match a vehicle of another make.")
@click.option("--vehicle-model", metavar="TEXT", help="Do not match a vehicle of another model.")
@click.option("--vehicle-color", metavar="TEXT", help="Do not match a vehicle of another color.")
@click.option("--vehicle-type", metavar="TEXT", help="Do not match a vehicle of another type.")
@click.option("--priority", type=int, metavar="1-5", help="1 is highest.  [default: 3]")
@click.option("--instructions", metavar="TEXT", help="Shown with a match.")
@click.option(
    "--area",
    multiple=True,
    metavar="'LAT LON RADIUS_M'",
    help="Match only in this circle; may be repeated.",
)
@click.option(
    "--hours",
    type=WeeklyHours(),
    metavar="'DAYS HH:MM-HH:MM ZONE'",
    help="Match only at these times, such as "
    "'mon-fri 08:00-18:00|sat 10:00-14:00 America/Los_Angeles'.",
)
@click.option(
    "--suppress-s",
    type=int,
    metavar="SECONDS",
    help="Suppress repeats at one camera within this time.  [default: 60]",
)
@take_over_option
@json_option
@takes_settings("bootstrap", "prefix", "purposes", "operator")
def add_command(
    settings: Settings, as_json: bool, take_over: bool, area: tuple[str, ...], **values: Any
) -> None:
    """Add one entry, or change the entry with its id."""
    from engine.cli.entries.add import add_entry
    from engine.list_files.entry_fields import parse_area

    operator = operator_name(settings)
    if values["expires_at"] is not None and values["expires_in_ms"] is not None:
        raise click.UsageError("--expires-at and --expires-in exclude each other")
    document = {
        name: value
        for name, value in values.items()
        if name in _ENTRY_FLAGS and value is not None and value is not False
    }
    vehicle = {
        part: values[f"vehicle_{part}"]
        for part in ("make", "model", "color", "type")
        if values[f"vehicle_{part}"] is not None
    }
    if vehicle:
        document["vehicle"] = vehicle
    try:
        if area:
            document["area"] = [parse_area(text) for text in area]
    except ValueError as error:
        raise click.UsageError(f"--area {error}") from None
    supplied = supplied_by(values, operator, SystemClock().now_ms())
    what, data = add_entry(
        settings, document, supplied, operator_header(operator), take_over=take_over
    )
    if as_json:
        json_line(data)
    else:
        click.echo(f"{what} {plain(orjson.loads(data)['entry_id'])}")
