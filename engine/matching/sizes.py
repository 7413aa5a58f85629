"""The approximate size, on the wire or in memory, of what comes of a read."""

from __future__ import annotations

from typing import Final

from engine.documents.model import Entry
from engine.wire.trace_context import TraceContext

#: A reject, and a count by source.
REJECT_BYTES: Final = 512
COUNT_BYTES: Final = 128
#: A match without its read and the free text of its entry; then each part of a match.
_MATCH_BYTES: Final = 1024
_MEMBER_BYTES: Final = 64
_TRACE_BYTES: Final = 192
_DROPPED_BYTES: Final = 384


def match_bytes(entry: Entry) -> int:
    """Return the size of a match of an entry, without its read."""
    size = _MATCH_BYTES
    if entry.instructions is not None:
        size += 2 * len(entry.instructions)
    if entry.area is not None:
        size += _MEMBER_BYTES * len(entry.area)
    if entry.hours is not None:
        size += _MEMBER_BYTES * len(entry.hours.windows)
    return size


def read_bytes(value_bytes: int, trace: TraceContext | None, dropped_count: int) -> int:
    """Return the size in a match of a read with a value of this size."""
    size = value_bytes + _DROPPED_BYTES * dropped_count
    if trace is not None:
        size += _TRACE_BYTES + 2 * len(trace.state)
    return size
