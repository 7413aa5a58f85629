"""Spans sent with OpenTelemetry's own packages: OTLP over HTTP.

The only module that imports those packages, which the extra `tracing` installs. Only `tracing`
imports this module, and only if an endpoint is set. OpenTelemetry's variables apply beside our
settings: OTEL_EXPORTER_OTLP_HEADERS (if a collector requires a token),
OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES and the like.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace.span import TraceState

from engine import limits
from engine.versions import DISTRIBUTION, versions
from engine.wire.trace_context import Span, TraceContext

_PATH: Final = "/v1/traces"
_SPAN_NAME: Final = "hotlist.match"
_NS_IN_MS: Final = 1_000_000


class OtlpExporter:
    """An `engine.observability.tracing.Exporter`. `endpoint` is a collector's URL, with or without
    its path."""

    def __init__(self, endpoint: str) -> None:
        # It logs each failure itself, together with the collector's answer.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
        url = endpoint if endpoint.endswith(_PATH) else endpoint + _PATH
        self._exporter = OTLPSpanExporter(endpoint=url, timeout=limits.SPAN_EXPORT_S)
        self._ids = _GivenIds()
        self._ended = _Ended()
        version = versions()[DISTRIBUTION]
        resource = Resource({"service.name": DISTRIBUTION, "service.version": version})
        provider = TracerProvider(
            sampler=ALWAYS_ON,  # the producer of the trace has decided
            resource=resource.merge(OTELResourceDetector().detect()),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer("engine", version)

    def export(self, spans: Sequence[Span]) -> bool:
        """Send spans, with retries if the failure is transient; return whether they arrived."""
        for span in spans:
            self._record(span)
        return self._exporter.export(self._ended.taken()) is SpanExportResult.SUCCESS

    def stop(self) -> None:
        """Stop retrying, and disconnect."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _record(self, span: Span) -> None:
        assert span.trace.parent_id is not None
        parent = trace.NonRecordingSpan(_span_context(span.trace, span.trace.parent_id))
        self._ids.next_span_id = int(span.trace.span_id, 16)
        self._tracer.start_span(
            _SPAN_NAME,
            trace.set_span_in_context(parent),
            trace.SpanKind.CONSUMER,
            {
                "hotlist.purpose": span.purpose,
                "hotlist.match_type": span.match_type,
                "messaging.system": "kafka",
                "messaging.operation.type": "process",
                "messaging.destination.partition.id": str(span.partition),
            },
            start_time=span.start_ms * _NS_IN_MS,
        ).end(span.end_ms * _NS_IN_MS)


def _span_context(context: TraceContext, span_id: str) -> trace.SpanContext:
    return trace.SpanContext(
        trace_id=int(context.trace_id, 16),
        span_id=int(span_id, 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(context.flags),
        trace_state=TraceState.from_header([context.state]),
    )


class _GivenIds(IdGenerator):
    """Returns the ids that it is given."""

    next_span_id = trace.INVALID_SPAN_ID

    def generate_span_id(self) -> int:
        return self.next_span_id

    def generate_trace_id(self) -> int:
        raise AssertionError("each span has a parent, and its trace")


class _Ended(SpanProcessor):
    """Collects the spans that have ended."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def taken(self) -> list[ReadableSpan]:
        spans, self._spans = self._spans, []
        return spans
