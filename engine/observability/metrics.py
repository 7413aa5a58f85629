"""What the worker counts in its metrics, per fetch and per step of control records."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Container, Iterable, Mapping
from operator import attrgetter
from typing import Final

import numpy as np
import numpy.typing as npt
from prometheus_client import Histogram
from prometheus_client.metrics import MetricWrapperBase

from engine import limits
from engine.in_parts import parts_of
from engine.matching.control_records import ControlRecords
from engine.matching.lists import ControlKind, Lists
from engine.matching.outcome import Applied, FoundMatch, Outcome
from engine.matching.written_matches import TIMESTAMP_MS, WrittenMatches
from engine.observability.metric_families import OTHER_SOURCES, MetricFamilies
from engine.wire.trace_context import TraceContext

#: The labels of a match's count.
_KIND: Final = attrgetter("match_type", "purpose")


class Metrics(MetricFamilies):
    """The worker's metrics, with what counts and shows in them what has happened."""

    def __init__(self) -> None:
        super().__init__()
        #: The same as `reads`, for readers in this process.
        self.reads_processed = 0
        self._newest_control_ms: dict[ControlKind, int] = {}
        self._sources: set[str] = set()
        self._unowned: set[int] = set()

    def count_fetch(self, outcome: Outcome, partition: int, lag: int) -> None:
        """Count the outcome of a fetch of a partition."""
        self.reads_processed += outcome.reads
        self.reads.inc(outcome.reads)
        self.values_opened.inc(outcome.values_opened)
        self.batches_parsed_slowly.inc(outcome.batches_parsed_slowly)
        self.fetch_reads.observe(outcome.reads)
        self.lag.labels(str(partition)).set(lag)
        for reason, count in outcome.denied.items():
            self.denied.labels(reason).inc(count)
        for (source, reason), count in outcome.denied_by_source.items():
            self.denied_by_source.labels(self._named(source), reason).inc(count)
        for source, count in outcome.sampled_by_source.items():
            self.sampled_reads.labels(self._named(source)).inc(count)
        for reason, count in outcome.odd_keys.items():
            self.odd_keys.labels(reason).inc(count)
        for fault, count in outcome.producer_faults.items():
            self.producer_faults.labels(fault).inc(count)
        for field, count in outcome.dropped_fields.items():
            self.dropped_fields.labels(field).inc(count)

    def drop_partitions(self, partitions: Iterable[int]) -> None:
        """Drop the lag of revoked partitions: another worker may own them now. That of partitions
        without an owner goes too, because another worker may show it now."""
        for partition in {*partitions, *self._unowned}:
            with contextlib.suppress(KeyError):  # none was shown
                self.lag.remove(str(partition))
        self._unowned.clear()
        self.partitions_unowned.set(0)

    def show_lag(self, lag: Mapping[int, int], own: Container[int]) -> None:
        """Set the lag of these partitions: the worker's `own`, and those without an owner.

        The label of a partition that was shown without an owner and is neither goes.
        """
        for partition in self._unowned - lag.keys():
            if partition not in own:
                self.lag.remove(str(partition))
        self._unowned = {partition for partition in lag if partition not in own}
        self.partitions_unowned.set(len(self._unowned))
        for partition, waiting in lag.items():
            self.lag.labels(str(partition)).set(waiting)

    def show_held_back(self, held_s: Mapping[tuple[str, int], float]) -> None:
        """Set for how long exactly these partitions are held back, by kind of topic and number."""
        self.held_back_s.clear()
        for (kind, partition), for_s in held_s.items():
            self.held_back_s.labels(kind, str(partition)).set(for_s)

    def count_delivered(self, outcome: Outcome, now_ms: int, took_s: float) -> None:
        """Count a fetch's outcome that the broker has just acknowledged."""
        for matches in parts_of(outcome.matches):
            if isinstance(matches, WrittenMatches):
                kinds, delays_s = matches.kinds, _delays_s(matches, now_ms)
            else:
                kinds = collections.Counter(map(_KIND, matches))
                delays_s = self._untraced_delays_s(matches, now_ms)
            for (match_type, purpose), count in kinds.items():
                self.matches.labels(match_type, purpose).inc(count)
            observe_all(self.read_to_match_s, delays_s)
        self.suppressed.inc(outcome.suppressed)
        for reject in outcome.rejects:
            self.rejects.labels(reject.reason).inc()
        self.delivery_s.observe(took_s)

    def _untraced_delays_s(
        self, matches: Iterable[FoundMatch], now_ms: int
    ) -> npt.NDArray[np.float64]:
        """Observe the delays of matches with a span of their own; return those of the others."""
        delays_s = []
        for found in matches:
            since_ms, trace = found.timestamp_ms, found.trace
            if since_ms < 0:
                continue  # a record without a timestamp has -1
            delay_s = (now_ms - since_ms) / 1000 if since_ms < now_ms else 0.0
            if trace is not None and (exemplar := _exemplar(trace)) is not None:
                self.read_to_match_s.observe(delay_s, exemplar)
            else:
                delays_s.append(delay_s)
        return np.array(delays_s, dtype=np.float64)

    def count_control(
        self, records: ControlRecords, applied: Applied, now_ms: int, *, first_load: bool
    ) -> None:
        """Count records of one control topic that have taken effect."""
        kind, timestamps_ms = records.kind.value, records.timestamps_ms
        self.control_records.labels(kind, "changed").inc(applied.changed)
        self.control_records.labels(kind, "removed").inc(applied.removed)
        self.control_records.labels(kind, "refused").inc(sum(applied.refused.values()))
        self.unauthorized_extensions.inc(applied.extended)
        newest_ms = max(timestamps_ms)
        # Partitions are loaded one after the other: later records may be older.
        self._newest_control_ms[records.kind] = max(
            newest_ms, self._newest_control_ms.get(records.kind, newest_ms)
        )
        if not first_load:
            for timestamp_ms in timestamps_ms:
                self.control_delay_s.observe(max(0, now_ms - timestamp_ms) / 1000)

    def count_audited(self, events: Mapping[str, int], oldest_ms: int, now_ms: int) -> None:
        """Count audit records that the broker has just acknowledged, by their event."""
        for event, count in events.items():
            self.audit_records.labels(event).inc(count)
        self.audit_delay_s.observe(max(0, now_ms - oldest_ms) / 1000)

    def show_stuck(self, stuck_s: Mapping[int, float]) -> None:
        """Set how long each partition that this worker owns has been stuck."""
        self.stuck_s.clear()
        for partition, for_s in stuck_s.items():
            self.stuck_s.labels(str(partition)).set(for_s)

    def show_lists(self, lists: Lists, now_ms: int) -> None:
        """Set the gauges of the lists in memory, and of their age."""
        active = lists.index.active_count
        self.entries.labels("active").set(active)
        self.entries.labels("scheduled").set(len(lists.index) - active)
        self.entries.labels("refused").set(lists.refused_count)
        self.list_revision.set(lists.list_revision)
        self.policies.set(lists.eligibility.policy_count)
        for kind, newest_ms in self._newest_control_ms.items():
            self.control_age_s.labels(kind.value).set(max(0, now_ms - newest_ms) / 1000)

    def _named(self, source: str | None) -> str:
        """Return the label for a source: its name while there is room, else OTHER_SOURCES.

        None is a source without a policy; its name comes from a read and is never shown.
        """
        if source is None:
            return OTHER_SOURCES
        if source in self._sources:
            return source
        if len(self._sources) >= limits.SOURCES_NAMED:
            return OTHER_SOURCES
        self._sources.add(source)
        return source


def observe_all(histogram: Histogram, amounts: npt.ArrayLike) -> None:
    """Observe amounts, each bucket once: every call of `observe` takes two locks and a search."""
    bounds, buckets = histogram._upper_bounds, histogram._buckets
    counts = np.bincount(np.searchsorted(bounds, amounts))
    histogram._sum.inc(float(np.sum(amounts)))
    for number in np.flatnonzero(counts).tolist():
        buckets[number].inc(int(counts[number]))


def _delays_s(matches: WrittenMatches, now_ms: int) -> npt.NDArray[np.float64]:
    """Return the delays of matches; a record without a timestamp has -1."""
    since_ms = matches.rows[:, TIMESTAMP_MS]
    delays_s: npt.NDArray[np.float64] = np.maximum(now_ms - since_ms[since_ms >= 0], 0) / 1000
    return delays_s


def _exemplar(trace: TraceContext) -> dict[str, str] | None:
    """The trace in which a match has a span of its own, for the bucket that counts its delay."""
    return None if trace.parent_id is None else {"trace_id": trace.trace_id}


def values_of(metric: MetricWrapperBase) -> dict[tuple[str, ...], float]:
    """Return a counter's or gauge's values by their labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in metric.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
