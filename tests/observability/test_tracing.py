"""Which matches get spans, what waits for a collector, and what is dropped."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from engine import limits
from engine.config import Settings
from engine.errors import ConfigError
from engine.matching.match import found_match
from engine.matching.outcome import Outcome
from engine.observability.metrics import Metrics
from engine.observability.tracing import Tracing, headers_in_clear, make_tracing
from engine.wire.trace_context import Span, TraceContext
from tests.fakes.documents import NOW_MS, detection, entry, exact_match

_CAME = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1, "a=1")
_MATCH = exact_match(entry(), detection())
_OURS = _MATCH.match_id[:16]
_ENDPOINT = "http://localhost:4318"


class Taker:
    """An exporter that notes what it gets. `takes` says whether it has it, and may wait."""

    def __init__(self, takes: Callable[[], bool] = lambda: True) -> None:
        self.takes = takes
        self.batches: list[list[Span]] = []
        self.is_stopped = False

    def export(self, spans: Sequence[Span]) -> bool:
        self.batches.append(list(spans))
        return self.takes()

    def stop(self) -> None:
        self.is_stopped = True


def outcome(*traces: TraceContext | None, read_ms: int = NOW_MS - 5) -> Outcome:
    matches = [found_match(_MATCH, read_ms, trace) for trace in traces]
    return Outcome(at_ms=NOW_MS, partition=3, matches=matches)


def counted(metrics: Metrics) -> tuple[float | None, float | None]:
    """Spans that were taken, and that were dropped."""
    value = metrics.registry.get_sample_value
    return value("hotlist_spans_total"), value("hotlist_spans_dropped_total")


def test_a_match_in_a_sampled_trace_gets_a_span_of_its_own() -> None:
    tracing = Tracing(Taker(), _ENDPOINT, Metrics())
    unsampled = TraceContext(_CAME.trace_id, _CAME.span_id, 0)
    found = outcome(_CAME, unsampled, None)
    tracing.enter(found)
    ours = TraceContext(_CAME.trace_id, _OURS, 1, "a=1", _CAME.span_id)
    assert found == outcome(ours, unsampled, None)
    again = outcome(_CAME)
    tracing.enter(again)
    assert again.matches == found.matches[:1], "a match that comes again is another span"


@pytest.mark.parametrize(
    ("read_ms", "now_ms", "times"),
    [
        (NOW_MS - 5, NOW_MS + 7, (NOW_MS - 5, NOW_MS + 7)),
        (-1, NOW_MS + 7, (NOW_MS, NOW_MS + 7)),  # the read has no timestamp
        (NOW_MS + 50, NOW_MS + 7, (NOW_MS + 7, NOW_MS + 7)),  # the producer's clock is fast
    ],
)
async def test_what_is_acknowledged_is_told(
    read_ms: int, now_ms: int, times: tuple[int, int]
) -> None:
    taker, metrics = Taker(), Metrics()
    tracing = Tracing(taker, _ENDPOINT, metrics)
    tracing.start()
    unsampled = TraceContext(_CAME.trace_id, _CAME.span_id, 0)
    found = outcome(_CAME, None, unsampled, _CAME, read_ms=read_ms)
    tracing.enter(found)
    tracing.delivered(found, now_ms)
    tracing.delivered(outcome(None), now_ms)
    await tracing.stop()
    span = Span(_CAME.child(_OURS), *times, "exact", "stolen_vehicle", 3)
    assert taker.batches == [[span, span]]
    assert counted(metrics) == (2, 0)
    assert taker.is_stopped


async def test_many_go_in_several_requests() -> None:
    taker, metrics = Taker(), Metrics()
    tracing = Tracing(taker, _ENDPOINT, metrics)
    found = outcome(*[_CAME] * (2 * limits.SPANS_A_REQUEST + 1))
    tracing.enter(found)
    tracing.delivered(found, NOW_MS)
    tracing.start()
    await tracing.stop()
    assert [len(batch) for batch in taker.batches] == [limits.SPANS_A_REQUEST] * 2 + [1]
    assert counted(metrics) == (2 * limits.SPANS_A_REQUEST + 1, 0)


async def test_what_waits_is_bounded_while_a_collector_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever tells of a match comes back at once; what has no room is counted."""
    monkeypatch.setattr(limits, "SPANS_WAITING", 5)
    monkeypatch.setattr(limits, "SPANS_A_REQUEST", 2)
    asked, may_go = threading.Event(), threading.Event()

    def hang() -> bool:
        asked.set()
        return may_go.wait(60)

    taker, metrics = Taker(hang), Metrics()
    tracing = Tracing(taker, _ENDPOINT, metrics)
    tracing.start()
    found = outcome(_CAME, _CAME)
    tracing.enter(found)
    tracing.delivered(found, NOW_MS)
    assert asked.wait(60)  # two are with the exporter; five more may wait
    for _ in range(4):
        tracing.delivered(found, NOW_MS)
    assert counted(metrics) == (0, 3)
    may_go.set()
    await tracing.stop()
    assert counted(metrics) == (7, 3)


async def test_at_the_end_nobody_waits_long_for_a_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SPAN_EXPORT_S", 0.05)
    asked, may_go = threading.Event(), threading.Event()

    def hang() -> bool:
        asked.set()
        return may_go.wait(60)

    taker, metrics = Taker(hang), Metrics()
    tracing = Tracing(taker, _ENDPOINT, metrics)
    found = outcome(*[_CAME] * (2 * limits.SPANS_A_REQUEST))
    tracing.enter(found)
    tracing.delivered(found, NOW_MS)
    tracing.start()
    assert asked.wait(60)
    await tracing.stop()  # with the export still under way
    assert taker.is_stopped
    may_go.set()
    tracing._thread.join()
    assert len(taker.batches) == 1, "there was no time for the second"
    assert counted(metrics) == (limits.SPANS_A_REQUEST, limits.SPANS_A_REQUEST)


