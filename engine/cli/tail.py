"""`hotlist tail`: follows the matches."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from typing import TYPE_CHECKING

import click

from engine.cli.groups import Command
from engine.cli.options import connection_flags, takes_settings
from engine.cli.output import json_line, plain, remark
from engine.cli.value_types import Count
from engine.config import Settings
from engine.errors import DocumentError

if TYPE_CHECKING:
    from aiokafka import TopicPartition

    from engine.documents.model import Match


@click.command(cls=Command)
@click.option("--from-start", is_flag=True, help="Begin with the oldest match on the topic.")
@click.option("--count", type=Count(), metavar="N", help="Stop after N matches.")
@click.option("--json", "as_json", is_flag=True, help="Print the match events as JSON, one a line.")
@takes_settings("bootstrap", "prefix", "group", "http_host", "http_port")
def tail(settings: Settings, from_start: bool, count: int | None, as_json: bool) -> None:
    """Follow the matches, one line each: leads that a person must confirm.

    A line shows when and where the plate was read, the match type, its confidence and its
    purpose, the plate as read (and the alternate that matched) and as listed, the priority, how
    many reads of the entry at that camera were suppressed since its last match, and the
    instructions.

    If no match comes for a while, it says why, as far as the brokers, the group of workers and the
    worker at this HTTP port report it.
    """
    from engine.cli.silence import explain_silence
    from engine.documents.codec import encode, read_match
    from engine.kafka.reader import follow
    from engine.kafka.session import run
    from engine.kafka.topics import Topics

    topic = Topics(settings.prefix).matches
    flags = connection_flags()

    def deleted(part: TopicPartition, first: int, next_offset: int) -> None:
        where = f"{topic}/{part.partition}/{first}"
        remark(f"{where}: matches were deleted before they were shown, up to offset {next_offset}")

    async def show() -> None:
        left = count
        has_come = False
        explaining: asyncio.Task[None] | None = None

        def caught_up() -> None:
            nonlocal explaining
            if not has_come:
                explanation = explain_silence(settings, from_start=from_start, flags=flags)
                explaining = asyncio.create_task(explanation)

        values = follow(
            settings, topic, from_start=from_start, deleted=deleted, caught_up=caught_up
        )
        async with contextlib.aclosing(values):
            async for value in values:
                has_come = True
                if explaining is not None:
                    explaining.cancel()
                try:
                    match = read_match(value)
                except DocumentError as error:
                    remark(f"{topic}: a record is no match: {error}")
                    continue
                if as_json:
                    json_line(encode(match))
                else:
                    click.echo(readable(match))
                if left is not None:
                    left -= 1
                    if left == 0:
                        return

    if sys.stderr.isatty():
        remark(f"waiting for matches on {topic} at {settings.bootstrap}; Ctrl-C ends")
    run(show())


def readable(match: Match) -> str:
    """Return the match as one line of text."""
    read, entry = match.read, match.entry
    parts = [
        read.captured_at,
        # Rounded down: no match is certain.
        f"{match.match_type} {math.floor(100 * match.confidence) / 100:.2f}",
        entry.purpose,
        f"read {read.plate}" + (f" or {match.alternate.plate}" if match.alternate else ""),
        f"listed {entry.plate}",
        f"at {read.source}/{read.camera}",
        f"priority {entry.priority_in_force}",
    ]
    if match.suppressed:
        parts.append(f"{match.suppressed} more before it")
    if entry.instructions:
        parts.append(entry.instructions)
    return plain("  ".join(parts))


COMMANDS = (tail,)
