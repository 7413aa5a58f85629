"""Policies: nothing matches on a source's reads but what the source allows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adversary.sides import Sides, count


@pytest.fixture
def sides() -> Sides:
    made = Sides()
    made.entry(agency="AG1", purpose="stolen_vehicle", suppress_s=0)
    return made


def _rule(agencies: Any, purposes: Any) -> dict[str, Any]:
    return {"agencies": agencies, "purposes": purposes}


@pytest.mark.parametrize(
    ("rules", "matches"),
    [
        ([], 0),
        ([_rule("*", "*")], 1),
        ([_rule(["AG1"], ["stolen_vehicle"])], 1),
        ([_rule(["AG1"], ["wanted_person"]), _rule(["AG2"], ["stolen_vehicle"])], 0),
        ([_rule(["ag1"], "*")], 0),
        ([_rule(["AG1 "], "*")], 0),
        ([_rule(["*"], "*")], 0),
        ([_rule([], "*"), _rule("*", [])], 0),
        ([_rule("*", ["stolen_vehicle", "no_such_purpose"])], 1),
    ],
)
def test_one_rule_must_allow_agency_and_purpose_together(
    sides: Sides, rules: list[Any], matches: int
) -> None:
    """The contract: "which agencies, for which purposes"; "An empty list of rules denies all";
    `"*"` stands for all only by itself."""
    sides.policy("S1", rules=rules)
    assert count(sides.read()) == matches


def test_no_policy_denies_and_a_removed_one_too(sides: Sides) -> None:
    """The contract: "No policy: nothing matches (default-deny)"."""
    assert count(sides.read()) == 0
    sides.policy("S1")
    assert count(sides.read()) == 1
    sides.policy("S1", removed=True)
    assert count(sides.read()) == 0


def test_another_sources_policy_does_not_count(sides: Sides) -> None:
    """The contract: "allowed by the policy of the read's source"."""
    for source in ("S", "S11", "s1", "S1 ", "*"):
        sides.policy(source)
    assert count(sides.read(source="S1")) == 0


@pytest.mark.parametrize(
    "bad",
    [{"rules": None}, {"rules": "*"}, {"updated_by": None}, {"regions": []}, {"regions": ["usa"]}],
)
def test_a_bad_policy_allows_nothing(sides: Sides, bad: dict[str, Any]) -> None:
    """The contract: "default-deny": what is no policy is none, and the former one is gone."""
    sides.policy("S1")
    sides.policy("S1", **bad)
    assert count(sides.read()) == 0


@pytest.mark.parametrize(
    ("regions", "region", "matches"),
    [
        (["US-CA"], "US-CA", 1),
        (["US"], "US-CA", 1),
        (["US-CA"], "US", 0),
        (["US-CA"], None, 0),
        (["NL", "US-NV"], "US-CA", 0),
        (["US-C"], "US-CA", 0),
        (None, None, 1),
    ],
)
def test_regions_of_a_policy(
    sides: Sides, regions: list[str] | None, region: str | None, matches: int
) -> None:
    """The contract: "A country covers its subdivisions" (policy.v1.json); default-deny for what is
    unknown."""
    sides.policy("S1", regions=regions)
    assert count(sides.read(region=region)) == matches


def test_an_entry_that_changes_its_agency_is_allowed_as_it_lists_it_now(sides: Sides) -> None:
    """The contract: "of one entry, as it lists its plate, agency and purpose now"."""
    sides.policy("S1", rules=[_rule(["AG1"], "*")])
    assert count(sides.read()) == 1
    sides.entry(agency="AG2", suppress_s=0)
    assert count(sides.read()) == 0
    sides.policy("S1", rules=[_rule(["AG2"], "*")])
    assert count(sides.read()) == 1
