"""Metrics of a command's last run, in a file for node_exporter's textfile collector.

For what runs on a schedule and then ends, so that nothing could scrape it. The file is replaced
whole, and only by a run that came to its end: if none does, the time in it gets old. It holds no
more than times and counts, and all may read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from engine.errors import HotlistError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

#: The collector reads no other files.
_SUFFIX: Final = ".prom"


class MetricsFileError(HotlistError):
    """A file of metrics that cannot be written, or that the collector would not read."""


def must_be_collected(path: Path) -> None:
    """Raise MetricsFileError if the collector would not read this file, or there is no such
    directory."""
    if path.suffix != _SUFFIX:
        raise MetricsFileError(
            f"must end in {_SUFFIX}", where=str(path), hint="node_exporter reads no other files"
        )
    if not path.parent.is_dir():
        raise MetricsFileError("is not a directory", where=str(path.parent), hint="create it")


def write_metrics(path: Path, registry: CollectorRegistry) -> None:
    """Replace the file. Raises MetricsFileError."""
    from prometheus_client import write_to_textfile

    try:
        write_to_textfile(str(path), registry)
    except OSError as error:
        raise MetricsFileError(f"cannot be written: {error.strerror}", where=str(path)) from error


metrics_file_option = click.option(
    "--metrics-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write the result as metrics (.prom), for node_exporter's textfile collector.",
)
