"""`engine.observability.metrics`: the contract's names, and labels that can hold nothing of a
read."""

from __future__ import annotations

import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, Metric
from prometheus_client.parser import text_string_to_metric_families

from engine import limits
from engine.audit.changes import ControlKind
from engine.documents.fields import COUNTED_EVENTS, DROPPABLE_FIELDS
from engine.documents.model import REJECT_REASONS
from engine.documents.purposes import Purposes
from engine.index.eligibility import DENIAL_REASONS, NO_POLICY, NOT_ALLOWED
from engine.matching.control_records import ControlRecords
from engine.matching.lists import Lists
from engine.matching.outcome import Applied, Outcome
from engine.observability.metric_families import OTHER_SOURCES
from engine.observability.metrics import Metrics, observe_all
from engine.wire.record_batch import Record

#: The contract's names with their labels, but for those of what does not exist yet.
CONTRACT = {
    "hotlist_reads_total": (),
    "hotlist_matches_total": ("type", "purpose"),
    "hotlist_suppressed_total": (),
    "hotlist_denied_total": ("reason",),
    "hotlist_rejects_total": ("reason",),
    "hotlist_read_to_match_seconds": (),
    "hotlist_entries": ("state",),
    "hotlist_control_delay_seconds": (),
    "hotlist_consumer_lag": ("partition",),
}

#: Every label that there is: a new one is a decision about what may come out.
BOUNDED_LABELS = {
    *("type", "purpose", "reason", "state", "partition", "kind", "result", "event", "le"),
    "source",  # bounded by limits.SOURCES_NAMED
    "fault",  # what producers get wrong
    "field",  # the optional fields of a detection
}


def used() -> Metrics:
    """Metrics of which each has been counted once."""
    metrics = Metrics()
    metrics.reads.inc()
    metrics.matches.labels("exact", "stolen_vehicle").inc()
    metrics.read_to_match_s.observe(0.2)
    metrics.entries.labels("active").set(1)
    metrics.control_records.labels("entry", "changed").inc()
    metrics.control_delay_s.observe(0.1)
    metrics.lag.labels("0").set(1)
    metrics.sampled_reads.labels("S1").inc()
    metrics.count_audited({"match": 2, "entry_added": 1}, 1_000, 1_250)
    return metrics


def families(metrics: Metrics) -> list[Metric]:
    return list(text_string_to_metric_families(metrics.exposition().body.decode()))


@pytest.mark.parametrize("name", CONTRACT)
def test_the_contracts_names_are_there(name: str) -> None:
    for family in families(used()):
        for sample in family.samples:
            if sample.name in (name, f"{name}_count"):
                assert sample.labels.keys() == set(CONTRACT[name])
                return
    pytest.fail(f"{name} is not shown")


def test_durations_are_histograms_in_seconds() -> None:
    types = {family.name: family.type for family in families(used())}
    assert types["hotlist_read_to_match_seconds"] == "histogram"
    assert types["hotlist_control_delay_seconds"] == "histogram"
    assert all(name.startswith(("hotlist_", "process_")) for name in types)


def test_every_metric_says_what_it_means() -> None:
    for family in families(used()):
        assert family.documentation.rstrip().endswith("."), family.name


def test_no_label_is_unbounded() -> None:
    for family in families(used()):
        for sample in family.samples:
            assert set(sample.labels) <= BOUNDED_LABELS, sample.name


def test_every_reason_is_shown_from_the_start() -> None:
    """So that a dashboard can tell zero from never heard of."""
    shown: dict[str, set[str]] = {}
    for family in families(Metrics()):
        for sample in family.samples:
            if "reason" in sample.labels:
                shown.setdefault(sample.name, set()).add(sample.labels["reason"])
    assert shown["hotlist_rejects_total"] == set(REJECT_REASONS)
    assert shown["hotlist_denied_total"] == set(DENIAL_REASONS)


def test_a_dropped_field_is_counted_by_its_name() -> None:
    metrics = Metrics()
    outcome = Outcome(dropped_fields=Counter(region=2, vehicle=1))
    metrics.count_fetch(outcome, 0, 0)
    shown = metrics.exposition().body.decode()
    assert 'hotlist_dropped_fields_total{field="region"} 2.0' in shown
    for name in set(DROPPABLE_FIELDS) - {"region", "vehicle"}:
        assert f'hotlist_dropped_fields_total{{field="{name}"}} 0.0' in shown


def denied_by_source(metrics: Metrics) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["source"], sample.labels["reason"]): sample.value
        for family in families(metrics)
        for sample in family.samples
        if sample.name == "hotlist_denied_by_source_total"
    }


def test_what_policies_deny_is_counted_by_source() -> None:
    metrics = Metrics()
    for _ in range(2):
        outcome = Outcome(denied_by_source=Counter({(None, NO_POLICY): 3, ('a"\n', "x"): 1}))
        metrics.count_fetch(outcome, 0, 0)
    assert denied_by_source(metrics) == {(OTHER_SOURCES, NO_POLICY): 6, ('a"\n', "x"): 2}