async def test_a_collector_that_is_away_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "engine.observability.tracing")
    answers = iter([True, False, False, True, True, False])
    metrics = Metrics()
    tracing = Tracing(Taker(lambda: next(answers)), _ENDPOINT, metrics)
    found = outcome(*[_CAME] * (5 * limits.SPANS_A_REQUEST + 1))
    tracing.enter(found)
    tracing.delivered(found, NOW_MS)
    tracing.start()
    await tracing.stop()
    away = (
        "http://localhost:4318 does not accept spans: they are dropped, and nothing else "
        "is delayed; check the collector there"
    )
    again = "http://localhost:4318 accepts spans again"
    assert [record.getMessage() for record in caplog.records] == [away, again, away]
    assert counted(metrics) == (3 * limits.SPANS_A_REQUEST, 2 * limits.SPANS_A_REQUEST + 1)


async def test_an_error_of_the_exporter_does_not_end_the_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """OpenTelemetry's own processors of spans catch all errors of an exporter too."""
    answers = iter([False, True])

    def takes() -> bool:
        if not next(answers):
            raise ValueError("it")
        return True

    metrics = Metrics()
    tracing = Tracing(Taker(takes), _ENDPOINT, metrics)
    found = outcome(*[_CAME] * (limits.SPANS_A_REQUEST + 1))
    tracing.enter(found)
    tracing.delivered(found, NOW_MS)
    tracing.start()
    await tracing.stop()
    assert counted(metrics) == (1, limits.SPANS_A_REQUEST)
    assert "does not accept spans (ValueError): they are dropped" in caplog.text


async def test_it_may_end_before_it_began() -> None:
    taker = Taker()
    await Tracing(taker, _ENDPOINT, Metrics()).stop()
    assert taker.is_stopped


def test_without_an_endpoint_there_is_none() -> None:
    assert make_tracing(Settings(), Metrics()) is None


def test_with_one_there_is() -> None:
    tracing = make_tracing(Settings(otlp_endpoint=_ENDPOINT), Metrics())
    assert isinstance(tracing, Tracing)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "engine.observability.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigError) as failed:
        make_tracing(Settings(otlp_endpoint=_ENDPOINT), Metrics())
    assert str(failed.value) == (
        "otlp_endpoint: needs the packages of OpenTelemetry; "
        "run: pip install 'hotlist-engine[tracing]', or leave the setting out"
    )


def test_a_worker_that_exports_nothing_imports_nothing_of_it() -> None:
    program = (
        "import sys; from engine.config import Settings; from engine.worker.worker import Worker; "
        "Worker(Settings()); "
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests'))])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout == "[]\n"


_TOKEN = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20s3cret"}


@pytest.mark.parametrize(
    "variable", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"]
)
def test_a_token_in_clear_is_one_warning(
    variable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(variable, "authorization=Bearer%20s3cret")
    assert make_tracing(Settings(otlp_endpoint="http://collector.example:4318"), Metrics())
    [line] = caplog.messages
    assert line == (
        "a secret crosses the network: "
        f"collector.example is not a loopback address, and without TLS the headers of {variable} "
        "cross the network in clear; set --otlp-endpoint (HOTLIST_OTLP_ENDPOINT) to an https:// "
        "address"
    )


@pytest.mark.parametrize(
    ("endpoint", "environment"),
    [
        ("https://collector.example:4318", _TOKEN),
        ("http://localhost:4318", _TOKEN),
        ("http://127.0.0.1:4318/v1/traces", _TOKEN),
        ("http://[::1]:4318", _TOKEN),
        ("http://collector.example:4318", {}),
        ("http://collector.example:4318", {"OTEL_EXPORTER_OTLP_HEADERS": ""}),
    ],
)
def test_no_token_crosses_a_network_in_clear(endpoint: str, environment: dict[str, str]) -> None:
    assert headers_in_clear(endpoint, environment) is None


def test_a_bucket_of_the_delay_names_a_trace_that_has_a_span_of_ours() -> None:
    metrics = Metrics()
    tracing = Tracing(Taker(), _ENDPOINT, metrics)
    unsampled = TraceContext("5" * 32, _CAME.span_id, 0)
    found = outcome(unsampled, _CAME, None, unsampled)
    tracing.enter(found)
    metrics.count_delivered(found, NOW_MS, 0.1)

    shown = metrics.exposition("application/openmetrics-text; version=1.0.0").body.decode()
    [exemplar] = [
        sample.exemplar
        for family in text_string_to_metric_families(shown)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert exemplar.labels == {"trace_id": _CAME.trace_id}
    assert exemplar.value == 0.005
    # A trace is all that it names: no read, no plate, no camera, no entry.
    for text in (_MATCH.match_id, _MATCH.read.plate, _MATCH.read.read_id, _MATCH.read.camera):
        assert text not in shown
    assert _MATCH.entry.entry_id not in shown
    assert _CAME.trace_id not in metrics.exposition().body.decode()


def test_without_tracing_no_bucket_names_a_trace() -> None:
    metrics = Metrics()
    metrics.count_delivered(outcome(_CAME), NOW_MS, 0.1)
    assert _CAME.trace_id not in metrics.exposition("application/openmetrics-text").body.decode()
