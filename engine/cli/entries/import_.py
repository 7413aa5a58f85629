"""An import or a sync of a file: check it, compare it, send the difference.

Both work the same way. First they check all rows, without Kafka. Then they read the topic and
compute the difference. Then they send the difference, or show it if it is a dry run. A sync sends
it in one transaction, under a transactional id that one sync of a list has at a time. If the
topic has grown meanwhile, they compare again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine import limits
from engine.cli.entries.flags import check_flags, missing_flags
from engine.cli.entries.list_reader import ListReader, list_reader
from engine.cli.entries.report import Report, counts_of
from engine.cli.entries.sync_metrics import SyncMetrics
from engine.cli.entries.sync_transaction import SyncError, alone, longest_s
from engine.cli.metrics_file import write_metrics
from engine.cli.output import progress, reading, remark, sending, warn_of_clock
from engine.clock import SystemClock
from engine.config import Settings
from engine.documents.admission import Purposes
from engine.kafka.session import run
from engine.kafka.topics import Topics
from engine.kafka.writer import Headers, Outbox, outbox
from engine.list_files.difference import Difference, compare_to_state
from engine.list_files.digests import Names
from engine.list_files.ownership import Synced
from engine.list_files.parsed_file import FileEntries
from engine.list_files.profile import Profile, check_kind
from engine.list_files.removed_terms import RemovedTerm
from engine.list_files.rows import BadRow, Row, Supplied, read_rows
from engine.list_files.text import encoding_of
from engine.list_files.unfilled import UnfilledError

#: Rows between two steps of the progress bar.
_ROWS_A_STEP = 1000


@dataclass(frozen=True, slots=True)
class Wish:
    """The user's request for a file, in addition to its rows."""

    path: Path
    profile: Profile
    encoding: str
    supplied: Supplied
    headers: Headers
    skip_invalid: bool = False
    dry_run: bool = False
    renew: bool = False
    allow_shrink: bool = False
    take_over: bool = False
    as_json: bool = False
    metrics_file: Path | None = None


def import_file(settings: Settings, wish: Wish) -> None:
    """Add and change the file's entries.

    Raises EntryFileError if rows are invalid and may not be skipped (nothing is sent then), and
    BrokerError.
    """
    purposes = Purposes.load(settings.purposes)
    report = Report(wish.path, Topics(settings.prefix).hotlist, as_json=wish.as_json)
    file = checked(wish, purposes, report)
    if not wish.dry_run:
        report.judge(file, None, skip_invalid=wish.skip_invalid)
        if not len(file):
            report.imported(file, None)
            return
    run(_import(settings, wish, purposes, file, report))


async def _import(
    settings: Settings, wish: Wish, purposes: Purposes, file: FileEntries, report: Report
) -> None:
    async with list_reader(settings, report.topic, file.names) as reader:

        def difference() -> Difference:
            now_ms = SystemClock().now_ms()
            return compare_to_state(file, reader.state, purposes, now_ms, take_over=wish.take_over)

        found = await _compared(reader, difference)
        report.problems(file, found)
        if wish.dry_run:
            report.dry_run(file, found, reader.state)
        report.judge(file, found, skip_invalid=wish.skip_invalid)
        if wish.dry_run:
            return
        if found.count:
            async with outbox(settings, report.topic) as box:
                await send_difference(box, file, found, reader, wish.headers)
            warn_of_clock(report.topic, box.broker_ahead_s)
            await reader.readable(box.next_offsets)
        report.imported(file, found)


def sync_file(settings: Settings, wish: Wish, list_id: str | None) -> None:
    """Make the list equal to the file; without a list, the one that all rows name.

    Raises EntryFileError as `import_file` does, SyncError if too much would be removed or another
    sync of the list is running, and BrokerError.
    """
    started_s = time.monotonic()
    purposes = Purposes.load(settings.purposes)
    report = Report(wish.path, Topics(settings.prefix).hotlist, as_json=wish.as_json)
    file = checked(wish, purposes, report)
    if not wish.dry_run:
        report.judge(file, None, skip_invalid=wish.skip_invalid)
    list_id = list_id or _list_of(file, wish.path)
    if not len(file) and not wish.allow_shrink:
        raise SyncError(
            "holds no entry that can be sent",
            where=str(wish.path),
            hint=f"--allow-shrink empties list {list_id}",
        )
    found = run(_sync(settings, wish, purposes, file, report, list_id))
    if wish.metrics_file is not None:
        metrics, took_s = SyncMetrics(), time.monotonic() - started_s
        ended_ms = SystemClock().now_ms()
        metrics.note(list_id, counts_of(file, found), ended_ms=ended_ms, took_s=took_s)
        write_metrics(wish.metrics_file, metrics.registry)


