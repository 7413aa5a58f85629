"""`engine.observability.status`: what the page knows of the last minutes, against plain lists."""

from __future__ import annotations

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.observability.log_sampling import Fault
from engine.observability.metrics import Metrics
from engine.observability.status import Buckets, Facts, Status, StuckPartition, Watch, buckets_of

_STEP_S = limits.STATUS_SAMPLE_S


def facts(**changed: object) -> Facts:
    given: dict[str, object] = {
        "at_ms": 100_000,
        "not_ready_because": "",
        "group": "g",
        "delivery": "at_least_once",
        "topics": {"reads": "lpr.detections.v1"},
        "versions": {"hotlist-engine": "1"},
        **changed,
    }
    return Facts(**given)  # type: ignore[arg-type]


def watched(reads_a_step: list[int]) -> tuple[Watch, Status]:
    """A watch that was told of so many reads before each of its samples."""
    watch = Watch(Metrics(), 0)
    for number, reads in enumerate(reads_a_step):
        watch.metrics.reads.inc(reads)
        watch.sample(1000 + number * _STEP_S)
    return watch, watch.status(facts())


# Throughput.


@given(st.lists(st.integers(0, 10**7), max_size=700))
def test_throughput_is_that_of_the_last_seconds_and_stretches(reads: list[int]) -> None:
    _, status = watched(reads)
    throughput = status.throughput
    assert throughput.reads == sum(reads)
    now = round(limits.STATUS_NOW_S / _STEP_S)
    if len(reads) < 2:
        assert throughput.reads_a_minute is None
    else:
        # What came before the first sample is not known to have come within any time.
        last = reads[1:][-now:]
        assert throughput.reads_a_minute == pytest.approx(60 * sum(last) / (len(last) * _STEP_S))
    each = round(limits.STATUS_POINT_S / _STEP_S)
    stretches = [reads[at + 1 : at + 1 + each] for at in range(0, len(reads) - each, each)]
    kept = [
        60 * sum(stretch) / limits.STATUS_POINT_S for stretch in stretches if len(stretch) == each
    ]
    assert throughput.stretch_s == limits.STATUS_POINT_S
    most = round(limits.STATUS_KEPT_S / limits.STATUS_POINT_S)
    assert len(throughput.history) <= most
    assert len(throughput.history) >= min(len(kept), most - 1)
    if throughput.history:
        assert list(throughput.history) == pytest.approx(kept[-len(throughput.history) :])


def test_a_stretch_stays_as_it_is_while_others_come() -> None:
    watch, before = watched(list(range(40)))
    watch.metrics.reads.inc(12345)
    watch.sample(1000 + 40 * _STEP_S)
    after = watch.status(facts())
    common = len(before.throughput.history)
    assert common > 3
    assert after.throughput.history[:common] == before.throughput.history


def test_what_is_kept_is_bounded() -> None:
    watch, _ = watched([1] * 2000)
    assert len(watch._samples) == limits.STATUS_KEPT_S / _STEP_S + 1


def test_a_rate_is_of_the_time_that_has_passed_and_not_of_that_which_should_have() -> None:
    watch = Watch(Metrics(), 0)
    watch.sample(10)
    watch.metrics.reads.inc(600)
    watch.sample(40)  # the machine had something else to do
    assert watch.status(facts()).throughput.reads_a_minute == pytest.approx(1200)


# Delay.


@given(
    st.lists(st.floats(0.0001, 400), min_size=1, max_size=200),
    st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]),
)
def test_a_quantile_lies_in_the_bucket_of_the_true_one(delays: list[float], share: float) -> None:
    metrics = Metrics()
    for delay in delays:
        metrics.read_to_match_s.observe(delay)
    watch = Watch(metrics, 0)
    status = watch.status(facts()).delay
    assert status.matches == len(delays)
    buckets = buckets_of(metrics.read_to_match_s)
    true = sorted(delays)[max(0, math.ceil(share * len(delays)) - 1)]
    upper = next(bound for bound in buckets.bounds_s if true <= bound)
    lower = max((bound for bound in buckets.bounds_s if bound < upper), default=0.0)
    quantile_s = buckets.quantile_s(share)
    assert quantile_s is not None
    if math.isinf(upper):
        assert quantile_s == status.most_s == lower
    else:
        assert lower <= quantile_s <= upper


def test_a_quantile_is_linear_in_its_bucket() -> None:
    buckets = Buckets((1.0, 3.0, math.inf), (50.0, 100.0, 100.0))
    assert buckets.quantile_s(0.5) == 1.0
    assert buckets.quantile_s(0.75) == 2.0
    assert buckets.quantile_s(1) == 3.0
    assert Buckets((1.0, math.inf), (0.0, 0.0)).quantile_s(0.5) is None


def test_the_delay_is_of_the_last_minute() -> None:
    watch = Watch(Metrics(), 0)
    for second in range(0, 200, 2):
        watch.metrics.read_to_match_s.observe(20 if second < 100 else 0.02)
        watch.sample(second)
    delay = watch.status(facts()).delay
    assert delay.matches == 30
    assert delay.p99_s is not None
    assert delay.p99_s <= 0.025


# The rest.


def test_all_of_it() -> None:
    metrics = Metrics()
    watch = Watch(metrics, 40_000)
    metrics.lag.labels("10").set(5)
    metrics.lag.labels("2").set(7)
    metrics.entries.labels("active").set(3)
    metrics.entries.labels("refused").set(1)
    metrics.policies.set(9)
    metrics.control_age_s.labels("entry").set(12.5)
    metrics.rejects.labels("key_mismatch").inc(2)
    metrics.audit_pending.set(4)
    metrics.suppression_keys.set(6)
    fault = Fault("warning", "engine.x", "so", 1, 2)
    stuck = StuckPartition(3, 61.0, "waits")
    status = watch.status(facts(not_ready_because="so far", stuck=[stuck], faults=[fault]))
    assert status.lag == {2: 7, 10: 5}
    assert list(status.lag) == [2, 10]
    lists = status.lists
    assert (lists.active, lists.scheduled, lists.refused, lists.policies) == (3, 0, 1, 9)
    assert lists.newest_s == {"entry": 12.5}
    assert lists.change_p99_s is None
    assert status.rejects == {"key_mismatch": 2}  # of others there were none
    assert (status.audit_pending, status.suppression_keys) == (4, 6)
    assert (status.ready, status.not_ready_because) == (False, "so far")
    assert (status.uptime_s, status.stuck, status.faults) == (60.0, [stuck], [fault])


def test_nothing_of_a_source_or_a_match_is_taken() -> None:
    metrics = Metrics()
    metrics.denied_by_source.labels("city-north", "not_allowed").inc()
    metrics.matches.labels("exact", "stolen_vehicle").inc()
    said = orjson.dumps(Watch(metrics, 0).status(facts()), option=orjson.OPT_NON_STR_KEYS).decode()
    assert "city-north" not in said
    assert "stolen_vehicle" not in said
