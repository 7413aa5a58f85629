"""The state of a worker as its status page shows it: only counts, sizes and ages.

It comes from the metrics, from the worker's own state and from the kinds of lines in its log. None
of these holds anything of a read or an entry, and nothing of a single source is used. The metrics
do not record the throughput of the last minutes; so it is kept here, as counts of the whole worker:
a sample every STATUS_SAMPLE_S, for STATUS_KEPT_S. Pure: no I/O, and no clock but the given ones.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client import Histogram

from engine import limits
from engine.observability.log_sampling import Fault
from engine.observability.metrics import Metrics, values_of
from engine.observability.outcome_counts import OutcomeHour, TotalAndHour

_SAMPLES_A_POINT = round(limits.STATUS_POINT_S / limits.STATUS_SAMPLE_S)
_SAMPLES_A_MINUTE = round(60 / limits.STATUS_SAMPLE_S)
_SAMPLES_KEPT = round(limits.STATUS_KEPT_S / limits.STATUS_SAMPLE_S) + 1


class Buckets(NamedTuple):
    """A snapshot of a histogram: the buckets' upper bounds in seconds, the last one infinite, and
    how many observations there were up to each."""

    bounds_s: tuple[float, ...]
    counts: tuple[float, ...]

    def since(self, earlier: Buckets | None) -> Buckets:
        """Return what was observed after an earlier state."""
        if earlier is None:
            return self
        between = zip(self.counts, earlier.counts, strict=True)
        return Buckets(self.bounds_s, tuple(now - then for now, then in between))

    @property
    def total(self) -> int:
        """The number of observations."""
        return int(self.counts[-1])

    def quantile_s(self, share: float) -> float | None:
        """Return the value that this share of the observations did not exceed, interpolated
        within a bucket as in Prometheus' histogram_quantile. Beyond the highest finite bound, that
        bound; None without observations."""
        if not self.total:
            return None
        rank = share * self.counts[-1]
        lower_s, below = 0.0, 0.0
        for bound_s, count in zip(self.bounds_s[:-1], self.counts[:-1], strict=True):
            if count >= rank:
                return lower_s + (bound_s - lower_s) * (rank - below) / max(count - below, 1)
            lower_s, below = bound_s, count
        return lower_s


@dataclass(frozen=True, slots=True)
class Throughput:
    """`reads` since the start; `reads_a_minute` over the last seconds, None before it is known;
    `history` has the same for each of the last stretches of `stretch_s`, the latest last."""

    reads: int
    reads_a_minute: float | None
    stretch_s: float
    history: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Delay:
    """From a read's Kafka timestamp to its match's acknowledgement, over the last minute's
    `matches`; None without any. A quantile that equals `most_s` means that or more."""

    matches: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    most_s: float


@dataclass(frozen=True, slots=True)
class ListSummary:
    """The lists in memory. `newest_s`: the age of the newest change, by kind (`entry`, `policy`);
    `change_p99_s`: how soon 99 of 100 changes since the start took effect."""

    active: int
    scheduled: int
    refused: int
    policies: int
    newest_s: dict[str, float]
    change_p99_s: float | None


@dataclass(frozen=True, slots=True)
class StuckPartition:
    """A stuck partition: for how long, and at what, in words."""

    partition: int
    for_s: float
    why: str


@dataclass(frozen=True, slots=True)
class HeldPartition:
    """A partition of another topic than the reads that an open transaction holds back: for how
    long, and whose transaction it is, in words."""

    topic: str
    partition: int
    for_s: float
    why: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a worker knows about itself beside its metrics. `not_ready_because` is empty while it
    takes reads; `topics` are by their purpose; `faults` is None if the log is not kept."""

    at_ms: int
    not_ready_because: str
    group: str
    delivery: str
    topics: Mapping[str, str]
    versions: Mapping[str, str]
    stuck: Sequence[StuckPartition] = ()
    held: Sequence[HeldPartition] = ()
    faults: Sequence[Fault] | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """All that the page shows. Times in ms since 1970, ages in seconds; `lag` is the reads that
    wait, by partition; `rejects` are counts since the start, by reason, without zeros. `matches` by
    type and `denied` by reason are counts since the start and of the last hour."""

    at_ms: int
    uptime_s: float
    ready: bool
    not_ready_because: str
    stuck: Sequence[StuckPartition]
    held: Sequence[HeldPartition]
    throughput: Throughput
    delay: Delay
    lag: dict[int, int]
    lists: ListSummary
    audit_pending: int
    audit_checkpoints: bool
    suppression_keys: int
    rejects: dict[str, int]
    faults: Sequence[Fault] | None
    group: str
    delivery: str
    topics: Mapping[str, str]
    versions: Mapping[str, str]
    matches: TotalAndHour = field(default_factory=dict)
    denied: TotalAndHour = field(default_factory=dict)


