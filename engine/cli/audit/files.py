"""The files of `hotlist audit`: keys and checkpoints. None is overwritten."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from engine import limits
from engine.errors import HotlistError

#: More than any key file has.
KEY_BYTES: Final = 64 * limits.KIB


class AuditError(HotlistError):
    """The audit is not whole, or one of its files is unusable."""


def read_limited(path: Path, most_bytes: int) -> bytes:
    """Return the content of a file that has at most so many bytes. Raises AuditError, OSError."""
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise AuditError(f"larger than {limits.size_text(most_bytes)}", where=str(path))
    return content


def must_be_new(path: Path) -> None:
    """Raise AuditError if the file exists."""
    if os.path.lexists(path):
        raise _exists(path)


def _exists(path: Path) -> AuditError:
    return AuditError(
        "exists already, and is not overwritten", where=str(path), hint="choose another name"
    )


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a new file with this mode; raise AuditError if it exists."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise _exists(path) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def checkpoint_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files, and those of each directory by name. Raises AuditError if it has none."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(path.glob("*.json"))
        if not inside:
            raise AuditError("holds no checkpoint (*.json)", where=str(path))
        yield from inside
