"""`deploy/grafana`: the dashboard is whole, legible, and shows nothing but counts."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
import yaml

from engine import limits
from tests.observability.test_metrics import BOUNDED_LABELS, CONTRACT
from tests.repository.monitoring import GRAFANA, dashboard, metrics_in, queries, variables_in

_DASHBOARD = dashboard()
_PANELS: list[dict[str, Any]] = _DASHBOARD["panels"]
_SHOWING = [panel for panel in _PANELS if panel["type"] != "row"]
_WIDTH = 24
#: Variables that Grafana has by itself.
_BUILT_IN = {"__rate_interval", "__all"}

of_each_panel = pytest.mark.parametrize("panel", _SHOWING, ids=lambda panel: panel["title"])


def area(panel: dict[str, Any]) -> tuple[range, range]:
    """The columns and lines that a panel takes."""
    at = panel["gridPos"]
    return range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])


def overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def test_panels_are_told_apart() -> None:
    assert len({panel["id"] for panel in _PANELS}) == len(_PANELS)
    titles = [panel["title"] for panel in _PANELS]
    assert len(set(titles)) == len(titles)


def test_panels_stand_beside_each_other() -> None:
    for panel in _PANELS:
        columns, _ = area(panel)
        assert columns.start >= 0
        assert columns.stop <= _WIDTH, panel["title"]
    for one, other in itertools.combinations(_PANELS, 2):
        beside = [overlap(*taken) for taken in zip(area(one), area(other), strict=True)]
        assert not all(beside), (one["title"], other["title"])


def test_every_panel_stands_under_a_heading() -> None:
    assert _PANELS[0]["type"] == "row"
    assert [panel["gridPos"]["y"] for panel in _PANELS] == sorted(
        panel["gridPos"]["y"] for panel in _PANELS
    )
    for heading, following in itertools.pairwise(_PANELS):
        assert (heading["type"], following["type"]) != ("row", "row"), heading["title"]


@of_each_panel
def test_each_panel_can_be_read(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"]
    # Grafana's own colours have a shade for each theme; others are legible in one of them.
    steps = defaults.get("thresholds", {}).get("steps", [])
    assert {step["color"] for step in steps} <= {"green", "orange", "red", "blue", "transparent"}
    assert [step["value"] for step in steps][:1] in ([], [None])
    values = [step["value"] for step in steps[1:]]
    assert values == sorted(values)


@of_each_panel
def test_each_panel_asks_the_source_that_is_chosen(panel: dict[str, Any]) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert panel["datasource"] == chosen
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references) > 0
    for target in panel["targets"]:
        assert target["datasource"] == chosen


def test_every_variable_is_there_and_of_use() -> None:
    named = {variable["name"] for variable in _DASHBOARD["templating"]["list"]}
    assert variables_in(json.dumps(_DASHBOARD)) - _BUILT_IN == named


@pytest.mark.parametrize("query", queries(), ids=lambda query: f"{query.panel}: {query.legend}")
def test_each_query_is_for_the_workers_that_are_chosen(query: Any) -> None:
    for selector in metrics_in(query.expr):
        assert f'{selector}{{job=~"$job", instance=~"$instance"' in query.expr


@pytest.mark.parametrize("query", queries(), ids=lambda query: f"{query.panel}: {query.legend}")
def test_nothing_personal_is_shown(query: Any) -> None:
    """What tells series apart are the labels that metrics may have, and whose they are."""
    named = {part.partition("}}")[0] for part in query.legend.split("{{")[1:]}
    assert named <= BOUNDED_LABELS | {"job", "instance"}


def test_the_contracts_metrics_are_on_the_dashboard() -> None:
    asked = set().union(*(metrics_in(query.expr) for query in queries()))
    histograms = {name for name in CONTRACT if name.endswith("_seconds")}
    assert {f"{name}_bucket" if name in histograms else name for name in CONTRACT} <= asked


def test_limits_on_the_dashboard_are_the_engines() -> None:
    by_title = {panel["title"]: panel for panel in _SHOWING}
    remembered = by_title["Entries at cameras remembered"]
    assert f"At {limits.SUPPRESSION_KEYS:,} " in remembered["description"]
    steps = remembered["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[-1]["value"] == 0.9 * limits.SUPPRESSION_KEYS
    in_delivery = by_title["Fetches in delivery"]
    assert f"At {limits.FETCHES_IN_DELIVERY} " in in_delivery["description"]
    waiting = by_title["Changes waiting for the audit"]
    assert f"At {limits.AUDIT_PENDING_CHANGES:,} " in waiting["description"]


def test_provisioning_finds_them() -> None:
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/hotlist.yml").read_text())
    (source,) = sources["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "$PROMETHEUS_URL")
    assert source["isDefault"], "the dashboard begins with the default one"
    scraped = yaml.safe_load((GRAFANA.parent / "prometheus/prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
    providers = yaml.safe_load((GRAFANA / "provisioning/dashboards/hotlist.yml").read_text())
    (provider,) = providers["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
