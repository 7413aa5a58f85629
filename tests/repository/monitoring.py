"""What lies in `deploy/prometheus` and `deploy/grafana`, taken apart; and a Prometheus to try it.

`prometheus` and `promtool` come with Debian's package `prometheus`. Where they are missing, tests
that need them are skipped and say so, except with `HOTLIST_REQUIRE_PROMETHEUS=1`: then they fail.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import pytest
import yaml

PROMETHEUS: Final = Path(__file__).parents[2] / "deploy" / "prometheus"
GRAFANA: Final = Path(__file__).parents[2] / "deploy" / "grafana"
RULES: Final = sorted((PROMETHEUS / "rules").glob("*.yml"))
RULE_TESTS: Final = sorted((PROMETHEUS / "tests").glob("*.yml"))
DASHBOARDS: Final = sorted((GRAFANA / "dashboards").glob("*.json"))

_ANSWER_S: Final = 30.0
_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION: Final = re.compile(r"(\d+)(ms|[smhdw])")
#: Where a duration stands in an expression: in a range, or after `offset`.
_IN_EXPRESSION: Final = re.compile(r"(?<=\[)\w+(?=\])|(?<=\boffset )\w+")
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_METRIC: Final = re.compile(r"\b(?:hotlist|process)_[a-z0-9_]+\b|\bup\b")
_RECORDED: Final = re.compile(r"\b[a-z_]+:\w+:\w+\b")
#: Not in an expression but about it, and the names of labels, which are none of metrics.
_ASIDE: Final = re.compile(r'"[^"]*"|\b(?:by|on|without|ignoring|group_left)\s*\([^)]*\)')


def tool(name: str) -> str:
    """The path of `prometheus` or `promtool`."""
    found = shutil.which(name)
    if found is not None:
        return found
    why = f"no {name} on PATH; on Debian and Ubuntu it is in the package prometheus"
    if os.environ.get("HOTLIST_REQUIRE_PROMETHEUS") == "1":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


class Rule(NamedTuple):
    """A rule as its file has it; `name` is what it records, or its alert."""

    name: str
    expr: str
    is_alert: bool
    document: dict[str, Any]


def rules() -> list[Rule]:
    """All rules of all files."""
    return [
        Rule(rule.get("alert") or rule["record"], rule["expr"], "alert" in rule, rule)
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


class Query(NamedTuple):
    """An expression on a dashboard: of which panel, and what its series are called."""

    dashboard: str
    panel: str
    expr: str
    legend: str


def dashboards() -> dict[str, dict[str, Any]]:
    """The dashboards as their files have them, by their names."""
    return {path.stem: json.loads(path.read_text()) for path in DASHBOARDS}


def queries() -> list[Query]:
    """All expressions of all panels."""
    return [
        Query(name, panel["title"], target["expr"], target["legendFormat"])
        for name, document in dashboards().items()
        for panel in document["panels"]
        for target in panel.get("targets", ())
    ]


def metrics_in(expr: str) -> set[str]:
    """The metrics that an expression names, those that a rule records left aside."""
    return set(_METRIC.findall(_RECORDED.sub("", _ASIDE.sub("", expr))))


def recorded_in(expr: str) -> set[str]:
    """The metrics that an expression names and that a rule records."""
    return set(_RECORDED.findall(_ASIDE.sub("", expr)))


def variables_in(text: str) -> set[str]:
    """The variables of Grafana that a text asks for."""
    return {braced or plain for braced, plain in _VARIABLE.findall(text)}


def filled_in(expr: str, job: str, interval: str) -> str:
    """An expression as Grafana sends it for all workers of a job."""
    values = {"job": job, "instance": ".+", "__rate_interval": interval}
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], expr)


def faster(expr: str, times: int) -> str:
    """An expression that looks back for a fraction of the time."""
    return _IN_EXPRESSION.sub(lambda found: _shortened(found[0], times), expr)


def faster_rules(times: int, interval: str) -> dict[str, Any]:
    """All rules in one document, evaluated at an interval, that look back for, and wait, a
    fraction of the time."""
    groups: list[dict[str, Any]] = []
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                rule["expr"] = faster(rule["expr"], times)
                if "for" in rule:
                    rule["for"] = _shortened(rule["for"], times)
            groups.append(group | {"interval": interval})
    return {"groups": groups}


def _shortened(duration: str, times: int) -> str:
    assert _DURATION.fullmatch(duration), duration
    number, unit = _DURATION.fullmatch(duration).groups()  # type: ignore[union-attr]
    return f"{int(number) * _MS[unit] // times}ms"


class PrometheusServer:
    """A Prometheus on this machine, a context manager; `directory` holds its data and its log.

    `rules` is a document of rules, `targets` are the addresses that it scrapes, by job.
    """

    def __init__(
        self,
        directory: Path,
        rules: dict[str, Any],
        targets: dict[str, list[str]],
        *,
        interval: str,
    ) -> None:
        self._program = tool("prometheus")
        self._directory = directory
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._address = f"127.0.0.1:{probe.getsockname()[1]}"
        # JSON is YAML.
        (directory / "rules.yml").write_text(json.dumps(rules))
        (directory / "prometheus.yml").write_text(
            json.dumps(
                {
                    "global": {
                        "scrape_interval": interval,
                        "scrape_timeout": interval,
                        "evaluation_interval": interval,
                    },
                    "rule_files": ["rules.yml"],
                    "scrape_configs": [
                        {"job_name": job, "static_configs": [{"targets": addresses}]}
                        for job, addresses in targets.items()
                    ],
                }
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with (self._directory / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    f"--config.file={self._directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._directory / 'data'}",
                    f"--web.listen-address={self._address}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _ANSWER_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise AssertionError(f"Prometheus does not start:\n{self.log()}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def log(self) -> str:
        """What it has written so far."""
        return (self._directory / "prometheus.log").read_text(errors="replace")

    def query(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """The labels and values that an expression has now."""
        result = self._get("query", query=expr)
        if result["resultType"] == "scalar":
            return [({}, float(result["result"][1]))]
        return [(each["metric"], float(each["value"][1])) for each in result["result"]]

    def alerts(self) -> Iterator[tuple[str, dict[str, str], dict[str, str]]]:
        """The alerts that fire now: name, labels, annotations."""
        for alert in self._get("alerts")["alerts"]:
            if alert["state"] == "firing":
                yield alert["labels"]["alertname"], alert["labels"], alert["annotations"]

    def failing_rules(self) -> dict[str, str]:
        """What rules could not be evaluated the last time, and why."""
        return {
            rule["name"]: rule["lastError"]
            for group in self._get("rules")["groups"]
            for rule in group["rules"]
            if rule.get("lastError")
        }

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _get(self, what: str, **parameters: str) -> Any:
        encoded = urllib.parse.urlencode(parameters)
        url = f"http://{self._address}/api/v1/{what}?{encoded}"
        try:
            with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None
