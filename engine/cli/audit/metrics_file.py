"""What `audit verify` found, as metrics in a file for node_exporter's textfile collector.

The file is replaced whole, and only by a verification that came to its end. So the time in it gets
old if none does. Readable for all: it holds counts alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from prometheus_client import Gauge, write_to_textfile

from engine.cli.audit.files import AuditError
from engine.serving.registry import make_registry

#: The collector reads no other files.
SUFFIX: Final = ".prom"


class VerifyMetrics:
    """The metrics of one verification."""

    def __init__(self) -> None:
        self.registry = make_registry()
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

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(name, meaning, registry=self.registry)

    def note(self, *, problems: int, chains: int, records: int) -> None:
        """Note what was found."""
        self._verify_problems.set(problems)
        self._verify_chains.set(chains)
        self._verify_records.set(records)

    def write(self, path: Path, *, ended_ms: int, took_s: float) -> None:
        """Replace the file. Raises AuditError."""
        self._verify_ended.set(ended_ms / 1000)
        self._verify_took.set(took_s)
        try:
            write_to_textfile(str(path), self.registry)
        except OSError as error:
            raise AuditError(f"cannot be written: {error.strerror}", where=str(path)) from error


def must_be_collected(path: Path) -> None:
    """Raise AuditError if the collector would not read this file, or there is no such directory."""
    if path.suffix != SUFFIX:
        raise AuditError(
            f"must end in {SUFFIX}", where=str(path), hint="node_exporter reads no other files"
        )
    if not path.parent.is_dir():
        raise AuditError("is not a directory", where=str(path.parent), hint="create it")
