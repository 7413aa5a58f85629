"""How a file of entries is sent: one pass that checks every row, then one that sends them.

The file is read twice and never held, so its size does not matter. Both passes go through the
same checks; should the file change between them, the command stops.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import click

from engine.cli.output import progress, remark
from engine.client import Headers, outbox, run
from engine.config import Settings
from engine.documents import encode
from engine.entry_csv import EntryFileError
from engine.entry_files import BadRow, Row, SeenIds, read_rows
from engine.rules import Purposes
from engine.topics import Topics

#: Rows between two steps of the progress bar.
_ROWS_A_STEP = 1000


def import_file(
    settings: Settings,
    path: Path,
    supplied: Mapping[str, Any],
    headers: Headers,
    *,
    skip_invalid: bool,
) -> None:
    """Check and send the file's entries; says on standard error what is wrong with which row.

    Raises EntryFileError when rows are bad and not to be skipped (nothing is sent then), and
    BrokerError.
    """
    purposes = Purposes.load(settings.purposes)
    with path.open("rb") as file:
        before = _version(file)
        with closing(_rows(file, path, supplied, purposes, "checking")) as rows:
            good, bad, repeated = _check(rows, path)
        if bad and not skip_invalid:
            all_rows = "1 row is" if good + bad == 1 else f"{good + bad} rows are"
            raise EntryFileError(
                f"{bad} of {all_rows} bad, nothing was sent",
                where=str(path),
                hint="--skip-invalid sends the others",
            )
        file.seek(0)
        # Closed before the file is, whatever ends them: they have a wrapper around it.
        with closing(_rows(file, path, supplied, purposes, "sending ")) as rows:
            sent = run(_send(settings, rows, repeated, headers)) if good else 0
        if sent != good or _version(file) != before:
            raise EntryFileError(
                "changed while it was read", where=str(path), hint="import it again"
            )
    topic = Topics(settings.prefix).hotlist
    skipped = f", skipped {bad} bad {'row' if bad == 1 else 'rows'}" if bad else ""
    click.echo(f"sent {sent} {'entry' if sent == 1 else 'entries'} to {topic}{skipped}")


def _check(rows: Iterator[Row | BadRow], path: Path) -> tuple[int, int, set[int]]:
    """Numbers of good and bad rows, and the lines of rows that repeat an earlier one's id."""
    good = bad = 0
    seen = SeenIds()
    for row in rows:
        if isinstance(row, Row):
            good += 1
            seen.add(row.line, row.entry.entry_id)
        else:
            bad += 1
            remark(f"{path}: line {row.line}: {row.problem}")
    repeats = seen.repeats()
    for line, first in repeats.items():
        remark(f"{path}: line {line}: the same entry_id as in line {first}")
    return good - len(repeats), bad + len(repeats), set(repeats)


async def _send(
    settings: Settings, rows: Iterator[Row | BadRow], leave_out: set[int], headers: Headers
) -> int:
    """The number of entries that the broker has acknowledged."""
    async with outbox(settings, Topics(settings.prefix).hotlist) as box:
        for row in rows:
            if isinstance(row, Row) and row.line not in leave_out:
                await box.send(row.entry.entry_id.encode(), encode(row.entry), headers)
    return box.sent


def _rows(
    file: BinaryIO, path: Path, supplied: Mapping[str, Any], purposes: Purposes, label: str
) -> Generator[Row | BadRow, None, None]:
    """The file's rows, with a progress bar over its bytes."""
    size_bytes = os.fstat(file.fileno()).st_size
    shown_bytes = 0
    with progress(label, size_bytes) as step:
        for count, row in enumerate(read_rows(file, path, supplied, purposes), start=1):
            yield row
            if count % _ROWS_A_STEP == 0:
                at_bytes = file.tell()
                step(at_bytes - shown_bytes)
                shown_bytes = at_bytes
        step(size_bytes - shown_bytes)


def _version(file: BinaryIO) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns
