"""Files that decide much: we ship one of each, and the operator may provide another.

The module that reads such a file checks its content.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from engine.errors import ConfigError

FILE_BYTES: Final = 1024 * 1024


def read(name: str, path: Path | None) -> tuple[bytes, str]:
    """Return the file at `path`, or the shipped one, and its name for errors.

    Raises ConfigError if it cannot be read or is larger than FILE_BYTES.
    """
    where = name if path is None else str(path)
    try:
        if path is None:
            data = (files("engine") / "data" / name).read_bytes()
        else:
            with path.open("rb") as file:  # only enough of a large file to see that it is too large
                data = file.read(FILE_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"cannot be read: {reason}", where=where) from error
    if len(data) > FILE_BYTES:
        raise ConfigError(f"is larger than {FILE_BYTES} bytes", where=where)
    return data, where
