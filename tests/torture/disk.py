"""What lets the broker's disk be full.

Where we may mount (root on Linux), the broker's data lie on a small file system in memory and a
ballast file takes what is left of it: the broker meets ENOSPC, and a fault where it writes to a
mapped file. Elsewhere the broker's files may grow no further (RLIMIT_FSIZE of the running
process): it meets EFBIG, for a file that has reached the limit, wherever it writes.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final, Protocol

_SIZE_MIB: Final = 384


class Disk(Protocol):
    """Where the broker's data lie."""

    @property
    def what(self) -> str: ...
    @property
    def data(self) -> Path | None: ...
    def fill(self, pid: int, leave_bytes: int) -> None: ...
    def free(self) -> None: ...
    def close(self) -> None: ...


class SmallDisk:
    """A file system of its own, in memory."""

    what = f"a file system of {_SIZE_MIB} MiB in memory, filled up (ENOSPC)"

    def __init__(self) -> None:
        self._at = Path(tempfile.mkdtemp(prefix="hotlist-torture-disk-"))
        self._is_mounted = False

    def mount(self) -> bool:
        """False where we may not."""
        if shutil.which("mount") is None or os.geteuid() != 0:
            return False
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={_SIZE_MIB}m", "tmpfs", str(self._at)],
            capture_output=True,
            check=False,
        )
        self._is_mounted = done.returncode == 0
        return self._is_mounted

    @property
    def data(self) -> Path | None:
        """Where the broker may make its directory."""
        return self._at / "data"

    @property
    def _ballast(self) -> Path:
        return self._at / "ballast"

    def fill(self, pid: int, leave_bytes: int) -> None:
        """Take all room but so much."""
        free = shutil.disk_usage(self._at).free
        with self._ballast.open("wb") as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(1, free - leave_bytes))

    def free(self) -> None:
        """Give it back."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Take the file system away."""
        if self._is_mounted:
            subprocess.run(["umount", "--lazy", str(self._at)], capture_output=True, check=False)
            self._is_mounted = False
        with contextlib.suppress(OSError):
            self._at.rmdir()


class LimitedFiles:
    """No file system of its own: the broker's files may grow no further."""

    what = "the broker's files may grow no further (RLIMIT_FSIZE, EFBIG)"
    data = None

    def fill(self, pid: int, leave_bytes: int) -> None:
        """From now on no file of the process may grow beyond so many bytes; longer ones not at
        all. The limit goes with the process."""
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (leave_bytes, hard))

    def free(self) -> None:
        """Nothing: the next process has no limit."""

    def close(self) -> None:
        """Nothing."""


def best_disk() -> Disk:
    """The more real of the two that can be had here."""
    small = SmallDisk()
    if small.mount():
        return small
    small.close()
    return LimitedFiles()
