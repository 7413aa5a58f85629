"""Spans of matches, sent to an OpenTelemetry collector if `otlp_endpoint` names one.

A match whose read belongs to a sampled trace gets a span of its own, from the read's Kafka
timestamp to the acknowledgement of the match. Its parent is the span that the read came with, and
its children are the spans of the match's consumers. Without an endpoint nothing here runs, no
package of OpenTelemetry is imported, and a match keeps its read's trace unchanged.

A span has the purpose, the type of the match and the partition of the read: never a plate, an
entry, a camera or a read.

Nothing waits for a collector. Spans that it does not accept in time are dropped and counted. At
most SPANS_WAITING spans wait. A daemon thread of their own sends them, so it never delays exit.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from engine import limits
from engine.config import Settings
from engine.errors import ConfigError
from engine.in_parts import InParts, parts_of
from engine.matching.outcome import FoundMatch, Outcome
from engine.matching.written_matches import WrittenMatches
from engine.observability.metrics import Metrics
from engine.setting_rules import is_loopback
from engine.wire.trace_context import Span, span_id_of

log = logging.getLogger(__name__)

#: Headers for the collector, such as a token; OpenTelemetry reads both.
_HEADER_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")


class Exporter(Protocol):
    """The port through which spans leave the process; used from one thread."""

    def export(self, spans: Sequence[Span]) -> bool:
        """Return whether the collector has them, within SPAN_EXPORT_S. Raises nothing."""

    def stop(self) -> None:
        """Let an export that is in progress finish. May be called from any thread."""


def make_tracing(settings: Settings, metrics: Metrics) -> Tracing | None:
    """Return what exports spans; None if no endpoint is set.

    Raises ConfigError if OpenTelemetry is not installed.
    """
    endpoint = settings.otlp_endpoint
    if endpoint is None:
        return None
    try:
        from engine.observability.otlp import OtlpExporter
    except ImportError as error:
        raise ConfigError(
            "needs the packages of OpenTelemetry",
            where="otlp_endpoint",
            hint="run: pip install 'hotlist-engine[tracing]', or leave the setting out",
        ) from error
    in_clear = headers_in_clear(endpoint, os.environ)
    if in_clear is not None:
        log.warning("a secret crosses the network: %s", in_clear)
    return Tracing(OtlpExporter(endpoint), endpoint, metrics)


def headers_in_clear(endpoint: str, environment: Mapping[str, str]) -> str | None:
    """Return the warning that a token in OpenTelemetry's variables crosses a network in clear.

    None if the collector has TLS or is on this machine, or if no variable has headers.
    """
    url = urlsplit(endpoint)
    if url.scheme != "http" or is_loopback(url.hostname or ""):
        return None
    for variable in _HEADER_VARIABLES:
        if environment.get(variable):
            return (
                f"{url.hostname} is not a loopback address, and without TLS the headers of "
                f"{variable} cross the network in clear; set --otlp-endpoint "
                "(HOTLIST_OTLP_ENDPOINT) to an https:// address"
            )
    return None


class Tracing:
    """The spans of matches; see the module. `enter` and `delivered` never block, in any thread."""

    def __init__(self, exporter: Exporter, endpoint: str, metrics: Metrics) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._metrics = metrics
        self._waiting: deque[Span] = deque()
        self._changed = threading.Condition()
        self._end_s: float | None = None
        self._is_taken = True
        self._thread = threading.Thread(target=self._work, name="spans", daemon=True)

    def start(self) -> None:
        """Start exporting."""
        self._thread.start()

    async def stop(self) -> None:
        """Export what still waits, in a bounded time."""
        with self._changed:
            self._end_s = time.monotonic() + limits.SPAN_EXPORT_S
            self._changed.notify()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, limits.SPAN_EXPORT_S)
        self._exporter.stop()

    def enter(self, outcome: Outcome) -> None:
        """Give each match of a sampled trace the context of its own span in that trace.

        Call it before the outcome is delivered.
        """
        outcome.matches = InParts(map(_with_spans, parts_of(outcome.matches)))

    def delivered(self, outcome: Outcome, now_ms: int) -> None:
        """Queue the spans of matches that the broker has now acknowledged."""
        spans = [
            Span(
                found.trace,
                # Records without a timestamp have -1; clocks differ.
                min(now_ms, found.timestamp_ms if found.timestamp_ms >= 0 else outcome.at_ms),
                now_ms,
                found.match_type,
                found.purpose,
                outcome.partition,
            )
            for matches in parts_of(outcome.matches)
            if not isinstance(matches, WrittenMatches)
            for found in matches
            if found.trace is not None and found.trace.parent_id is not None
        ]
        if not spans:
            return
        with self._changed:
            room = limits.SPANS_WAITING - len(self._waiting)
            self._waiting.extend(spans[:room])
            if len(self._waiting) >= limits.SPANS_A_REQUEST:
                self._changed.notify()
        self._metrics.spans_dropped.inc(max(0, len(spans) - room))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._is_time, limits.SPAN_INTERVAL_S)
                some = min(len(self._waiting), limits.SPANS_A_REQUEST)
                spans = [self._waiting.popleft() for _ in range(some)]
                end_s = self._end_s
            if end_s is not None and (not spans or time.monotonic() > end_s):
                self._metrics.spans_dropped.inc(len(spans) + len(self._waiting))
                return
            if spans:
                self._export(spans)

    def _is_time(self) -> bool:
        return self._end_s is not None or len(self._waiting) >= limits.SPANS_A_REQUEST

    def _export(self, spans: Sequence[Span]) -> None:
        why = ""
        try:
            is_taken = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - no error of the library may end the thread
            is_taken, why = False, f" ({type(error).__name__})"
        (self._metrics.spans if is_taken else self._metrics.spans_dropped).inc(len(spans))
        if is_taken != self._is_taken:
            self._is_taken = is_taken
            if is_taken:
                log.info("%s accepts spans again", self._endpoint)
            else:
                log.warning(
                    "%s does not accept spans%s: they are dropped, and nothing else is delayed; "
                    "check the collector there",
                    self._endpoint,
                    why,
                )


def _with_spans(matches: Sequence[FoundMatch]) -> Sequence[FoundMatch]:
    """Give each match of a sampled trace its span. What compiled code has written has no trace."""
    if isinstance(matches, WrittenMatches):
        return matches
    return [
        found
        if found.trace is None or not found.trace.is_sampled
        else msgspec.structs.replace(found, trace=found.trace.child(span_id_of(found.match_id)))
        for found in matches
    ]
