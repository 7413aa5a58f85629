"""`entries add`: one entry, made of flags, is held against what stands and sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from engine.cli.entries.list_reader import list_reader
from engine.cli.output import reading
from engine.clock import SystemClock, format_time
from engine.config import Settings
from engine.documents.admission import Purposes, check_entry
from engine.documents.codec import encode
from engine.errors import DocumentError, HotlistError, RuleError
from engine.kafka.session import run
from engine.kafka.topics import Topics
from engine.kafka.writer import Headers, outbox
from engine.list_files.difference import compare
from engine.list_files.digests import Names
from engine.list_files.parsed_file import FileEntries
from engine.list_files.profile import load
from engine.list_files.rows import Filling, Row, Supplied, problem_of


class EntryError(HotlistError):
    """An entry that the user wrote is not admissible."""


def add_entry(
    settings: Settings, document: dict[str, Any], supplied: Supplied, headers: Headers
) -> tuple[str, bytes]:
    """Add the entry, or change the one that has its id.

    Gives `added`, `changed` or `unchanged`, and the entry's JSON. Raises EntryError where it is
    not admissible, and BrokerError.
    """
    purposes = Purposes.load(settings.purposes)
    try:
        entry, data, fresh = Filling(load(), _spoken(supplied), purposes).entry(document)
        # Nobody adds what is over already; an entry that is not to match any more is removed.
        check_entry(entry, purposes)
    except (DocumentError, RuleError) as error:
        raise EntryError(problem_of(error, document)) from None
    file = FileEntries(Names())
    file.add(Row(1, entry, data, fresh))
    return run(_add(settings, file, entry, purposes, headers))


def _spoken(supplied: Supplied) -> Supplied:
    """All but the time of its making is what somebody says of this very entry."""
    said: Mapping[str, str] = {
        name: value for name, value in supplied.fresh.items() if name != "created_at"
    }
    return replace(
        supplied,
        flags={**said, **supplied.flags},
        fresh={"created_at": supplied.fresh["created_at"]},
    )


async def _add(
    settings: Settings, file: FileEntries, entry: Any, purposes: Purposes, headers: Headers
) -> tuple[str, bytes]:
    topic = Topics(settings.prefix).hotlist
    async with list_reader(settings, topic, file.names) as reader:
        await reader.catch_up(reading)
        found = compare(file, reader.state, purposes, SystemClock().now_ms())
        if found.problems:
            raise EntryError(found.problems[0])
        for what, key, value in found.records(file):
            async with outbox(settings, topic) as box:
                await box.send(key, value, headers)
            return what, value
        place = int(reader.state.places(file.columns().ids)[0])
        created_ms = int(reader.state.columns.created_ms[place])
    return "unchanged", encode(msgspec.structs.replace(entry, created_at=format_time(created_ms)))