async def _sync(
    settings: Settings,
    wish: Wish,
    purposes: Purposes,
    file: FileEntries,
    report: Report,
    list_id: str,
) -> Difference:
    """Make the list equal to the file, and return the difference."""
    synced = Synced(list_id, wish.supplied.flags.get("agency"), wish.renew)
    async with contextlib.AsyncExitStack() as stack:
        reader = await stack.enter_async_context(list_reader(settings, report.topic, file.names))

        def difference() -> Difference:
            now_ms = SystemClock().now_ms()
            return compare_to_state(
                file, reader.state, purposes, now_ms, synced=synced, take_over=wish.take_over
            )

        found = await _compared(reader, difference)
        box: Outbox | None = None
        if not wish.dry_run:
            open_s = await longest_s(settings, found)
            box = await stack.enter_async_context(alone(settings, report.topic, list_id, open_s))
            # From now on no earlier sync of the list can change it.
            await reader.settled()
            if await reader.catch_up(reading):
                found = await _compared(reader, difference)
        report.problems(file, found)
        if box is None:
            report.dry_run(file, found, reader.state)
        report.judge(file, found, skip_invalid=wish.skip_invalid)
        report.not_removed(file, found, list_id)
        report.left_alone(found, list_id)
        if not wish.allow_shrink:
            _brake(found, list_id, wish.path)
        if box is None:
            return found
        revision = None
        if found.count:
            async with box.transaction():
                await send_difference(box, file, found, reader, wish.headers)
            warn_of_clock(report.topic, box.broker_ahead_s)
            revision = await reader.committed(box.next_offsets)
        report.synced(file, found, list_id, revision)
    return found


async def _compared(reader: ListReader, difference: Callable[[], Difference]) -> Difference:
    """Return the difference from the topic's state at the end of the comparison."""
    await reader.catch_up(reading)
    found = difference()
    while await reader.catch_up(reading):
        found = difference()
    return found


def _list_of(file: FileEntries, path: Path) -> str:
    found = file.list_ids()
    if len(found) == 1:
        return found[0]
    what = f"names {len(found)} lists" if found else "names no list"
    raise SyncError(what, where=str(path), hint="say with --list which one it is")


def _brake(found: Difference, list_id: str, path: Path) -> None:
    """Refuse a file that looks truncated."""
    removed = len(found.removed)
    if (
        removed >= limits.SYNC_REMOVED_ENTRIES
        and removed >= limits.SYNC_REMOVED_SHARE * found.standing
    ):
        raise SyncError(
            f"would remove {removed} of the {found.standing} entries of list {list_id}",
            where=str(path),
            hint="nothing was sent; --allow-shrink does it",
        )


def checked(wish: Wish, purposes: Purposes, report: Report) -> FileEntries:
    """Return the file's valid rows; report what is wrong with the others."""
    file = FileEntries(Names())
    path = wish.path
    check_kind(path, wish.profile)
    check_flags(wish.supplied, purposes)
    with path.open("rb") as opened:
        encoding = encoding_of(opened, wish.encoding, str(path))
        if encoding.guessed:
            remark(f"{path}: not UTF-8 text, read as {encoding.name}; --encoding sets another")
        rows = read_rows(
            opened, path, wish.profile, wish.supplied, purposes, encoding, report.notes
        )
        # The rows are closed before the file in every case: they hold a wrapper around it.
        with contextlib.closing(rows):
            try:
                for row in _with_progress(opened, rows):
                    if isinstance(row, Row):
                        file.add(row)
                    else:
                        file.add_bad(row)
                        report.bad_row(row.line, row.problem)
            except UnfilledError as error:
                raise missing_flags(error) from None
    file.add_left_out(report.notes)
    report.noted()
    repeats = file.repeats()
    for place, first in repeats.items():
        report.bad_row(int(file.lines[place]), f"the same entry_id as in line {first}")
    return file


def _with_progress(opened: BinaryIO, rows: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
    """Yield the rows; show a progress bar over the file's bytes."""
    size_bytes = os.fstat(opened.fileno()).st_size
    shown_bytes = 0
    with progress("checking", size_bytes) as step:
        for count, row in enumerate(rows, start=1):
            yield row
            if count % _ROWS_A_STEP == 0:
                at_bytes = opened.tell()
                step(max(0, at_bytes - shown_bytes))
                shown_bytes = max(shown_bytes, at_bytes)
        step(max(0, size_bytes - shown_bytes))


async def send_difference(
    box: Outbox, file: FileEntries, found: Difference, reader: ListReader, headers: Headers
) -> None:
    """Send the records of a difference, and tombstones for what it removes."""
    count = found.count
    with sending(count) as step:
        for at, (_, key, value) in enumerate(found.records(file), start=1):
            await box.send(key, value, headers)
            if at % _ROWS_A_STEP == 0:
                step(_ROWS_A_STEP)
        standing = reader.state.columns
        for place in found.removed.tolist():
            term = RemovedTerm(int(standing.created_ms[place]), int(standing.references[place]))
            await box.send(reader.state.entry_id(place), None, [*headers, *term.headers()])
        step(count % _ROWS_A_STEP)
