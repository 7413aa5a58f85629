"""Spans as a collector gets them, and collectors that take none."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from engine import limits
from engine.observability.otlp import OtlpExporter
from engine.versions import DISTRIBUTION, versions
from engine.wire.trace_context import Span, TraceContext
from tests.fakes.collector import Collector, attributes_of, collecting

_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_CAME = TraceContext(_TRACE, "00f067aa0ba902b7", 1, "a=1,b=2")
_SPAN = Span(
    _CAME.child("a1b2c3d4e5f60718"), 1_790_000_000_000, 1_790_000_000_123, "exact", "wanted", 7
)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector, and nothing of OpenTelemetry's or of a proxy in the environment."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("OTEL_RESOURCE_ATTRIBUTES", raising=False)
    with collecting() as found:
        yield found


def test_a_span_as_the_collector_gets_it(collector: Collector) -> None:
    exporter = OtlpExporter(collector.endpoint)
    assert exporter.export([_SPAN])
    exporter.stop()
    [(path, headers, _)] = collector.requests
    assert (path, headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
    [span] = collector.spans()
    assert (span.trace_id.hex(), span.span_id.hex()) == (_TRACE, "a1b2c3d4e5f60718")
    assert (span.parent_span_id.hex(), span.trace_state) == ("00f067aa0ba902b7", "a=1,b=2")
    assert (span.name, span.kind) == ("hotlist.match", span.SPAN_KIND_CONSUMER)
    times = span.start_time_unix_nano, span.end_time_unix_nano
    assert times == (1_790_000_000_000_000_000, 1_790_000_000_123_000_000)
    assert attributes_of(span) == {
        "hotlist.purpose": "wanted",
        "hotlist.match_type": "exact",
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.partition.id": "7",
    }
    [of_resource] = collector.resource_spans()
    assert attributes_of(of_resource.resource) == {
        "service.name": DISTRIBUTION,
        "service.version": versions()[DISTRIBUTION],
    }


def test_each_span_has_its_own_ids_and_goes_once(collector: Collector) -> None:
    spans = [
        _SPAN._replace(trace=TraceContext(f"{number:032x}", "f" * 16, 1).child(f"{number:016x}"))
        for number in range(1, limits.SPANS_A_REQUEST + 1)
    ]
    exporter = OtlpExporter(f"{collector.endpoint}/v1/traces")
    assert exporter.export(spans)
    assert exporter.export(spans[:1])
    exporter.stop()
    assert [path for path, _, _ in collector.requests] == ["/v1/traces"] * 2
    ids = [(span.trace_id.hex(), span.span_id.hex()) for span in collector.spans()]
    assert [(int(of_trace, 16), int(own, 16)) for of_trace, own in ids] == [
        (number, number) for number in range(1, len(spans) + 1)
    ] + [(1, 1)]


def test_what_the_environment_says_counts(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "plates")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")  # not ours to decide, nor its
    exporter = OtlpExporter(collector.endpoint)
    assert exporter.export([_SPAN])
    exporter.stop()
    [(_, headers, _)] = collector.requests
    assert headers["authorization"] == "Bearer token"
    [of_resource] = collector.resource_spans()
    assert attributes_of(of_resource.resource)["service.name"] == "plates"


def test_a_collector_that_refuses_has_nothing(collector: Collector) -> None:
    collector.statuses = [400, 200]
    exporter = OtlpExporter(collector.endpoint)
    assert not exporter.export([_SPAN])
    assert exporter.export([_SPAN])  # and what it had refused does not come again
    exporter.stop()
    assert len(collector.spans()) == 2


def test_no_collector_is_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is raised, and OpenTelemetry's own log says nothing: ours does, once."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(limits, "SPAN_EXPORT_S", 0.1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        exporter = OtlpExporter(f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert not exporter.export([_SPAN])
    exporter.stop()
    assert not exporter.export([_SPAN])
    assert caplog.records == []
