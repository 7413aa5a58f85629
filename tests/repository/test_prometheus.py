"""`deploy/prometheus`: the rules hold together, and each alert fires for its fault alone.

That the faults themselves make them fire is shown in
`tests/kafka/observability/test_prometheus.py`.
"""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine import limits
from engine.cli.audit.verify_metrics import VerifyMetrics
from engine.cli.entries.sync_metrics import SyncMetrics
from engine.ingest.metrics import IngestMetrics
from engine.observability.metrics import Metrics
from tests.repository.monitoring import (
    PROMETHEUS,
    RULE_TESTS,
    RULES,
    Rule,
    faster,
    metrics_in,
    queries,
    recorded_in,
    rules,
    tool,
)

_ALL = rules()
_ALERTS = [rule for rule in _ALL if rule.is_alert]
_RUNBOOK = PROMETHEUS.parent / "RUNBOOK.md"
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
#: Intervals below the five minutes that Prometheus looks back.
_BEFORE_STALE = {"15s", "30s", "1m", "2m", "3m", "4m"}
_LABEL_IN_TEMPLATE = re.compile(r"\$labels\.(\w+)")

of_each_alert = pytest.mark.parametrize("alert", _ALERTS, ids=lambda alert: alert.name)


def shown() -> set[str]:
    """The names of all series that a worker, an ingest process, a verification or a sync shows, and
    the one that Prometheus makes of it."""
    ingest = IngestMetrics("frigate")
    ingest.watch_mqtt(lambda: True)
    ingest.show_certificate(0)
    of_files = (VerifyMetrics().registry, SyncMetrics().registry)
    registries = (Metrics().registry, ingest.registry, *of_files)
    families = [registry.collect() for registry in registries]
    return {"up"} | {
        f"{family.name}{suffix}"
        for family in itertools.chain(*families)
        for suffix in _SUFFIXES.get(family.type, ("",))
    }


def expectations() -> dict[str, list[dict[str, str]]]:
    """By alert, the labels of what the rule tests expect to fire."""
    found: dict[str, list[dict[str, str]]] = {}
    for path in RULE_TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for expected in test["promql_expr_test"]:
                for sample in expected["exp_samples"]:
                    labels = dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"]))
                    if labels.get("alertstate") == "firing":
                        found.setdefault(labels["alertname"], []).append(labels)
    return found


