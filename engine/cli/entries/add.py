"""One entry, made from flags: compare it with the topic, and send it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from engine.cli.entries.flags import check_flags, wrong_entry
from engine.cli.entries.list_reader import list_reader
from engine.cli.output import reading, warn_of_clock
from engine.clock import SystemClock, format_time
from engine.config import Settings
from engine.documents.admission import Purposes, check_entry
from engine.documents.codec import encode
from engine.documents.model import Entry
from engine.errors import DocumentError, HotlistError, RuleError
from engine.kafka.session import run
from engine.kafka.topics import Topics
from engine.kafka.writer import Headers, outbox
from engine.list_files.difference import Difference, compare_to_state
from engine.list_files.digests import Names
from engine.list_files.list_state import ListState
from engine.list_files.parsed_file import FileEntries
from engine.list_files.profile import load
from engine.list_files.rows import Filling, Row, Supplied


class EntryError(HotlistError):
    """An entry cannot be added to those that are listed."""


def add_entry(
    settings: Settings,
    document: dict[str, Any],
    supplied: Supplied,
    headers: Headers,
    *,
    take_over: bool,
) -> tuple[str, bytes]:
    """Add the entry, or change the entry with its id.

    Without `take_over` that entry must be of the same list and agency. Returns `added`, `changed`
    or `unchanged`, and the entry's JSON. Raises ConfigError if it breaks a rule, EntryError if the
    topic has another entry with its id, and BrokerError.
    """
    purposes = Purposes.load(settings.purposes)
    check_flags(supplied, purposes)
    try:
        filling = Filling(load(), _spoken(supplied), purposes)
        entry, data, fresh = filling.entry(document)
        # An expired entry is never added; to stop an entry from matching, remove it.
        check_entry(entry, purposes)
    except (DocumentError, RuleError) as error:
        raise wrong_entry(error, document) from None
    file = FileEntries(Names())
    file.add(Row(1, entry, data, fresh, filling.former_id(document, fresh)))

    def compare(state: ListState) -> Difference:
        now_ms = SystemClock().now_ms()
        return compare_to_state(file, state, purposes, now_ms, take_over=take_over)

    return run(_add(settings, file, entry, compare, headers))


def _spoken(supplied: Supplied) -> Supplied:
    """Treat all supplied fields except the creation time as stated for this entry."""
    said: Mapping[str, str] = {
        name: value for name, value in supplied.fresh.items() if name != "created_at"
    }
    return replace(
        supplied,
        flags={**said, **supplied.flags},
        fresh={"created_at": supplied.fresh["created_at"]},
    )


async def _add(
    settings: Settings,
    file: FileEntries,
    entry: Entry,
    compare: Callable[[ListState], Difference],
    headers: Headers,
) -> tuple[str, bytes]:
    topic = Topics(settings.prefix).hotlist
    async with list_reader(settings, topic, file.names) as reader:
        await reader.catch_up(reading)
        found = compare(reader.state)
        if found.problems:
            raise EntryError(found.problems[0])
        for what, key, value in found.records(file):
            async with outbox(settings, topic) as box:
                await box.send(key, value, headers)
            warn_of_clock(topic, box.broker_ahead_s)
            await reader.readable(box.next_offsets)
            return what, value
        place = int(found.places[0])
        created_at = format_time(int(reader.state.columns.created_ms[place]))
        entry_id = reader.state.entry_id(place).decode()
    same = msgspec.structs.replace(entry, entry_id=entry_id, created_at=created_at)
    return "unchanged", encode(same)
