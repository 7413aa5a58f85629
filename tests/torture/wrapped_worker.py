"""The program of a worker in the campaign: `python -m engine`, with a clock that can be stepped.

Run as `python -m tests.torture.wrapped_worker STEP_FILE SESSION_S worker ...`. STEP_FILE holds
eight bytes, a signed number of milliseconds in the machine's byte order, by which the time of day
is ahead. All that the engine and its libraries know of the time of day they ask `time.time` and
`time.time_ns` for, and these are patched before anything is imported; monotonic clocks run on as
they do where a real clock is stepped.

SESSION_S takes the place of `limits.SESSION_S`, so that a campaign of minutes has room for many
sessions that run out.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from pathlib import Path

STEP = struct.Struct("=q")


def step_clock(path: Path) -> None:
    """From now on the time of day is ahead by what the file says, whenever it is asked for."""
    with path.open("rb") as file:
        ahead = mmap.mmap(file.fileno(), STEP.size, prot=mmap.PROT_READ)
    real_s, real_ns = time.time, time.time_ns

    def ahead_ms() -> int:
        found: int = STEP.unpack_from(ahead)[0]
        return found

    vars(time)["time"] = lambda: real_s() + ahead_ms() / 1000
    vars(time)["time_ns"] = lambda: real_ns() + ahead_ms() * 1_000_000


def main() -> None:
    """Run the command line, but for the two arguments in front."""
    path, session_s = Path(sys.argv.pop(1)), float(sys.argv.pop(1))
    step_clock(path)
    from engine import limits
    from engine.cli import main as hotlist

    vars(limits)["SESSION_S"] = session_s
    vars(limits)["HEARTBEAT_S"] = session_s / 5
    hotlist()


if __name__ == "__main__":
    main()
