"""`hotlist entries`: changes and shows the hot lists.

Each change names its operator in a record header beside the entry, and is checked here by the
same rules as in the worker. Everything is checked before anything is sent.

The modules, in the order in which data passes them:

    options      options that several of these commands have
    add          `entries add`
    import_      `entries import` and `entries sync`
    list_reader  reads a list's state from Kafka
    report       the output of an import or a sync
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import orjson

from engine.cli.entries.options import (
    WeeklyHours,
    file_options,
    row_options,
    supplied_by,
    take_over_option,
)
from engine.cli.options import (
    file_argument,
    json_option,
    operator_header,
    operator_name,
    takes_settings,
)
from engine.cli.output import json_line, plain, reading, remark, table
from engine.clock import SystemClock
from engine.config import Settings
from engine.errors import DocumentError, HotlistError, RuleError

__all__ = ["group"]

_IDS_SHOWN = 5


@click.group("entries")
def group() -> None:
    """Add, change, remove and show entries of the hot lists."""


@group.command("add")
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
    help="Match only then, such as 'mon-fri 08:00-18:00|sat 10:00-14:00 America/Los_Angeles'.",
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


class RemovalError(HotlistError):
    """An entry to be removed does not exist."""


@group.command("import")
@file_argument()
@file_options
@take_over_option
@json_option
@takes_settings("bootstrap", "prefix", "purposes", "operator")
def import_command(settings: Settings, file: Path, take_over: bool, **values: Any) -> None:
    """Add or change the entries of a file; leave all other entries unchanged.

    FILE is .jsonl, or .csv with `,` `;` or tab between cells; a profile describes its columns.
    The flags below fill in the fields that a row lacks. All rows are checked before the first is
    sent.
    """
    from engine.cli.entries.import_ import import_file

    operator = operator_name(settings)
    import_file(settings, _wish(file, operator, values, take_over=take_over))


@group.command()
@file_argument()
@file_options
@click.option(
    "--renew", is_flag=True, help="Set new dates on existing entries whose rows have none."
)
@click.option(
    "--allow-shrink",
    is_flag=True,
    help="Allow the removal of a tenth of the list or more, and a file without entries.",
)
@json_option
@takes_settings("bootstrap", "prefix", "purposes", "operator")
def sync(settings: Settings, file: Path, renew: bool, allow_shrink: bool, **values: Any) -> None:
    """Make a list equal to a file: add, change and remove the difference.

    FILE is the complete new state of the list that --list names, in any form that `import`
    takes. The whole difference takes effect at once, in one transaction, or none of it does.
    Entries of other lists are never touched. An existing entry under the same authority
    reference keeps its dates, unless its row has others.
    """
    from engine.cli.entries.import_ import sync_file

    operator = operator_name(settings)
    list_id = values["list_id"]
    wish = _wish(file, operator, values, renew=renew, allow_shrink=allow_shrink)
    sync_file(settings, wish, list_id)


def _wish(file: Path, operator: str, values: dict[str, Any], **more: Any) -> Any:
    from engine.cli.entries.import_ import Wish
    from engine.list_files.profile import load

    return Wish(
        path=file,
        profile=load(values["profile"], values["time_zone"]),
        encoding=values["encoding"],
        supplied=supplied_by(values, operator, SystemClock().now_ms()),
        headers=operator_header(operator),
        skip_invalid=values["skip_invalid"],
        dry_run=values["dry_run"],
        as_json=values["as_json"],
        **more,
    )


@group.command()
@click.argument("entry_ids", metavar="ID...", nargs=-1, required=True)
@takes_settings("bootstrap", "prefix", "operator")
def remove(settings: Settings, entry_ids: tuple[str, ...]) -> None:
    """Remove entries by their ids. If one of them does not exist, none is removed."""
    from engine.kafka.readable import wait_readable
    from engine.kafka.reader import read_to_end
    from engine.kafka.session import run
    from engine.kafka.topics import Topics
    from engine.kafka.writer import outbox

    operator = operator_name(settings)
    topic = Topics(settings.prefix).hotlist
    # An id that is given twice is removed once.
    keys = {entry_id.encode(errors="surrogateescape"): entry_id for entry_id in entry_ids}

    async def send() -> None:
        there = await read_to_end(settings, topic, reading)
        unknown = [entry_id for key, entry_id in keys.items() if key not in there]
        if unknown:
            raise RemovalError(
                f"no entry {_listed(unknown)}",
                where=topic,
                hint="nothing was removed",
            )
        async with outbox(settings, topic) as box:
            for key in keys:
                await box.send(key, None, operator_header(operator))
        await wait_readable(settings, box.next_offsets)

    run(send())
    click.echo(f"removed {len(keys)} {'entry' if len(keys) == 1 else 'entries'}")


@group.command()
@click.option("--list", "list_id", metavar="LIST", help="Only this list.")
@click.option("--agency", metavar="AGENCY", help="Only this agency.")
@click.option("--purpose", metavar="CODE", help="Only this purpose.")
@click.option("--id", "entry_id", metavar="ID", help="Only the entry with this id.")
@json_option
@takes_settings("bootstrap", "prefix", "purposes")
def show(settings: Settings, as_json: bool, **wanted: str | None) -> None:
    """Show the current entries, including those that do not match at the moment."""
    from engine.documents.admission import Purposes
    from engine.documents.codec import decode_entry, encode
    from engine.documents.model import Entry
    from engine.kafka.reader import read_to_end
    from engine.kafka.session import run
    from engine.kafka.topics import Topics

    topic = Topics(settings.prefix).hotlist
    purposes = Purposes.load(settings.purposes)
    entries: list[tuple[Entry, int]] = []
    unreadable = 0
    for value, sent_ms in run(read_to_end(settings, topic, reading)).values():
        try:
            entry = decode_entry(value)
        except DocumentError:
            unreadable += 1
            continue
        if all(want in (None, getattr(entry, name)) for name, want in wanted.items()):
            entries.append((entry, sent_ms))
    entries.sort(key=lambda each: (each[0].list_id, each[0].entry_id))
    if as_json:
        for entry, _ in entries:
            json_line(encode(entry))
    else:
        now_ms = SystemClock().now_ms()
        table(
            ("entry", "list", "plate", "agency", "purpose", "priority", "expires", "state"),
            (
                (
                    entry.entry_id,
                    entry.list_id,
                    entry.plate,
                    entry.agency,
                    entry.purpose,
                    str(entry.priority_in_force),
                    entry.expires_at,
                    _state(entry, sent_ms, now_ms, purposes),
                )
                for entry, sent_ms in entries
            ),
        )
    if unreadable:
        remark(f"{topic}: records that are no valid entry, which the worker ignores: {unreadable}")


def _listed(ids: list[str]) -> str:
    more = len(ids) - _IDS_SHOWN
    shown = ", ".join(map(repr, ids[:_IDS_SHOWN]))
    return f"{shown} and {more} more" if more > 0 else shown


def _state(entry: Any, sent_ms: int, now_ms: int, purposes: Any) -> str:
    """Return the state that an entry, sent at a time, has in the worker now."""
    from engine.documents.admission import check_entry

    try:
        check_entry(entry, purposes, sent_ms)
    except RuleError as error:
        return f"refused: {error}"
    if entry.expires_ms <= now_ms:
        return "expired"
    if entry.starts_ms is not None and entry.starts_ms > now_ms:
        return "not started"
    return "active"
