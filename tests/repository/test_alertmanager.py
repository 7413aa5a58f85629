"""`deploy/alertmanager`: each alert reaches somebody, and what is named is there.

Where there is an `amtool` (Debian has it in prometheus-alertmanager), it has the last word.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from tests.repository.monitoring import PROMETHEUS, rules

_DIRECTORY: Final = PROMETHEUS.parent / "alertmanager"
_FILE: Final = _DIRECTORY / "alertmanager.yml"
_CONFIG: Final[dict[str, Any]] = yaml.safe_load(_FILE.read_text("utf-8"))
_MATCHER: Final = re.compile(r'(\w+) (=~|!~|!=|=) "([^"]*)"')
_ALERTS: Final = [rule for rule in rules() if rule.is_alert]


def matches(matchers: list[str], labels: dict[str, str]) -> bool:
    """Whether labels match all of these, as Alertmanager does."""
    for matcher in matchers:
        found = _MATCHER.fullmatch(matcher)
        assert found is not None, matcher
        name, operator, value = found.groups()
        pattern = value if "~" in operator else re.escape(value)
        if (re.fullmatch(pattern, labels.get(name, "")) is None) != operator.startswith("!"):
            return False
    return True


def receiver(labels: dict[str, str]) -> str:
    """Who gets an alert: the first route that matches, else the root's."""
    root = _CONFIG["route"]
    for route in root["routes"]:
        if matches(route["matchers"], labels):
            return str(route["receiver"])
    return str(root["receiver"])


def test_each_alert_goes_where_its_urgency_says() -> None:
    wanted = {"critical": "page", "warning": "ticket", "info": "mail"}
    assert {each["name"] for each in _CONFIG["receivers"]} == set(wanted.values())
    for alert in _ALERTS:
        severity = alert.document["labels"]["severity"]
        assert receiver({"alertname": alert.name, "severity": severity}) == wanted[severity]
    assert receiver({"alertname": "DiskFull", "severity": "critical"}) == "mail"


def named() -> Iterator[str]:
    """The alerts that an inhibition names, one by one."""
    for rule in _CONFIG["inhibit_rules"]:
        for matcher in [*rule["source_matchers"], *rule["target_matchers"]]:
            name, _, value = _MATCHER.fullmatch(matcher).groups()  # type: ignore[union-attr]
            if name == "alertname" and not value.endswith(".+"):
                head, _, rest = value.partition("(")
                yield from (head + each for each in rest.rstrip(")").split("|"))


def test_an_inhibition_names_alerts_that_are_there() -> None:
    assert set(named()) <= {alert.name for alert in _ALERTS}
    assert len(set(named())) > 4


def kept_back(firing: list[dict[str, str]]) -> list[str]:
    """The names of the alerts that are not sent because others fire, as Alertmanager decides it."""
    return [
        target["alertname"]
        for rule in _CONFIG["inhibit_rules"]
        for target in firing
        if matches(rule["target_matchers"], target)
        and any(
            matches(rule["source_matchers"], source)
            and all(source.get(name) == target.get(name) for name in rule.get("equal", []))
            for source in firing
        )
    ]


def test_a_deployment_that_stands_keeps_back_nothing_of_another() -> None:
    def of(job: str, name: str) -> dict[str, str]:
        [alert] = [alert for alert in _ALERTS if alert.name == name]
        return {"alertname": name, "job": job, **alert.document["labels"]}

    follow = ["HotlistNoReads", "HotlistPartitionStuck", "HotlistWorkerNotReady"]
    stands = [of("hotlist-north", name) for name in ["HotlistNoWorkerReady", *follow]]
    assert kept_back(stands) == follow
    assert kept_back([*stands, *(of("hotlist-south", name) for name in follow)]) == follow


def test_nothing_inhibits_itself() -> None:
    for rule in _CONFIG["inhibit_rules"]:
        for alert in _ALERTS:
            labels = {"alertname": alert.name, "severity": alert.document["labels"]["severity"]}
            both = matches(rule["source_matchers"], labels) and matches(
                rule["target_matchers"], labels
            )
            assert not both, alert.name


def test_the_templates_that_are_used_are_there() -> None:
    text = "".join(path.read_text("utf-8") for path in _DIRECTORY.glob("templates/*.tmpl"))
    used = set(re.findall(r'template "([^"]+)"', _FILE.read_text("utf-8")))
    assert used == set(re.findall(r'define "([^"]+)"', text))
    notes = set(re.findall(r"\.Annotations\.(\w+)", text))
    assert notes == set(_ALERTS[0].document["annotations"])


def test_amtool_takes_it() -> None:
    amtool = shutil.which("amtool")
    if amtool is None:
        pytest.skip("no amtool on PATH; on Debian it is in the package prometheus-alertmanager")
    done = subprocess.run(
        [amtool, "check-config", _FILE], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
