"""`deploy/grafana`: the dashboards are whole, legible, and show nothing but counts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from engine import limits
from engine.ingest.metrics import IngestMetrics
from tests.observability.test_metrics import BOUNDED_LABELS, CONTRACT
from tests.repository.monitoring import GRAFANA, dashboards, metrics_in, queries, variables_in
from tests.repository.pages import Page

_DASHBOARDS = dashboards()
_SHOWING = {
    f"{name}: {panel['title']}": panel
    for name, document in _DASHBOARDS.items()
    for panel in document["panels"]
    if panel["type"] != "row"
}
_WIDTH = 24
#: What Grafana's own models of a dashboard leave to the plugin of the data source.
_OF_THE_PLUGIN = {"titleFormat", "tagKeys", "step", "definition"}
#: Variables that Grafana has by itself.
_BUILT_IN = {"__rate_interval", "__all"}

of_each_panel = pytest.mark.parametrize("panel", _SHOWING.values(), ids=_SHOWING)
of_each_dashboard = pytest.mark.parametrize("dashboard", _DASHBOARDS.values(), ids=_DASHBOARDS)
of_each_query = pytest.mark.parametrize(
    "query", queries(), ids=lambda query: f"{query.dashboard}: {query.panel}: {query.legend}"
)


def area(panel: dict[str, Any]) -> tuple[range, range]:
    """The columns and lines that a panel takes."""
    at = panel["gridPos"]
    return range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])


def overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def dropped_by_grafana(document: dict[str, Any]) -> list[str]:
    """What of a dashboard Grafana's own models do not know, which they drop; or read otherwise.

    They are those of github.com/grafana/grafana-foundation-sdk.
    """
    register_default_plugins()
    given = json.loads(json.dumps(document))
    read = json.loads(json.dumps(Dashboard.from_json(given), cls=JSONEncoder))
    return list(_differing(document, read, "$"))


def _differing(given: Any, read: Any, at: str) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(read, dict):
        for name in given.keys() - _OF_THE_PLUGIN:
            yield from _differing(given[name], read.get(name), f"{at}.{name}")
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        for number, pair in enumerate(zip(given, read, strict=True)):
            yield from _differing(*pair, f"{at}[{number}]")
    elif given != read:
        yield f"{at}: {given!r}, read as {read!r}"


@of_each_dashboard
def test_grafana_knows_all_that_is_in_it(dashboard: dict[str, Any]) -> None:
    assert dropped_by_grafana(dashboard) == []
    wrong = json.loads(json.dumps(dashboard))
    wrong["panels"][1]["fieldConfig"]["defaults"]["colour"] = "red"
    wrong["panels"][1]["targets"][0]["expression"] = "up"
    assert len(dropped_by_grafana(wrong)) == 2


@of_each_dashboard
def test_panels_are_told_apart(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    titles = [panel["title"] for panel in panels]
    assert len(set(titles)) == len(titles)


@of_each_dashboard
def test_panels_stand_beside_each_other(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    for panel in panels:
        columns, _ = area(panel)
        assert columns.start >= 0
        assert columns.stop <= _WIDTH, panel["title"]
    for one, other in itertools.combinations(panels, 2):
        beside = [overlap(*taken) for taken in zip(area(one), area(other), strict=True)]
        assert not all(beside), (one["title"], other["title"])


@of_each_dashboard
def test_every_panel_stands_under_a_heading(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert panels[0]["type"] == "row"
    assert [panel["gridPos"]["y"] for panel in panels] == sorted(
        panel["gridPos"]["y"] for panel in panels
    )
    for heading, following in itertools.pairwise(panels):
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
def test_each_panel_leads_to_its_place_in_the_runbook(panel: dict[str, Any]) -> None:
    (link,) = panel["links"]
    address, _, anchor = link["url"].partition("#")
    assert address == "${runbook}"
    assert anchor in Page(GRAFANA.parent / "RUNBOOK.md").anchors()


@of_each_panel
def test_each_panel_asks_the_source_that_is_chosen(panel: dict[str, Any]) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert panel["datasource"] == chosen
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references) > 0
    for target in panel["targets"]:
        assert target["datasource"] == chosen


@of_each_dashboard
def test_every_variable_is_there_and_of_use(dashboard: dict[str, Any]) -> None:
    named = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert variables_in(json.dumps(dashboard)) - _BUILT_IN == named


@of_each_query
def test_each_query_is_for_the_workers_that_are_chosen(query: Any) -> None:
    for selector in metrics_in(query.expr):
        assert f'{selector}{{job=~"$job", instance=~"$instance"' in query.expr


@of_each_query
def test_nothing_personal_is_shown(query: Any) -> None:
    """What tells series apart are the labels that metrics may have, and whose they are."""
    named = {part.partition("}}")[0] for part in query.legend.split("{{")[1:]}
    assert named <= BOUNDED_LABELS | {"job", "instance", "vendor", "fallback"}


def test_the_contracts_metrics_are_on_the_dashboard() -> None:
    asked = set().union(*(metrics_in(query.expr) for query in queries()))
    histograms = {name for name in CONTRACT if name.endswith("_seconds")}
    assert {f"{name}_bucket" if name in histograms else name for name in CONTRACT} <= asked


def test_limits_on_the_dashboard_are_the_engines() -> None:
    remembered = _SHOWING["hotlist: Entries at cameras remembered"]
    assert f"At {limits.SUPPRESSION_KEYS:,} " in remembered["description"]
    steps = remembered["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[-1]["value"] == 0.9 * limits.SUPPRESSION_KEYS
    in_delivery = _SHOWING["hotlist: Fetches in delivery"]
    assert f"At {limits.FETCHES_IN_DELIVERY} " in in_delivery["description"]
    waiting = _SHOWING["hotlist: Changes waiting for the audit"]
    assert f"At {limits.AUDIT_PENDING_CHANGES:,} " in waiting["description"]
    reads = _SHOWING["hotlist-ingest: Reads that wait"]["description"]
    assert f"At {limits.INGEST_SPOOL_READS:,} " in reads
    assert f"at {limits.CARS_HELD:,}." in reads
    mib = limits.INGEST_SPOOL_BYTES // limits.MIB
    assert f"At {mib} MiB " in _SHOWING["hotlist-ingest: Bytes that wait"]["description"]


def test_the_metrics_of_ingest_are_on_its_dashboard() -> None:
    ingest = IngestMetrics("frigate")
    ingest.watch_mqtt(lambda: True)
    ingest.show_certificate(0)
    shown = {
        sample.name
        for family in ingest.registry.collect()
        for sample in family.samples
        if sample.name.startswith("hotlist_")
    }
    asked = set().union(*(metrics_in(query.expr) for query in queries()))
    assert {name for name in shown if not name.endswith(("_sum", "_count"))} <= asked


def test_each_dashboard_is_one() -> None:
    assert len({document["uid"] for document in _DASHBOARDS.values()}) == len(_DASHBOARDS)
    kustomized = yaml.safe_load((GRAFANA / "kustomization.yaml").read_text())
    (generator,) = kustomized["configMapGenerator"]
    assert generator["files"] == [f"dashboards/{name}.json" for name in _DASHBOARDS]


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
