"""The matches by type and the denials by reason, in total and in the last hour.

For the status page. Only counts; pure.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from prometheus_client.metrics import MetricWrapperBase

from engine.observability.metrics import Metrics, values_of

_MINUTES_KEPT: Final = 60

#: By type or reason, the count since the start and the one of the last hour.
TotalAndHour = dict[str, tuple[int, int]]


class Outcomes(NamedTuple):
    """The counts of matches by type, and of denials by reason, without zeros."""

    matches: Mapping[str, int]
    denied: Mapping[str, int]


@dataclass(slots=True)
class OutcomeHour:
    """Samples the counts each minute, and computes those of the last hour."""

    metrics: Metrics
    _samples: collections.deque[Outcomes] = field(
        default_factory=lambda: collections.deque(maxlen=_MINUTES_KEPT + 1)
    )

    def sample(self) -> None:
        """Record the current counts. Call it every minute."""
        self._samples.append(_outcomes(self.metrics))

    def counts(self) -> tuple[TotalAndHour, TotalAndHour]:
        """Return the counts of matches by type, and of denials by reason, the most first."""
        now = _outcomes(self.metrics)
        then = self._samples[0] if self._samples else Outcomes({}, {})
        return _since(now.matches, then.matches), _since(now.denied, then.denied)


def next_step(policies: int, entries: int, reads: int, outcomes: Outcomes) -> str:
    """Return what to do so that the worker makes its first match; empty once it made one.

    `entries` are the active ones, `reads` those since the start.
    """
    if outcomes.matches:
        return ""
    if not policies:
        return "No source has a policy, so nothing may match. Next: hotlist policies set FILE"
    if not entries:
        return "No plate is listed. Next: hotlist entries import FILE"
    if not reads:
        return "No read has come yet. Next: hotlist ingest VENDOR"
    if outcomes.denied:
        most = max(outcomes.denied, key=lambda reason: outcomes.denied[reason])
        return (
            f"All reads of listed plates were denied, most of them because of {most}. "
            "Next: hotlist policies explain --source SOURCE --entry ID"
        )
    return "No listed plate was read yet. To check the deployment: hotlist doctor"


def _since(now: Mapping[str, int], then: Mapping[str, int]) -> TotalAndHour:
    most_first = sorted(now.items(), key=lambda each: (-each[1], each[0]))
    return {name: (count, count - then.get(name, 0)) for name, count in most_first}


def _outcomes(metrics: Metrics) -> Outcomes:
    return Outcomes(_by_first_label(metrics.matches), _by_first_label(metrics.denied))


def _by_first_label(metric: MetricWrapperBase) -> collections.Counter[str]:
    counts: collections.Counter[str] = collections.Counter()
    for (name, *_), value in values_of(metric).items():
        if value:
            counts[name] += int(value)
    return counts
