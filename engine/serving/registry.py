"""The metrics of a process, in a registry of their own.

prometheus_client adds a series `_created` to each counter and histogram: the moment in which its
labels came first. For a label that only one read causes that is the moment of the read, so no
format may show it.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class MetricSet:
    """Metrics in one registry; each has the labels `common` before its own.

    No metric of this process has a `_created` series from now on.
    """

    def __init__(self, *common: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._common = common

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, (*self._common, *labels), registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, (*self._common, *labels), registry=self.registry)

    def _histogram(
        self, name: str, meaning: str, buckets: tuple[float, ...] = _SECONDS
    ) -> Histogram:
        return Histogram(name, meaning, self._common, buckets=buckets, registry=self.registry)
