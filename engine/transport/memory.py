"""Scrubs the reads out of the worker's memory once they are processed.

The owners of our own buffers wipe them; `scrub_reads` decides when. What remains is memory that was
freed to the C library, which does not clear it. The other functions handle that. With a C library
other than glibc they do nothing, and nothing fails. (Reads do not pass through the buffer of the
event loop: see `engine.kafka.large_responses`.)

It cannot scrub the last bytes of a freed block that shares its page with a block in use. They stay
until they are overwritten.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from engine import limits

#: glibc's numbers for three options, and our values: the most arenas, the free memory to keep, and
#: the size from which an allocation is a mapping of its own. 32 MiB is the largest value that glibc
#: accepts for the latter, and holds any fetch.
_M_ARENA_MAX: Final = -8
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 256 * limits.MIB
_LARGE_BYTES: Final = 32 * limits.MIB


async def scrub_reads(
    processed: Callable[[], int],
    wipe_buffers: Callable[[], Awaitable[None]],
) -> None:
    """Scrub what fetches leave in memory, after every second with a fetch, until cancelled.

    `processed` counts fetches. Our own buffers are wiped each time. Freed memory is scrubbed when
    the fetches pause, and every SCRUB_FREED_S while they do not, because it is reused at once. In
    a pause it is scrubbed again after one second, two, four and so on, and then every
    SCRUB_FREED_S: what holds the last fetch may release it only when the broker answers the next
    request.
    """
    wiped = 0
    freed_s, wait_s = time.monotonic(), 0.0
    while True:
        await asyncio.sleep(limits.SCRUB_INTERVAL_S)
        fetches, now_s = processed(), time.monotonic()
        flowing = fetches != wiped
        if flowing:
            await wipe_buffers()
            wiped, wait_s = fetches, 0.0
        since_s = now_s - freed_s
        if fetches and since_s >= (limits.SCRUB_FREED_S if flowing else wait_s):
            return_free_memory()
            freed_s = now_s
            if not flowing:
                wait_s = min(max(1.0, 2 * wait_s), limits.SCRUB_FREED_S)


def settle_memory() -> None:
    """Let all threads allocate from one arena, which keeps its memory until `return_free_memory`.

    Call it before any thread has allocated from another arena, because glibc never returns the end
    of the others to the system. By itself glibc would return the memory of each fetch and request
    it again for the next one, which costs the fetching thread a third of its time.
    """
    mallopt = _c_function("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def return_free_memory() -> None:
    """Return free memory to the system, page by page, with its contents."""
    trim = _c_function("malloc_trim")
    if trim is not None:
        trim(0)


def _c_function(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None
