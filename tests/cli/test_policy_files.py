"""Policy files: a person writes them, so what is not known in them is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.cli.policy_files import PolicyError, read_policies
from tests.fakes.documents import NOW_MS, policy_json

CODES = ("stolen_vehicle", "permit")
ALL = {"agencies": "*", "purposes": "*"}


def test_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    rules = [ALL, {"agencies": ["PD01"], "purposes": ["permit"]}]
    path.write_text(json.dumps([policy_json(rules=rules), policy_json(source="S2", rules=[])]))
    found = read_policies(path, "jo", NOW_MS, CODES)
    assert [policy.source for policy in found] == ["S1", "S2"]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (policy_json(region=["NL"]), "$: unknown field 'region'; the fields are source, rules, "),
        (
            policy_json(rules=[ALL, {**ALL, "purpose": ["permit"]}]),
            "$.rules[1]: unknown field 'purpose'; the fields are agencies, purposes",
        ),
        (
            policy_json(rules=[{"agencies": "*", "purposes": ["permits"]}]),
            "$.rules[0].purposes: 'permits' is not in the purposes file, which has ",
        ),
        (
            policy_json(rules=[{"agencies": "*", "purposes": ["*"]}]),
            "$.rules[0].purposes",
        ),
        (policy_json(source="S1 "), "$.source: 'S1 ' begins or ends with a blank"),
        (
            policy_json(rules=[{"agencies": [" PD01"], "purposes": "*"}]),
            "$.rules[0].agencies: ' PD01' begins or ends with a blank",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, document: Any, problem: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps([document]))
    with pytest.raises(PolicyError) as caught:
        read_policies(path, "jo", NOW_MS, CODES)
    assert str(caught.value).startswith(f"{path}: policy 1: {problem}")


def test_a_field_that_stands_twice(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text('{"source": "S1", "rules": [], "rules": [{"agencies": "*", "purposes": "*"}]}')
    with pytest.raises(PolicyError, match="the field 'rules' stands twice in one object"):
        read_policies(path, "jo", NOW_MS, CODES)