def test_sources_that_are_named_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes reads chooses their source: a thousand may be named, the rest is one."""
    monkeypatch.setattr(limits, "SOURCES_NAMED", 3)
    metrics = Metrics()
    for number in [*range(5), 0, 4]:
        outcome = Outcome(denied_by_source=Counter({(f"S{number}", NOT_ALLOWED): 1}))
        metrics.count_fetch(outcome, 0, 0)
    assert denied_by_source(metrics) == {
        ("S0", NOT_ALLOWED): 2,
        ("S1", NOT_ALLOWED): 1,
        ("S2", NOT_ALLOWED): 1,
        (OTHER_SOURCES, NOT_ALLOWED): 3,
    }


def test_two_workers_in_a_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.reads.inc(5)
    assert "hotlist_reads_total 5.0" in one.exposition().body.decode()
    assert "hotlist_reads_total 0.0" in other.exposition().body.decode()


def test_audit_records_are_counted_by_event() -> None:
    registry = used().registry
    counted = {
        event: registry.get_sample_value("hotlist_audit_records_total", {"event": event})
        for event in COUNTED_EVENTS
    }
    assert counted == dict.fromkeys(COUNTED_EVENTS, 0) | {"match": 2, "entry_added": 1}
    assert registry.get_sample_value("hotlist_audit_delay_seconds_sum") == 0.25
    assert registry.get_sample_value("hotlist_audit_pending") == 0
    assert registry.get_sample_value("hotlist_unauthorized_extensions_total") == 0


def test_extensions_without_a_new_authority_are_counted() -> None:
    metrics = Metrics()
    records = ControlRecords(ControlKind.ENTRY, 0, [Record(7, 1_000, b"E", b"", ())])
    metrics.count_control(records, Applied(changed=1, extended=1), 2_000, first_load=False)
    assert metrics.registry.get_sample_value("hotlist_unauthorized_extensions_total") == 1


def test_sampled_reads_share_the_names_of_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SOURCES_NAMED", 2)
    metrics = Metrics()
    metrics.count_fetch(Outcome(denied_by_source=Counter({("S0", NOT_ALLOWED): 1})), 0, 0)
    for source in ("S1", "S2", "S0", None):
        metrics.count_fetch(Outcome(sampled_by_source=Counter({source: 2})), 0, 0)
    sampled = {
        sample.labels["source"]: sample.value
        for family in families(metrics)
        for sample in family.samples
        if sample.name == "hotlist_sampled_reads_total"
    }
    assert sampled == {"S0": 2, "S1": 2, OTHER_SOURCES: 4}


def test_the_age_of_entries_and_of_policies() -> None:
    """Each by itself: a policy that is changed makes no hot list fresh, and nor does a record
    that only comes later, from another partition."""
    metrics = Metrics()
    for kind, partition, timestamp_ms in [
        (ControlKind.ENTRY, 0, 5_000),
        (ControlKind.ENTRY, 1, 2_000),
        (ControlKind.POLICY, 0, 1_000),
    ]:
        records = ControlRecords(kind, partition, [Record(0, timestamp_ms, b"E", b"", ())])
        metrics.count_control(records, Applied(changed=1), 9_000, first_load=True)
    metrics.show_lists(Lists(Purposes.load()), 9_000)
    value = metrics.registry.get_sample_value
    assert value("hotlist_control_age_seconds", {"kind": "entry"}) == 4
    assert value("hotlist_control_age_seconds", {"kind": "policy"}) == 8


def test_no_lag_is_shown_of_partitions_that_are_given_up() -> None:
    metrics = Metrics()
    metrics.count_fetch(Outcome(reads=1), 3, 500)
    assert metrics.registry.get_sample_value("hotlist_consumer_lag", {"partition": "3"}) == 500
    metrics.drop_partitions(range(6))
    assert metrics.registry.get_sample_value("hotlist_consumer_lag", {"partition": "3"}) is None
    metrics.count_fetch(Outcome(reads=1), 3, 7)
    assert metrics.registry.get_sample_value("hotlist_consumer_lag", {"partition": "3"}) == 7


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the system, on Linux only")
def test_the_process_is_shown_beside_them() -> None:
    names = {sample.name for family in families(Metrics()) for sample in family.samples}
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total"} <= names


@given(st.lists(st.sampled_from([0.0, 0.005, 0.25, 1.0, 1e9]) | st.floats(0, 20)))
def test_amounts_that_are_observed_together_are_those_observed_one_by_one(
    amounts: list[float],
) -> None:
    one, other = (Histogram("h", "h", registry=CollectorRegistry()) for _ in range(2))
    observe_all(one, amounts)
    for amount in amounts:
        other.observe(amount)
    for mine, theirs in zip(_samples(one), _samples(other), strict=True):
        assert mine == pytest.approx(theirs)


def _samples(histogram: Histogram) -> list[float]:
    (family,) = histogram.collect()
    return [sample.value for sample in family.samples if not sample.name.endswith("_created")]
