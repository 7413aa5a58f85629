"""Files that decide much, of which we ship one each: ours, or the operator's own in its place.

What such a file may say is the matter of the module that reads it.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from engine.errors import ConfigError

FILE_BYTES: Final = 1024 * 1024


def read(name: str, path: Path | None) -> tuple[bytes, str]:
    """The file at `path`, or the one that we ship by this name, and what to call it in errors.

    Raises ConfigError where it cannot be read or is larger than FILE_BYTES.
    """
    where = name if path is None else str(path)
    try:
        if path is None:
            data = (files("engine") / "data" / name).read_bytes()
        else:
            with path.open("rb") as file:  # of a very large one only enough to see that it is
                data = file.read(FILE_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"cannot be read: {reason}", where=where) from error
    if len(data) > FILE_BYTES:
        raise ConfigError(f"is larger than {FILE_BYTES} bytes", where=where)
    return data, where
