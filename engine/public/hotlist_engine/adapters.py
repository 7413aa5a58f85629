"""Vendors' messages as reads: `ADAPTERS` has one function for each vendor.

`ADAPTERS["frigate"](message, site)` takes one message as it was received (bytes) and a `Site`, and
returns an `Adapted` with the reads. If nothing in a message is usable, it raises AdapterError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.ingest.adapters import (
        ADAPTERS,
        FALLBACKS,
        NEVER_RESENT,
        Adapted,
        Adapter,
        AdapterError,
        Car,
        Cars,
        Fallback,
        Mapping,
        Reason,
        Site,
        make_adapter,
    )

__all__ = [
    "ADAPTERS",
    "FALLBACKS",
    "NEVER_RESENT",
    "Adapted",
    "Adapter",
    "AdapterError",
    "Car",
    "Cars",
    "Fallback",
    "Mapping",
    "Reason",
    "Site",
    "make_adapter",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hotlist_engine import _own_engine

    found = globals()[name] = getattr(_own_engine.load("ingest.adapters"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
