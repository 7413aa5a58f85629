"""The library: what programs import that produce reads, or match them without Kafka.

`Detection` is the document of a read, `encode` makes a record of it, and `normalize` makes the
record's key. `HotListIndex` is the index without Kafka. `hotlist_engine.adapters` converts vendors'
messages to reads.

The code is in the package `engine`. A program may have a package or a module of that name itself:
both then work side by side, see `_own_engine`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine import Detection, HotListIndex, encode, normalize

__all__ = ["Detection", "HotListIndex", "encode", "normalize"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hotlist_engine import _own_engine

    found = globals()[name] = getattr(_own_engine.load(), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
