"""`entries show`: the entries of the topic, each with its state in the worker now."""

from __future__ import annotations

from typing import Any

import click

from engine.cli.groups import Command
from engine.cli.options import json_option, takes_settings
from engine.cli.output import json_line, reading, remark, table
from engine.clock import SystemClock
from engine.config import Settings
from engine.errors import DocumentError, HotlistError, RuleError


@click.command(cls=Command)
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
    if not entries and wanted["entry_id"] is not None:
        raise HotlistError(
            f"no entry has the id {wanted['entry_id']}" + _also(wanted),
            where=topic,
            hint="hotlist entries show lists them all",
        )
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
    if not (entries or as_json):
        filters = _also(wanted)
        empty = "no plate is listed; run: hotlist entries import FILE"
        remark(f"{topic}: {f'no entry{filters}' if filters else empty}")
    if unreadable:
        remark(f"{topic}: records that are no valid entry, which the worker ignores: {unreadable}")


def _also(wanted: dict[str, str | None]) -> str:
    """Return the other filters in words, which may exclude the entry."""
    others = {"list_id": "--list", "agency": "--agency", "purpose": "--purpose"}
    given = [f"{others[name]} {text}" for name, text in wanted.items() if name in others and text]
    return f" with {' and '.join(given)}" if given else ""


def _state(entry: Any, sent_ms: int, now_ms: int, purposes: Any) -> str:
    """Return the state that an entry, sent at a time, has in the worker now."""
    from engine.documents.admission import admitted

    try:
        admitted(entry, purposes, sent_ms)
    except RuleError as error:
        return f"refused: {error}"
    if entry.expires_ms <= now_ms:
        return "expired"
    if entry.starts_ms is not None and entry.starts_ms > now_ms:
        return "not started"
    return "active"