def promtool(*arguments: str | Path) -> str:
    """What promtool says; fails where it finds fault."""
    done = subprocess.run(
        [tool("promtool"), *map(str, arguments)],
        cwd=PROMETHEUS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_configuration_is_valid() -> None:
    said = promtool("check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")
    assert "4 rule files found" in said
    configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    ours = [
        each for each in configuration["scrape_configs"] if each["job_name"].startswith("hotlist")
    ]
    assert [each["job_name"] for each in ours] == ["hotlist", "hotlist-ingest"]
    for each in ours:
        (files,) = each["file_sd_configs"]
        assert [(PROMETHEUS / name).is_file() for name in files["files"]] == [True]


@pytest.mark.parametrize("rule", _ALL, ids=lambda rule: rule.name)
def test_a_rule_is_of_the_workers_or_of_ingest(rule: Rule) -> None:
    """What Prometheus has of every process is asked of one kind of them."""
    jobs = set(re.findall(r'\bjob[=!]~"[^"]*"', rule.expr))
    if rule.name.startswith("HotlistIngest"):
        assert jobs <= {'job=~"hotlist-ingest.*"'}
        assert jobs or "hotlist_ingest_" in rule.expr
    else:
        assert jobs in (set(), {'job=~"hotlist.*"', 'job!~"hotlist-ingest.*"'})


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_each_alert_fires_for_its_fault_alone(path: Path) -> None:
    promtool("test", "rules", path)


@pytest.mark.parametrize(
    ("old", "new"),
    [('{state="refused"}) > 0', '{state="refused"}) > 3'), ("alert: HotlistEntriesR", "alert: R")],
    ids=["a threshold", "a name"],
)
def test_the_rule_tests_would_fail(old: str, new: str, tmp_path: Path) -> None:
    """With something changed in an alert that they test."""
    alerts = (PROMETHEUS / "rules/alerts.yml").read_text()
    assert alerts.count(old) == 1
    document = yaml.safe_load((PROMETHEUS / "tests/lists.yml").read_text())
    document["tests"] = [
        test for test in document["tests"] if "HotlistEntriesRefused" in yaml.safe_dump(test)
    ]
    for name, text in (
        ("rules/recording.yml", (PROMETHEUS / "rules/recording.yml").read_text()),
        ("rules/alerts.yml", alerts.replace(old, new)),
        ("tests/refused.yml", yaml.safe_dump(document)),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(AssertionError, match="HotlistEntriesRefused"):
        promtool("test", "rules", tmp_path / "tests/refused.yml")


@of_each_alert
def test_each_alert_has_a_test_in_which_it_fires(alert: Rule) -> None:
    assert alert.name in expectations()


def test_no_rule_test_is_of_an_alert_that_is_gone() -> None:
    assert expectations().keys() <= {alert.name for alert in _ALERTS}


@pytest.mark.parametrize(
    ("where", "expr"),
    [(rule.name, rule.expr) for rule in _ALL]
    + [(f"{query.dashboard}: {query.panel}", query.expr) for query in queries()],
)
def test_what_is_asked_for_is_there(where: str, expr: str) -> None:
    """A metric or rule that is renamed is asked for in vain by every panel that knew it."""
    assert metrics_in(expr) <= shown(), where
    assert recorded_in(expr) <= {rule.name for rule in _ALL if not rule.is_alert}, where


def test_each_rule_is_evaluated_before_its_last_value_is_stale() -> None:
    """Prometheus looks back five minutes for a value. If a rule's is older, an alert on it ends and
    its `for` begins again. `promtool test rules` evaluates all rules at the tests' interval, and
    does not show this."""
    intervals = {
        group["name"]: group["interval"]
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        if "interval" in group
    }
    assert intervals
    assert {name: each for name, each in intervals.items() if each not in _BEFORE_STALE} == {}


def test_no_rule_is_of_no_use() -> None:
    asked = set().union(*(recorded_in(rule.expr) for rule in _ALL))
    assert {rule.name for rule in _ALL if not rule.is_alert} == asked


@of_each_alert
def test_each_alert_says_what_it_means_and_what_to_do(alert: Rule) -> None:
    assert alert.name.startswith("Hotlist")
    labels, notes = alert.document["labels"], alert.document["annotations"]
    assert labels.keys() == {"severity"}
    assert labels["severity"] in {"critical", "warning", "info"}
    assert notes.keys() == {"summary", "description", "runbook_url"}
    assert notes["runbook_url"] == f"deploy/RUNBOOK.md#{alert.name.lower()}"
    assert notes["description"].endswith(".")
    assert not notes["summary"].endswith(".")


@of_each_alert
def test_each_alert_names_only_what_it_knows(alert: Rule) -> None:
    """A label that it asks for is one that it has when it fires."""
    notes = alert.document["annotations"]
    asked = set(_LABEL_IN_TEMPLATE.findall(" ".join(notes.values())))
    for labels in expectations()[alert.name]:
        assert asked <= labels.keys()


def test_the_runbook_has_a_section_of_each_alert() -> None:
    headings = re.findall(r"^#+ (Hotlist\w+)$", _RUNBOOK.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(alert.name for alert in _ALERTS)


def test_the_objective_is_of_the_target() -> None:
    by_name = {rule.name: rule.expr for rule in _ALL}
    [target] = re.findall(r"vector\((\d+)\)", by_name["hotlist:match_delay_target:seconds"])
    late = by_name["job:hotlist_match_delay_late:share30d"]
    assert re.findall(r'le="([\d.]+)"', late) == [f"{target}.0"]
    shown_at_once = Metrics().exposition().body.decode()
    assert f'hotlist_read_to_match_seconds_bucket{{le="{target}.0"}}' in shown_at_once


def test_limits_in_rules_are_the_engines() -> None:
    by_name = {rule.name: rule.expr for rule in _ALERTS}
    assert by_name["HotlistSuppressionFull"].endswith(f"> 0.9 * {limits.SUPPRESSION_KEYS}")
    expires = by_name["HotlistIngestCertificateExpires"]
    assert expires.endswith(f"< {limits.CERTIFICATE_DAYS} * 86400")
    filling = re.findall(r"> 0\.5 \* (\d+)", by_name["HotlistIngestSpoolFilling"])
    assert [int(each) for each in filling] == [
        limits.INGEST_SPOOL_READS,
        limits.CARS_HELD,
        limits.INGEST_SPOOL_BYTES,
    ]


@pytest.mark.parametrize(
    ("expr", "shortened"),
    [
        ("rate(a[5m]) > 300", "rate(a[5000ms]) > 300"),
        ("a offset 1d > 2 and a[1h]", "a offset 1440000ms > 2 and a[60000ms]"),
        ('a{b="5m"} == 26 * 3600', 'a{b="5m"} == 26 * 3600'),
    ],
)
def test_an_expression_that_looks_back_for_less_time(expr: str, shortened: str) -> None:
    assert faster(expr, 60) == shortened


@pytest.mark.parametrize(
    ("expr", "metrics", "recorded"),
    [
        ('sum by (job) (rate(hotlist_a_total{job="x"}[5m]))', {"hotlist_a_total"}, set()),
        ("max by (hotlist_no) (job:hotlist_a:rate5m)", set(), {"job:hotlist_a:rate5m"}),
        ('up{job=~"hotlist_x"} == 0', {"up"}, set()),
    ],
)
def test_the_metrics_of_an_expression(expr: str, metrics: set[str], recorded: set[Any]) -> None:
    assert metrics_in(expr) == metrics
    assert recorded_in(expr) == recorded
