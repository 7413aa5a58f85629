"""One good document of each kind that people and cameras send, as JSON-ready dicts, and an entry's
flags.

A test names only the fields that it is about.
"""

from __future__ import annotations

from typing import Any, Final

from engine.clock import SystemClock, format_time

_DAY_MS = 86_400_000
#: One time for all entries of a run: of two of them, none was made later than the other.
_STARTED_MS = SystemClock().now_ms()

#: All flags that an entry needs, but for its plate.
ROW_FLAGS: Final = (
    "--list=l",
    "--agency=a",
    "--purpose=stolen_vehicle",
    "--authority-kind=case",
    "--authority-ref=1",
    "--expires-in=30d",
)
#: A read of a line of a file, which does not change with the clock.
READ: Final = {
    "read_id": "r-1",
    "plate": "ab-12-cd",
    "captured_at": "2026-01-01T00:00:00.000Z",
    "source": "city",
    "camera": "cam-1",
}


def an_entry(**fields: Any) -> dict[str, Any]:
    """An entry in force since yesterday, for a month, that folds nothing: each read of it makes
    its match."""
    return {
        "entry_id": "E-1",
        "list_id": "north-hot",
        "plate": "ABC1234",
        "agency": "AG0001",
        "purpose": "stolen_vehicle",
        "authority": {"kind": "case", "reference": "2026-0017"},
        "requested_by": "officer.lee",
        "created_at": format_time(_STARTED_MS - _DAY_MS),
        "expires_at": format_time(_STARTED_MS + 30 * _DAY_MS),
        "suppress_s": 0,
        **fields,
    }


def a_policy(**fields: Any) -> dict[str, Any]:
    """A policy that allows everybody everything."""
    return {
        "source": "city",
        "rules": [{"agencies": "*", "purposes": "*"}],
        "updated_by": "records.chief",
        "updated_at": format_time(SystemClock().now_ms()),
        **fields,
    }


def a_read(**fields: Any) -> dict[str, Any]:
    """A read of the entry's plate at the policy's source."""
    return {
        "read_id": "R-1",
        "plate": "abc-1234",
        "captured_at": format_time(SystemClock().now_ms()),
        "source": "city",
        "camera": "bridge-2",
        **fields,
    }
