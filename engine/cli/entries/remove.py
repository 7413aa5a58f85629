"""`entries remove`: sends tombstones for entries that exist."""

from __future__ import annotations

import click

from engine.cli.groups import Command
from engine.cli.options import operator_header, operator_name, takes_settings
from engine.cli.output import counted, reading
from engine.config import Settings
from engine.errors import HotlistError

_IDS_SHOWN = 5


class RemovalError(HotlistError):
    """An entry to be removed does not exist."""


@click.command(cls=Command)
@click.argument("entry_ids", metavar="ID...", nargs=-1, required=True)
@takes_settings("bootstrap", "prefix", "operator")
def remove(settings: Settings, entry_ids: tuple[str, ...]) -> None:
    """Remove entries by their ids. If one of them does not exist, none is removed."""
    from engine.kafka.readable import wait_readable
    from engine.kafka.reader import read_to_end
    from engine.kafka.session import run
    from engine.kafka.topics import Topics
    from engine.kafka.writer import outbox
    from engine.list_files.removed_terms import term_headers

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
                headers = operator_header(operator) + term_headers(there[key].value)
                await box.send(key, None, headers)
        await wait_readable(settings, box.next_offsets)

    run(send())
    click.echo(f"removed {counted(len(keys), 'entry', 'entries')}")


def _listed(ids: list[str]) -> str:
    more = len(ids) - _IDS_SHOWN
    shown = ", ".join(map(repr, ids[:_IDS_SHOWN]))
    return f"{shown} and {more} more" if more > 0 else shown
