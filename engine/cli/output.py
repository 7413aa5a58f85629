"""How commands write: tables, JSON lines, progress bars and remarks.

Results go to standard output, progress and remarks to standard error. `plain` cleans every text
from a document, so that no list, plate or instruction can move the cursor, colour the terminal or
reverse the direction of the text around it.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import click
import orjson

from engine import limits
from engine.clock import duration

#: Between two columns.
_GAP: Final = "  "
#: The fewest characters of a line of a cell.
_LEAST_ROOM: Final = 16


def plain(text: str) -> str:
    """Return the text on one line, with a replacement character for each unprintable one."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return the count with its noun: `1 read`, `2,000 reads`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their headings, each column as wide as its widest cell.

    If the terminal is narrower, print a block of lines for each row, as psql's `\\x auto` does.
    """
    lines = [tuple(headings), *(tuple(plain(cell) for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    columns = _columns()
    if columns is not None and sum(widths) + len(_GAP) * (len(widths) - 1) > columns:
        _print_blocks(lines[0], lines[1:], columns)
        return
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo(_GAP.join(cells).rstrip())


def _columns() -> int | None:
    """Return the width of the terminal; None if standard output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _print_blocks(headings: Sequence[str], rows: Sequence[Sequence[str]], columns: int) -> None:
    """Print a line for each cell that is not empty, wrapped at words, and a blank line between
    rows."""
    width = max(map(len, headings))
    room = max(columns - width - len(_GAP), _LEAST_ROOM)
    for number, row in enumerate(rows):
        if number:
            click.echo()
        for heading, cell in zip(headings, row, strict=True):
            parts = textwrap.wrap(cell, room, break_on_hyphens=False)
            for at, part in enumerate(parts):
                click.echo(f"{('' if at else heading).ljust(width)}{_GAP}{part}")


def json_line(document: bytes | object) -> None:
    """Print one document on one line; bytes are JSON already."""
    data = document if isinstance(document, bytes) else orjson.dumps(document)
    # As bytes, because JSON is UTF-8 whatever the terminal's own encoding is.
    click.echo(data)


def remark(text: str) -> None:
    """Print one line on standard error, in place of a progress bar if there is one."""
    erase = "\r\x1b[K" if sys.stderr.isatty() else ""
    click.echo(f"{erase}{plain(text)}", err=True)


def warn_of_clock(topic: str, ahead_s: float) -> None:
    """Remark that a broker's clock is ahead of the local one by so many seconds, or behind."""
    if abs(ahead_s) > limits.CLOCK_SKEW_S:
        direction = "ahead of" if ahead_s > 0 else "behind"
        remark(
            f"the clock of the broker that leads {topic} is {duration(abs(ahead_s))} {direction} "
            "the local one; synchronize both (NTP): a worker refuses entries that were created "
            "after the broker's time"
        )


def can_ask() -> bool:
    """Return whether a person can read a question on standard error and answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def reading(
    length: int,
) -> contextlib.AbstractContextManager[Callable[[int], None]]:
    """Show a progress bar for reading a topic of this many records."""
    return progress("reading", length)


def sending(
    length: int,
) -> contextlib.AbstractContextManager[Callable[[int], None]]:
    """Show a progress bar for sending this many records."""
    return progress("sending", length)


@contextlib.contextmanager
def progress(label: str, length: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error; yield the function that advances it.

    Shows nothing if standard error is not a terminal. `length` counts steps, or bytes.
    """
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=length, label=label, file=sys.stderr, hidden=hidden) as bar:
        yield bar.update
