"""`entries import` and `entries sync`: their flags, and the request made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from engine.cli.entries.options import file_options, supplied_by, take_over_option
from engine.cli.groups import Command
from engine.cli.metrics_file import metrics_file_option, must_be_collected
from engine.cli.options import (
    file_argument,
    json_option,
    operator_header,
    operator_name,
    takes_settings,
)
from engine.clock import SystemClock
from engine.config import Settings

_AUTO = "auto"


@click.command("import", cls=Command)
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
    if _proposed(settings, file, operator, values):
        return
    import_file(settings, _wish(file, operator, values, take_over=take_over))


@click.command(cls=Command)
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
@click.option(
    "--take-over",
    is_flag=True,
    help="Also replace and remove entries that other agencies have on the list.",
)
@metrics_file_option
@json_option
@takes_settings("bootstrap", "prefix", "purposes", "operator")
def sync(settings: Settings, file: Path, metrics_file: Path | None, **values: Any) -> None:
    """Make a list equal to a file: add, change and remove the difference.

    FILE is the complete new state of the list that --list names, in any form that `import`
    takes. The whole difference takes effect at once, in one transaction, or none of it does.
    Entries of other lists are never touched, nor those of agencies that neither the file nor
    --agency names, unless --take-over says so. An existing entry under the same authority
    reference keeps its dates, unless its row has others.
    """
    from engine.cli.entries.import_ import sync_file

    if metrics_file is not None:
        if values["dry_run"]:
            raise click.UsageError(
                "--metrics-file says that a list was synced, and --dry-run syncs none"
            )
        must_be_collected(metrics_file)
    operator = operator_name(settings)
    if _proposed(settings, file, operator, values):
        return
    list_id = values["list_id"]
    more = {name: values.pop(name) for name in ("renew", "allow_shrink", "take_over")}
    wish = _wish(file, operator, values, metrics_file=metrics_file, **more)
    sync_file(settings, wish, list_id)


def _proposed(settings: Settings, file: Path, operator: str, values: dict[str, Any]) -> bool:
    """Propose a profile if the user asks for one; return whether that is all to do."""
    write_to = values["write_profile"]
    if values["profile"] != _AUTO:
        if write_to is not None:
            raise click.UsageError(f"--write-profile goes with --profile {_AUTO} --dry-run")
        return False
    if not values["dry_run"]:
        raise click.UsageError(
            f"--profile {_AUTO} only proposes a profile: add --dry-run, keep what it prints as "
            "own.toml, and use --profile own.toml"
        )
    from engine.cli.entries.propose import propose
    from engine.documents.admission import Purposes

    propose(
        file,
        values["encoding"],
        supplied_by(values, operator, SystemClock().now_ms()),
        Purposes.load(settings.purposes),
        write_to=write_to,
        as_json=values["as_json"],
    )
    return True


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
