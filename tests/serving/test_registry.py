"""`engine.serving.registry`: no metric shows the moment in which its labels came first."""

from __future__ import annotations

import pytest
from prometheus_client import Counter, Histogram, Summary
from prometheus_client.exposition import choose_encoder

from engine.serving.registry import MetricSet

#: What a scrape may ask for: text, and OpenMetrics in both versions.
FORMATS = (
    "",
    "text/plain;version=0.0.4",
    "text/plain;version=1.0.0",
    "application/openmetrics-text;version=0.0.1",
    "application/openmetrics-text;version=1.0.0",
)


@pytest.mark.parametrize("accept", FORMATS)
def test_no_format_says_when_a_label_came_first(accept: str) -> None:
    registry = MetricSet().registry
    Counter("reads_total", "Reads.", ["source"], registry=registry).labels("S1").inc()
    Histogram("read_seconds", "Times.", ["source"], registry=registry).labels("S1").observe(1)
    Summary("fetch_seconds", "Times.", registry=registry).observe(1)
    encode, _ = choose_encoder(accept)
    text = encode(registry).decode()
    assert 'reads_total{source="S1"} 1.0' in text
    assert "_created" not in text
    some = registry.restricted_registry(["reads_created", "reads_total", "read_seconds_created"])
    assert "_created" not in encode(some).decode()
