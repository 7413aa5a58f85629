"""What a sync did, as metrics.

They tell a sync that found no difference from one that did not run: both leave the topic as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.serving.registry import MetricSet

_CHANGES: Final = ("added", "changed", "removed", "unchanged")


class SyncMetrics(MetricSet):
    """The metrics of one sync of one list."""

    def __init__(self) -> None:
        super().__init__("list")
        self._sync_ended = self._gauge(
            "hotlist_sync_time_seconds",
            "When the last sync of the list came to its end, Unix time, whether it found a "
            "difference or none.",
        )
        self._sync_took = self._gauge("hotlist_sync_duration_seconds", "How long it took.")
        self._sync_entries = self._gauge(
            "hotlist_sync_entries",
            "Entries that it added, changed, removed, or found as the file says.",
            "change",
        )
        self._sync_invalid_rows = self._gauge(
            "hotlist_sync_invalid_rows", "Invalid rows that --skip-invalid left out."
        )

    def note(
        self, list_id: str, counts: Mapping[str, int], *, ended_ms: int, took_s: float
    ) -> None:
        """Note a sync; `counts` are those of its report."""
        self._sync_ended.labels(list_id).set(ended_ms / 1000)
        self._sync_took.labels(list_id).set(took_s)
        for change in _CHANGES:
            self._sync_entries.labels(list_id, change).set(counts[change])
        self._sync_invalid_rows.labels(list_id).set(counts["invalid"])
