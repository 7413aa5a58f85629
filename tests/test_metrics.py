"""`engine.metrics`: the contract's names, and labels that can hold nothing of a read."""

from __future__ import annotations

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from engine.documents import REJECT_REASONS
from engine.metrics import Metrics
from engine.policy import DENIAL_REASONS

#: The contract's names with their labels, but for those of what does not exist yet.
CONTRACT = {
    "hotlist_reads_total": (),
    "hotlist_matches_total": ("type", "purpose"),
    "hotlist_denied_total": ("reason",),
    "hotlist_rejects_total": ("reason",),
    "hotlist_read_to_match_seconds": (),
    "hotlist_entries": ("state",),
    "hotlist_control_delay_seconds": (),
    "hotlist_consumer_lag": ("partition",),
}

#: Every label that there is: a new one is a decision about what may come out.
BOUNDED_LABELS = {"type", "purpose", "reason", "state", "partition", "kind", "result", "le"}


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
    return metrics


def families(metrics: Metrics) -> list[Metric]:
    return list(text_string_to_metric_families(metrics.exposition().decode()))


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
    assert all(name.startswith("hotlist_") for name in types)


def test_every_metric_says_what_it_means() -> None:
    for family in families(used()):
        assert family.documentation.endswith("."), family.name


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


def test_two_workers_in_a_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.reads.inc(5)
    assert "hotlist_reads_total 5.0" in one.exposition().decode()
    assert "hotlist_reads_total 0.0" in other.exposition().decode()