class _Sample(NamedTuple):
    number: int
    at_s: float
    reads: float
    delays: Buckets


@dataclass(slots=True)
class Watch:
    """Samples a worker's metrics regularly, and computes its state.

    Call `sample` every STATUS_SAMPLE_S.
    """

    metrics: Metrics
    started_ms: int
    _samples: collections.deque[_Sample] = field(
        default_factory=lambda: collections.deque(maxlen=_SAMPLES_KEPT)
    )
    _hour: OutcomeHour = field(init=False)

    def __post_init__(self) -> None:
        self._hour = OutcomeHour(self.metrics)

    def sample(self, at_s: float) -> None:
        """Record the current counts, at a time of a clock that never goes back."""
        number = self._samples[-1].number + 1 if self._samples else 0
        if number % _SAMPLES_A_MINUTE == 0:
            self._hour.sample()
        reads = values_of(self.metrics.reads)[()]
        self._samples.append(_Sample(number, at_s, reads, buckets_of(self.metrics.read_to_match_s)))

    def status(self, facts: Facts) -> Status:
        """Return the state as of the metrics' last gauges and the last sample."""
        metrics = self.metrics
        lag = {int(name): int(reads) for (name,), reads in values_of(metrics.lag).items()}
        matches, denied = self._hour.counts()
        rejects = {why: int(count) for (why,), count in values_of(metrics.rejects).items() if count}
        return Status(
            at_ms=facts.at_ms,
            uptime_s=max(0, facts.at_ms - self.started_ms) / 1000,
            ready=not facts.not_ready_because,
            not_ready_because=facts.not_ready_because,
            stuck=facts.stuck,
            held=facts.held,
            throughput=self._throughput(),
            delay=self._delay(),
            lag=dict(sorted(lag.items())),
            lists=_list_summary(metrics),
            audit_pending=int(values_of(metrics.audit_pending)[()]),
            audit_checkpoints=bool(values_of(metrics.audit_checkpoints)[()]),
            suppression_keys=int(values_of(metrics.suppression_keys)[()]),
            rejects=rejects,
            faults=facts.faults,
            group=facts.group,
            delivery=facts.delivery,
            topics=facts.topics,
            versions=facts.versions,
            matches=matches,
            denied=denied,
        )

    def _throughput(self) -> Throughput:
        now = self._before(limits.STATUS_NOW_S)
        # Between fixed samples, so that a stretch stays the same while new ones come.
        ends = [each for each in self._samples if each.number % _SAMPLES_A_POINT == 0]
        history = (_rate(*each) for each in itertools.pairwise(ends))
        return Throughput(
            reads=int(values_of(self.metrics.reads)[()]),
            reads_a_minute=None if now is None else _rate(now, self._samples[-1]),
            stretch_s=limits.STATUS_POINT_S,
            history=tuple(rate for rate in history if rate is not None),
        )

    def _delay(self) -> Delay:
        earlier = self._before(60)
        observed = buckets_of(self.metrics.read_to_match_s).since(earlier and earlier.delays)
        p50_s, p95_s, p99_s = (observed.quantile_s(share) for share in (0.5, 0.95, 0.99))
        return Delay(observed.total, p50_s, p95_s, p99_s, observed.bounds_s[-2])

    def _before(self, seconds: float) -> _Sample | None:
        """Return the last sample older than the newest by so much; the oldest if none is."""
        if not self._samples:
            return None
        until_s = self._samples[-1].at_s - seconds
        old = [each for each in self._samples if each.at_s <= until_s]
        return old[-1] if old else self._samples[0]


def _rate(earlier: _Sample, later: _Sample) -> float | None:
    """Return the reads a minute between two samples."""
    took_s = later.at_s - earlier.at_s
    return 60 * (later.reads - earlier.reads) / took_s if took_s > 0 else None


def _list_summary(metrics: Metrics) -> ListSummary:
    entries = {state: int(count) for (state,), count in values_of(metrics.entries).items()}
    return ListSummary(
        active=entries.get("active", 0),
        scheduled=entries.get("scheduled", 0),
        refused=entries.get("refused", 0),
        policies=int(values_of(metrics.policies)[()]),
        newest_s={kind: age_s for (kind,), age_s in values_of(metrics.control_age_s).items()},
        change_p99_s=buckets_of(metrics.control_delay_s).quantile_s(0.99),
    )


def buckets_of(histogram: Histogram) -> Buckets:
    """Return a snapshot of a histogram."""
    samples: Iterable[tuple[float, float]] = [
        (float(sample.labels["le"]), sample.value)
        for family in histogram.collect()
        for sample in family.samples
        if "le" in sample.labels
    ]
    bounds_s, counts = zip(*samples, strict=True)
    return Buckets(tuple(bounds_s), tuple(counts))
