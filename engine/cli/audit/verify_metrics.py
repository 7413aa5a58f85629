"""What `audit verify` found, as metrics."""

from __future__ import annotations

from engine.serving.registry import MetricSet


class VerifyMetrics(MetricSet):
    """The metrics of one verification."""

    def __init__(self) -> None:
        super().__init__()
        self._verify_ended = self._gauge(
            "hotlist_audit_verify_time_seconds", "When the last verification ended, Unix time."
        )
        self._verify_took = self._gauge(
            "hotlist_audit_verify_duration_seconds", "How long it took."
        )
        self._verify_problems = self._gauge(
            "hotlist_audit_verify_problems", "Problems that it found; 0 if all is whole."
        )
        self._verify_chains = self._gauge(
            "hotlist_audit_verify_chains", "Hash chains that it verified."
        )
        self._verify_records = self._gauge(
            "hotlist_audit_verify_records", "Audit records that it verified."
        )

    def note(self, *, problems: int, chains: int, records: int) -> None:
        """Note what was found."""
        self._verify_problems.set(problems)
        self._verify_chains.set(chains)
        self._verify_records.set(records)

    def note_end(self, *, ended_ms: int, took_s: float) -> None:
        """Note when the verification ended, and how long it took."""
        self._verify_ended.set(ended_ms / 1000)
        self._verify_took.set(took_s)
