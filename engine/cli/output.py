"""How commands write: tables, JSON lines, progress bars and remarks.

Results go to standard output, everything about how it went to standard error. What comes
from a document is shown with `plain`, so that no list, plate or instruction can move the
cursor, colour the terminal or turn the direction of the text around it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import click
import orjson


def plain(text: str) -> str:
    """The text on one line, with a replacement character for whatever is not printable."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their headings, each column as wide as its widest cell."""
    lines = [tuple(headings), *(tuple(plain(cell) for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def json_line(document: bytes | object) -> None:
    """Print one document on one line; bytes are JSON already."""
    data = document if isinstance(document, bytes) else orjson.dumps(document)
    # As bytes: JSON is UTF-8 whatever the terminal's own encoding is.
    click.echo(data)


def remark(text: str) -> None:
    """One line on standard error, in the place of a progress bar that may stand there."""
    erase = "\r\x1b[K" if sys.stderr.isatty() else ""
    click.echo(f"{erase}{plain(text)}", err=True)


def reading(
    length: int,
) -> contextlib.AbstractContextManager[Callable[[int], None]]:
    """The progress bar of reading a topic of this many records."""
    return progress("reading", length)


def sending(
    length: int,
) -> contextlib.AbstractContextManager[Callable[[int], None]]:
    """The progress bar of sending this many records."""
    return progress("sending", length)


@contextlib.contextmanager
def progress(label: str, length: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error; yields what is called with the steps just done.

    Shows nothing when standard error is not a terminal. `length` counts steps, or bytes.
    """
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=length, label=label, file=sys.stderr, hidden=hidden) as bar:
        yield bar.update
