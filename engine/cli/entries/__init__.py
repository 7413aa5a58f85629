"""`hotlist entries`: changes and shows the hot lists.

Each change names its operator in a record header beside the entry, and is checked here by the
same rules as in the worker. Everything is checked before anything is sent.

The modules, in the order in which data passes them:

    options        options that several of these commands have
    add_command    the flags of `entries add`
    file_commands  the flags of `entries import` and `entries sync`
    flags          checks the values that flags give to all rows
    add            compares one entry with the topic, and sends it
    propose        proposes a profile for a file
    import_        compares a file with the topic, and sends the difference
    sync_transaction  the transaction of a sync
    sync_metrics   what a sync did, as metrics
    list_reader    reads a list's state from Kafka
    report         the output of an import or a sync
    remove         `entries remove`
    show           `entries show`
"""

from __future__ import annotations

import click

from engine.cli.entries import add_command, file_commands, remove, show
from engine.cli.groups import Commands

__all__ = ["group"]


@click.group("entries", cls=Commands)
def group() -> None:
    """Add, change, remove and show entries of the hot lists."""


for _command in (
    add_command.add_command,
    file_commands.import_command,
    file_commands.sync,
    remove.remove,
    show.show,
):
    group.add_command(_command)
