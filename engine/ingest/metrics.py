"""Every metric of `hotlist ingest`, with its meaning and its labels.

In base units. Labels are bounded: the vendor's name as the command knows it, results and reasons
from lists in the code. No label ever holds a plate, a camera, or anything else of a message. The
registry also has the operating system's figures for the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, get_args

from prometheus_client import ProcessCollector, generate_latest

from engine.ingest.adapters import FALLBACKS, Adapted, AdapterError, Reason
from engine.serving.registry import MetricSet

#: What becomes of a message. With Digest a sender is challenged first, and again when its nonce is
#: too old, so only a wrong token is `unauthorized`.
RESULTS: Final = (
    "taken",
    "bad",
    "broken_encoding",
    "broken_form",
    "broken_body",
    "challenged",
    "unauthorized",
    "too_slow",
    "too_long",
    "not_taken",
    "unreadable",
)
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)


class IngestMetrics(MetricSet):
    """The metrics of one vendor's messages, in a registry of their own."""

    def __init__(self, vendor: str) -> None:
        super().__init__("vendor")
        ProcessCollector(registry=self.registry)
        self._vendor = vendor
        self._messages = self._counter(
            "hotlist_ingest_messages_total", "Messages, by what became of them.", "result"
        )
        self._problems = self._counter(
            "hotlist_ingest_problems_total",
            "Messages and parts of messages that gave no read, by the reason.",
            "reason",
        )
        self._fallbacks = self._counter(
            "hotlist_ingest_fallbacks_total",
            "Messages that lacked a time zone or a camera, by what stood for it.",
            "fallback",
        )
        self._reads = self._counter(
            "hotlist_ingest_reads_total", "Reads that the broker has acknowledged."
        ).labels(vendor)
        self._refused = self._counter(
            "hotlist_ingest_refused_reads_total",
            "Reads of senders that never send again that were refused, because too many are held.",
        ).labels(vendor)
        self._delivery_s = self._histogram(
            "hotlist_ingest_delivery_seconds",
            "Time from a message to the acknowledgement of its reads.",
            _SECONDS,
        ).labels(vendor)
        self._held = self._gauge(
            "hotlist_ingest_held_reads", "Reads in memory that the broker has not acknowledged."
        ).labels(vendor)
        self._held_bytes = self._gauge(
            "hotlist_ingest_held_bytes",
            "Bytes of the reads in memory whose senders never send again.",
        ).labels(vendor)
        self._ready = self._gauge(
            "hotlist_ingest_ready", "1 if messages are accepted, else 0."
        ).labels(vendor)
        for result in RESULTS:
            self._messages.labels(vendor, result)
        for reason in get_args(Reason):
            self._problems.labels(vendor, reason)
        for fallback in FALLBACKS:
            self._fallbacks.labels(vendor, fallback)

    def count_message(self, result: str) -> None:
        """Count a message by its result, one of RESULTS."""
        self._messages.labels(self._vendor, result).inc()

    def count_adapted(self, adapted: Adapted) -> None:
        """Count what an adapter has left out of a message, and what it has put in."""
        self.count_problems(adapted.problems)
        for fallback in adapted.fallbacks:
            self._fallbacks.labels(self._vendor, fallback).inc()

    def count_problems(self, problems: Iterable[AdapterError]) -> None:
        """Count messages, or parts of them, that gave no read."""
        for problem in problems:
            self._problems.labels(self._vendor, problem.reason).inc()

    def count_refused(self, reads: int) -> None:
        """Count reads that were refused because too many are held."""
        self._refused.inc(reads)

    def count_delivered(self, reads: int, took_s: float) -> None:
        """Count reads that the broker has acknowledged, so long after their message."""
        self._reads.inc(reads)
        self._delivery_s.observe(took_s)

    def watch(
        self,
        held: Callable[[], int],
        held_bytes: Callable[[], int],
        is_ready: Callable[[], bool],
    ) -> None:
        """Show these figures whenever the metrics are asked for."""
        self._held.set_function(held)
        self._held_bytes.set_function(held_bytes)
        self._ready.set_function(lambda: float(is_ready()))

    def watch_mqtt(self, is_connected: Callable[[], bool]) -> None:
        """Show whether the MQTT broker is connected whenever the metrics are asked for."""
        connected = self._gauge(
            "hotlist_ingest_mqtt_connected",
            "1 while the MQTT broker is connected, else 0; only with --mqtt.",
        )
        connected.labels(self._vendor).set_function(lambda: float(is_connected()))

    def show_certificate(self, expires_ms: int) -> None:
        """Show when the certificate expires, in milliseconds since 1970."""
        expires = self._gauge(
            "hotlist_ingest_certificate_expires_timestamp_seconds",
            "Time since 1970 at which the certificate of --listen expires; only with TLS.",
        )
        expires.labels(self._vendor).set(expires_ms / 1000)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)
